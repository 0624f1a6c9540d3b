package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
)

const (
	// Each tick so many records are written, to one partition: 10,000 a second.
	latencyTogether = 20
	latencyTick     = 2 * time.Millisecond
	// latencyWarm is how long the pipeline has to be there: earlier records do not
	// count.
	latencyWarm = 2 * time.Second
	// latencyPatience is how long the last records may take.
	latencyPatience = 30 * time.Second
)

const kafkaLatencyYAML = `
name: kafka-latency
checkpoint: {interval: 1s}
plugins: {benchfile: {path: %[4]s}}
nodes:
  in:  {source: benchfile/kafka, config: {bootstrap.servers: "%[1]s", topic: %[2]s, end_offsets: {"0": %[5]d, "1": %[5]d, "2": %[5]d, "3": %[5]d}}}
  up:  {operator: benchfile/upper, input: in}
  out: {sink: benchfile/kafka, input: up, config: {bootstrap.servers: "%[1]s", topic: %[3]s, guarantee: at_least_once}}
`

// kafkaLatency measures the time from the moment at which a foreign producer has a
// record to the one at which a foreign consumer has it back, through topic, operator
// and topic: so what both clients and the broker take is in it.
func kafkaLatency(ctx context.Context, l *lab, name string, records uint64, runs int) (Result, error) {
	if _, err := l.kafka(ctx); err != nil {
		return Result{}, err
	}
	each := max(int(records)/kafkaPartitions/latencyTogether, 1) * latencyTogether
	records = uint64(each) * kafkaPartitions
	defer func() { l.beside = nil }()
	var all []Result
	for range runs {
		e := echo{from: fmt.Sprintf("%s-%d-in", name, l.runs), to: fmt.Sprintf("%s-%d-out", name, l.runs), each: each, back: make([]bool, records), left: int(records)}
		r, err := e.measure(ctx, l, name, records)
		if err != nil {
			return Result{}, err
		}
		all = append(all, r)
	}
	return median(all), nil
}

// echo writes records to one topic and reads them in another, each partition's by a
// goroutine.
type echo struct {
	from, to string
	each     int // records of a partition
	client   *kafkago.Client

	mu   sync.Mutex
	back []bool // by number
	left int
	took []float64 // microseconds
}

func (e *echo) measure(ctx context.Context, l *lab, name string, records uint64) (Result, error) {
	for _, topic := range []string{e.from, e.to} {
		drop, err := l.topic(ctx, topic)
		if err != nil {
			return Result{}, err
		}
		defer drop()
	}
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	e.client = &kafkago.Client{Addr: kafkago.TCP(l.broker.Bootstrap()), Transport: transport}
	var failed error
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l.beside = func(ended context.Context, _ string) {
		if failed = e.run(ended); failed != nil {
			stop() // the pipeline would wait for the rest
		}
	}
	r, err := l.besideBroker(ctx, name, fmt.Sprintf(kafkaLatencyYAML, l.broker.Bootstrap(), e.from, e.to, l.pluginWithFile, e.each), records)
	switch {
	case err != nil || failed != nil:
		return Result{}, cmp.Or(failed, err)
	case len(e.took) == 0:
		return Result{}, fmt.Errorf("%d records are over within %v, which do not count", records, latencyWarm)
	}
	slices.Sort(e.took)
	r.P50us, r.P99us = e.took[len(e.took)/2], e.took[len(e.took)*99/100]
	return r, nil
}

// run ends when all records have come back, or some time after ctx, which is done
// when the pipeline has ended.
func (e *echo) run(ctx context.Context) error {
	patient, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(latencyPatience, func() { giveUp(fmt.Errorf("records are missing %v after the pipeline's end", latencyPatience)) })
	})()
	all, over := context.WithCancelCause(patient)
	defer over(nil)
	began := time.Now()
	group, within := errgroup.WithContext(all)
	for p := range kafkaPartitions {
		group.Go(func() error { return e.write(within, began, p) })
		group.Go(func() error { return e.read(within, began, p, func() { over(errAll) }) })
	}
	if err := group.Wait(); err != nil && !errors.Is(context.Cause(all), errAll) {
		return errors.Join(err, context.Cause(patient))
	}
	return nil
}

// errAll says that every record has come back.
var errAll = errors.New("all")

// write writes a partition's records at an even rate, the partitions in turn. A
// record is its number and when it was due, so that one that is written late counts
// as one that took long.
func (e *echo) write(ctx context.Context, began time.Time, partition int) error {
	for n := 0; n < e.each; n += latencyTogether {
		due := began.Add(time.Duration(n/latencyTogether*kafkaPartitions+partition) * latencyTick)
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return ctx.Err()
		}
		var records []kafkago.Record
		for i := range latencyTogether {
			value := fmt.Appendf(nil, "%d %d ", partition*e.each+n+i, due.Sub(began).Nanoseconds())
			value = append(value, bytes.Repeat([]byte("-"), lineBytes-len(value))...)
			records = append(records, kafkago.Record{Value: kafkago.NewBytes(value)})
		}
		for {
			r, err := e.client.Produce(ctx, &kafkago.ProduceRequest{
				Topic: e.from, Partition: partition, RequiredAcks: kafkago.RequireAll, Records: kafkago.NewRecordReader(records...),
			})
			if err == nil {
				err = r.Error
			}
			if err == nil {
				break
			}
			if !fresh(err) {
				return fmt.Errorf("write to %s: %w", e.from, err)
			}
		}
	}
	return nil
}

// read reads a partition until all records have come, of whichever partition; who
// reads the last calls over.
func (e *echo) read(ctx context.Context, began time.Time, partition int, over func()) error {
	for next := int64(0); ; {
		r, err := e.client.Fetch(ctx, &kafkago.FetchRequest{
			Topic: e.to, Partition: partition, Offset: next, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 500 * time.Millisecond,
		})
		if err == nil {
			err = r.Error
		}
		now := time.Since(began)
		for err == nil {
			var record *kafkago.Record
			if record, err = r.Records.ReadRecord(); err != nil || record.Offset < next {
				continue // one before it may be in its batch
			}
			next = record.Offset + 1
			var value []byte
			if value, err = kafkago.ReadAll(record.Value); err == nil {
				err = e.came(value, now)
			}
		}
		if !errors.Is(err, io.EOF) && !fresh(err) {
			return fmt.Errorf("read %s: %w", e.to, err)
		}
		if e.complete() {
			over()
			return nil
		}
	}
}

// fresh says that a topic has just been made and not every broker's part knows it.
func fresh(err error) bool {
	return errors.Is(err, kafkago.NotLeaderForPartition) || errors.Is(err, kafkago.UnknownTopicOrPartition)
}

// came takes a record that has come back.
func (e *echo) came(value []byte, now time.Duration) error {
	var number int
	var due time.Duration
	if _, err := fmt.Sscan(string(value), &number, &due); err != nil || number < 0 || number >= len(e.back) {
		return fmt.Errorf("a record %q: %w", value, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.back[number] {
		return fmt.Errorf("record %d comes twice", number)
	}
	e.back[number] = true
	e.left--
	if due >= latencyWarm {
		e.took = append(e.took, float64((now-due).Nanoseconds())/1e3)
	}
	return nil
}

func (e *echo) complete() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.left == 0
}
