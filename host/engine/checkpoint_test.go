package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/engine"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// The tests of this file are about sections 2 to 4 of the rules: what a checkpoint
// is, and what is committed when.

// line is a source, an operator and a sink.
const line = quick + `
  in:  {source: feed}
  mid: {operator: pass, input: in}
  out: {sink: keep, input: mid}
`

func TestAPipelineRunsToItsEnd(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a", "b", "c")
	w.end("in", 0)
	w.start(line).finish()
	w.expectOut("out", "a", "b", "c")
}

func TestARecordIsWrittenAfterEverythingThatItNamesIsStored(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var steps []engine.Step
	w.edit = func(c *engine.Config) {
		c.OnStep = func(s engine.Step) {
			mu.Lock()
			defer mu.Unlock()
			steps = append(steps, s)
		}
	}
	w.feed("in", 0, "a")
	w.end("in", 0)
	w.start(line).finish()
	order := []engine.Step{
		engine.StepPending, engine.StepSnapshot, engine.StepStored, engine.StepAcked, engine.StepManifest,
		engine.StepRecording, engine.StepRecorded, engine.StepCommitting, engine.StepCommitted, engine.StepSavingThrough,
		engine.StepSavedThrough, engine.StepMarkingFinish, engine.StepMarkedFinished, engine.StepClosing,
	}
	last := -1
	for _, s := range order {
		i := slices.Index(steps, s)
		if s == engine.StepStored { // every task's
			for j, other := range steps[:slices.Index(steps, engine.StepAcked)] {
				if other == s {
					i = j
				}
			}
		}
		if i <= last {
			t.Errorf("step %q is number %d in %q", s, i, steps)
		}
		last = i
	}
	if i := slices.Index(steps, engine.StepBarrier); i < slices.Index(steps, engine.StepPending) || i > slices.Index(steps, engine.StepAcked) {
		t.Errorf("step %q is number %d in %q", engine.StepBarrier, i, steps)
	}
}

func TestNothingIsCommittedBeforeItsRecord(t *testing.T) {
	w := newWorld(t)
	early := make(chan string, 100)
	w.script("out").commit = func(r *pluginv1.CommitRequest) (*pluginv1.Error, error) {
		newest := w.history().Newest()
		for _, e := range r.Committables {
			if newest == nil || e.Checkpoint > newest.N {
				early <- fmt.Sprintf("checkpoint %d is committed, the newest record is %+v", e.Checkpoint, newest)
			}
		}
		return nil, nil
	}
	r := w.start(line)
	for i := range 5 {
		w.feed("in", 0, fmt.Sprint(i))
		w.awaitOut("out", i+1)
	}
	w.end("in", 0)
	r.finish()
	select {
	case s := <-early:
		t.Error(s)
	default:
	}
}

func TestABarrierGoesOnBeforeTheSnapshotIsDelivered(t *testing.T) {
	w := newWorld(t)
	hold := make(chan struct{})
	w.script("mid").snapshot = func(*simTask, *pluginv1.Barrier) *pluginv1.Error {
		<-hold
		return nil
	}
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitEvent("pass out[0] 1", 1)
	time.Sleep(50 * time.Millisecond)
	if h := w.history(); len(h.Records) > 0 {
		t.Errorf("a record without the snapshot of mid: %+v", h.Records)
	}
	if s := r.engine.Status().InFlight; s == nil || s.Number != 1 || !slices.Equal(s.Awaited, []string{"mid[0]"}) {
		t.Errorf("in flight is %+v", s)
	}
	close(hold)
	w.end("in", 0)
	r.finish()
	w.expectOut("out", "a")
}

// TestCommitsAndControlGoOnWhileDataIsBlocked: what a sink's writer does not take
// holds up nothing but data.
func TestCommitsAndControlGoOnWhileDataIsBlocked(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	var once sync.Once
	blocked := make(chan struct{})
	w.script("out").frame = func(tk *simTask) bool {
		if len(tk.seen()) > 0 {
			once.Do(func() { close(blocked) })
			<-release
		}
		return true
	}
	slow := make(chan struct{})
	w.script("out").commit = func(*pluginv1.CommitRequest) (*pluginv1.Error, error) {
		<-slow
		return nil, nil
	}
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitEvent("pass out[0] 1", 1)
	w.feed("in", 0, "b")
	<-blocked
	close(slow) // the commit of a is answered although b is not taken
	w.awaitOut("out", 1)
	w.await("the task hears of it", func() bool {
		completed, _ := w.tasksOf("out", 1)[0].heard()
		return slices.Contains(completed, 1)
	})
	close(release)
	w.end("in", 0)
	r.finish()
	w.expectOut("out", "a", "b")
}

