package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
	"github.com/weirstream/weir/sdk/sdktest"
)

// at is a position, as a checkpoint holds it.
func at(offset int64, leaderEpoch int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"offset": %d, "leader_epoch": %d}`, offset, leaderEpoch))
}

func TestAPositionThatIsGoneIsToldAndHandledAsConfigured(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 1, nil)
	write(t, c, topic, 0, numbers(0, 10)...)
	file := filepath.Join(t.TempDir(), "delete.json")
	if err := os.WriteFile(file, []byte(fmt.Sprintf(`{"version": 1, "partitions": [{"topic": %q, "partition": 0, "offset": 6}]}`, topic)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Tool(t.Context(), "org.apache.kafka.tools.DeleteRecordsCommand", "--offset-json-file", file); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		policy string
		from   int64
		want   []string // values, or an error
		fails  bool
	}{
		"deleted":           {"fail", 2, []string{topic + ":0", "offsets 2 to 5 were deleted", "out_of_range"}, true},
		"deleted, earliest": {"earliest", 2, numbers(6, 4), false},
		"deleted, latest":   {"latest", 2, []string{"new"}, false},
		"behind the end":    {"fail", 100, []string{"ends at offset 1", "reading was at 100", "out_of_range"}, true},
		"behind, latest":    {"latest", 100, []string{"new"}, false},
		"just not deleted":  {"fail", 6, numbers(6, 4), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := sdktest.NewSource(t, Source(), reading(c, map[string]any{"topic": topic, "out_of_range": test.policy}))
			r := s.OpenAt(s.Splits()[0], at(test.from, -1))
			if test.fails {
				err := r.Error()
				for _, w := range test.want {
					if err == nil || !strings.Contains(err.Error(), w) {
						t.Errorf("error %v does not say %q", err, w)
					}
				}
				return
			}
			defer r.Close()
			if test.policy == "latest" {
				// It looks for the end when it finds that its position is gone.
				for {
					raw, _ := r.Position()
					var p position
					if json.Unmarshal(raw, &p) == nil && p.Offset >= 10 && p.Offset < 100 {
						break
					}
					if t.Context().Err() != nil {
						t.Fatal("the position does not move")
					}
				}
				write(t, c, topic, 0, "new")
			}
			same(t, valuesOf(r.Next(len(test.want))), test.want...)
		})
	}
}

func TestATopicThatIsNotThereIsAnError(t *testing.T) {
	c := broker.Get(t)
	config := reading(c, map[string]any{"topic": "no-such-topic", "default.api.timeout.ms": 300})
	faults := sdktest.Probe(t.Context(), t, Source(), config)
	if len(faults) != 1 || faults[0].Field != "topic" || !strings.Contains(faults[0].Message, `topic "no-such-topic" does not exist`) {
		t.Errorf("faults %v", faults)
	}
	if faults := sdktest.Probe(t.Context(), t, Source(), reading(c, map[string]any{"topic_pattern": "no-such-.*"})); len(faults) != 1 || !faults[0].Warning {
		t.Errorf("a pattern without a topic: %v", faults)
	}
	topic := c.Topic(t, 1, nil)
	faults = sdktest.Probe(t.Context(), t, Source(), reading(c, map[string]any{"topic": topic, "end_offsets": map[string]int64{"7": 1}}))
	if len(faults) != 1 || !strings.Contains(faults[0].Message, `no partition "7"`) {
		t.Errorf("faults %v", faults)
	}
}

func TestATopicThatIsDeletedWhileItIsReadIsAnError(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 1, nil)
	write(t, c, topic, 0, "a")
	s := sdktest.NewSource(t, Source(), reading(c, map[string]any{"topic": topic, "default.api.timeout.ms": 1000}))
	r := s.Open(s.Splits()[0])
	r.Next(1)
	client := admin(t, c)
	if _, err := client.DeleteTopics(t.Context(), &kafkago.DeleteTopicsRequest{Topics: []string{topic}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Error(); err == nil || !strings.Contains(err.Error(), topic+":0") || !strings.Contains(err.Error(), "was deleted") {
		t.Errorf("error %v", err)
	}
}

func TestAMissingRightIsToldWithWhoGrantsIt(t *testing.T) {
	c := oldBroker.Get(t)
	topic := c.Topic(t, 1, nil)
	alice := func(fields map[string]any) map[string]any {
		config := reading(c, fields)
		config["bootstrap.servers"] = c.Servers(kafkatest.SASL)
		config["security.protocol"], config["sasl.mechanism"] = "SASL_PLAINTEXT", "SCRAM-SHA-256"
		config["sasl.username"], config["sasl.password"] = kafkatest.Alice, kafkatest.AlicePassword
		return config
	}
	faults := sdktest.Probe(t.Context(), t, Source(), alice(map[string]any{"topic": topic}))
	if len(faults) != 1 || faults[0].Field != "topic" || !strings.Contains(faults[0].Message, topic) || !strings.Contains(faults[0].Message, "kafka-acls") {
		t.Errorf("faults %v", faults)
	}
	// Who may see a topic need not be allowed to read it, nor to read a group.
	allow(t, c, kafkago.ResourceTypeTopic, topic, kafkago.ACLOperationTypeDescribe)
	s := sdktest.NewSource(t, Source(), alice(map[string]any{"topic": topic}))
	err := s.Open(s.Splits()[0]).Error()
	var e *sdktest.Error
	if !errors.As(err, &e) || !e.Fatal || !strings.Contains(err.Error(), topic+":0") || !strings.Contains(err.Error(), "kafka-acls") || strings.Contains(err.Error(), kafkatest.AlicePassword) {
		t.Errorf("read without the right to: %v", err)
	}
	faults = sdktest.Probe(t.Context(), t, Source(), alice(map[string]any{"topic": topic, "group.id": "not-hers"}))
	if len(faults) != 1 || faults[0].Field != "group.id" || !strings.Contains(faults[0].Message, "kafka-acls --add --group") {
		t.Errorf("faults %v", faults)
	}
}

// leaderOf returns the broker that leads a partition, and another that has it.
func leaderOf(t *testing.T, c *kafkatest.Cluster, topic string, partition int) (leader, follower *kafkatest.Broker) {
	t.Helper()
	client := admin(t, c)
	patiently(t, func() error {
		m, err := client.Metadata(t.Context(), &kafkago.MetadataRequest{Topics: []string{topic}})
		if err != nil {
			return err
		}
		p := m.Topics[0].Partitions[partition]
		if p.Leader.ID < 1 {
			return fmt.Errorf("nobody leads %s:%d", topic, partition)
		}
		leader = c.Brokers[p.Leader.ID-1]
		for _, r := range p.Replicas {
			if r.ID != p.Leader.ID {
				follower = c.Brokers[r.ID-1]
			}
		}
		return nil
	})
	return leader, follower
}

// endOffset is the offset behind a partition's last record.
func endOffset(t *testing.T, c *kafkatest.Cluster, topic string, partition int) (end int64) {
	t.Helper()
	client := admin(t, c)
	patiently(t, func() error {
		r, err := client.ListOffsets(t.Context(), &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{topic: {kafkago.LastOffsetOf(partition)}}})
		if err == nil {
			end, err = r.Topics[topic][0].LastOffset, r.Topics[topic][0].Error
		}
		return err
	})
	return end
}

// A leader that is killed, restarted or paused for longer than time-outs: each
// record of each partition comes once, in order.
func TestNothingIsLostWhateverBecomesOfABroker(t *testing.T) {
	c := brokers.Get(t)
	const partitions = 3
	topic := c.Topic(t, partitions, nil)
	s := sdktest.NewSource(t, Source(), reading(c, map[string]any{
		"topic": topic, "request.timeout.ms": 2000, "socket.connection.setup.timeout.ms": 2000,
	}), sdktest.Timeout(4*time.Minute))
	var readers []*sdktest.Reader
	seen := make([]int64, partitions)
	for _, split := range s.Splits() {
		r := s.Open(split)
		defer r.Close()
		readers = append(readers, r)
	}
	round := 0
	follow := func(what string) {
		t.Helper()
		round++
		for p := range partitions {
			write(t, c, topic, p, numbers(1000*round, 100)...)
		}
		for p, r := range readers {
			end := endOffset(t, c, topic, p)
			for _, rec := range r.Next(int(end - seen[p])) {
				if rec.Ordinal != seen[p] {
					t.Fatalf("%s: partition %d: offset %d comes where %d is due", what, p, rec.Ordinal, seen[p])
				}
				seen[p]++
			}
		}
		t.Logf("%s: %v", what, seen)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	follow("at first")

	leader, _ := leaderOf(t, c, topic, 0)
	leader.Kill()
	follow("leader killed")
	if err := leader.Start(ctx); err != nil {
		t.Fatal(err)
	}
	follow("started again")

	leader, _ = leaderOf(t, c, topic, 1)
	leader.Stop()
	follow("leader stopped")
	if err := leader.Start(ctx); err != nil {
		t.Fatal(err)
	}

	leader, _ = leaderOf(t, c, topic, 2)
	if err := leader.Pause(); err != nil {
		t.Fatal(err)
	}
	defer leader.Resume() // also for the tests behind one that fails
	follow("leader paused")
	if err := leader.Resume(); err != nil {
		t.Fatal(err)
	}
	follow("resumed")

	// Amid a batch of a later leader the log does not look cut back.
	s = sdktest.NewSource(t, Source(), reading(c, map[string]any{"topic": topic}), sdktest.BatchSize(1), sdktest.Timeout(2*time.Minute))
	split := s.Splits()[0]
	r := s.Open(split)
	r.Next(101)
	stored, n := r.Position()
	r.Close()
	r = s.OpenAt(split, stored)
	defer r.Close()
	if next := r.Next(1)[0]; next.Ordinal != int64(n) {
		t.Errorf("at %s, offset %d comes next", stored, next.Ordinal)
	}

	// What a foreign client sees is what was read.
	lines, err := c.Console(ctx, kafkatest.Consume{Topic: topic, Max: int(seen[0] + seen[1] + seen[2])})
	if err != nil || len(lines) != int(seen[0]+seen[1]+seen[2]) {
		t.Errorf("a foreign client sees %d records, %v: %v", len(lines), seen, err)
	}
}

// An election of a broker that lacks records is found, although there are records
// at the same offsets again.
func TestALogThatWasCutBackIsFound(t *testing.T) {
	c := brokers.Get(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	const topic = "cut-back"
	if err := kafkatest.CreateTopic(ctx, c.Bootstrap(), topic, 1, 2, map[string]string{"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}); err != nil {
		t.Fatal(err)
	}
	write(t, c, topic, 0, numbers(0, 3)...)
	leader, follower := leaderOf(t, c, topic, 0)
	follower.Kill()
	write(t, c, topic, 0, "only on the leader 3", "only on the leader 4")
	config := map[string]any{"topic": topic, "request.timeout.ms": 2000, "socket.connection.setup.timeout.ms": 2000}
	s := sdktest.NewSource(t, Source(), reading(c, config), sdktest.Timeout(4*time.Minute))
	split := s.Splits()[0]
	r := s.Open(split)
	r.Next(5)
	stored, _ := r.Position()
	leader.Kill()
	defer func() {
		if err := leader.Start(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	if err := follower.Start(ctx); err != nil {
		t.Fatal(err)
	}
	write(t, c, topic, 0, "other 3", "other 4", "other 5")

	for name, r := range map[string]*sdktest.Reader{"running": r, "restarted": s.OpenAt(split, stored)} {
		if err := r.Error(); err == nil || !strings.Contains(err.Error(), "cut back to offset 3") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	config["out_of_range"] = "earliest"
	s = sdktest.NewSource(t, Source(), reading(c, config), sdktest.Timeout(4*time.Minute))
	r = s.OpenAt(split, stored)
	defer r.Close()
	same(t, valuesOf(r.Next(3)), "other 3", "other 4", "other 5")
}
