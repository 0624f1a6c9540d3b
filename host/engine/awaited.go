package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/task"
)

// AwaitedTask is a task that a checkpoint waits for, and what it is about.
type AwaitedTask struct {
	Task  string    `json:"task"`
	Phase TaskPhase `json:"phase"`
	Since time.Time `json:"since"`
	// Channels have not delivered the barrier, where others have.
	Channels []string `json:"channels,omitempty"`
}

// TaskPhase is how far a task has come with its part of a checkpoint.
type TaskPhase string

// The phases, in order.
const (
	TaskBarrier  TaskPhase = "barrier"  // no channel has delivered the barrier
	TaskAlign    TaskPhase = "align"    // some channels have not
	TaskProcess  TaskPhase = "process"  // the plugin has not passed it on
	TaskSnapshot TaskPhase = "snapshot" // its state is not all there
	TaskUpload   TaskPhase = "upload"   // its state is being stored
)

// taskProgress is what is known of a task that a checkpoint waits for.
type taskProgress struct {
	align     time.Duration
	delivered time.Time // when its snapshot came
}

// aligned notes how long a task's channels took to deliver a barrier.
func (s *snapshots) aligned(n uint64, id task.ID, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expect(n)
	if p := s.progress(n, id); p != nil {
		p.align = took
	}
}

// delivered notes that a task's snapshot came, and returns what is known of its
// times.
func (s *snapshots) delivered(id task.ID, snap task.Snapshot) checkpoint.Timing {
	s.mu.Lock()
	defer s.mu.Unlock()
	var t checkpoint.Timing
	if p := s.progress(snap.Checkpoint, id); p != nil {
		p.delivered, t.Align = snap.Done, p.align
	}
	passed := snap.Passed
	if passed.IsZero() { // the snapshot was faster than the barrier
		passed = snap.Done
	}
	t.Done = snap.Done
	t.Process, t.Snapshot = passed.Sub(snap.Sent), snap.Done.Sub(passed)
	return t
}

// unanswered counts what a sink node has prepared and not been answered as
// committed.
func (s *snapshots) unanswered(node string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.uncommitted[node]; u != nil {
		return u.Len()
	}
	return 0
}

func (s *snapshots) progress(n uint64, id task.ID) *taskProgress {
	if h := s.open[n]; h != nil {
		return h.waiting[id]
	}
	return nil
}

// awaited lists the tasks that have not delivered checkpoint n, and why.
func (g *generation) awaited(n uint64) []AwaitedTask {
	type waiting struct {
		id task.ID
		taskProgress
	}
	var all []waiting
	g.snapshots.mu.Lock()
	if h := g.snapshots.open[n]; h != nil {
		for id, p := range h.waiting {
			all = append(all, waiting{id, *p})
		}
	}
	g.snapshots.mu.Unlock()
	var out []AwaitedTask
	for _, w := range all {
		t := AwaitedTask{Task: w.id.String(), Phase: TaskUpload, Since: w.delivered}
		if w.delivered.IsZero() {
			t = g.atBarrier(n, w.id)
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b AwaitedTask) int { return cmp.Compare(a.Task, b.Task) })
	return out
}

// atBarrier says where the barrier of checkpoint n is that a task has to answer.
func (g *generation) atBarrier(n uint64, id task.ID) AwaitedTask {
	a := AwaitedTask{Task: id.String(), Phase: TaskBarrier}
	g.mu.Lock()
	t, w := g.tasks[id], g.wiring
	g.mu.Unlock()
	if t == nil || w == nil {
		return a
	}
	stage, since := t.Barrier(n)
	switch stage {
	case task.StageProcess:
		a.Phase, a.Since = TaskProcess, since
	case task.StageSnapshot, task.StageDone:
		a.Phase, a.Since = TaskSnapshot, since
	default:
		if at, since, channels := w.inputs[id].Awaited(); at == n {
			a.Phase, a.Since = TaskAlign, since
			for _, c := range channels {
				a.Channels = append(a.Channels, c.String())
			}
		}
	}
	return a
}