func TestEveryTaskHearsWhatBecameOfACheckpoint(t *testing.T) {
	w := newWorld(t)
	w.script("mid").snapshot = func(_ *simTask, b *pluginv1.Barrier) *pluginv1.Error {
		if b.Checkpoint == 1 {
			return &pluginv1.Error{Message: "no snapshot today"}
		}
		return nil
	}
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitOut("out", 1)
	for _, node := range []string{"in", "mid", "out"} {
		for _, task := range w.tasksOf(node, 1) {
			w.await(task.String()+" hears", func() bool {
				completed, aborted := task.heard()
				return slices.Equal(aborted, []uint64{1}) && slices.Contains(completed, 2) && !slices.Contains(completed, 1)
			})
		}
	}
	w.end("in", 0)
	r.finish()
}

// TestAnAbortedCheckpointOnlyLosesItsRecord: its barrier has passed everywhere, and
// the output that was prepared for it is in the next record and comes out once.
func TestAnAbortedCheckpointOnlyLosesItsRecord(t *testing.T) {
	w := newWorld(t)
	w.script("mid").snapshot = func(_ *simTask, b *pluginv1.Barrier) *pluginv1.Error {
		if b.Checkpoint <= 2 {
			return &pluginv1.Error{Message: "no snapshot today"}
		}
		return nil
	}
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitEvent("pass out[0] 1", 1)
	w.feed("in", 0, "b")
	w.awaitOut("out", 2)
	w.end("in", 0)
	r.finish()
	w.expectOut("out", "a", "b")
	h := w.history()
	if last := h.Records[len(h.Records)-1]; last.N < 3 {
		t.Errorf("checkpoint %d has a record", last.N)
	}
	if s := r.engine.Status(); s.Failed != 2 {
		t.Errorf("%d checkpoints have failed, want 2", s.Failed)
	}
	if first := w.happened("commit out")[0]; !strings.Contains(first, "1.1.0") {
		t.Errorf("the first commit is %q, without the output of checkpoint 1", first)
	}
}

func TestMoreFailuresInARowThanToleratedFailThePipeline(t *testing.T) {
	w := newWorld(t)
	w.script("mid").snapshot = func(*simTask, *pluginv1.Barrier) *pluginv1.Error {
		return &pluginv1.Error{Message: "no snapshot today"}
	}
	w.feed("in", 0, "a")
	_, err := w.start(strings.Replace(line, "retain: 2", "tolerated_failures: 2", 1)).wait()
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "3 checkpoints failed in a row, 2 are tolerated", "no snapshot today", "mid")
	w.expectOut("out")
}

func TestASuccessResetsTheCountOfFailures(t *testing.T) {
	w := newWorld(t)
	w.script("mid").snapshot = func(_ *simTask, b *pluginv1.Barrier) *pluginv1.Error {
		if b.Checkpoint%3 > 0 {
			return &pluginv1.Error{Message: "no snapshot today"}
		}
		return nil
	}
	r := w.start(strings.Replace(line, "retain: 2", "tolerated_failures: 2", 1))
	for i := range 3 {
		w.feed("in", 0, fmt.Sprint(i))
		w.awaitOut("out", i+1)
	}
	w.end("in", 0)
	r.finish()
}

// TestALateSnapshotLosesItsStateAndNeverItsOutput: a checkpoint times out while one
// task's snapshot is still on its way.
func TestALateSnapshotLosesItsStateAndNeverItsOutput(t *testing.T) {
	w := newWorld(t)
	late := make(chan struct{})
	w.script("out").snapshot = func(_ *simTask, b *pluginv1.Barrier) *pluginv1.Error {
		if b.Checkpoint == 1 {
			<-late
		}
		return nil
	}
	w.feed("in", 0, "a")
	r := w.start(strings.Replace(line, "timeout: 20s", "timeout: 1s", 1))
	w.await("the checkpoint times out", func() bool { return r.engine.Status().Failed > 0 })
	close(late)
	w.awaitOut("out", 1)
	w.end("in", 0)
	r.finish()
	w.expectOut("out", "a")
	if h := w.history(); slices.ContainsFunc(h.Records, func(r checkpoint.Record) bool { return r.N == 1 }) {
		t.Error("checkpoint 1 has a record")
	}
}

