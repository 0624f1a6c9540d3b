package kafka

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// sinkConfig is the sink's configuration against a cluster, with more fields.
func sinkConfig(c *kafkatest.Cluster, topic, more string) string {
	return fmt.Sprintf(`{"bootstrap.servers": %q, "topic": %q%s}`, c.Bootstrap(), topic, more)
}

// around is the sink with a hook around each request of a task of some epoch.
func around(hook func(epoch uint64, request kafkago.Request, send func() (kafkago.Response, error)) (kafkago.Response, error)) sdk.Component {
	return sdk.NewTwoPhaseSink("kafka", "Tests.",
		func(ctx context.Context, cfg *SinkConfig, t *sdk.Task) (*writer, error) {
			c, err := client.New(&cfg.Config, client.NoTopics...)
			if err != nil {
				return nil, err
			}
			c.Around = func(r kafkago.Request, send func() (kafkago.Response, error)) (kafkago.Response, error) {
				return hook(t.Epoch, r, send)
			}
			return newWriter(ctx, cfg, t, c)
		}, newCommitter)
}

// values are the values of messages as text.
func values(all []kafkatest.Message) []string {
	out := []string{}
	for _, m := range all {
		if m.Value == nil {
			out = append(out, "<null>")
		} else {
			out = append(out, string(m.Value))
		}
	}
	return out
}

