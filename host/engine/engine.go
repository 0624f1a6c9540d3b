// Package engine runs a pipeline on this host: epoch after epoch it restores the
// newest checkpoint, opens the tasks in their plugin processes, drives
// checkpoints and commits, and rolls back when anything fails.
//
// The way down, from the whole to the part:
//
//	Engine       restarts, within the restart policy, until the pipeline has
//	             finished, was stopped, or failed
//	generation   one epoch: begin, restore, commit, sweep, open, run, close
//	plan         which tasks there are, where they run, what connects them
//	leader       carries the checkpoint coordinator's actions out
//	snapshots    gathers what tasks report and acks for this host
//	publisher    commits a sink's output, record after record
//
// The data does not pass through here: it flows between host/task and
// host/edge.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/process"
	"github.com/weirstream/weir/host/task"
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
	// AcceptDuplicates lets a damaged newest checkpoint be passed over although
	// its output may have been published.
	AcceptDuplicates bool
	// OnStep is called at each step, on the goroutine that takes it, if it is set.
	// It is for tests that let something die there.
	OnStep func(Step)
}

// Engine runs one pipeline. Run is called once; the other methods may be called
// at any time from any goroutine.
type Engine struct {
	Config
	ledger  *checkpoint.Ledger
	plan    *plan
	pool    *pool
	meter   *meter
	started time.Time
	probed  bool // the outside was asked; only the goroutine of Run uses it

	stopOnce sync.Once
	stopping chan struct{}

	mu       sync.Mutex
	state    State
	epoch    uint64
	current  *generation
	restarts []time.Time
	total    int
	cause    error
	last     *CheckpointEnd
	complete int
	failed   int
	peak     int // bytes in flight
	slowest  time.Duration
}

// New returns an engine that has not begun.
func New(c Config) *Engine {
	return &Engine{
		Config:   c,
		ledger:   checkpoint.NewLedger(c.Store, c.Leadership, c.Pipeline.Name),
		plan:     newPlan(c.Pipeline),
		pool:     newPool(c.Start),
		meter:    newMeter(),
		started:  time.Now(),
		stopping: make(chan struct{}),
		state:    StateRestoring,
	}
}

// Outcome is how a run ended without failing.
type Outcome struct {
	// Finished: all input has been read and all output is published. Otherwise
	// the pipeline was stopped and will resume.
	Finished bool
	// Before: it had finished in an earlier run, at that time.
	Before *time.Time
	// Uncommitted names the hosts whose output was still unpublished when the
	// drain timeout passed. The next run publishes it.
	Uncommitted []string
	Checkpoint  uint64
}

// Stop asks for a final checkpoint, after which Run returns.
func (e *Engine) Stop() { e.stopOnce.Do(func() { close(e.stopping) }) }

// Run runs the pipeline until it has finished, was stopped, or failed. When ctx
// ends it stops at once, without a final checkpoint: the next run resumes from the
// newest. Every process has ended when Run returns.
func (e *Engine) Run(ctx context.Context) (Outcome, error) {
	defer e.pool.close()
	if at, err := e.finishedBefore(ctx); err != nil || at != nil {
		if err == nil {
			e.setState(StateFinished)
		}
		return Outcome{Finished: true, Before: at}, err
	}
	for {
		stop, err := e.generation(ctx)
		e.meter.rollover()
		if err == nil {
			e.setState(map[bool]State{true: StateFinished, false: StateStopped}[stop.Finished])
			out := Outcome{Finished: stop.Finished, Checkpoint: stop.N}
			if stop.Uncommitted {
				out.Uncommitted = stop.Waiting
			}
			return out, nil
		}
		if ctx.Err() != nil {
			e.setState(StateStopped)
			return Outcome{}, context.Cause(ctx)
		}
		wait, err := e.restart(err)
		if err != nil {
			e.setState(StateFailed)
			return Outcome{}, err
		}
		e.setState(StateWaiting)
		select {
		case <-time.After(wait):
		case <-e.stopping:
			// Everything up to the newest checkpoint is safe already.
			e.setState(StateStopped)
			return Outcome{}, nil
		case <-ctx.Done():
			e.setState(StateStopped)
			return Outcome{}, context.Cause(ctx)
		}
	}
}

// finishedBefore says when an earlier run finished, or nil.
func (e *Engine) finishedBefore(ctx context.Context) (*time.Time, error) {
	h, err := e.ledger.Load(ctx)
	if errors.Is(err, coordination.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the records of pipeline %s: %w", e.Pipeline.Name, err)
	}
	for _, r := range h.Records {
		if r.State == checkpoint.Finished {
			return &r.CompletedAt, nil
		}
		if r.State != checkpoint.Abandoned {
			break
		}
	}
	return nil, nil
}

// restart says how long to wait before the next epoch, or why there is none.
func (e *Engine) restart(cause error) (time.Duration, error) {
	var fatal *fatalError
	var incompatible *IncompatibleError
	var damaged *checkpoint.RestoreError
	if errors.As(cause, &fatal) || errors.As(cause, &incompatible) || errors.As(cause, &damaged) || task.Fatal(cause) {
		return 0, cause
	}
	policy := e.Pipeline.Restart
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cause = cause
	recent := e.restarts[:0]
	for _, t := range e.restarts {
		if now.Sub(t) < policy.Window {
			recent = append(recent, t)
		}
	}
	e.restarts = recent
	if len(recent) >= policy.Attempts {
		return 0, fmt.Errorf("%w\nthe restart policy allows %d restarts within %v, and all are used", cause, policy.Attempts, policy.Window)
	}
	// Doubling from Min to Max, with a jitter of a quarter.
	wait := policy.Backoff.Min << min(len(recent), 30)
	if wait > policy.Backoff.Max || wait <= 0 {
		wait = policy.Backoff.Max
	}
	wait -= time.Duration(rand.Int64N(int64(wait)/4 + 1))
	var failed *task.Error
	if errors.As(cause, &failed) && failed.RetryAfter > wait {
		wait = failed.RetryAfter
	}
	e.restarts = append(e.restarts, now)
	e.total++
	e.Log.Warn("rolling back to the last checkpoint", "in", wait.Round(time.Millisecond), "restart", len(e.restarts), "allowed", policy.Attempts, "cause", cause)
	return wait, nil
}

func (e *Engine) setState(s State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state = s
}

// setRunning notes the epoch that runs, or that none does.
func (e *Engine) setRunning(g *generation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.current = g
	if g != nil {
		e.state = StateRunning
	}
}

// Status pictures the pipeline now.
func (e *Engine) Status() Status {
	e.mu.Lock()
	s := Status{
		Name: e.Pipeline.Name, State: e.state, Epoch: e.epoch, Started: e.started,
		Last: e.last, Completed: e.complete, Failed: e.failed, PeakBytesInFlight: e.peak, SlowestCheckpoint: e.slowest, Guarantees: e.Pipeline.Guarantees,
		Restarts: RestartStatus{Used: len(e.restarts), Allowed: e.Pipeline.Restart.Attempts, Total: e.total},
	}
	if e.cause != nil {
		s.Restarts.Cause = e.cause.Error()
	}
	g := e.current
	e.mu.Unlock()
	s.Nodes = e.meter.status(e.Pipeline)
	if g != nil {
		s.InFlight = g.inFlight()
		s.BytesInFlight = g.wiring.queued()
		s.Uncommitted = g.unpublished()
	}
	return s
}
