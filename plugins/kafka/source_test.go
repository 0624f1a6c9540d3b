package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
	"github.com/weirstream/weir/plugins/kafka/internal/recordbatch"
	"github.com/weirstream/weir/sdk/sdktest"
)

// reading is a source's configuration: of these fields beside the broker.
func reading(c *kafkatest.Cluster, fields map[string]any) map[string]any {
	all := map[string]any{"bootstrap.servers": c.Bootstrap()}
	maps.Copy(all, fields)
	return all
}

// write writes values to one partition, a request each unless together.
func write(t testing.TB, c *kafkatest.Cluster, topic string, partition int, values ...string) {
	t.Helper()
	var messages []kafkago.Message
	for _, v := range values {
		messages = append(messages, kafkago.Message{Value: []byte(v)})
	}
	writeMessages(t, c, topic, partition, 0, messages...)
}

func writeMessages(t testing.TB, c *kafkatest.Cluster, topic string, partition int, compression kafkago.Compression, messages ...kafkago.Message) {
	t.Helper()
	w := &kafkago.Writer{
		Addr: kafkago.TCP(strings.Split(c.Bootstrap(), ",")...), Topic: topic, RequiredAcks: kafkago.RequireAll, BatchTimeout: time.Millisecond, Compression: compression,
		Balancer: kafkago.BalancerFunc(func(kafkago.Message, ...int) int { return partition }), Transport: transport(),
	}
	defer w.Transport.(*kafkago.Transport).CloseIdleConnections()
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// Too few replicas may be in sync for a while; what was written twice then, the
	// log holds twice.
	for {
		err := w.WriteMessages(ctx, messages...)
		if err == nil {
			return
		}
		if sleep(ctx, 200*time.Millisecond) != nil {
			t.Fatal(err)
		}
	}
}

// transaction is one of the producer called id: it writes as the sink does, and
// ends when it is told to.
type transaction struct {
	t        testing.TB
	client   *kafkago.Client
	id       string
	producer *kafkago.ProducerSession
	written  map[string]int32 // sequence by topic and partition
}

func begin(t testing.TB, c *kafkatest.Cluster, id string) *transaction {
	t.Helper()
	x := &transaction{t: t, id: id, written: map[string]int32{}, client: admin(t, c)}
	patiently(t, func() error {
		r, err := x.client.InitProducerID(t.Context(), &kafkago.InitProducerIDRequest{TransactionalID: id, TransactionTimeoutMs: 60000, ProducerID: -1, ProducerEpoch: -1})
		if err == nil {
			err, x.producer = r.Error, r.Producer
		}
		return err
	})
	return x
}

func (x *transaction) write(topic string, partition int, values ...string) {
	x.t.Helper()
	patiently(x.t, func() error {
		r, err := x.client.AddPartitionsToTxn(x.t.Context(), &kafkago.AddPartitionsToTxnRequest{
			TransactionalID: x.id, ProducerID: x.producer.ProducerID, ProducerEpoch: x.producer.ProducerEpoch,
			Topics: map[string][]kafkago.AddPartitionToTxn{topic: {{Partition: partition}}},
		})
		if err == nil {
			err = r.Topics[topic][0].Error
		}
		return err
	})
	e := recordbatch.NewEncoder(0)
	e.Reset(0)
	for _, v := range values {
		e.Append(nil, []byte(v), nil, 1700000000000)
	}
	key := fmt.Sprint(topic, partition)
	set, err := e.Finish(recordbatch.Producer{ID: int64(x.producer.ProducerID), Epoch: int16(x.producer.ProducerEpoch), Sequence: x.written[key], Transactional: true})
	if err != nil {
		x.t.Fatal(err)
	}
	x.written[key] += int32(len(values))
	r, err := x.client.RawProduce(x.t.Context(), &kafkago.RawProduceRequest{
		Topic: topic, Partition: partition, RequiredAcks: kafkago.RequireAll, TransactionalID: x.id,
		RawRecords: protocol.RawRecordSet{Reader: strings.NewReader(string(set))},
	})
	if err == nil {
		err = r.Error
	}
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *transaction) end(commit bool) {
	x.t.Helper()
	patiently(x.t, func() error {
		r, err := x.client.EndTxn(x.t.Context(), &kafkago.EndTxnRequest{TransactionalID: x.id, ProducerID: x.producer.ProducerID, ProducerEpoch: x.producer.ProducerEpoch, Committed: commit})
		if err == nil {
			err = r.Error
		}
		return err
	})
}

