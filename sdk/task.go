package sdk

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/state"
	"github.com/weirstream/weir/sdk/internal/task"
)

// Owner names who acts. Whatever a component makes outside its process (files,
// transactional ids, objects) carries UID, Node and Epoch in its name: a process
// of an earlier epoch may be paused and wake at any time, and only names keep
// what it writes then from being taken for ours.
type Owner struct {
	Cluster  string
	Pipeline string
	// UID is random, made when the pipeline was created, and never used again.
	UID  string
	Node string
	// Epoch grows with every start of the pipeline's tasks.
	Epoch uint64
}

// Guarantee is what the pipeline asks of a node.
type Guarantee int

// The guarantees.
const (
	AtLeastOnce Guarantee = iota
	ExactlyOnce
)

// String returns the guarantee as a pipeline file writes it.
func (g Guarantee) String() string {
	if g == ExactlyOnce {
		return "exactly_once"
	}
	return "at_least_once"
}

// Task is what an instance of a component knows of the task that it runs in.
type Task struct {
	Owner
	// Index is the task's place among the node's tasks, from 0 to Parallelism-1.
	Index          int
	Parallelism    int
	MaxParallelism int
	// Guarantee is what the pipeline asks for. A [TwoPhase] sink prepares its
	// output either way.
	Guarantee Guarantee
	// MaxRecord is the largest record that the pipeline lets pass, in bytes.
	MaxRecord int
	// Pool is how many names a sink's task may keep in use outside at a time, such
	// as transactional ids; [Committer.Sweep] is told the same number.
	Pool int
	// Commits says how far output is committed; for sinks.
	Commits *Commits
	// RestoredCheckpoint is the checkpoint that the task was restored from, or 0.
	RestoredCheckpoint uint64
	// Log reaches the host's log with pipeline, node and task.
	Log *slog.Logger
	// Metrics reach the host's metrics with the same labels.
	Metrics *Metrics

	restored   []*pluginv1.Entry
	taskStates taskStates
	keyed      *state.Keyed // nil without keyed state
	now        func() int64
	input      string   // of the record at hand
	dropped    []string // by DropState
	faults     []error  // of declarations of state
	stateErr   error    // of a value of state; the call fails with it
}

// keyedState returns the task's keyed state. Without any it panics: the author's
// mistake.
func (t *Task) keyedState() *state.Keyed {
	if t.keyed == nil {
		panic("state by key and timers are for a KeyedOperator")
	}
	return t.keyed
}

// checkState returns what is wrong with the state that was declared while the
// component opened, and what a checkpoint holds that was not. The instance that
// was opened is closed then.
func (t *Task) checkState(inner interface{ Close() error }) error {
	faults := t.faults
	lost := func(name string) {
		if !slices.Contains(t.dropped, name) {
			faults = append(faults, fmt.Errorf("node %s: the checkpoint holds a state %q that component and configuration do not have any more: drop it with sdk.DropState, or bring it back", t.Node, name))
		}
	}
	if t.keyed != nil {
		for _, name := range t.keyed.Unclaimed() {
			lost(name)
			if err := t.keyed.Drop(name); err != nil {
				faults = append(faults, fmt.Errorf("node %s: drop state %q: %w", t.Node, name, err))
			}
		}
		if err := t.keyed.Opened(); err != nil {
			faults = append(faults, fmt.Errorf("node %s: restored state: %w", t.Node, err))
		}
	}
	seen := map[string]bool{}
	for _, e := range t.restored {
		list := e.GetKind() == pluginv1.Entry_KIND_LIST || e.GetKind() == pluginv1.Entry_KIND_BROADCAST
		if !list || seen[e.GetId()] {
			continue
		}
		seen[e.GetId()] = true
		if !slices.ContainsFunc(t.taskStates, func(s taskState) bool { return s.stateName() == e.GetId() }) {
			lost(e.GetId())
		}
	}
	t.faults = nil
	if len(faults) == 0 {
		return nil
	}
	// That the opening failed is said already.
	_ = inner.Close()
	return Fatal(errors.Join(faults...))
}

// Node is what a [Committer] knows of itself: it belongs to a node of a pipeline,
// not to a task.
type Node struct {
	Owner
	Log *slog.Logger
}

func ownerOf(o *pluginv1.Owner) Owner {
	return Owner{
		Cluster:  o.GetCluster(),
		Pipeline: o.GetPipeline(),
		UID:      o.GetUid(),
		Node:     o.GetNode(),
		Epoch:    o.GetEpoch(),
	}
}

func taskOf(env *task.Env) *Task {
	t := &Task{
		Owner:              ownerOf(env.Owner),
		Index:              env.Index,
		Parallelism:        env.Parallelism,
		MaxParallelism:     env.MaxParallelism,
		MaxRecord:          env.MaxRecord,
		Pool:               env.Pool,
		Commits:            &Commits{env.Commits},
		RestoredCheckpoint: env.RestoredCheckpoint,
		Log:                env.Log,
		Metrics:            &Metrics{env.Metrics},
		restored:           env.Restored,
		now:                env.Now,
	}
	if env.Guarantee == pluginv1.Guarantee_GUARANTEE_EXACTLY_ONCE {
		t.Guarantee = ExactlyOnce
	}
	return t
}
