package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

func TestAWrongSinkConfigurationIsTold(t *testing.T) {
	for _, test := range []struct{ config, field, want string }{
		{`{"bootstrap.servers": "a:1"}`, "topic", "required"},
		{`{"bootstrap.servers": "a:1", "topic": ""}`, "topic", "empty"},
		{`{"bootstrap.servers": "a:1", "topic": 7}`, "topic", "is no name"},
		{`{"bootstrap.servers": "a:1", "topic": {"expr": "jsn.x"}}`, "topic.expr", `"jsn"`},
		{`{"bootstrap.servers": "a:1", "topic": "t", "partition": "x"}`, "partition", "no number"},
		{`{"bootstrap.servers": "a:1", "topic": "t", "partition": -1}`, "partition", "no number"},
		{`{"bootstrap.servers": "a:1", "topic": "t", "guarantee": "once"}`, "guarantee", "exactly_once"},
		{`{"bootstrap.servers": "a:1", "topic": "t", "acks": "1"}`, "acks", "acks=all"},
		{`{"bootstrap.servers": "a:1", "topic": "t", "transactional.id": "x"}`, "transactional.id", "of its own"},
		{`{"bootstrap.servers": "a:1", "topic": "t", "compression.type": "brotli"}`, "compression.type", "zstd"},
		{`{"bootstrap.servers": "a:1", "topic": "t", "security.protocol": "SSH"}`, "security.protocol", "SASL_SSL"},
	} {
		faults := sdktest.Check(t, Sink(), test.config).Faults
		if len(faults) != 1 || faults[0].Field != test.field || !strings.Contains(faults[0].Message, test.want) {
			t.Errorf("%s: %v, want one of %s with %q", test.config, faults, test.field, test.want)
		}
	}
	for guarantee, once := range map[string]bool{"exactly_once": true, "at_least_once": false} {
		c := sdktest.Check(t, Sink(), fmt.Sprintf(`{"bootstrap.servers": "a:1", "topic": "t", "guarantee": %q}`, guarantee))
		if c.Capabilities.ExactlyOnce != once {
			t.Errorf("%s: %+v", guarantee, c.Capabilities)
		}
	}
}

// TestTheSinkAsksTheOutside: what validate --connect, and each start, find.
func TestTheSinkAsksTheOutside(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 2, nil)
	for _, test := range []struct {
		config, field, want string
		within              time.Duration
		warning             bool
	}{
		{sinkConfig(c, topic, ""), "", "", time.Minute, false},
		{sinkConfig(c, "missing", ""), "topic", "create: {}", time.Minute, false},
		{sinkConfig(c, "missing", `, "create": {}`), "topic", "is created at the first start", time.Minute, true},
		{sinkConfig(c, "no good", ""), "topic", "not allowed", time.Minute, false},
		{sinkConfig(c, topic, `, "partition": 2`), "partition", "there are 2, from 0", time.Minute, false},
		{sinkConfig(c, topic, `, "transaction.timeout.ms": 900001`), "transaction.timeout.ms", "at most 900000", time.Minute, false},
		{sinkConfig(c, topic, `, "transaction.timeout.ms": 59000`), "transaction.timeout.ms", "its commit may take 1m0s", time.Minute, false},
		{sinkConfig(c, topic, ""), "transaction.timeout.ms", "lives for 15m0s", time.Hour, false},
		{sinkConfig(c, topic, `, "guarantee": "at_least_once"`), "", "", time.Hour, false},
		{`{"bootstrap.servers": "127.0.0.1:1", "topic": "t"}`, "bootstrap.servers", "is the broker up", time.Minute, false},
	} {
		faults := sdktest.Probe(t.Context(), t, Sink(), test.config, sdktest.CommitWithin(test.within))
		if test.want == "" {
			if len(faults) > 0 {
				t.Errorf("%s: %v", test.config, faults)
			}
			continue
		}
		if len(faults) != 1 || faults[0].Field != test.field || !strings.Contains(faults[0].Message, test.want) || faults[0].Warning != test.warning {
			t.Errorf("%s: %v, want one of %s with %q", test.config, faults, test.field, test.want)
		}
	}
}

func TestAMissingTopicIsAnErrorOrMade(t *testing.T) {
	c := broker.Get(t)
	name := c.Topic(t, 1, nil) + "-"
	err := sdktest.OpenError(t, Sink(), sinkConfig(c, name+"1", ""))
	var e *sdktest.Error
	if !errors.As(err, &e) || !e.Fatal || !strings.Contains(err.Error(), "create: {}") {
		t.Errorf("%v", err)
	}
	err = sdktest.OpenError(t, Sink(), sinkConfig(c, name+"2", `, "create": {"replication": 3}`))
	if !errors.As(err, &e) || !e.Fatal || !strings.Contains(err.Error(), "Replication") {
		t.Errorf("%v", err)
	}
	err = sdktest.OpenError(t, Sink(), sinkConfig(c, name+"3", `, "create": {"configs": {"retention.ms": "soon"}}`))
	if !errors.As(err, &e) || !e.Fatal || !strings.Contains(err.Error(), "retention.ms") {
		t.Errorf("%v", err)
	}
	// Two tasks at once, and one of them finds that it is there.
	create := `, "create": {"partitions": 3, "configs": {"cleanup.policy": "compact"}}`
	for range 2 {
		s := sdktest.NewSink(t, Sink(), sinkConfig(c, name+"4", create))
		if failed := s.Write(sdktest.KV("k", "v")); len(failed) > 0 {
			t.Error(failed)
		}
		cp, _ := s.Checkpoint()
		s.Commit(cp)
	}
	for len(broker.Committed(t, name+"4")) < 2 {
	}
}