// sees waits until a foreign consumer of committed records sees just these values in
// partition 0: a commit is answered before its markers are written.
func sees(t *testing.T, s *kafkatest.Shared, topic string, want ...string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		got := values(s.Committed(t, topic))
		if slices.Equal(got, want) {
			return
		}
		if len(got) > len(want) || time.Now().After(deadline) {
			t.Fatalf("consumers see %q, want %q", got, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestRecordsArriveWhole: as Kafka's own consumer reads them.
func TestRecordsArriveWhole(t *testing.T) {
	c := broker.Get(t)
	at := time.UnixMilli(1700000000123)
	large := bytes.Repeat([]byte("large "), 100_000)
	for _, guarantee := range []sdk.Guarantee{sdk.ExactlyOnce, sdk.AtLeastOnce} {
		for _, compression := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
			t.Run(guarantee.String()+"/"+compression, func(t *testing.T) {
				topic := c.Topic(t, 1, nil)
				s := sdktest.NewSink(t, Sink(), sinkConfig(c, topic, fmt.Sprintf(`, "guarantee": %q, "compression.type": %q`, guarantee, compression)),
					sdktest.Guarantee(guarantee))
				before := time.Now().Truncate(time.Millisecond)
				failed := s.Write(
					sdktest.Record{Key: []byte("a"), Value: large, Time: sdk.TimeOf(at), Headers: []sdktest.Header{
						{Name: "h", Value: []byte("1")}, {Name: "h"}, {Name: "", Value: []byte{}}}},
					sdktest.Record{Key: []byte("b"), Time: sdk.TimeOf(at.Add(-time.Hour))},
					sdktest.Record{Value: []byte{}},
				)
				cp, more := s.Checkpoint()
				if len(failed)+len(more) > 0 {
					t.Fatal(failed, more)
				}
				s.Commit(cp)
				if (len(cp.Committables) == 1) != (guarantee == sdk.ExactlyOnce) {
					t.Errorf("%d committables", len(cp.Committables))
				}
				sees(t, &broker, topic, string(large), "<null>", "")
				got := broker.Committed(t, topic)
				if string(got[0].Key) != "a" || string(got[1].Key) != "b" || got[2].Key != nil {
					t.Errorf("keys %q, %q, %q", got[0].Key, got[1].Key, got[2].Key)
				}
				if !got[0].Time.Equal(at) || !got[1].Time.Equal(at.Add(-time.Hour)) || got[2].Time.Before(before) {
					t.Errorf("times %v, %v, %v", got[0].Time, got[1].Time, got[2].Time)
				}
				h := got[0].Headers
				if len(h) != 3 || h[0].Name != "h" || string(h[0].Value) != "1" || h[1].Value != nil || h[2].Name != "" || h[2].Value == nil {
					t.Errorf("headers %q", h)
				}
			})
		}
	}
}

// TestKeysGoWhereTheJavaClientPutsThem, and records without a key are spread.
func TestKeysGoWhereTheJavaClientPutsThem(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 5, nil)
	s := sdktest.NewSink(t, Sink(), sinkConfig(c, topic, `, "batch.size": 500`))
	var records []sdktest.Record
	for i := range 500 {
		r := sdktest.Record{Value: fmt.Appendf(nil, "%04d", i)}
		if i%2 == 0 {
			r.Key = fmt.Appendf(nil, "key-%d", i%40)
		}
		records = append(records, r)
	}
	for part := range slices.Chunk(records, 50) {
		s.Write(part...)
	}
	cp, _ := s.Checkpoint()
	s.Commit(cp)
	var got []kafkatest.Message
	for len(got) < len(records) {
		got = broker.Committed(t, topic)
	}
	spread := map[int]int{}
	last := map[string]string{}
	for _, m := range got {
		if m.Key == nil {
			spread[m.Partition]++
			continue
		}
		// The values come from the Java client's hash: see TestMurmur2.
		if want := partitionOf(m.Key, 5); m.Partition != want {
			t.Errorf("key %s is in partition %d, want %d", m.Key, m.Partition, want)
		}
		if last[string(m.Key)] >= string(m.Value) {
			t.Errorf("key %s: %s follows %s", m.Key, m.Value, last[string(m.Key)])
		}
		last[string(m.Key)] = string(m.Value)
	}
	if len(spread) != 5 {
		t.Errorf("records without a key are in %v", spread)
	}
}

func TestTopicAndPartitionByExpression(t *testing.T) {
	c := broker.Get(t)
	base := c.Topic(t, 1, nil)
	more := fmt.Sprintf(`{"bootstrap.servers": %q, "topic": {"expr": "%s + json.to"}, "partition": {"expr": "json.p"}, "create": {"partitions": 3, "configs": {"retention.ms": "12345"}}}`,
		c.Bootstrap(), `\"`+base+`-\"`)
	s := sdktest.NewSink(t, Sink(), more)
	s.Write(sdktest.Values(`{"to":"a","p":2}`, `{"to":"b","p":0}`, `{"to":"a","p":0}`)...)
	failed := s.Write(sdktest.Values(`{"to":"a","p":3}`, `{"to":7}`, `nonsense`, `{"to":"no good topic","p":0}`, `{"to":"a","p":-1}`, `{"to":"a","p":1}`)...)
	cp, late := s.Checkpoint()
	s.Commit(cp)
	for i, want := range []string{"there is no partition 3: there are 3", "topic: ", "not valid JSON", "", "no number of a partition"} {
		if len(failed)+len(late) != 5 {
			t.Fatalf("%v %v", failed, late)
		}
		if !strings.Contains(failed[i].Err, want) {
			t.Errorf("failure %d is %q, want %q", i, failed[i].Err, want)
		}
	}
	sees(t, &broker, base+"-b", `{"to":"b","p":0}`)
	for len(broker.Committed(t, base+"-a")) < 3 {
	}
	for _, m := range broker.Committed(t, base+"-a") {
		if want := fmt.Sprintf(`{"to":"a","p":%d}`, m.Partition); string(m.Value) != want {
			t.Errorf("%s is in partition %d", m.Value, m.Partition)
		}
	}
}

// TestBatchesGrowWhileOneIsOnItsWay: and order is kept.
func TestBatchesGrowWhileOneIsOnItsWay(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 1, nil)
	hold := make(chan struct{})
	var sent []int
	s := sdktest.NewSink(t, around(func(_ uint64, r kafkago.Request, send func() (kafkago.Response, error)) (kafkago.Response, error) {
		if produces(r) {
			sent = append(sent, 1)
			<-hold
		}
		return send()
	}), sinkConfig(c, topic, ""))
	var want []string
	for i := range 200 {
		v := fmt.Sprint(i)
		want = append(want, v)
		s.Write(sdktest.Values(v)...)
	}
	close(hold)
	cp, _ := s.Checkpoint()
	s.Commit(cp)
	sees(t, &broker, topic, want...)
	if len(sent) > 3 {
		t.Errorf("%d requests", len(sent))
	}
}

// TestALostAnswerDoublesNothing: the request is repeated, and the broker knows it.
func TestALostAnswerDoublesNothing(t *testing.T) {
	c := broker.Get(t)
	for _, guarantee := range []sdk.Guarantee{sdk.ExactlyOnce, sdk.AtLeastOnce} {
		topic := c.Topic(t, 1, nil)
		lost := 0
		s := sdktest.NewSink(t, around(func(_ uint64, r kafkago.Request, send func() (kafkago.Response, error)) (kafkago.Response, error) {
			answer, err := send()
			if produces(r) {
				if lost++; lost%3 != 0 {
					return nil, context.DeadlineExceeded
				}
			}
			return answer, err
		}), sinkConfig(c, topic, fmt.Sprintf(`, "guarantee": %q`, guarantee)), sdktest.Guarantee(guarantee))
		var want []string
		for i := range 5 {
			v := fmt.Sprint(i)
			want = append(want, v)
			s.Write(sdktest.Values(v)...)
			cp, _ := s.Checkpoint()
			s.Commit(cp)
		}
		sees(t, &broker, topic, want...)
		if lost < 10 {
			t.Errorf("%d answers", lost)
		}
	}
}