// valuesOf returns the values of records.
func valuesOf(records []sdktest.Record) (out []string) {
	for _, r := range records {
		out = append(out, string(r.Value))
	}
	return out
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

// numbers returns n texts, from first on.
func numbers(first, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint(first+i))
	}
	return out
}

func TestKeyValueHeadersTimePartitionAndOffsetReachTheRecord(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 2, nil)
	at := time.UnixMilli(1700000000123)
	messages := []kafkago.Message{
		{Key: []byte("k"), Value: []byte("v"), Time: at, Headers: []kafkago.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "empty", Value: []byte{}}}},
		{Value: []byte("no key"), Time: at},
		{Key: []byte("tombstone"), Time: at.Add(time.Second)},
		{Key: []byte{}, Value: []byte{}, Time: at},
	}
	var want []string
	offset := 0
	for _, compression := range []kafkago.Compression{0, kafkago.Gzip, kafkago.Snappy, kafkago.Lz4, kafkago.Zstd} {
		writeMessages(t, c, topic, 1, compression, messages...)
		for _, line := range []string{
			`{"k": "v" @2023-11-14T22:13:20.123Z a="1" a="2" empty="" %s`,
			`{null: "no key" @2023-11-14T22:13:20.123Z %s`,
			`{"tombstone": null @2023-11-14T22:13:21.123Z %s`,
			`{"": "" @2023-11-14T22:13:20.123Z %s`,
		} {
			want = append(want, fmt.Sprintf(line, fmt.Sprintf("from %s:1#%d}", topic, offset)))
			offset++
		}
	}
	s := sdktest.NewSource(t, Source(), reading(c, map[string]any{"topic": topic, "end": "latest"}))
	var got []string
	for _, r := range s.ReadAll() {
		got = append(got, strings.ReplaceAll(r.String(), `"<null>"`, "null"))
	}
	if !slices.Equal(got, want) {
		t.Errorf("read\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTopicPartitionAndOffsetAreHeadersOnRequest(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 1, nil)
	writeMessages(t, c, topic, 0, 0, kafkago.Message{Value: []byte("a")}, kafkago.Message{Value: []byte("b"), Headers: []kafkago.Header{{Key: "own", Value: []byte("x")}}})
	s := sdktest.NewSource(t, Source(), reading(c, map[string]any{"topic": topic, "end": "latest", "metadata_headers": true}))
	got := s.ReadAll()
	var headers []string
	for _, r := range got {
		for _, h := range r.Headers {
			headers = append(headers, fmt.Sprintf("%s=%s", h.Name, h.Value))
		}
	}
	same(t, headers, "kafka.topic="+topic, "kafka.partition=0", "kafka.offset=0", "own=x", "kafka.topic="+topic, "kafka.partition=0", "kafka.offset=1")
}

// What another client has written and compressed is read.
func TestRecordsOfAForeignClient(t *testing.T) {
	c := broker.Get(t)
	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd"} {
		topic := c.Topic(t, 1, nil)
		want := numbers(0, 2000)
		if err := c.Produce(t.Context(), topic, codec, want); err != nil {
			t.Fatal(err)
		}
		s := sdktest.NewSource(t, Source(), reading(c, map[string]any{"topic": topic, "end": "latest"}))
		if got := valuesOf(s.ReadAll()); !slices.Equal(got, want) {
			t.Errorf("%s: %d records, not the %d that were written", codec, len(got), len(want))
		}
	}
}

