package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
)

// kafkaPartitions is how many partitions the topics of the cases have.
const kafkaPartitions = 4

// kafka returns the broker that the cases share, on the same cores as Weir. It is
// warm from the second run on.
func (l *lab) kafka(ctx context.Context) (*kafkatest.Cluster, error) {
	if l.broker == nil {
		c, err := kafkatest.Start(ctx, kafkatest.Options{Warm: true, Dir: filepath.Join(l.dir, "kafka")})
		if err != nil {
			return nil, err
		}
		l.broker = c
	}
	return l.broker, nil
}

// topic makes an empty topic, which keeps its records whatever their time; drop
// removes it, since it lies in memory.
func (l *lab) topic(ctx context.Context, name string) (drop func(), err error) {
	if err := l.broker.CreateTopic(ctx, name, kafkaPartitions, map[string]string{"retention.ms": "-1"}); err != nil {
		return nil, err
	}
	return func() {
		if l.keep {
			return
		}
		transport := &kafkago.Transport{}
		defer transport.CloseIdleConnections()
		client := &kafkago.Client{Addr: kafkago.TCP(l.broker.Bootstrap()), Transport: transport}
		_, _ = client.DeleteTopics(ctx, &kafkago.DeleteTopicsRequest{Topics: []string{name}})
	}, nil
}

const generatorKafkaYAML = `
name: generator-kafka
checkpoint: {interval: 5s}
nodes:
  gen: {source: generator, config: {count: %d, keys: 0}}
  out: {sink: kafka, input: gen, config: {bootstrap.servers: "%s", topic: %s, guarantee: %s}}
`

// generatorKafka measures the sink.
func generatorKafka(guarantee string) func(context.Context, *lab, string, uint64, int) (Result, error) {
	return func(ctx context.Context, l *lab, name string, records uint64, runs int) (Result, error) {
		if _, err := l.kafka(ctx); err != nil {
			return Result{}, err
		}
		var all []Result
		for range runs {
			topic := fmt.Sprintf("%s-%d", name, l.runs)
			drop, err := l.topic(ctx, topic)
			if err != nil {
				return Result{}, err
			}
			r, err := l.besideBroker(ctx, name, fmt.Sprintf(generatorKafkaYAML, records, l.broker.Bootstrap(), topic, guarantee), records)
			drop()
			if err != nil {
				return Result{}, err
			}
			all = append(all, r)
		}
		return median(all), nil
	}
}

const kafkaKafkaYAML = `
name: kafka-kafka
checkpoint: {interval: 5s}
plugins: {benchfile: {path: %[5]s}}
nodes:
  in:  {source: benchfile/kafka, config: {bootstrap.servers: "%[1]s", topic: %[2]s, end: latest}}
  up:  {operator: benchfile/upper, input: in}
  out: {sink: benchfile/kafka, input: up, config: {bootstrap.servers: "%[1]s", topic: %[3]s, guarantee: %[4]s}}
`

// filled returns a topic with records of 100 bytes, made once.
func (l *lab) filled(ctx context.Context, records uint64) (string, error) {
	topic := fmt.Sprintf("filled-%d", records)
	if l.topics[topic] {
		return topic, nil
	}
	if _, err := l.kafka(ctx); err != nil {
		return "", err
	}
	if _, err := l.topic(ctx, topic); err != nil {
		return "", err
	}
	yaml := fmt.Sprintf(generatorKafkaYAML, records, l.broker.Bootstrap(), topic, "at_least_once")
	if _, err := l.once(ctx, "fill", func(string) (string, error) { return yaml, nil }, records, false); err != nil {
		return "", err
	}
	l.topics[topic] = true
	return topic, nil
}

// kafkaKafka measures a whole way: source, operator and sink.
func kafkaKafka(guarantee string) func(context.Context, *lab, string, uint64, int) (Result, error) {
	return func(ctx context.Context, l *lab, name string, records uint64, runs int) (Result, error) {
		from, err := l.filled(ctx, records)
		if err != nil {
			return Result{}, err
		}
		var all []Result
		for range runs {
			to := fmt.Sprintf("%s-%d", name, l.runs)
			drop, err := l.topic(ctx, to)
			if err != nil {
				return Result{}, err
			}
			r, err := l.besideBroker(ctx, name, fmt.Sprintf(kafkaKafkaYAML, l.broker.Bootstrap(), from, to, guarantee, l.pluginWithFile), records)
			drop()
			if err != nil {
				return Result{}, err
			}
			all = append(all, r)
		}
		return median(all), nil
	}
}

// besideBroker runs a pipeline and measures the broker's CPU time apart.
func (l *lab) besideBroker(ctx context.Context, name, yaml string, records uint64) (Result, error) {
	before, err := cpuOf(l.broker.Brokers[0].PID())
	if err != nil {
		return Result{}, err
	}
	r, err := l.once(ctx, name, func(string) (string, error) { return yaml, nil }, records, false)
	if err != nil {
		return Result{}, err
	}
	after, err := cpuOf(l.broker.Brokers[0].PID())
	r.BrokerCPUNsPerRecord = float64(after-before) / float64(records)
	return r, err
}

// cpuOf is the CPU time that a process has used.
func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything.
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux, whatever the kernel's
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}
