package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/weirstream/weir/host/engine"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// reportLag has the source's task say how far it is behind, and how much it has read.
func (w *world) reportLag(epoch uint64, lag int64, read uint64) {
	w.t.Helper()
	w.await("the source's task", func() bool { return len(w.tasksOf("in", epoch)) > 0 })
	for _, task := range w.tasksOf("in", epoch) {
		task.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Report{Report: &pluginv1.Report{
			Components: []*pluginv1.ComponentReport{{RecordsOut: read}}, Progress: &pluginv1.Progress{Lag: lag, Unit: "records"},
		}}})
	}
}

// A run until it has caught up ends with a final checkpoint, and not before its source
// has said for a while that it is at the end.
func TestARunUntilCaughtUpStopsAtTheEndOfItsInput(t *testing.T) {
	w := newWorld(t)
	w.edit = func(c *engine.Config) { c.Until = engine.Until{CaughtUp: true} }
	w.feed("in", 0, "a", "b")
	r := w.start(line)
	w.awaitOut("out", 2)
	w.reportLag(1, 5, 2)
	w.feed("in", 0, "c")
	w.awaitOut("out", 3)
	behind := time.Now()
	w.reportLag(1, 0, 3)
	out, err := r.wait()
	if err != nil || out.Finished || out.Checkpoint == 0 {
		t.Errorf("%+v, %v", out, err)
	}
	if took := time.Since(behind); took < 2*time.Second {
		t.Errorf("it has ended %v after it was behind", took)
	}
	w.expectOut("out", "a", "b", "c")
}

func TestARunUntilCaughtUpSaysWhenItsSourceDoesNotSay(t *testing.T) {
	w := newWorld(t)
	w.edit = func(c *engine.Config) { c.Until = engine.Until{CaughtUp: true} }
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitOut("out", 1)
	w.reportLag(1, -1, 1)
	_, err := r.wait()
	var unknown *engine.LagUnknownError
	if !errors.As(err, &unknown) || unknown.Source != "in" {
		t.Errorf("%v", err)
	}
}

func TestARunWithALimitStopsWhenSoManyRecordsAreRead(t *testing.T) {
	w := newWorld(t)
	w.edit = func(c *engine.Config) { c.Until = engine.Until{Records: 3} }
	w.feed("in", 0, "a", "b")
	r := w.start(line)
	w.awaitOut("out", 2)
	w.reportLag(1, -1, 2)
	w.feed("in", 0, "c")
	w.awaitOut("out", 3)
	w.reportLag(1, -1, 3)
	if out, err := r.wait(); err != nil || out.Finished || out.Checkpoint == 0 {
		t.Errorf("%+v, %v", out, err)
	}
	w.expectOut("out", "a", "b", "c")
}

// Sources hear of no checkpoint of a dry run: they would tell the outside.
func TestADryRunTellsNoSourceOfItsCheckpoints(t *testing.T) {
	w := newWorld(t)
	w.edit = func(c *engine.Config) { c.DryRun = true }
	w.feed("in", 0, "a")
	w.end("in", 0)
	r := w.start(line)
	r.finish()
	for _, task := range w.tasksOf("in", 1) {
		if completed, _ := task.heard(); len(completed) > 0 {
			t.Errorf("%s has heard of %v", task, completed)
		}
	}
}
