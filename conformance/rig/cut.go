package rig

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/checkpoint"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// Cut is one checkpoint of a stage: what each task put into it, and what each had
// sent before its barrier.
type Cut struct {
	Checkpoint uint64
	// Ended says that the barrier ended the input.
	Ended bool
	// Tasks are the entries of each worker, Enumerator those of the enumerator.
	Tasks      [][]*pluginv1.Entry
	Enumerator []*pluginv1.Entry
	// Named are the files that the workers named; their entries, and those that refer
	// to earlier ones, have the bytes for payload.
	Named []NamedFile

	inFiles map[fileKey]bool
	before  [][]Event // each worker's frames in front of the barrier
	stage   *Stage
}

// BarrierOption is a flag of a barrier.
type BarrierOption func(*pluginv1.Barrier)

// End says that the last input ends with the barrier.
func End(b *pluginv1.Barrier) { b.End = true }

// Halt says that nothing is read or processed behind it.
func Halt(b *pluginv1.Barrier) { b.Halt = true }

// Roll says that sinks prepare all they hold.
func Roll(b *pluginv1.Barrier) { b.Roll = true }

// Checkpoint sends the next barrier and waits until every task has passed it on
// and handed its snapshot over.
func (s *Stage) Checkpoint(options ...BarrierOption) *Cut {
	return s.AwaitCut(s.Trigger(options...))
}

// Trigger sends the next barrier and waits for nothing.
func (s *Stage) Trigger(options ...BarrierOption) *pluginv1.Barrier {
	s.mu.Lock()
	s.barriers++
	b := &pluginv1.Barrier{Checkpoint: s.barriers}
	s.mu.Unlock()
	for _, o := range options {
		o(b)
	}
	frame := &pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: b}}
	if s.Enumerator != nil {
		s.Enumerator.message(frame)
		return b
	}
	for _, t := range s.Tasks {
		t.message(proto.CloneOf(frame))
	}
	return b
}

// Last is the number of the last barrier.
func (s *Stage) Last() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.barriers
}

// Haunt sends the next barrier to tasks that are to be dead, and waits until they
// have passed it or have failed, which is as good, for a few seconds.
func (s *Stage) Haunt(options ...BarrierOption) {
	b := s.Trigger(options...)
	deadline := time.Now().Add(5 * time.Second)
	for _, t := range s.Tasks {
		for time.Now().Before(deadline) && s.t.Context().Err() == nil {
			passed := false
			t.look(func() {
				for _, sn := range t.snapshots {
					passed = passed || sn.Checkpoint == b.Checkpoint
				}
			})
			select {
			case <-t.Failing():
				passed = true
			case <-time.After(5 * time.Millisecond):
			}
			if passed {
				break
			}
		}
	}
}

// AwaitBarrier waits until every task has passed the barrier on.
func (s *Stage) AwaitBarrier(b *pluginv1.Barrier) {
	for _, t := range s.all() {
		t.await(fmt.Sprintf("barrier %d", b.Checkpoint), func() bool { return indexOfBarrier(t.events, b.Checkpoint) >= 0 })
	}
}

// AwaitCut waits for the checkpoint of a barrier.
func (s *Stage) AwaitCut(b *pluginv1.Barrier) *Cut {
	c := &Cut{Checkpoint: b.Checkpoint, Ended: b.End, stage: s, inFiles: map[fileKey]bool{}}
	for _, t := range s.all() {
		at := -1
		t.await(fmt.Sprintf("barrier %d", b.Checkpoint), func() bool {
			at = indexOfBarrier(t.events, b.Checkpoint)
			return at >= 0
		})
		var entries []*pluginv1.Entry
		var failed error
		t.await(fmt.Sprintf("the snapshot of checkpoint %d", b.Checkpoint), func() bool {
			for _, sn := range t.snapshots {
				if sn.Checkpoint == b.Checkpoint {
					entries, failed = sn.Entries, sn.Err
					return true
				}
			}
			return false
		})
		if failed != nil {
			s.t.Fatalf("task %s could not make the snapshot of checkpoint %d: %v", t.ID, b.Checkpoint, failed)
		}
		if t == s.Enumerator {
			c.Enumerator = entries
			continue
		}
		entries, err := c.readFiles(t, len(c.Tasks), entries)
		if err != nil {
			s.t.Fatalf("the snapshot of checkpoint %d of task %s: %v", b.Checkpoint, t.ID, err)
		}
		c.Tasks = append(c.Tasks, entries)
		c.before = append(c.before, t.Events()[:at])
	}
	return c
}