func TestAbortedTransactionsAreNotRead(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 1, nil)
	write(t, c, topic, 0, "plain-1")
	a, b := begin(t, c, topic+"-a"), begin(t, c, topic+"-b")
	a.write(topic, 0, "a-1")
	b.write(topic, 0, "b-1")
	write(t, c, topic, 0, "plain-2")
	a.write(topic, 0, "a-2", "a-3")
	a.end(false)
	b.write(topic, 0, "b-2")
	b.end(true)
	a = begin(t, c, topic+"-a")
	a.write(topic, 0, "a-4")
	a.end(true)
	a = begin(t, c, topic+"-a")
	a.write(topic, 0, "a-5")
	a.end(false)
	write(t, c, topic, 0, "plain-3")
	open := begin(t, c, topic+"-open")
	open.write(topic, 0, "open-1")
	write(t, c, topic, 0, "behind an open transaction")

	config := reading(c, map[string]any{"topic": topic, "end": "latest"})
	s := sdktest.NewSource(t, Source(), config, sdktest.BatchSize(1))
	same(t, valuesOf(s.ReadAll()), "plain-1", "b-1", "plain-2", "b-2", "a-4", "plain-3")
	sdktest.NewSource(t, Source(), config, sdktest.BatchSize(1)).CheckResume()

	config["isolation.level"] = "read_uncommitted"
	s = sdktest.NewSource(t, Source(), config)
	same(t, valuesOf(s.ReadAll()), "plain-1", "a-1", "b-1", "plain-2", "a-2", "a-3", "b-2", "a-4", "a-5", "plain-3", "open-1", "behind an open transaction")

	open.end(false)
	s = sdktest.NewSource(t, Source(), reading(c, map[string]any{"topic": topic, "end": "latest"}))
	same(t, valuesOf(s.ReadAll()), "plain-1", "b-1", "plain-2", "b-2", "a-4", "plain-3", "behind an open transaction")
}

// A source that goes on has each record once, whatever the position: amid a batch,
// amid a compressed one, behind a marker.
func TestReadingGoesOnAtEachPosition(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 1, nil)
	for i, compression := range []kafkago.Compression{0, kafkago.Zstd} {
		var messages []kafkago.Message
		for _, v := range numbers(i*5, 5) {
			messages = append(messages, kafkago.Message{Value: []byte(v)})
		}
		writeMessages(t, c, topic, 0, compression, messages...)
		x := begin(t, c, topic)
		x.write(topic, 0, "in a transaction")
		x.end(i == 0)
	}
	sdktest.NewSource(t, Source(), reading(c, map[string]any{"topic": topic, "end": "latest"}), sdktest.BatchSize(1)).CheckResume()
}

func TestWhereReadingBeginsAndEnds(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 2, nil)
	for p := range 2 {
		for i := range 4 {
			writeMessages(t, c, topic, p, 0, kafkago.Message{Value: fmt.Appendf(nil, "%d-%d", p, i), Time: time.UnixMilli(int64(1000 * (i + 1)))})
		}
	}
	group := topic + "-group"
	commit(t, c, group, topic, map[int]int64{1: 3})
	for name, test := range map[string]struct {
		fields map[string]any
		want   []string
	}{
		"all":                        {map[string]any{"end": "latest"}, []string{"0-0", "0-1", "0-2", "0-3", "1-0", "1-1", "1-2", "1-3"}},
		"group":                      {map[string]any{"end": "latest", "group.id": group}, []string{"0-0", "0-1", "0-2", "0-3", "1-3"}},
		"group, else latest":         {map[string]any{"end": "latest", "group.id": group, "auto.offset.reset": "latest"}, []string{"1-3"}},
		"another group, else latest": {map[string]any{"end": "latest", "group.id": group + "x", "auto.offset.reset": "latest"}, nil},
		"group, but earliest":        {map[string]any{"end": "latest", "group.id": group, "start": "earliest"}, []string{"0-0", "0-1", "0-2", "0-3", "1-0", "1-1", "1-2", "1-3"}},
		"latest":                     {map[string]any{"end": "latest", "start": "latest"}, nil},
		"a time":                     {map[string]any{"end": "latest", "start": "1970-01-01T00:00:03Z"}, []string{"0-2", "0-3", "1-2", "1-3"}},
		"between two times":          {map[string]any{"end": "1970-01-01T00:00:04Z", "start": "1970-01-01T00:00:01.5Z"}, []string{"0-1", "0-2", "1-1", "1-2"}},
		"a time behind all":          {map[string]any{"end": "latest", "start": "2100-01-01T00:00:00Z"}, nil},
		"offsets":                    {map[string]any{"end": "latest", "start_offsets": map[string]int64{"0": 3, topic + ":1": 2}}, []string{"0-3", "1-2", "1-3"}},
		"an offset of one":           {map[string]any{"end": "latest", "start_offsets": map[string]int64{"0": 3}}, []string{"0-3", "1-0", "1-1", "1-2", "1-3"}},
		"up to offsets":              {map[string]any{"end_offsets": map[string]int64{"0": 2}}, []string{"0-0", "0-1"}},
		"up to the beginning":        {map[string]any{"end_offsets": map[string]int64{"0": 0, "1": 1}}, []string{"1-0"}},
	} {
		fields := maps.Clone(test.fields)
		fields["topic"] = topic
		s := sdktest.NewSource(t, Source(), reading(c, fields))
		got := valuesOf(s.ReadAll())
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: read %q, want %q", name, got, test.want)
		}
		if s.More() {
			t.Errorf("%s: a bounded source looks for more partitions", name)
		}
	}
}

