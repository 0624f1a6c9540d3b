//go:build linux

package faulttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
)

// kafka are three brokers that the tests of this package share: one of them may be
// lost.
var kafka = kafkatest.Shared{Options: kafkatest.Options{Brokers: 3}}

const kafkaPartitions = 4

// topicCase is a pipeline into a topic of its own.
type topicCase struct {
	pipelineCase
	topic string
	want  expectation
	text  func(value []byte) string // that want has of a record; nil is its value
}

// check compares what Kafka's own consumer of committed records sees with what must
// be there: each record once, and those of a group in order within each partition.
func (c topicCase) check(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	var all []kafkatest.Message
	for {
		// A commit is answered before its markers are written.
		if all = kafka.Committed(t, c.topic); len(all) >= len(c.want) || time.Now().After(deadline) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	files := make([]publication, kafkaPartitions)
	for i := range files {
		files[i].name = fmt.Sprintf("partition %d", i)
	}
	for _, m := range all {
		text := string(m.Value)
		if c.text != nil {
			text = c.text(m.Value)
		}
		files[m.Partition].lines = append(files[m.Partition].lines, text)
	}
	c.want.check(t, files, inFiles)
	if len(all) < len(c.want) {
		t.Logf("partitions end at %v, for consumers of committed records at %v", c.ends(t, kafkago.ReadUncommitted), c.ends(t, kafkago.ReadCommitted))
	}
}

// ends is where each partition ends. Where a transaction is open consumers of
// committed records see less.
func (c topicCase) ends(t *testing.T, level kafkago.IsolationLevel) map[int]int64 {
	t.Helper()
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafkago.Client{Addr: kafkago.TCP(strings.Split(kafka.Get(t).Bootstrap(), ",")...), Transport: transport}
	request := &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{}, IsolationLevel: level}
	for p := range kafkaPartitions {
		request.Topics[c.topic] = append(request.Topics[c.topic], kafkago.LastOffsetOf(p))
	}
	ends := map[int]int64{}
	r, err := client.ListOffsets(t.Context(), request)
	if err != nil {
		t.Log(err)
		return ends
	}
	for _, o := range r.Topics[c.topic] {
		ends[o.Partition] = o.LastOffset
	}
	return ends
}

// filledTopic returns a topic of records by partition, written by kafka-go. That
// may write twice what it has to repeat, and gives up where a busy broker does not
// know the topic yet: then it takes another topic.
func filledTopic(t *testing.T, records [kafkaPartitions][]kafkago.Message) string {
	t.Helper()
	want := 0
	for _, r := range records {
		want += len(r)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		cluster := kafka.Get(t)
		topic := cluster.Topic(t, kafkaPartitions, nil)
		err := fill(t.Context(), cluster.Bootstrap(), topic, records)
		got := 0
		if err == nil {
			got = len(kafka.Committed(t, topic))
		}
		if got == want {
			return topic
		}
		if time.Now().After(deadline) {
			t.Fatalf("topic %s has %d records, not %d: %v", topic, got, want, err)
		}
	}
}

func fill(ctx context.Context, bootstrap, topic string, records [kafkaPartitions][]kafkago.Message) error {
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	for p, messages := range records {
		w := &kafkago.Writer{
			Addr: kafkago.TCP(strings.Split(bootstrap, ",")...), Topic: topic, RequiredAcks: kafkago.RequireAll, Transport: transport,
			BatchTimeout: time.Millisecond, BatchSize: 200, MaxAttempts: 20,
			Balancer: kafkago.BalancerFunc(func(kafkago.Message, ...int) int { return p }),
		}
		if err := errors.Join(w.WriteMessages(ctx, messages...), w.Close()); err != nil {
			return err
		}
	}
	return nil
}

// placesOf is where each record of a topic must come in the output: once, those of a
// partition in order.
func placesOf(t *testing.T, topic string, text func(value string) string) expectation {
	t.Helper()
	want := expectation{}
	for _, m := range kafka.Committed(t, topic) {
		want[text(string(m.Value))] = place{fmt.Sprintf("partition %d of the first topic", m.Partition), int(m.Offset)}
	}
	return want
}

// kafkaSinkNodes write to a topic, exactly once, the records without a key, so that
// each task writes to all partitions.
const kafkaSinkNodes = `
  in:   {source: a/file, config: {path: $DIR/in, split_size: $SPLIT}}
  slow: {operator: a/slow, input: in, config: {rate: $RATE}}
  out:  {sink: b/kafka, input: slow, config: {bootstrap.servers: "%s", topic: %s, batch.size: 2KiB, request.timeout.ms: 3000}}
`

// kafkaSinkCase goes from files.
func kafkaSinkCase(t *testing.T) topicCase {
	t.Helper()
	cluster := kafka.Get(t)
	topic := cluster.Topic(t, kafkaPartitions, nil)
	return topicCase{pipelineCase{
		name: "files to a topic", input: short, parallelism: []int{2, 5, 1}, isolation: allIsolations,
		nodes: fmt.Sprintf(kafkaSinkNodes, cluster.Bootstrap(), topic),
	}, topic, copied(short), nil}
}

const kafkaExprNodes = `
  in:   {source: a/kafka, config: {bootstrap.servers: "%[1]s", topic: %[2]s, end: latest, request.timeout.ms: 3000}}
  slow: {operator: a/slow, input: in, config: {rate: $RATE}}
  up:   {operator: b/expr, input: slow, config: {value: upper(value), headers: {by: '"weir"'}}}
  out:  {sink: b/kafka, input: up, config: {bootstrap.servers: "%[1]s", topic: %[3]s, batch.size: 2KiB, request.timeout.ms: 3000}}
`