func indexOfBarrier(events []Event, n uint64) int {
	for i, e := range events {
		if e.Kind == wire.KindBarrier && e.Message.GetBarrier().GetCheckpoint() == n {
			return i
		}
	}
	return -1
}

// Complete tells every task that the checkpoint's record is durable.
func (c *Cut) Complete() {
	for i, t := range c.stage.Tasks {
		t.mu.Lock()
		if c.Checkpoint > t.completed.checkpoint {
			t.completed = stored{c.Checkpoint, c.Tasks[i]}
		}
		t.mu.Unlock()
	}
	for _, t := range c.stage.all() {
		t.Completed(c.Checkpoint)
	}
}

// Abort tells every task that the checkpoint's record will never be written.
func (c *Cut) Abort() {
	for _, t := range c.stage.all() {
		t.Aborted(c.Checkpoint)
	}
}

// Received are the records that a task had sent by an output before the barrier,
// since the stage was opened.
func (c *Cut) Received(task int, output string) []Received {
	return received(c.before[task], uint32(len(c.stage.Open.Chain)-1), c.stage.Output(output))
}

// ReceivedAll are those of all tasks, task by task.
func (c *Cut) ReceivedAll(output string) (out []Received) {
	for i := range c.before {
		out = append(out, c.Received(i, output)...)
	}
	return out
}

// Entries are the workers' entries of a kind.
func (c *Cut) Entries(kind pluginv1.Entry_Kind) (out []*pluginv1.Entry) {
	for _, entries := range c.Tasks {
		for _, e := range entries {
			if e.Kind == kind {
				out = append(out, e)
			}
		}
	}
	return out
}

// Committables are what sinks have prepared, as Commit gets it.
func (c *Cut) Committables() []*pluginv1.Entry {
	var out []*pluginv1.Entry
	for _, e := range c.Entries(pluginv1.Entry_KIND_COMMITTABLE) {
		e = proto.CloneOf(e)
		e.Checkpoint = c.Checkpoint
		out = append(out, e)
	}
	return out
}

// deal routes the cut's entries to a number of tasks, as a restore does, says which are
// files, and lists the splits that readers hold.
func (c *Cut) deal(parallelism int) (entries [][]*pluginv1.Entry, inFiles map[*pluginv1.Entry]bool, held []string) {
	entries, inFiles = make([][]*pluginv1.Entry, parallelism), map[*pluginv1.Entry]bool{}
	if c == nil {
		return entries, inFiles, nil
	}
	router := checkpoint.NewRouter(len(c.Tasks), parallelism, c.stage.Open.groups(), nil)
	for from, list := range c.Tasks {
		for _, e := range list {
			if e.Kind == pluginv1.Entry_KIND_SPLIT {
				held = append(held, e.Id)
			}
			for _, to := range router.Route(from, e) {
				mine := proto.CloneOf(e)
				entries[to] = append(entries[to], mine)
				inFiles[mine] = e.Kind == kindFile && c.inFiles[fileKey{from, e.Id}]
			}
		}
	}
	return entries, inFiles, held
}

func (c *Cut) enumerator() []*pluginv1.Entry {
	if c == nil {
		return nil
	}
	return c.Enumerator
}

// NamePool is how many names a sink's task may keep in use outside: more than a case
// takes checkpoints without a commit.
const NamePool = 32

// Committed tells every task that all output up to a checkpoint is published.
func (s *Stage) Committed(through uint64) {
	for _, t := range s.Tasks {
		t.Committed(through)
	}
}