func TestAnIdlePipelineMakesNoCheckpoint(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitOut("out", 1)
	w.await("nothing changes", func() bool {
		before := w.history().Sequence.Last
		time.Sleep(100 * time.Millisecond)
		return w.history().Sequence.Last == before
	})
	w.feed("in", 0, "b")
	w.awaitOut("out", 2)
	r.stop()
}

// TestOutputThatIsDueIsAChange: a checkpoint comes although no record did.
func TestOutputThatIsDueIsAChange(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitOut("out", 1)
	var n uint64
	w.await("nothing changes", func() bool {
		n = w.history().Sequence.Last
		time.Sleep(100 * time.Millisecond)
		return w.history().Sequence.Last == n
	})
	w.tasksOf("out", 1)[0].change()
	w.await("another checkpoint", func() bool { return w.history().Newest().N > n })
	r.stop()
}

func TestCheckpointNumbersAreNeverUsedTwice(t *testing.T) {
	w := newWorld(t)
	w.script("mid").snapshot = func(_ *simTask, b *pluginv1.Barrier) *pluginv1.Error {
		if b.Checkpoint%2 == 0 {
			return &pluginv1.Error{Message: "no snapshot today"}
		}
		return nil
	}
	for i := range 3 {
		w.feed("in", 0, fmt.Sprint(i))
		r := w.start(line)
		w.awaitOut("out", i+1)
		r.crash()
	}
	seen := map[uint64]bool{}
	for epoch := uint64(1); epoch <= 3; epoch++ {
		for _, b := range w.tasksOf("mid", epoch)[0].seen() {
			if seen[b.Checkpoint] {
				t.Errorf("barrier %d came twice", b.Checkpoint)
			}
			seen[b.Checkpoint] = true
		}
	}
	if len(seen) < 4 {
		t.Errorf("only %d checkpoints", len(seen))
	}
}

func TestACommitIsRepeatedVisiblyUntilItIsAnswered(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	deaf := true
	w.script("out").commit = func(*pluginv1.CommitRequest) (*pluginv1.Error, error) {
		mu.Lock()
		defer mu.Unlock()
		if deaf {
			return &pluginv1.Error{Message: "the archive is closed"}, nil
		}
		return nil, nil
	}
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitEvent("commit out fails", 2)
	w.await("the status says so", func() bool {
		s := r.engine.Status().Uncommitted
		return len(s) == 1 && s[0].Sink == "out" && strings.Contains(s[0].Error, "the archive is closed")
	})
	// Later checkpoints go on meanwhile, and list the same output again.
	w.feed("in", 0, "b")
	n := w.history().Newest().N
	w.await("another checkpoint", func() bool { return w.history().Newest().N > n })
	if newest := w.history().Newest(); newest.Committables != 2 {
		t.Errorf("checkpoint %d lists %d committables, want both", newest.N, newest.Committables)
	}
	mu.Lock()
	deaf = false
	mu.Unlock()
	w.awaitOut("out", 2)
	w.await("the status is clean", func() bool { return len(r.engine.Status().Uncommitted) == 0 })
	w.end("in", 0)
	r.finish()
	w.expectOut("out", "a", "b")
	if s := r.engine.Status(); s.Restarts.Total != 0 {
		t.Errorf("%d restarts", s.Restarts.Total)
	}
}