// TestARecordThatTheBrokerRefusesIsAFailedRecord: the others of its batch go on.
func TestARecordThatTheBrokerRefusesIsAFailedRecord(t *testing.T) {
	c := broker.Get(t)
	for name, test := range map[string]struct {
		topic map[string]string
		bad   sdktest.Record
		want  string
	}{
		"too large":     {map[string]string{"max.message.bytes": "10000"}, sdktest.Record{Key: []byte("k"), Value: make([]byte, 10_000)}, "max.message.bytes"},
		"without a key": {map[string]string{"cleanup.policy": "compact"}, sdktest.Record{Value: []byte("bad")}, "key"},
		"of the future": {map[string]string{"message.timestamp.after.max.ms": "1000"}, sdktest.Record{Key: []byte("k"), Value: []byte("bad"), Time: sdk.TimeOf(time.Now().Add(time.Hour))}, "imestamp"},
	} {
		for _, guarantee := range []sdk.Guarantee{sdk.ExactlyOnce, sdk.AtLeastOnce} {
			t.Run(name+"/"+guarantee.String(), func(t *testing.T) {
				topic := c.Topic(t, 1, test.topic)
				s := sdktest.NewSink(t, Sink(), sinkConfig(c, topic, fmt.Sprintf(`, "partition": 0, "guarantee": %q`, guarantee)), sdktest.Guarantee(guarantee))
				var records []sdktest.Record
				var want []string
				for i := range 20 {
					r := sdktest.KV(fmt.Sprint(i), fmt.Sprintf("%d%s", i, strings.Repeat(".", 900)))
					want = append(want, string(r.Value))
					if records = append(records, r); i%7 == 3 {
						records = append(records, test.bad)
					}
				}
				failed := s.Write(records...)
				cp, late := s.Checkpoint()
				failed = append(failed, late...)
				if len(failed) != 3 {
					t.Fatalf("%d failed", len(failed))
				}
				for _, f := range failed {
					if !bytes.Equal(f.Value, test.bad.Value) || !strings.Contains(f.Err, test.want) || !strings.Contains(f.Err, topic) {
						t.Errorf("%.20q: %s", f.Value, f.Err)
					}
				}
				s.Commit(cp)
				sees(t, &broker, topic, want...)
			})
		}
	}
}

// TestATopicThatIsDeletedUnderTheSinkIsAClearError, within a bounded time.
func TestATopicThatIsDeletedUnderTheSinkIsAClearError(t *testing.T) {
	c := broker.Get(t)
	for _, guarantee := range []sdk.Guarantee{sdk.ExactlyOnce, sdk.AtLeastOnce} {
		topic := c.Topic(t, 1, nil)
		s := sdktest.NewSink(t, Sink(), sinkConfig(c, topic, fmt.Sprintf(`, "guarantee": %q, "default.api.timeout.ms": 3000`, guarantee)), sdktest.Timeout(time.Minute), sdktest.Guarantee(guarantee))
		s.Write(sdktest.Values("a")...)
		cp, _ := s.Checkpoint()
		s.Commit(cp)
		if r, err := admin(t, c).DeleteTopics(t.Context(), &kafkago.DeleteTopicsRequest{Topics: []string{topic}}); err != nil || r.Errors[topic] != nil {
			t.Fatal(err, r)
		}
		err := s.WriteError(sdktest.Values("b")...)
		var e *sdktest.Error
		if !errors.As(err, &e) || !e.Fatal || !strings.Contains(err.Error(), topic) || !strings.Contains(err.Error(), "deleted") {
			t.Errorf("%v: %v", guarantee, err)
		}
	}
}

func TestATransactionTimeoutAboveTheBrokersIsRefused(t *testing.T) {
	c := broker.Get(t)
	s := sdktest.NewSink(t, Sink(), sinkConfig(c, c.Topic(t, 1, nil), `, "transaction.timeout.ms": 900001`))
	err := s.WriteError(sdktest.Values("a")...)
	var e *sdktest.Error
	if !errors.As(err, &e) || !e.Fatal || !strings.Contains(err.Error(), "transaction.max.timeout.ms") {
		t.Errorf("%v", err)
	}
}

