package engine_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/coordtest"
	"github.com/weirstream/weir/host/engine"
)

// The tests of this file are about a coordination service that does not do what it
// is asked, or does not say so.

// TestLostRequestsAndRepliesChangeNothing: one in five of the writes is lost, or its
// answer is, or is refused.
func TestLostRequestsAndRepliesChangeNothing(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t)
			w.edit = func(c *engine.Config) { c.Store = coordtest.NewFaulty(c.Store, coordtest.Randomly(seed, 0.2)) }
			var want []string
			for i := range 6 {
				// A start may meet more faults than the restart policy allows.
				v := fmt.Sprint(i)
				want = append(want, v)
				w.feed("in", 0, v)
				r := w.start(strings.Replace(line, "attempts: 3", "attempts: 100", 1))
				w.awaitOut("out", i+1)
				if i < 5 {
					r.crash()
					continue
				}
				w.end("in", 0)
				r.finish()
			}
			w.expectOut("out", want...)
		})
	}
}

// TestAnOutageOfTheRecordsIsSaidAndWaitedFor: data goes on, nothing is published.
func TestAnOutageOfTheRecordsIsSaidAndWaitedFor(t *testing.T) {
	w := newWorld(t)
	var out atomic.Bool
	w.edit = func(c *engine.Config) {
		c.Store = coordtest.NewFaulty(c.Store, func([]coordination.Op) coordtest.Fault {
			if out.Load() {
				return coordtest.Unreachable
			}
			return coordtest.NoFault
		})
	}
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitOut("out", 1)
	out.Store(true)
	w.feed("in", 0, "b")
	w.await("it says so", func() bool {
		return strings.Contains(w.log.String(), "the pipeline's records cannot be written, trying again; until then no output is published")
	})
	time.Sleep(100 * time.Millisecond)
	w.expectOut("out", "a")
	out.Store(false)
	w.awaitOut("out", 2)
	w.await("it says so", func() bool { return strings.Contains(w.log.String(), "the pipeline's records can be written again") })
	w.end("in", 0)
	r.finish()
	w.expectOut("out", "a", "b")
	if s := r.engine.Status(); s.Restarts.Total != 0 {
		t.Errorf("%d restarts: %s", s.Restarts.Total, s.Restarts.Cause)
	}
}