// commit commits positions to a group, as another consumer does.
func commit(t *testing.T, c *kafkatest.Cluster, group, topic string, offsets map[int]int64) {
	t.Helper()
	client := admin(t, c)
	request := &kafkago.OffsetCommitRequest{GroupID: group, GenerationID: -1, Topics: map[string][]kafkago.OffsetCommit{}}
	for p, o := range offsets {
		request.Topics[topic] = append(request.Topics[topic], kafkago.OffsetCommit{Partition: p, Offset: o})
	}
	patiently(t, func() error {
		r, err := client.OffsetCommit(t.Context(), request)
		if err == nil {
			err = r.Topics[topic][0].Error
		}
		return err
	})
}

// patiently repeats a call: a coordinator takes a moment to be there.
func patiently(t testing.TB, call func() error) {
	t.Helper()
	for giveUp := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := call()
		if err == nil {
			return
		}
		if time.Now().After(giveUp) {
			t.Fatal(err)
		}
	}
}

// admin is a client for what an administrator does, for the time of the test.
func admin(t testing.TB, c *kafkatest.Cluster) *kafkago.Client {
	transport := transport()
	t.Cleanup(transport.CloseIdleConnections)
	return &kafkago.Client{Addr: kafkago.TCP(strings.Split(c.Bootstrap(), ",")...), Transport: transport}
}

// transport returns one that learns soon of other leaders.
func transport() *kafkago.Transport { return &kafkago.Transport{MetadataTTL: time.Second} }

func committedOffset(t *testing.T, c *kafkatest.Cluster, group, topic string, partition int) int64 {
	t.Helper()
	client := admin(t, c)
	var at int64
	patiently(t, func() error {
		r, err := client.OffsetFetch(t.Context(), &kafkago.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {partition}}})
		if err == nil {
			if err = r.Error; err == nil {
				at, err = r.Topics[topic][0].CommittedOffset, r.Topics[topic][0].Error
			}
		}
		return err
	})
	return at
}

func TestThePositionIsCommittedToTheGroupWhenTheCheckpointHasCompleted(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 1, nil)
	group := topic + "-group"
	write(t, c, topic, 0, numbers(0, 5)...)
	committedOffset(t, c, group, topic, 0) // the coordinator is there
	s := sdktest.NewSource(t, Source(), reading(c, map[string]any{"topic": topic, "group.id": group}))
	r := s.Open(s.Splits()[0])
	defer r.Close()
	r.Next(5)
	r.Position()
	if at := committedOffset(t, c, group, topic, 0); at != -1 {
		t.Errorf("the group is at %d before a checkpoint has completed", at)
	}
	if err := r.Complete(); err != nil {
		t.Fatal(err)
	}
	if at := committedOffset(t, c, group, topic, 0); at != 5 {
		t.Errorf("the group is at %d, not at 5", at)
	}
}

