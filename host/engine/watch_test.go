package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/engine"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// The tests of this file are about what somebody learns who asks, and about
// savepoints.

// awaited is the task that the checkpoint under way waits for, once it waits for
// that one alone, in the phase.
func (r *running) awaited(task string, phase engine.TaskPhase) engine.AwaitedTask {
	r.w.t.Helper()
	var got engine.AwaitedTask
	r.w.await(fmt.Sprintf("the checkpoint waits for %s, which is in the phase %v", task, phase), func() bool {
		s := r.engine.Status().InFlight
		if s == nil || len(s.Tasks) != 1 || s.Tasks[0].Task != task || s.Tasks[0].Phase != phase {
			return false
		}
		got = s.Tasks[0]
		return true
	})
	return got
}

func TestTheStatusSaysWhatAnAwaitedTaskIsAbout(t *testing.T) {
	hold := func(release <-chan struct{}) func(*simTask, *pluginv1.Barrier) { // once
		return func(*simTask, *pluginv1.Barrier) { <-release }
	}
	t.Run("the plugin has not passed the barrier on", func(t *testing.T) {
		w := newWorld(t)
		release := make(chan struct{})
		w.script("out").barrier = hold(release)
		w.feed("in", 0, "a")
		w.end("in", 0)
		r := w.start(line)
		if a := r.awaited("out[0]", engine.TaskProcess); a.Since.IsZero() {
			t.Errorf("%+v", a)
		}
		close(release)
		r.finish()
	})
	t.Run("its state is not all there", func(t *testing.T) {
		w := newWorld(t)
		release := make(chan struct{})
		w.script("out").snapshot = func(*simTask, *pluginv1.Barrier) *pluginv1.Error { <-release; return nil }
		w.feed("in", 0, "a")
		w.end("in", 0)
		r := w.start(line)
		w.awaitEvent("pass out[0] 1", 1)
		if a := r.awaited("out[0]", engine.TaskSnapshot); a.Since.IsZero() {
			t.Errorf("%+v", a)
		}
		close(release)
		r.finish()
	})
	t.Run("one channel has not delivered the barrier", func(t *testing.T) {
		w := newWorld(t)
		release := make(chan struct{})
		w.script("slow").barrier = hold(release)
		w.feed("in", 0, "a")
		w.end("in", 0)
		r := w.start(quick + `
  in:   {source: feed}
  slow: {operator: pass, input: in}
  out:  {sink: keep, input: [in, slow]}
`)
		var a engine.AwaitedTask
		w.await("out aligns", func() bool {
			if s := r.engine.Status().InFlight; s != nil {
				for _, a = range s.Tasks {
					if a.Task == "out[0]" && a.Phase == engine.TaskAlign {
						return true
					}
				}
			}
			return false
		})
		if len(a.Channels) != 1 || !strings.Contains(a.Channels[0], "slow") || a.Since.IsZero() {
			t.Errorf("%+v", a)
		}
		close(release)
		r.finish()
	})
}

func TestTheCheckpointSaysHowLongEachTaskTook(t *testing.T) {
	w := newWorld(t)
	w.script("mid").barrier = func(*simTask, *pluginv1.Barrier) { time.Sleep(20 * time.Millisecond) }
	w.script("mid").snapshot = func(*simTask, *pluginv1.Barrier) *pluginv1.Error { time.Sleep(20 * time.Millisecond); return nil }
	w.feed("in", 0, "a")
	w.end("in", 0)
	w.start(line).finish()
	st := w.storage()
	defer st.Close()
	m, err := checkpoint.ReadManifest(t.Context(), st, *w.history().Newest())
	if err != nil {
		t.Fatal(err)
	}
	n, _ := m.Node("mid")
	if got := n.Tasks[0].Timing; got.Process < 20*time.Millisecond || got.Process+got.Snapshot < 40*time.Millisecond || got.Upload <= 0 {
		t.Errorf("%+v", got)
	}
}

func TestFailuresAreKept(t *testing.T) {
	w := newWorld(t)
	failed := false
	w.script("mid").frame = func(tk *simTask) bool {
		if !failed {
			failed = true
			w.processOf("mid").die()
			return false
		}
		return true
	}
	w.feed("in", 0, "a")
	w.end("in", 0)
	r := w.start(line)
	r.finish()
	got := r.engine.Leader().Failures
	if len(got) != 1 || got[0].Kind != engine.FailureRestart || got[0].Node != "mid" || got[0].Epoch != 1 || got[0].Cause == "" || got[0].At.IsZero() {
		t.Errorf("%+v", got)
	}
}

func TestASavepointIsCompleteWhenItsOutputIsPublished(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	w.script("out").commit = func(*pluginv1.CommitRequest) (*pluginv1.Error, error) { <-release; return nil, nil }
	w.feed("in", 0, "a")
	r := w.start(line)
	w.await("data flows", func() bool { return r.engine.Status().State == engine.StateRunning })
	done := make(chan error, 1)
	go func() { done <- r.engine.Savepoint(t.Context(), "s") }()
	w.awaitEvent("pass out[0] 1", 1)
	select {
	case err := <-done:
		t.Fatalf("it is complete although nothing is published: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.expectOut("out", "a")
	h := w.history()
	if len(h.Savepoints) != 1 || h.Savepoints[0].Savepoint != "s" || h.Savepoints[0].Committables != 0 {
		t.Errorf("%+v", h.Savepoints)
	}
	if err := r.engine.Savepoint(t.Context(), "s"); !errors.Is(err, checkpoint.ErrSavepointExists) {
		t.Errorf("a second one of the name: %v", err)
	}
	r.stop()
}

func TestAStopWithASavepointKeepsTheLastCheckpoint(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitOut("out", 1)
	w.feed("in", 0, "b")
	if err := r.engine.StopWithSavepoint(t.Context(), "last"); err != nil {
		t.Fatal(err)
	}
	out, err := r.wait()
	if err != nil || out.Finished {
		t.Fatalf("%+v, %v", out, err)
	}
	h := w.history()
	if len(h.Savepoints) != 1 || h.Savepoints[0].N != out.Checkpoint || h.Savepoints[0].N != h.Newest().N {
		t.Errorf("%+v, stopped at %d", h.Savepoints, out.Checkpoint)
	}
	if err := r.engine.StopWithSavepoint(context.Background(), "again"); !errors.Is(err, engine.ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}

// TestASavepointThatAnEpochLeftIsStoredByTheNext: its checkpoint was complete, and
// who asked for it must not look for it in vain.
func TestASavepointThatAnEpochLeftIsStoredByTheNext(t *testing.T) {
	w := newWorld(t)
	hold := make(chan struct{})
	w.script("out").commit = func(*pluginv1.CommitRequest) (*pluginv1.Error, error) { <-hold; return nil, errors.New("too late") }
	w.feed("in", 0, "a")
	r := w.start(line)
	w.await("data flows", func() bool { return r.engine.Status().State == engine.StateRunning })
	done := make(chan error, 1)
	go func() { done <- r.engine.Savepoint(context.Background(), "s") }()
	w.await("its record is written", func() bool { return len(w.history().Unstored()) == 1 })
	close(hold)
	r.crash()
	if err := <-done; !errors.Is(err, checkpoint.ErrStopped) {
		t.Errorf("who waited got %v", err)
	}
	w.setScript("out", script{})
	next := w.start(line)
	w.await("it is stored", func() bool { return len(w.history().Savepoints) == 1 })
	next.stop()
	w.expectOut("out", "a")
}
