package engine_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/engine"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// The tests of this file are about section 1 of the rules: names that keep apart
// what belongs to different lives of a pipeline.

// TestEveryTaskIsToldItsUIDAndEpoch, which stand in all names that it makes.
func TestEveryTaskIsToldItsUIDAndEpoch(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	w.start(line).awaitAndCrash("out", 1)
	w.end("in", 0)
	w.start(line).finish()
	uid := w.history().Lineage.UID
	for _, epoch := range []uint64{1, 2} {
		for _, node := range []string{"in", "mid", "out"} {
			tasks := w.tasksOf(node, epoch)
			if len(tasks) == 0 {
				t.Errorf("no task of %s in epoch %d", node, epoch)
			}
			for _, task := range tasks {
				if task.open.Task.Uid != uid || task.open.Task.Epoch != epoch || task.open.Pipeline != "p" {
					t.Errorf("%s: %v", task, task.open.Task)
				}
			}
		}
	}
	if len(w.tasksOf("in", 1)) != 2 {
		t.Error("the enumerator is no task of its own")
	}
}

// TestANodeIsToldItsIDAndNotItsName: it goes on with what it made under another name.
func TestANodeIsToldItsIDAndNotItsName(t *testing.T) {
	w := newWorld(t)
	var owners []string
	w.script("sink-7").commit = func(r *pluginv1.CommitRequest) (*pluginv1.Error, error) {
		owners = append(owners, r.Owner.Node)
		return nil, nil
	}
	w.feed("in", 0, "a")
	w.end("in", 0)
	w.start(strings.Replace(line, "out: {sink: keep", "out: {id: sink-7, sink: keep", 1)).finish()
	w.expectOut("sink-7", "a")
	if len(w.tasksOf("sink-7", 1)) != 1 || !slices.Equal(slices.Compact(owners), []string{"sink-7"}) {
		t.Errorf("the writer is told %v, the committer %q", w.tasksOf("sink-7", 1), owners)
	}
}

// TestStartingAfreshIsAnotherLife: another uid, and nothing of the former state.
func TestStartingAfreshIsAnotherLife(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	w.start(line).awaitAndCrash("out", 1)
	before := w.history().Lineage.UID
	store, err := w.db.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	lead, err := coordination.Campaign(t.Context(), store, "leader", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.NewLedger(store, lead, "p").Fresh(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	w.end("in", 0)
	r := w.start(line)
	r.finish()
	h := w.history()
	if h.Lineage.UID == before || h.Lineage.Epoch != 1 {
		t.Errorf("uid %s after %s, epoch %d", h.Lineage.UID, before, h.Lineage.Epoch)
	}
	if swept := w.happened("sweep"); len(swept) > 0 {
		t.Errorf("a new life has nothing to sweep: %q", swept)
	}
	// The input is read again from its beginning.
	if n := len(w.happened("assign in/0")); n != 2 {
		t.Errorf("the split was assigned %d times", n)
	}
}

// TestThePendingRecordIsThereBeforeTheBarrier, so that a number that was used is
// never used again, and the next epoch closes it.
func TestThePendingRecordIsThereBeforeTheBarrier(t *testing.T) {
	w := newWorld(t)
	stuck := make(chan struct{})
	w.script("mid").snapshot = func(*simTask, *pluginv1.Barrier) *pluginv1.Error {
		<-stuck
		return nil
	}
	pending := make(chan *checkpoint.Pending, 1)
	w.atStep(engine.StepBarrier, 1, func() { pending <- w.history().Pending })
	w.feed("in", 0, "a")
	r := w.start(line)
	p := <-pending
	if p == nil || p.N != 1 || p.Epoch != 1 {
		t.Fatalf("%+v", p)
	}
	w.awaitEvent("pass mid[0] 1", 1)
	r.crash()
	close(stuck)
	w.setScript("mid", script{})
	begun := make(chan checkpoint.History, 1)
	w.atStep(engine.StepBegun, 1, func() { begun <- w.history() })
	r = w.start(line)
	if h := <-begun; h.Pending != nil || h.Sequence.Last != 1 {
		t.Errorf("pending %+v, last %d", h.Pending, h.Sequence.Last)
	}
	w.awaitOut("out", 1)
	w.end("in", 0)
	r.finish()
	w.expectOut("out", "a")
	for _, b := range w.tasksOf("mid", 2)[0].seen() {
		if b.Checkpoint == 1 {
			t.Error("number 1 was used twice")
		}
	}
}
