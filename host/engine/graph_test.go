package engine_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weirstream/weir/host/engine"
)

// The tests of this file are about graphs: fan-out, fan-in, keys, dead letters.

func TestADiamondBringsEachRecordOnceEachWay(t *testing.T) {
	w := newWorld(t)
	for i := range 4 {
		w.feed("in", i, fmt.Sprint(i))
		w.end("in", i)
	}
	w.start(quick + `
  in:    {source: feed, parallelism: 2, config: {splits: 4}}
  left:  {operator: pass, parallelism: 2, input: in}
  right: {operator: pass, parallelism: 3, input: in}
  out:   {sink: keep, parallelism: 2, input: [left, right]}
`).finish()
	w.expectOut("out", "0", "0", "1", "1", "2", "2", "3", "3")
}

// Alignment: of a slow and a fast way through a diamond each checkpoint holds what
// preceded its barrier on both, so every record by both ways or by neither.
func TestASnapshotHoldsWhatPrecededItsBarrierOnTheSlowAndTheFastInput(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	var slow, fast atomic.Int64
	w.script("slow").frame = func(*simTask) bool { slow.Add(1); <-release; return true }
	w.script("fast").frame = func(*simTask) bool { fast.Add(1); return true }
	w.feed("in", 0, "a", "b")
	r := w.start(quick + `
  in:   {source: feed}
  fast: {operator: pass, input: in}
  slow: {operator: pass, input: in}
  out:  {sink: keep, input: [fast, slow]}
`)
	w.await("the slow way is held up", func() bool { return slow.Load() > 0 })
	w.await("the barrier of the fast input waits", func() bool {
		s := r.engine.Status().InFlight
		return s != nil && slices.ContainsFunc(s.Tasks, func(a engine.AwaitedTask) bool { return a.Task == "out[0]" && a.Phase == engine.TaskAlign })
	})
	before := fast.Load()
	w.feed("in", 0, "c", "d")
	w.await("more comes by the fast input, behind the barrier", func() bool { return fast.Load() > before })
	close(release)
	w.end("in", 0)
	r.finish()

	w.mu.Lock()
	defer w.mu.Unlock()
	outputs := slices.Clone(w.published["out"])
	slices.SortStableFunc(outputs, func(a, b output) int { return cmp.Compare(a.checkpoint, b.checkpoint) })
	ways, parts := map[string]int{}, 0
	for i, o := range outputs {
		for _, v := range o.values {
			ways[v]++
		}
		if i+1 < len(outputs) && outputs[i+1].checkpoint == o.checkpoint {
			continue
		}
		parts++
		for v, n := range ways {
			if n != 2 {
				t.Errorf("at checkpoint %d %s has come by %d of two ways", o.checkpoint, v, n)
			}
		}
	}
	if len(ways) != 4 || parts < 2 {
		t.Errorf("%d records in the output of %d checkpoints: %v", len(ways), parts, outputs)
	}
}

func TestNamedOutputsLeadWhereTheFileSays(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a", "side b", "c")
	w.end("in", 0)
	w.start(quick + `
  in:   {source: feed}
  mid:  {operator: pass, input: in}
  out:  {sink: keep, input: mid}
  side: {sink: keep, input: mid.side}
`).finish()
	w.expectOut("out", "a", "c")
	w.expectOut("side", "side b")
}

// keyed has an edge by key from a source whose records may lack one.
const keyed = quick + `
  in:  {source: feed%s}
  mid: {operator: counts, parallelism: 3, input: in}
  out: {sink: keep, input: mid}
`

func TestAKeyedEdgeBringsOneKeyToOneTask(t *testing.T) {
	w := newWorld(t)
	for i := range 50 {
		w.feed("in", 0, fmt.Sprintf("k%d=%d", i%5, i))
	}
	w.end("in", 0)
	r := w.start(fmt.Sprintf(keyed, ""))
	r.finish()
	if n := len(w.out("out")); n != 50 {
		t.Errorf("%d records", n)
	}
	for _, n := range r.engine.Status().Nodes {
		if n.Name == "mid" && n.Parallelism != 3 {
			t.Errorf("%+v", n)
		}
	}
}

// TestANullKeyOnAKeyedEdgeIsAFailedRecordOfItsSender.
func TestANullKeyOnAKeyedEdgeIsAFailedRecordOfItsSender(t *testing.T) {
	t.Run("fail", func(t *testing.T) {
		w := newWorld(t)
		w.feed("in", 0, "k=a", "no key")
		_, err := w.start(fmt.Sprintf(keyed, "")).wait()
		if err == nil {
			t.Fatal("no error")
		}
		contains(t, err.Error(), "node in", "1 record", "key")
	})
	t.Run("skip", func(t *testing.T) {
		w := newWorld(t)
		w.feed("in", 0, "k=a", "no key", "k=b")
		w.end("in", 0)
		w.start(fmt.Sprintf(keyed, ", on_error: skip")).finish()
		w.expectOut("out", "k=a", "k=b")
	})
	t.Run("dead letter", func(t *testing.T) {
		w := newWorld(t)
		w.feed("in", 0, "k=a", "no key", "k=b")
		w.end("in", 0)
		w.start(fmt.Sprintf(keyed, ", on_error: {dead_letter: bad}") + "  bad: {sink: keep}\n").finish()
		w.expectOut("out", "k=a", "k=b")
		w.expectOut("bad", "no key")
	})
	t.Run("limit", func(t *testing.T) {
		w := newWorld(t)
		w.feed("in", 0, "k=a", "no key", "no key either", "nor this")
		_, err := w.start(fmt.Sprintf(keyed, ", on_error: {then: skip, limit: 2/1m}")).wait()
		if err == nil {
			t.Fatal("no error")
		}
		contains(t, err.Error(), "node in", "more than 2 failed records within 1m0s", "without a key")
	})
}

// TestEachIsolationHasItsProcesses.
func TestEachIsolationHasItsProcesses(t *testing.T) {
	for isolation, want := range map[string]int{"node": 3, "task": 6} {
		t.Run(isolation, func(t *testing.T) {
			w := newWorld(t)
			w.feed("in", 0, "a")
			w.end("in", 0)
			w.start(strings.Replace(quick, "isolation: node", "isolation: "+isolation, 1) + `
  in:  {source: feed, parallelism: 2}
  mid: {operator: pass, parallelism: 2, input: in}
  out: {sink: keep, parallelism: 2, input: mid}
`).finish()
			if n := len(w.happened("start process")); n != want {
				t.Errorf("%d processes, want %d", n, want)
			}
			w.expectOut("out", "a")
		})
	}
}

// TestAPipelineWithoutAnythingToCommitMakesCheckpointsToo.
func TestAPipelineWithoutAnythingToCommitMakesCheckpointsToo(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	loose := strings.Replace(line, "sink: keep", "sink: loose", 1)
	r := w.start(loose)
	w.awaitOut("out", 1)
	w.await("a checkpoint", func() bool { return w.history().Newest() != nil })
	r.crash()
	w.feed("in", 0, "b")
	w.end("in", 0)
	r = w.start(loose)
	r.finish()
	w.expectOut("out", "a", "b")
	if s := r.engine.Status(); s.State != engine.StateFinished || len(w.happened("commit")) > 0 || len(w.happened("sweep")) > 0 {
		t.Errorf("state %s, %q %q", s.State, w.happened("commit"), w.happened("sweep"))
	}
}
