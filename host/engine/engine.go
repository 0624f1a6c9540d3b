// Package engine runs a pipeline: epoch after epoch it restores the newest
// checkpoint, opens the tasks in their plugin processes, drives checkpoints and
// commits, and rolls back when anything fails.
//
// The way down, from the whole to the part:
//
//	Engine       a leader and a worker in one process
//
//	Leader       restarts, within the restart policy, until the pipeline has
//	             finished, was stopped, or failed
//	epoch        one epoch: begin, restore, commit, sweep, open, run, close
//	driver       carries the checkpoint coordinator's actions out
//
//	Hosts        how a leader reaches workers: by a call where there is one host,
//	             through coordination in a cluster
//
//	Worker       one pipeline's tasks on one host, and their processes
//	generation   one epoch of them
//	plan         which tasks there are, where they run, what connects them
//	snapshots    gathers what tasks report and acks for this host
//	publisher    commits a sink's output, record after record
//
// The data does not pass through here: it flows between host/task and
// host/edge.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/process"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Process is a running plugin; see [process.Process] for what each method
// promises.
type Process interface {
	Client() pluginv1.PluginClient
	Done() <-chan struct{}
	Err() *process.ExitError
	Stop(ctx context.Context) error
	Kill(reason string)
}

// StartFunc returns a running process of the plugin, which the caller then owns.
type StartFunc func(ctx context.Context, p pipeline.Plugin) (Process, error)

// Config is what an Engine works with. Everything is required unless it says
// otherwise.
type Config struct {
	Cluster    string // part of the names that sinks make outside; may be empty
	Pipeline   *pipeline.Pipeline
	Store      coordination.Store
	Leadership checkpoint.Leadership
	Storage    *storage.Storage
	Start      StartFunc
	Log        *slog.Logger
	// Scratch, as in [WorkerConfig]. Optional where no node keeps state on disk.
	Scratch string
	// AcceptDuplicates lets a damaged newest checkpoint be passed over although
	// its output may have been published.
	AcceptDuplicates bool
	// From is the checkpoint's number or the savepoint's name that the first epoch
	// starts from; empty for the newest. Withdraw lets sinks withdraw what was
	// published after it.
	From     string
	Withdraw bool
	// AllowDropped are ids of nodes whose state may be dropped, since they are not in
	// the pipeline any more.
	AllowDropped []string
	// Until says when the run stops by itself, as on Stop.
	Until Until
	// DryRun keeps sources from telling the outside how far they have come.
	DryRun bool
	// OnCheckpoint, as in [LeaderConfig]. Optional.
	OnCheckpoint func(CheckpointTrace)
	// OnStep is called at each step, on the goroutine that takes it, if it is set.
	// It is for tests that let something die there.
	OnStep func(Step)
}

// Engine runs one pipeline on one host that is its own leader. Run is called once;
// the other methods may be called at any time from any goroutine.
type Engine struct {
	leader  *Leader
	worker  *Worker
	until   Until
	started time.Time
}

// New returns an engine that has not begun.
func New(c Config) *Engine {
	w := NewWorker(WorkerConfig{
		Host: hostName, Cluster: c.Cluster, Pipeline: c.Pipeline, Storage: c.Storage, Start: c.Start, Log: c.Log,
		Scratch: c.Scratch, ReadRecords: c.Until.Records, DryRun: c.DryRun, OnStep: c.OnStep,
	})
	return &Engine{
		leader: NewLeader(LeaderConfig{
			Topology: w.plan.topology(), Store: c.Store, Leadership: c.Leadership, Storage: c.Storage,
			Hosts: &local{w}, Log: c.Log, AcceptDuplicates: c.AcceptDuplicates,
			From: c.From, Withdraw: c.Withdraw, AllowDropped: c.AllowDropped, OnStep: c.OnStep,
			OnCheckpoint: c.OnCheckpoint,
		}),
		worker:  w,
		until:   c.Until,
		started: time.Now(),
	}
}

// Run runs the pipeline until it has finished, was stopped, or failed. When ctx
// ends it stops at once, without a final checkpoint: the next run resumes from the
// newest. Every process has ended when Run returns.
func (e *Engine) Run(ctx context.Context) (Outcome, error) {
	defer e.worker.Close(ctx.Err() != nil)
	if e.until == (Until{}) {
		return e.leader.Run(ctx)
	}
	watch, end := context.WithCancel(ctx)
	reached := make(chan error, 1)
	go func() { reached <- e.watchUntil(watch) }()
	out, err := e.leader.Run(ctx)
	end()
	return out, errors.Join(err, <-reached)
}

// Stop asks for a final checkpoint, after which Run returns.
func (e *Engine) Stop() { e.leader.Stop() }

// Savepoint makes a checkpoint that is kept under a name; see [Leader.Savepoint].
func (e *Engine) Savepoint(ctx context.Context, name string) error {
	return e.leader.Savepoint(ctx, name)
}

// StopWithSavepoint is Stop, with the final checkpoint kept under a name; see
// [Leader.StopWithSavepoint].
func (e *Engine) StopWithSavepoint(ctx context.Context, name string) error {
	return e.leader.StopWithSavepoint(ctx, name)
}

// LevelsChanged is [Worker.LevelsChanged].
func (e *Engine) LevelsChanged() { e.worker.LevelsChanged() }

// Tap begins to show what passes on an output; see [Worker.Tap]. Untap ends it.
func (e *Engine) Tap(node, output string) *Tap { return e.worker.Tap(node, output) }

// Untap closes a tap.
func (e *Engine) Untap(t *Tap) { e.worker.Untap(t) }

// Leader pictures what the engine's leader knows now.
func (e *Engine) Leader() LeaderStatus { return e.leader.Status() }

// Tasks pictures every task now.
func (e *Engine) Tasks() []TaskStatus { return e.worker.Tasks() }

// UID is the identity of the pipeline's state, once an epoch has begun.
func (e *Engine) UID() string { return e.worker.UID() }

// Status pictures the pipeline now.
func (e *Engine) Status() Status {
	l, w, t := e.leader.Status(), e.worker.Status(), e.leader.Topology
	s := Status{
		Name: t.Name, State: l.State, Epoch: l.Epoch, Started: e.started, Nodes: w.Nodes,
		Last: l.Last, InFlight: l.InFlight, SlowestCheckpoint: l.Slowest, Completed: l.Completed, Failed: l.Failed,
		BytesInFlight: w.BytesInFlight, PeakBytesInFlight: w.PeakBytesInFlight,
		Uncommitted: w.Uncommitted, Guarantees: t.Guarantees,
		Restarts: RestartStatus{
			Used: len(l.Restarts), Allowed: t.Restart.Attempts, Total: l.Total, Cause: l.Cause,
		},
	}
	if s.InFlight != nil {
		s.InFlight.Tasks, s.InFlight.Awaited = e.worker.Awaited(s.InFlight.Number), nil
		for _, t := range s.InFlight.Tasks {
			s.InFlight.Awaited = append(s.InFlight.Awaited, t.Task)
		}
	}
	return s
}