func TestNewPartitionsAndTopicsAreReadFromTheirBeginning(t *testing.T) {
	c := broker.Get(t)
	first := c.Topic(t, 1, nil)
	write(t, c, first, 0, "old")
	s := sdktest.NewSource(t, Source(), reading(c, map[string]any{"topic_pattern": first + ".*", "start": "latest"}))
	splits := s.Splits()
	if len(splits) != 1 || !s.More() {
		t.Fatalf("found %v, more %v", splits, s.More())
	}
	if again := s.Splits(); len(again) != 0 {
		t.Fatalf("found again: %v", again)
	}
	second := first + "-second"
	if err := c.CreateTopic(t.Context(), second, 1, nil); err != nil {
		t.Fatal(err)
	}
	write(t, c, second, 0, "in the second topic")
	addPartition(t, c, first, 2)
	write(t, c, first, 1, "in the second partition")
	var got []string
	for _, split := range s.Splits() {
		r := s.Open(split)
		got = append(got, split.ID+" "+string(r.Next(1)[0].Value))
		r.Close()
	}
	same(t, got, first+":1 in the second partition", second+":0 in the second topic")
	if again := s.Splits(); len(again) != 0 {
		t.Fatalf("found again: %v", again)
	}
}

func addPartition(t *testing.T, c *kafkatest.Cluster, topic string, count int32) {
	t.Helper()
	client := admin(t, c)
	r, err := client.CreatePartitions(t.Context(), &kafkago.CreatePartitionsRequest{Topics: []kafkago.TopicPartitionsConfig{{Name: topic, Count: count}}})
	if err != nil || r.Errors[topic] != nil {
		t.Fatal(err, r)
	}
}

func TestAPositionIsJSONThatAPersonCanRead(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 1, nil)
	write(t, c, topic, 0, "a", "b")
	s := sdktest.NewSource(t, Source(), reading(c, map[string]any{"topic": topic}))
	split := s.Splits()[0]
	if want := fmt.Sprintf(`{"topic":%q,"partition":0,"from":0,"to":-1}`, topic); string(split.Data) != want {
		t.Errorf("split %s, want %s", split.Data, want)
	}
	r := s.Open(split)
	r.Next(2)
	if at, n := r.Position(); string(at) != `{"offset":2,"leader_epoch":0}` || n != 2 {
		t.Errorf("position %s behind %d records", at, n)
	}
	r.Close()
	write(t, c, topic, 0, "c")
	r = s.OpenAt(split, json.RawMessage(`{"offset": 1, "leader_epoch": -1}`))
	defer r.Close()
	same(t, valuesOf(r.Next(2)), "b", "c")
}

func TestARecordAboveMaxRecordFailsAlone(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 1, nil)
	write(t, c, topic, 0, "before", strings.Repeat("x", 100_000), "behind")
	s := sdktest.NewSource(t, Source(), reading(c, map[string]any{"topic": topic, "end": "latest"}), sdktest.MaxRecord(50_000))
	r := s.Open(s.Splits()[0])
	same(t, valuesOf(r.Rest()), "before", "behind")
	if failed := r.Failed(); len(failed) != 1 || failed[0].Length != "100000" || failed[0].Ordinal != 1 {
		t.Errorf("failed: %v", failed)
	}
}

// Compaction leaves gaps, and batches without records.
func TestGapsOfCompaction(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 1, map[string]string{"cleanup.policy": "compact", "segment.ms": "50", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "0"})
	config := reading(c, map[string]any{"topic": topic, "end": "latest"})
	for i := 0; ; i++ {
		key := fmt.Appendf(nil, "k%d", i%3)
		writeMessages(t, c, topic, 0, 0, kafkago.Message{Key: key, Value: fmt.Append(nil, i)})
		all := sdktest.NewSource(t, Source(), config).ReadAll()
		if last := all[len(all)-1]; string(last.Value) != fmt.Sprint(i) {
			t.Fatalf("the last record is %v, not %d", last, i)
		}
		if len(all) < i {
			for j := 1; j < len(all); j++ {
				if all[j].Ordinal <= all[j-1].Ordinal || fmt.Sprint(all[j].Ordinal) != string(all[j].Value) {
					t.Errorf("record %d: %v", j, all[j])
				}
			}
			break
		}
		if i == 600 {
			t.Fatal("the log was never compacted")
		}
		time.Sleep(50 * time.Millisecond)
	}
	// It goes on until all but the newest segment has each key once, and then rests.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		all := sdktest.NewSource(t, Source(), config).ReadAll()
		keys := map[string]bool{}
		for _, r := range all[:len(all)-1] {
			keys[string(r.Key)] = true
		}
		if len(keys) == len(all)-1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log was not compacted to its end: %v", all)
		}
	}
	sdktest.NewSource(t, Source(), config, sdktest.BatchSize(1)).CheckResume()
}