// TestASinkThatAwaitsCommitsFailsNoCheckpoint: it takes no data while its commits
// are not answered, so that a barrier waits behind the data for longer than a
// checkpoint may take.
func TestASinkThatAwaitsCommitsFailsNoCheckpoint(t *testing.T) {
	w := newWorld(t)
	answer := make(chan struct{})
	w.script("out").commit = func(*pluginv1.CommitRequest) (*pluginv1.Error, error) {
		<-answer
		return nil, nil
	}
	awaiting := func(waiting bool) *pluginv1.ControlResponse {
		return &pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_AwaitingCommits{
			AwaitingCommits: &pluginv1.AwaitingCommits{Waiting: waiting},
		}}
	}
	first := true
	w.script("out").frame = func(tk *simTask) bool {
		if len(tk.seen()) == 0 || !first {
			return true
		}
		first = false
		tk.say(awaiting(true))
		w.await("the first output is committed for good", func() bool {
			tk.mu.Lock()
			defer tk.mu.Unlock()
			return tk.committed >= 1
		})
		tk.say(awaiting(false))
		return true
	}
	w.feed("in", 0, "a")
	r := w.start(strings.Replace(line, "timeout: 20s", "timeout: 1s", 1))
	w.awaitEvent("pass out[0] 1", 1)
	w.feed("in", 0, "b")
	w.await("the status says so", func() bool {
		s := r.engine.Status().Uncommitted
		return len(s) == 1 && s[0].Sink == "out" && s[0].TakesNoData
	})
	time.Sleep(1500 * time.Millisecond) // longer than a checkpoint may take
	if s := r.engine.Status(); s.Failed != 0 || s.Restarts.Total != 0 {
		t.Errorf("%d checkpoints failed, %d restarts", s.Failed, s.Restarts.Total)
	}
	close(answer)
	w.awaitOut("out", 2)
	w.await("the status is clean", func() bool { return len(r.engine.Status().Uncommitted) == 0 })
	w.end("in", 0)
	r.finish()
	w.expectOut("out", "a", "b")
	if s := r.engine.Status(); s.Failed != 0 {
		t.Errorf("%d checkpoints failed", s.Failed)
	}
}

func TestACommitThatFailsForGoodFailsThePipeline(t *testing.T) {
	w := newWorld(t)
	w.script("out").commit = func(*pluginv1.CommitRequest) (*pluginv1.Error, error) {
		return &pluginv1.Error{Class: pluginv1.Error_CLASS_FATAL, Message: "the transaction is gone"}, nil
	}
	w.feed("in", 0, "a")
	r := w.start(line)
	_, err := r.wait()
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "node out", "commit failed for good", "the transaction is gone")
	if s := r.engine.Status(); s.Restarts.Total != 0 || s.State != engine.StateFailed {
		t.Errorf("%d restarts, state %s", s.Restarts.Total, s.State)
	}
}

// TestCommitsOfOneNodeComeOneAtATimeOldestFirst.
func TestCommitsOfOneNodeComeOneAtATimeOldestFirst(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	inside, together := 0, false
	var order []uint64
	w.script("out").commit = func(r *pluginv1.CommitRequest) (*pluginv1.Error, error) {
		mu.Lock()
		inside++
		together = together || inside > 1
		for _, e := range r.Committables {
			order = append(order, e.Checkpoint)
		}
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		mu.Lock()
		inside--
		mu.Unlock()
		return nil, nil
	}
	r := w.start(line)
	for i := range 8 {
		w.feed("in", 0, fmt.Sprint(i))
		w.awaitEvent("pass out[0]", len(w.happened("pass out[0]"))+1)
	}
	w.end("in", 0)
	r.finish()
	mu.Lock()
	defer mu.Unlock()
	if together || !slices.IsSorted(order) {
		t.Errorf("together %v, order %v", together, order)
	}
}

// TestAStateOfManyMegabytesIsRestoredWhole: it travels in parts, both ways.
func TestAStateOfManyMegabytesIsRestoredWhole(t *testing.T) {
	w := newWorld(t)
	big := make([]byte, 5<<20)
	for i := range big {
		big[i] = byte(i * 7)
	}
	const part = 700 << 10
	w.script("mid").entries = func(_ *simTask, b *pluginv1.Barrier) []*pluginv1.Entry {
		var parts []*pluginv1.Entry
		for at := 0; at < len(big); at += part {
			end := min(at+part, len(big))
			parts = append(parts, &pluginv1.Entry{Kind: pluginv1.Entry_KIND_BROADCAST, Id: "big", More: end < len(big), Content: &pluginv1.Entry_Payload{Payload: big[at:end]}})
		}
		return parts
	}
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitOut("out", 1)
	r.crash()
	w.end("in", 0)
	w.start(line).finish()
	var whole []byte
	parts := 0
	for _, e := range w.tasksOf("mid", 2)[0].restored {
		if e.Id == "big" {
			whole = append(whole, e.GetPayload()...)
			parts++
		}
	}
	if parts < 2 || !slices.Equal(whole, big) {
		t.Errorf("%d parts of %d bytes", parts, len(whole))
	}
}
