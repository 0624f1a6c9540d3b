package engine_test

import (
	"fmt"
	"strings"
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
