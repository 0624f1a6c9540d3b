package engine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/engine"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// The tests of this file are about section 5 of the rules: how a pipeline ends, and
// how it is stopped.

// twoSources meet in an operator.
const twoSources = quick + `
  short: {source: feed}
  long:  {source: feed}
  mid:   {operator: pass, input: [short, long]}
  out:   {sink: keep, input: mid}
`

// TestEndOfInputIsAFlagOnABarrier: an operator gets it with the barrier at which the
// last of its inputs ends, and with each one after.
func TestEndOfInputIsAFlagOnABarrier(t *testing.T) {
	w := newWorld(t)
	w.feed("short", 0, "a")
	w.end("short", 0)
	r := w.start(twoSources)
	w.awaitOut("out", 1)
	w.feed("long", 0, "b")
	w.awaitOut("out", 2)
	if len(w.happened("end mid")) > 0 {
		t.Error("the operator was told of an end although one input goes on")
	}
	w.await("the short source has ended in a record", func() bool { return slices.Contains(w.history().Newest().Ended, "short") })
	w.end("long", 0)
	r.finish()
	for _, node := range []string{"short", "long", "mid", "out"} {
		for _, task := range w.tasksOf(node, 1) {
			bs := task.seen()
			first := slices.IndexFunc(bs, func(b *pluginv1.Barrier) bool { return b.End })
			if first < 0 {
				t.Errorf("%s was never told", task)
				continue
			}
			for _, b := range bs[first:] {
				if !b.End {
					t.Errorf("%s: barrier %d has no end, an earlier one had", task, b.Checkpoint)
				}
			}
			last := bs[len(bs)-1]
			if alone := first == len(bs)-1; alone != (node != "short") {
				t.Errorf("%s was told at barrier %d, the last is %d", task, bs[first].Checkpoint, last.Checkpoint)
			}
		}
	}
	if newest := w.history().Newest(); newest.State != checkpoint.Finished || len(newest.Ended) != 4 {
		t.Errorf("the last record is %+v", newest)
	}
}

// TestTheCheckpointOfTheEndComesAtOnce, whatever the interval.
func TestTheCheckpointOfTheEndComesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	w.end("in", 0)
	r := w.start(strings.Replace(line, "interval: 10ms", "interval: 1h", 1))
	r.finish()
	w.expectOut("out", "a")
	if s := r.engine.Status(); s.Completed != 1 {
		t.Errorf("%d checkpoints", s.Completed)
	}
}

// TestANodeEndsWhollyOrNotAtAll: one of two readers is exhausted, and no barrier
// says end before the other is.
func TestANodeEndsWhollyOrNotAtAll(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	w.feed("in", 1, "b")
	w.end("in", 0)
	r := w.start(quick + `
  in:  {source: feed, parallelism: 2, config: {splits: 2}}
  out: {sink: keep, parallelism: 2, input: in}
`)
	w.awaitEvent("exhausted in", 1)
	w.awaitOut("out", 2)
	w.feed("in", 1, "c")
	w.awaitOut("out", 3)
	for _, node := range []string{"in", "out"} {
		for _, task := range w.tasksOf(node, 1) {
			for _, b := range task.seen() {
				if b.End {
					t.Errorf("%s: barrier %d says end", task, b.Checkpoint)
				}
			}
		}
	}
	// The exhausted task goes on to answer barriers.
	for _, task := range w.tasksOf("in", 1) {
		if len(task.seen()) < 2 {
			t.Errorf("%s has answered %d barriers", task, len(task.seen()))
		}
	}
	w.end("in", 1)
	r.finish()
}

// TestARestoredEndedNodeIsNotToldAgain: it is opened as one that has ended.
func TestARestoredEndedNodeIsNotToldAgain(t *testing.T) {
	w := newWorld(t)
	w.feed("short", 0, "a")
	w.end("short", 0)
	named := strings.Replace(twoSources, "short: {", "short: {id: the-short-one, ", 1)
	w.feed("the-short-one", 0, "a")
	w.end("the-short-one", 0)
	r := w.start(named)
	w.await("the short source has ended in a record", func() bool {
		newest := w.history().Newest()
		return newest != nil && slices.Contains(newest.Ended, "the-short-one")
	})
	r.crash()
	r = w.start(named)
	w.feed("long", 0, "b")
	w.awaitOut("out", 2)
	for node, ended := range map[string]bool{"the-short-one": true, "long": false, "mid": false, "out": false} {
		for _, task := range w.tasksOf(node, 2) {
			if got := task.open.Chain[0].Ended; got != ended {
				t.Errorf("%s is opened with ended %v", task, got)
			}
		}
	}
	w.end("long", 0)
	r.finish()
	w.expectOut("out", "a", "b")
}

