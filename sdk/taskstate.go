package sdk

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Redistribute says what becomes of the items of a [TaskList] when the parallelism
// changes.
type Redistribute int

// The ways to redistribute.
const (
	// Spread: each item goes to one task.
	Spread Redistribute = iota
	// Union: each task gets all items of all tasks, at every restart.
	Union
)

// TaskState is state of a task that belongs to no key, of any component but a
// source's enumerator. Any goroutine may use it; what is set is in the next
// checkpoint. In a source it is not tied to positions: a checkpoint may hold what a
// Read has set that it does not count yet.
type TaskState[T any] struct {
	name  string
	kind  pluginv1.Entry_Kind
	union bool

	mu    sync.Mutex
	items []T
}

// taskStates are those of a task, for its snapshots.
type taskStates []taskState

type taskState interface {
	stateName() string
	entries() ([]*pluginv1.Entry, error)
}

// TaskList opens a list of the task, while the component opens; items are encoded
// as JSON. A task that a checkpoint is restored into finds what [Redistribute] says.
func TaskList[T any](t *Task, name string, r Redistribute) *TaskState[T] {
	return openTaskState[T](t, name, pluginv1.Entry_KIND_LIST, r == Union)
}

// BroadcastState is a value that is the same on every task.
type BroadcastState[T any] struct{ list *TaskState[T] }

// BroadcastValue opens a value that is the same on every task, while the component opens:
// each task must set it alike, from what comes to all of them. After a restart each
// has what one of them had. It is encoded as JSON.
func BroadcastValue[T any](t *Task, name string) *BroadcastState[T] {
	return &BroadcastState[T]{openTaskState[T](t, name, pluginv1.Entry_KIND_BROADCAST, false)}
}

func openTaskState[T any](t *Task, name string, kind pluginv1.Entry_Kind, union bool) *TaskState[T] {
	s := &TaskState[T]{name: name, kind: kind, union: union}
	fault := func(format string, args ...any) {
		t.faults = append(t.faults, fmt.Errorf("node %s: task state %q: %w", t.Node, name, fmt.Errorf(format, args...)))
	}
	if !stateName.MatchString(name) {
		fault("the name is not letters, digits, _ and -, beginning with a letter")
	}
	if slices.ContainsFunc(t.taskStates, func(o taskState) bool { return o.stateName() == name }) {
		fault("two have this name")
	}
	for _, e := range t.restored {
		if e.GetId() != name || e.GetKind() != pluginv1.Entry_KIND_LIST && e.GetKind() != pluginv1.Entry_KIND_BROADCAST {
			continue
		}
		var v T
		if err := json.Unmarshal(e.GetPayload(), &v); err != nil {
			fault("in the checkpoint: %w", err)
			break
		}
		s.items = append(s.items, v)
	}
	t.taskStates = append(t.taskStates, s)
	return s
}

func (s *TaskState[T]) stateName() string { return s.name }

func (s *TaskState[T]) entries() ([]*pluginv1.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*pluginv1.Entry, len(s.items))
	for i, v := range s.items {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, Fatal(fmt.Errorf("task state %q as JSON: %w", s.name, err))
		}
		out[i] = &pluginv1.Entry{
			Kind: s.kind, Id: s.name, Union: s.union, Content: &pluginv1.Entry_Payload{Payload: raw},
		}
	}
	return out, nil
}

// Get returns the items. The slice is the caller's, what its items point to is not.
func (s *TaskState[T]) Get() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.items)
}

// Set makes these the items.
func (s *TaskState[T]) Set(items ...T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = slices.Clone(items)
}

// Add adds items.
func (s *TaskState[T]) Add(items ...T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, items...)
}

// Get returns the value, and whether there is one. What it points to must not be
// changed: set another value.
func (s *BroadcastState[T]) Get() (v T, ok bool) {
	items := s.list.Get()
	if len(items) == 0 {
		return v, false
	}
	return items[0], true
}

// Set sets the value.
func (s *BroadcastState[T]) Set(v T) { s.list.Set(v) }

// Clear removes the value.
func (s *BroadcastState[T]) Clear() { s.list.Set() }

// snapshot returns the entries of all.
func (s taskStates) snapshot() ([]*pluginv1.Entry, error) {
	var out []*pluginv1.Entry
	for _, state := range s {
		es, err := state.entries()
		if err != nil {
			return nil, err
		}
		out = append(out, es...)
	}
	return out, nil
}
