package kafka

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

func produces(r kafkago.Request) bool { return r.ApiKey() == protocol.Produce }

// onEach runs a test of transactions against brokers of both kinds: those that bump
// the producer's epoch with each transaction (KIP-890) and those before.
func onEach(t *testing.T, test func(t *testing.T, s *kafkatest.Shared)) {
	t.Run("transaction.version=2", func(t *testing.T) { test(t, &broker) })
	t.Run("transaction.version=0", func(t *testing.T) { test(t, &oldBroker) })
}

func TestNothingIsSeenBeforeItsCommit(t *testing.T) {
	onEach(t, func(t *testing.T, b *kafkatest.Shared) {
		c := b.Get(t)
		topic := c.Topic(t, 1, nil)
		s := sdktest.NewSink(t, Sink(), sinkConfig(c, topic, ""))
		var all []string
		for round := range 3 {
			sees(t, b, topic, all...)
			v := fmt.Sprint(round)
			s.Write(sdktest.Values(v)...)
			first, _ := s.Checkpoint()
			s.Write(sdktest.Values(v + "'")...)
			second, _ := s.Checkpoint()
			sees(t, b, topic, all...)
			s.Commit(first)
			all = append(all, v)
			sees(t, b, topic, all...)
			s.Commit(second)
			s.Commit(first) // as after an answer that was lost
			s.Commit(second)
			all = append(all, v+"'")
			sees(t, b, topic, all...)
		}
		if cp, _ := s.Checkpoint(); len(cp.Committables) != 0 {
			t.Errorf("a transaction without records: %s", cp.Committables)
		}
	})
}

// TestARestartCommitsWhatItsCheckpointHoldsAndEndsTheRest.
func TestARestartCommitsWhatItsCheckpointHoldsAndEndsTheRest(t *testing.T) {
	onEach(t, func(t *testing.T, b *kafkatest.Shared) {
		c := b.Get(t)
		topic := c.Topic(t, 1, nil)
		s := sdktest.NewSink(t, Sink(), sinkConfig(c, topic, ""))
		s.Write(sdktest.Values("a")...)
		s.Checkpoint() // aborted: its output is in the next
		s.Write(sdktest.Values("b")...)
		kept, _ := s.Checkpoint()
		s.Write(sdktest.Values("lost")...)
		s.Checkpoint() // never recorded
		s.Write(sdktest.Values("lost too")...)
		s = s.Restart(kept)
		// What was open holds nobody up.
		s.Write(sdktest.Values("c")...)
		end, _ := s.End()
		s.Commit(end)
		sees(t, b, topic, "a", "b", "c")
		// An epoch later it is all the same.
		s.Restart(end)
		sees(t, b, topic, "a", "b", "c")
	})
}

// TestAProcessOfAnOldEpochThatWakesChangesNothing: it sleeps in front of each of its
// requests, and behind it, while a newer epoch commits, sweeps, opens and writes.
func TestAProcessOfAnOldEpochThatWakesChangesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b *kafkatest.Shared) {
		for behind := range 2 {
			for step := 1; ; step++ {
				name := fmt.Sprintf("in front of request %d", step)
				if behind == 1 {
					name = fmt.Sprintf("behind request %d", step)
				}
				last := false
				t.Run(name, func(t *testing.T) { last = wakesLate(t, b, step, behind == 1) })
				if last || t.Failed() {
					break
				}
			}
		}
	})
}

// wakesLate has a task sleep at some request of its second transaction; last says
// that it made no such request.
func wakesLate(t *testing.T, b *kafkatest.Shared, step int, behind bool) (last bool) {
	c := b.Get(t)
	topic := c.Topic(t, 2, nil)
	asleep, wake := make(chan string, 1), make(chan struct{})
	var mu sync.Mutex
	counting, n := false, 0
	s := sdktest.NewSink(t, around(func(epoch uint64, r kafkago.Request, send func() (kafkago.Response, error)) (kafkago.Response, error) {
		mu.Lock()
		here := false
		if counting && epoch == 1 {
			n++
			here = n == step
		}
		mu.Unlock()
		sleep := func() {
			asleep <- r.ApiKey().String()
			<-wake
		}
		if here && !behind {
			sleep()
		}
		answer, err := send()
		if here && behind {
			sleep()
		}
		return answer, err
	}), sinkConfig(c, topic, `, "partition": 0`), sdktest.Timeout(30*time.Second))
	s.Write(sdktest.Values("a")...)
	kept, _ := s.Checkpoint()

	mu.Lock()
	counting = true
	mu.Unlock()
	ended := make(chan error, 1)
	go func() {
		// A transaction that is prepared, and one that is open.
		err := s.Try(sdktest.Values("zombie", "zombie")...)
		if err == nil {
			err = s.Try(sdktest.Values("zombie")...)
		}
		ended <- err
	}()
	select {
	case where := <-asleep:
		t.Logf("asleep at %s", where)
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
		last = true
	}
	next := s.Overtake(kept)
	next.Write(sdktest.Values("b")...)
	cp, _ := next.Checkpoint()
	next.Commit(cp)
	// Its next transaction is open, under the number that the one asleep uses.
	next.Write(sdktest.Values("c")...)
	close(wake)
	if !last {
		t.Logf("it then ended with %v", <-ended)
	}
	cp, _ = next.Checkpoint()
	next.Commit(cp)
	// What it may have begun after the sweep the next start ends, as a longer sleep
	// would have its timeout do.
	next.Restart(cp)
	sees(t, b, topic, "a", "b", "c")
	return last
}