// TestRightsThatAreMissingAreNamed: over TLS, with a password.
func TestRightsThatAreMissingAreNamed(t *testing.T) {
	c := oldBroker.Get(t)
	topic := c.Topic(t, 1, nil)
	config := fmt.Sprintf(`{"bootstrap.servers": %q, "topic": %q, "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-256",
		"sasl.username": "alice", "sasl.password": "alice-password", "ssl.truststore.location": %q}`, c.Servers(kafkatest.SASLTLS), topic, c.Secrets.CA)
	probe := func() []sdk.FieldError { return sdktest.Probe(t.Context(), t, Sink(), config) }
	fatal := func(err error, want string) {
		t.Helper()
		var e *sdktest.Error
		if !errors.As(err, &e) || !e.Fatal || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "alice-password") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	fatal(sdktest.OpenError(t, Sink(), config), "kafka-acls")
	if f := probe(); len(f) == 0 || f[0].Field != "topic" || !strings.Contains(f[0].Message, "kafka-acls") {
		t.Errorf("%v", f)
	}
	allow(t, c, kafkago.ResourceTypeTopic, topic, kafkago.ACLOperationTypeDescribe)
	if f := probe(); len(f) == 0 || f[0].Field != "topic" || !strings.Contains(f[0].Message, "may not write") {
		t.Errorf("%v", f)
	}
	s := sdktest.NewSink(t, Sink(), config)
	fatal(s.WriteError(sdktest.Values("a")...), "weir-")
	allow(t, c, kafkago.ResourceTypeTransactionalID, "weir-", kafkago.ACLOperationTypeWrite)
	allow(t, c, kafkago.ResourceTypeTransactionalID, "weir-", kafkago.ACLOperationTypeDescribe)
	s = s.Restart(nil)
	fatal(s.WriteError(sdktest.Values("a")...), topic)
	allow(t, c, kafkago.ResourceTypeTopic, topic, kafkago.ACLOperationTypeWrite)
	// Without the right to ask for the broker's limit that is a warning.
	if f := probe(); len(f) != 1 || !f[0].Warning || f[0].Field != "transaction.timeout.ms" {
		t.Errorf("%v", f)
	}
	s = s.Restart(nil)
	s.Write(sdktest.Values("a")...)
	cp, _ := s.Checkpoint()
	s.Commit(cp)
	sees(t, &oldBroker, topic, "a")
}

func allow(t *testing.T, c *kafkatest.Cluster, kind kafkago.ResourceType, name string, op kafkago.ACLOperationType) {
	t.Helper()
	pattern := kafkago.PatternTypeLiteral
	if strings.HasSuffix(name, "-") {
		pattern = kafkago.PatternTypePrefixed
	}
	r, err := admin(t, c).CreateACLs(t.Context(), &kafkago.CreateACLsRequest{ACLs: []kafkago.ACLEntry{{
		Principal: "User:alice", PermissionType: kafkago.ACLPermissionTypeAllow, Operation: op,
		ResourceType: kind, ResourcePatternType: pattern, ResourceName: name, Host: "*",
	}}})
	if err != nil || r.Errors[0] != nil {
		t.Fatal(err, r)
	}
	time.Sleep(200 * time.Millisecond) // the broker learns of it from the log
}

// TestRandomFaultsOfTheNetwork: requests are lost on their way, answers on theirs,
// and some take long; each record comes once all the same, in order.
func TestRandomFaultsOfTheNetwork(t *testing.T) {
	onEach(t, func(t *testing.T, b *kafkatest.Shared) {
		rng, c := seeded(t), b.Get(t)
		topic := c.Topic(t, 1, nil)
		chance := make(chan int) // one generator for all goroutines
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for {
				select {
				case chance <- rng.IntN(100):
				case <-ctx.Done():
					return
				}
			}
		}()
		s := sdktest.NewSink(t, around(func(_ uint64, r kafkago.Request, send func() (kafkago.Response, error)) (kafkago.Response, error) {
			if r.ApiKey() == protocol.Metadata {
				return send()
			}
			switch n := <-chance; {
			case n < 10:
				return nil, context.DeadlineExceeded
			case n < 20:
				time.Sleep(time.Duration(n) * time.Millisecond)
			case n < 30:
				_, _ = send()
				return nil, context.DeadlineExceeded
			case n < 35:
				done := make(chan struct{})
				go func() { defer close(done); _, _ = send() }() // overtaken by the next try
				t.Cleanup(func() { <-done })
				return nil, context.DeadlineExceeded
			}
			return send()
		}), sinkConfig(c, topic, `, "partition": 0`), sdktest.Timeout(time.Minute))
		var want []string
		var pending *sdktest.Checkpoint
		for i := range 60 {
			v := fmt.Sprint(i)
			want = append(want, v)
			s.Write(sdktest.Values(v)...)
			if <-chance < 40 {
				pending, _ = s.Checkpoint()
			}
			if pending != nil && <-chance < 60 {
				s.Commit(pending)
			}
		}
		pending, _ = s.Checkpoint()
		s.Commit(pending)
		sees(t, b, topic, want...)
	})
}

// seeded returns a generator whose seed is logged; WEIR_SEED replays it.
func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("WEIR_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
