//go:build linux

package faulttest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/local"
)

// lateHead lets a pipeline take no more time for its commits than a transaction of
// lateTimeout lives: five seconds and 40 ms for a checkpoint, a minute for a restart.
const lateHead = `
name: p
parallelism: 2
checkpoint: {interval: 40ms, timeout: 5s, tolerated_failures: 0, retain: 2}
restart: {attempts: 1000, window: 1h, backoff: 5ms..20ms}
batch: {size: 4KiB, linger: 2ms}
plugins: {a: {command: [$PLUGIN, __plugin]}, b: {command: [$PLUGIN, __plugin]}}
nodes:
  in:   {source: a/file, config: {path: $DIR/in, split_size: 15000}}
  slow: {operator: a/slow, input: in, config: {rate: %.0f}}
  out:  {sink: b/kafka, input: slow, config: {bootstrap.servers: "%s", topic: %s, transaction.timeout.ms: %d}}
`

const (
	lateTimeout = 66 * time.Second
	// lateStart is how long a host may take from its start to its commits, where
	// many share a processor.
	lateStart = 12 * time.Second
)

// lateCase is a pipeline whose host was killed when the record was durable that names
// its transactions.
type lateCase struct {
	topicCase
	lab *lab
	// waiting are the transactions that the record names, with offsets of which
	// partitions, as messages name them.
	waiting map[string][]string
	expires time.Time // the first of them
}

func (c *lateCase) set(rate float64) {
	c.lab.pipeline(fmt.Sprintf(lateHead, rate, kafka.Get(c.lab.t).Bootstrap(), c.topic, lateTimeout.Milliseconds()))
}

func newLateCase(t *testing.T) *lateCase {
	t.Helper()
	c := &lateCase{topicCase: kafkaSinkCase(t)}
	c.lab = c.open(t)
	c.set(200)
	if r := c.lab.run(fault{Step: engine.StepRecorded, Nth: 3, Do: killHost}); !r.killed {
		t.Fatalf("the host was not killed: %s", r.Error)
	}
	ctx := context.Background()
	st, err := local.OpenStorage(ctx, c.lab.path("state"), c.lab.name, "")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	h := c.lab.history()
	m, err := checkpoint.ReadManifest(ctx, st, h.Records[0])
	if err != nil {
		t.Fatal(err)
	}
	c.waiting = map[string][]string{}
	for _, e := range m.Committables(h.Committed)["out"] {
		var named struct {
			Transaction string    `json:"transactional_id"`
			Expires     time.Time `json:"expires"`
			Written     []struct {
				Topic       string
				Partition   int
				First, Last int64
			}
		}
		if err := json.Unmarshal(e.GetPayload(), &named); err != nil {
			t.Fatal(err)
		}
		for _, w := range named.Written {
			c.waiting[named.Transaction] = append(c.waiting[named.Transaction], fmt.Sprintf("%s[%d] %d to %d", w.Topic, w.Partition, w.First, w.Last))
		}
		if c.expires.IsZero() || named.Expires.Before(c.expires) {
			c.expires = named.Expires
		}
	}
	if len(c.waiting) == 0 {
		t.Fatal("no transaction waits for its commit")
	}
	return c
}

// TestATransactionThatOutlivesItsHostForNearlyItsTimeoutIsCommitted, and one that
// outlives it for longer is a loss that the pipeline tells with its offsets, and with
// what to do; it does not go on as if nothing had been lost.
func TestATransactionThatOutlivesItsHostForNearlyItsTimeoutIsCommitted(t *testing.T) {
	t.Parallel()
	inTime, late := newLateCase(t), newLateCase(t)

	time.Sleep(time.Until(inTime.expires.Add(-lateStart)))
	left := time.Until(inTime.expires)
	inTime.set(1e6)
	inTime.lab.finish()
	t.Logf("%d transactions, %v before the first would have expired", len(inTime.waiting), left)
	inTime.check(t)

	// The broker has given up all of them when nothing of the topic is open.
	time.Sleep(time.Until(late.expires))
	eventually(t, "the transactions expire", func() bool {
		all := late.ends(t, kafkago.ReadUncommitted)
		return len(all) == kafkaPartitions && maps.Equal(all, late.ends(t, kafkago.ReadCommitted))
	})
	began := time.Now()
	r := late.lab.run()
	if r.Finished || r.killed || r.Refused {
		t.Fatalf("the pipeline went on: %+v", r.report)
	}
	t.Logf("after %v: %s", time.Since(began), r.Error)
	contains(t, r.Error, "it expired at ", "--from", "--fresh", "transaction.timeout.ms")
	for id, written := range late.waiting {
		for _, offsets := range written {
			if !strings.Contains(r.Error, offsets) {
				t.Errorf("the error does not name the offsets %s of %s", offsets, id)
			}
		}
	}
	if seen := kafka.Committed(t, late.topic); len(seen) >= len(late.want) {
		t.Errorf("consumers see %d records", len(seen))
	}
}