// TestALateCommitOrSweepOfAnOldEpochChangesNothing.
func TestALateCommitOrSweepOfAnOldEpochChangesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b *kafkatest.Shared) {
		c := b.Get(t)
		topic := c.Topic(t, 1, nil)
		of := sdk.Owner{Cluster: "test", Pipeline: "test", UID: topic, Node: "node", Epoch: 1}
		s := sdktest.NewSink(t, Sink(), sinkConfig(c, topic, ""), sdktest.As(of))
		s.Write(sdktest.Values("a")...)
		kept, _ := s.Checkpoint()
		s.Write(sdktest.Values("lost")...)
		never, _ := s.Checkpoint()
		next := s.Overtake(kept)
		next.Write(sdktest.Values("b")...)
		cp, _ := next.Checkpoint()

		// Committers of other processes, which no fence of this one holds back.
		late := newTestCommitter(t, c, of)
		if err := late.Commit(t.Context(), decode(t, kept)); err == nil {
			t.Error("a commit after the sweep is answered as if it had been the one")
		}
		if err := late.Commit(t.Context(), decode(t, never)); err == nil || !strings.Contains(err.Error(), "lost") {
			t.Errorf("a swept transaction is committed: %v", err)
		}
		// The sweep of epoch 2, again; and one of an epoch that has been overtaken.
		for _, epoch := range []uint64{1, 2} {
			of.Epoch = epoch
			sweeper := newTestCommitter(t, c, of)
			if err := sweeper.Sweep(t.Context(), sdk.Sweep{Earlier: []sdk.Generation{
				{Epoch: 1, Parallelism: 1, Pool: 7}, {Epoch: 2, Parallelism: 1, Pool: 7},
			}}); err != nil {
				t.Error(err)
			}
		}
		next.Commit(cp)
		sees(t, b, topic, "a", "b")
	})
}

// newTestCommitter is a committer in a process of its own, as it were.
func newTestCommitter(t *testing.T, c *kafkatest.Cluster, of sdk.Owner) *committer {
	t.Helper()
	cfg := &SinkConfig{}
	cfg.BootstrapServers, cfg.ClientID = c.Bootstrap(), "test"
	cfg.SecurityProtocol, cfg.IdentifyEndpoint = "PLAINTEXT", "https"
	cfg.RequestTimeout, cfg.SetupTimeout, cfg.APITimeout, cfg.MaxIdle = 30_000, 10_000, 60_000, 60_000
	k, err := newCommitter(t.Context(), cfg, &sdk.Node{Owner: of, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func decode(t *testing.T, c *sdktest.Checkpoint) []committable {
	t.Helper()
	out := make([]committable, len(c.Committables))
	for i, raw := range c.Committables {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestATransactionThatExpiredIsALossThatIsTold: with the offsets of each that is lost,
// and of those that nobody commits therefore, and what to do.
func TestATransactionThatExpiredIsALossThatIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, b *kafkatest.Shared) {
		c := b.Get(t)
		topic := c.Topic(t, 1, nil)
		of := sdk.Owner{Cluster: "test", Pipeline: "test", UID: topic, Node: "node", Epoch: 1}
		task := func(i int) *sdktest.Sink {
			return sdktest.NewSink(t, Sink(), sinkConfig(c, topic, `, "transaction.timeout.ms": 1000`), sdktest.As(of), sdktest.Task(i, 2))
		}
		s, other := task(0), task(1)
		s.Write(sdktest.Values("a", "b", "c")...)
		first, _ := s.Checkpoint()
		other.Write(sdktest.Values("d")...)
		beside, _ := other.Checkpoint()
		s.Write(sdktest.Values("e")...)
		cp, _ := s.Checkpoint()
		// The broker looks for such transactions now and then: then it writes markers.
		deadline := time.Now().Add(30 * time.Second)
		for endOf(t, c, topic) < 5+3 {
			if time.Now().After(deadline) {
				t.Fatal("the transactions do not expire")
			}
			time.Sleep(50 * time.Millisecond)
		}
		sees(t, b, topic)
		err := s.CommitError(cp)
		var e *sdktest.Error
		if !errors.As(err, &e) || !e.Fatal {
			t.Fatalf("%v", err)
		}
		err = newTestCommitter(t, c, of).Commit(t.Context(), slices.Concat(decode(t, first), decode(t, beside), decode(t, cp)))
		for _, want := range []string{
			"weir-", "it expired at 20", "of checkpoint 1 are lost", fmt.Sprintf("offsets %[1]s[0] 0 to 2, %[1]s[0] 3 to 3.", topic),
			"In doubt", fmt.Sprintf("offsets %s[0] 4 to 4.", topic), "--from", "transaction.timeout.ms",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
	})
}

// endOf is the offset behind the last record of partition 0, markers included.
func endOf(t *testing.T, c *kafkatest.Cluster, topic string) int64 {
	t.Helper()
	conn, err := kafkago.DialLeader(t.Context(), "tcp", c.Brokers[0].Addr(kafkatest.Plaintext), topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n, err := conn.ReadLastOffset()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestWithoutAFreeIDTheSinkWaitsForCommits, and goes on as soon as one is durable.
func TestWithoutAFreeIDTheSinkWaitsForCommits(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 1, nil)
	s := sdktest.NewSink(t, Sink(), sinkConfig(c, topic, ""))
	var all []string
	var first *sdktest.Checkpoint
	for i := range defaultPool {
		v := fmt.Sprint(i)
		all = append(all, v)
		s.Write(sdktest.Values(v)...)
		cp, _ := s.Checkpoint()
		if i == 0 {
			first = cp
		}
	}
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		s.Write(sdktest.Values("more")...)
	}()
	select {
	case <-wrote:
		t.Fatal("the sink took data without a free transactional id")
	case <-time.After(300 * time.Millisecond):
	}
	s.Commit(first)
	<-wrote
	cp, _ := s.Checkpoint()
	s.Commit(cp)
	sees(t, &broker, topic, append(all, "more")...)
}
