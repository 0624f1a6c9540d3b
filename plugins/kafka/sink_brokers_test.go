package kafka

import (
	"testing"
	"time"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
	"github.com/weirstream/weir/sdk/sdktest"
)

// TestTheSinkGoesOnWhileOneOfThreeBrokersIsSilent: the transaction coordinator, then
// the partition's leader, is paused for longer than time-outs, with one transaction
// prepared and another open. Both are committed while it is silent, and when it wakes
// it changes nothing.
func TestTheSinkGoesOnWhileOneOfThreeBrokersIsSilent(t *testing.T) {
	c := brokers.Get(t)
	topic := c.Topic(t, 1, nil)
	s := sdktest.NewSink(t, Sink(), sinkConfig(c, topic, `, "request.timeout.ms": 2000, "socket.connection.setup.timeout.ms": 2000`), sdktest.Timeout(3*time.Minute))
	s.Write(sdktest.Values("first")...)
	cp, _ := s.Checkpoint()
	s.Commit(cp)
	want := []string{"first"}
	for what, of := range map[string]string{"coordinator": "__transaction_state", "leader": topic} {
		s.Write(sdktest.Values(what+" 1", what+" 2")...)
		prepared, _ := s.Checkpoint()
		s.Write(sdktest.Values(what + " 3")...)

		silent, _ := leaderOf(t, c, of, 0)
		began := time.Now()
		pauseBroker(t, silent)
		s.Write(sdktest.Values(what+" 4", what+" 5")...)
		s.Commit(prepared)
		open, _ := s.Checkpoint()
		s.Commit(open)
		t.Logf("%s: broker %d was silent, %v", what, silent.ID, time.Since(began))
		if err := silent.Resume(); err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{"1", "2", "3", "4", "5"} {
			want = append(want, what+" "+n)
		}
		sees(t, &brokers, topic, want...)
	}
	s.Write(sdktest.Values("last")...)
	cp, _ = s.End()
	s.Commit(cp)
	sees(t, &brokers, topic, append(want, "last")...)
}

// pauseBroker pauses a broker until the end of the test at the latest.
func pauseBroker(t *testing.T, b *kafkatest.Broker) {
	t.Helper()
	if err := b.Pause(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Resume() })
}
