package sdk

import (
	"log/slog"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
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
	// RestoredCheckpoint is the checkpoint that the task was restored from, or 0.
	RestoredCheckpoint uint64
	// Log reaches the host's log with pipeline, node and task.
	Log *slog.Logger
	// Metrics reach the host's metrics with the same labels.
	Metrics *Metrics

	restored []*pluginv1.Entry
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
		RestoredCheckpoint: env.RestoredCheckpoint,
		Log:                env.Log,
		Metrics:            &Metrics{env.Metrics},
		restored:           env.Restored,
	}
	if env.Guarantee == pluginv1.Guarantee_GUARANTEE_EXACTLY_ONCE {
		t.Guarantee = ExactlyOnce
	}
	return t
}