// TestAStopHaltsAndRolls: nothing is read behind the last barrier, and sinks keep
// nothing back.
func TestAStopHaltsAndRolls(t *testing.T) {
	w := newWorld(t)
	holding := strings.Replace(line, "keep, input: mid", "keep, input: mid, config: {hold: true}", 1)
	w.feed("in", 0, "a", "b")
	r := w.start(holding)
	w.awaitEvent("out[0] has 2 unprepared", 1)
	w.await("a checkpoint", func() bool { return w.history().Newest() != nil })
	w.expectOut("out")
	out := r.stop()
	if out.Finished || len(out.Uncommitted) > 0 {
		t.Errorf("%+v", out)
	}
	w.expectOut("out", "a", "b")
	for _, node := range []string{"in", "mid", "out"} {
		for _, task := range w.tasksOf(node, 1) {
			bs := task.seen()
			for i, b := range bs {
				if last := i == len(bs)-1; b.Halt != last || last && !b.Roll {
					t.Errorf("%s: barrier %d of %d is %v", task, i+1, len(bs), b)
				}
			}
		}
	}
	newest := w.history().Newest()
	if !newest.Halt || newest.N != out.Checkpoint || w.history().Committed < newest.N {
		t.Errorf("the last record is %+v, committed through %d", newest, w.history().Committed)
	}
	w.feed("in", 0, "c")
	w.end("in", 0)
	w.start(holding).finish()
	w.expectOut("out", "a", "b", "c")
}

// TestAFinishingPipelineOnlyCommits: all input is read and recorded, the host dies
// before the output is published. The next one opens no task and asks no source.
func TestAFinishingPipelineOnlyCommits(t *testing.T) {
	w := newWorld(t)
	w.script("out").commit = func(*pluginv1.CommitRequest) (*pluginv1.Error, error) { return &pluginv1.Error{Message: "closed"}, nil }
	w.feed("in", 0, "a")
	w.end("in", 0)
	r := w.start(line)
	w.awaitEvent("commit out fails", 1)
	w.await("the record of the end", func() bool { return r.engine.Status().State == engine.StateFinishing })
	r.crash()
	w.expectOut("out")
	w.setScript("out", script{})
	w.script("in").probe = func() []*pluginv1.Fault { return []*pluginv1.Fault{{Message: "the input is gone"}} }
	w.start(line).finish()
	w.expectOut("out", "a")
	if opened := w.tasksOf("in", 2); len(opened) > 0 {
		t.Errorf("%v were opened", opened)
	}
	if newest := w.history().Newest(); newest.State != checkpoint.Finished {
		t.Errorf("the last record is %+v", newest)
	}
}

// TestAFinishedPipelineSaysWhenAndDoesNothing.
func TestAFinishedPipelineSaysWhenAndDoesNothing(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	w.end("in", 0)
	w.start(line).finish()
	starts := len(w.happened("start process"))
	again := w.start(line)
	out, err := again.wait()
	if err != nil || !out.Finished || out.Before == nil || time.Since(*out.Before) > time.Minute {
		t.Errorf("%+v, %v", out, err)
	}
	if epoch := again.engine.Status().Epoch; epoch != 1 {
		t.Errorf("it is said to have been in epoch %d", epoch)
	}
	if n := len(w.happened("start process")); n != starts {
		t.Errorf("%d processes were started", n-starts)
	}
}

// TestAnExitWaitsForCommitsUpToTheDrainTimeoutAndSaysWhatIsLeft.
func TestAnExitWaitsForCommitsUpToTheDrainTimeoutAndSaysWhatIsLeft(t *testing.T) {
	w := newWorld(t)
	w.script("out").commit = func(*pluginv1.CommitRequest) (*pluginv1.Error, error) { return &pluginv1.Error{Message: "closed"}, nil }
	w.feed("in", 0, "a")
	r := w.start(strings.Replace(line, "drain_timeout: 20s", "drain_timeout: 300ms", 1))
	w.awaitEvent("commit out fails", 1)
	out := r.stop()
	if out.Finished || len(out.Uncommitted) == 0 {
		t.Errorf("%+v", out)
	}
	w.setScript("out", script{})
	w.end("in", 0)
	w.start(line).finish()
	w.expectOut("out", "a")
}

// TestAStopDuringTheWaitBeforeARestartEndsAtOnce.
func TestAStopDuringTheWaitBeforeARestartEndsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	r := w.start(strings.Replace(line, "backoff: 1ms..1ms", "backoff: 1h..1h", 1))
	w.awaitOut("out", 1)
	w.processOf("mid").die()
	w.await("it waits", func() bool { return r.engine.Status().State == engine.StateWaiting })
	if out := r.stop(); out.Finished {
		t.Errorf("%+v", out)
	}
}