// kafkaExprCase goes from a topic through an expression.
func kafkaExprCase(t *testing.T) topicCase {
	t.Helper()
	var records [kafkaPartitions][]kafkago.Message
	for f := range short.files {
		for n := range short.lines {
			p := f % kafkaPartitions
			records[p] = append(records[p], kafkago.Message{Value: []byte(short.line(f, n))})
		}
	}
	from, cluster := filledTopic(t, records), kafka.Get(t)
	to := cluster.Topic(t, kafkaPartitions, nil)
	return topicCase{pipelineCase{
		name: "topic, expression, topic", input: short, parallelism: []int{4, 1, 2}, isolation: allIsolations,
		nodes: fmt.Sprintf(kafkaExprNodes, cluster.Bootstrap(), from, to),
	}, to, placesOf(t, from, strings.ToUpper), nil}
}

const kafkaWindowNodes = `
  in:   {source: a/kafka, config: {bootstrap.servers: "%[1]s", topic: %[2]s, end: latest, request.timeout.ms: 3000}, event_time: {from: record, out_of_orderness: 100ms}}
  slow: {operator: a/slow, input: in, config: {rate: $RATE}}
  sums: {operator: b/window, input: slow, config: {size: 50ms, aggregates: {n: count(), ids: collect(json.id)}}}
  out:  {sink: b/kafka, input: sums, config: {bootstrap.servers: "%[1]s", topic: %[3]s, batch.size: 2KiB, request.timeout.ms: 3000}}
`

// kafkaWindowCase goes from a topic through windows by key and event time. Records
// come out of order; each result lists the records in it.
func kafkaWindowCase(t *testing.T) topicCase {
	t.Helper()
	const base, size, keys, block = 1700000000000, 50, 10, 20
	in := input{files: kafkaPartitions, lines: 1500, length: 1, splitSize: 1 << 20}
	rng := rand.New(rand.NewPCG(1, 2))
	type window struct {
		key   string
		start int64
	}
	ids := map[window]map[int64]int{} // by time
	var records [kafkaPartitions][]kafkago.Message
	for p := range records {
		for n := range in.lines {
			id := n*kafkaPartitions + p
			key := fmt.Sprintf("k%d", rng.IntN(keys))
			at := base + int64(id)
			w := window{key, at - at%size}
			if ids[w] == nil {
				ids[w] = map[int64]int{}
			}
			ids[w][at] = id
			records[p] = append(records[p], kafkago.Message{Key: []byte(key), Value: fmt.Appendf(nil, `{"id":%d}`, id), Time: time.UnixMilli(at)})
		}
		for part := 0; part < in.lines; part += block { // 80 ms of each partition
			some := records[p][part:min(part+block, in.lines)]
			rng.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
		}
	}
	text := func(w window, ids []int) string {
		return fmt.Sprintf("%s from %d: %d %v", w.key, w.start, len(ids), ids)
	}
	want := expectation{}
	for w, byTime := range ids {
		var all []int
		for at := w.start; at < w.start+size; at++ {
			if id, ok := byTime[at]; ok {
				all = append(all, id)
			}
		}
		want[text(w, all)] = place{"key " + w.key, int(w.start)}
	}
	from, cluster := filledTopic(t, records), kafka.Get(t)
	to := cluster.Topic(t, kafkaPartitions, nil)
	return topicCase{pipelineCase{
		name: "topic, windows, topic", input: in, parallelism: []int{4, 1, 2}, isolation: allIsolations,
		nodes: fmt.Sprintf(kafkaWindowNodes, cluster.Bootstrap(), from, to),
	}, to, want, func(value []byte) string {
		var r struct {
			Key   string
			Start int64
			N     int
			IDs   []int
		}
		if err := json.Unmarshal(value, &r); err != nil || r.N != len(r.IDs) {
			return fmt.Sprintf("%s (%v)", value, err)
		}
		return text(window{r.Key, r.Start}, r.IDs)
	}}
}

// kafkaCases make a pipeline of each kind.
var kafkaCases = []func(*testing.T) topicCase{kafkaSinkCase, kafkaExprCase, kafkaWindowCase}

const kafkaFilesNodes = `
  in:   {source: a/kafka, config: {bootstrap.servers: "%s", topic: %s, end: latest, group.id: %[2]s, request.timeout.ms: 3000, max.partition.fetch.bytes: 8192}}
  slow: {operator: a/slow, input: in, config: {rate: $RATE}}
  up:   {operator: b/expr, input: slow, config: {value: upper(value)}}
  out:  {sink: file, input: up, config: {path: $DIR/out/, roll: {size: 4KiB}}}
`

// kafkaFilesCase goes from a topic that another pipeline has filled to files.
func kafkaFilesCase(t *testing.T, topic string) pipelineCase {
	t.Helper()
	want := placesOf(t, topic, strings.ToUpper)
	return pipelineCase{
		name: "topic to files", input: short, parallelism: []int{2, 4, 1}, isolation: allIsolations,
		nodes: fmt.Sprintf(kafkaFilesNodes, kafka.Get(t).Bootstrap(), topic),
		sinks: map[string]sinkCase{"out": {func(input) expectation { return want }, byName}},
	}
}
