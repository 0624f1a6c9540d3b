package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/task"
)

// LeaderConfig is what a Leader works with. Everything is required unless it says
// otherwise.
type LeaderConfig struct {
	Topology   Topology
	Store      coordination.Store
	Leadership checkpoint.Leadership
	Storage    *storage.Storage
	Hosts      Hosts
	Log        *slog.Logger
	// AcceptDuplicates, as in Config.
	AcceptDuplicates bool
	// From, Withdraw and AllowDropped, as in Config.
	From         string
	Withdraw     bool
	AllowDropped []string
	// Restarts that an earlier leader of the pipeline has counted. Optional.
	Restarts []time.Time
	// Service: the store is a service on other machines. When it does not answer, that
	// is waited for and is no failure of the pipeline.
	Service bool
	// OnStep, as in Config. Optional.
	OnStep func(Step)
	// OnCheckpoint is told what became of each checkpoint, from the goroutine that
	// drives them: it must not block. Optional.
	OnCheckpoint func(CheckpointTrace)
	// OnState is called whenever the state, the epoch or the cause of a restart has
	// changed, from the goroutine of Run. Optional.
	OnState func(LeaderStatus)
}

// Leader runs a pipeline: it begins epoch after epoch, each from the newest
// checkpoint, drives its checkpoints, and begins another when anything fails. Run
// is called once; the other methods may be called at any time from any goroutine.
type Leader struct {
	LeaderConfig
	ledger *checkpoint.Ledger

	stopOnce sync.Once
	stopping chan struct{}

	uncounted []time.Time // of the last minute; only Run's goroutine uses it

	mu     sync.Mutex
	status LeaderStatus
	driver *driver // of the epoch whose checkpoints are driven
	moving bool    // the epoch is to end for another
	now    checkpoint.Status
	// savepoints that somebody waits for, by name.
	savepoints map[string]chan error
	last       string // the savepoint that the final checkpoint is kept as
}

// LeaderStatus is what a leader knows of its pipeline.
type LeaderStatus struct {
	State State  `json:"state"`
	Epoch uint64 `json:"epoch"`
	// Restarts are the times of those that the policy counts.
	Restarts []time.Time `json:"restarts,omitempty"`
	Total    int         `json:"total_restarts"`
	// Cause is why the newest one came.
	Cause     string         `json:"cause,omitempty"`
	Last      *CheckpointEnd `json:"last_checkpoint,omitempty"`
	Slowest   time.Duration  `json:"slowest_checkpoint_ns,omitempty"`
	Completed int            `json:"checkpoints_completed"`
	Failed    int            `json:"checkpoints_failed"`
	// FailedInRow counts those since the last that completed, and LastFailure is
	// why the newest did.
	FailedInRow int    `json:"checkpoints_failed_in_row,omitempty"`
	LastFailure string `json:"last_checkpoint_failure,omitempty"`
	Committed   uint64 `json:"committed_through,omitempty"`
	// Since is when the state was entered, NextAt when the next epoch begins where
	// one is waited for.
	Since  time.Time  `json:"since"`
	NextAt *time.Time `json:"next_at,omitempty"`
	// Failures are the newest, oldest first.
	Failures []Failure `json:"-"`
	// InFlight is the checkpoint under way, awaited by host.
	InFlight *CheckpointNow `json:"checkpoint_in_flight,omitempty"`
}

// NewLeader returns a leader that has not begun.
func NewLeader(c LeaderConfig) *Leader {
	return &Leader{
		LeaderConfig: c,
		ledger:       checkpoint.NewLedger(c.Store, c.Leadership, c.Topology.Name),
		stopping:     make(chan struct{}),
		status:       LeaderStatus{State: StateRestoring, Since: time.Now(), Restarts: c.Restarts},
		savepoints:   map[string]chan error{},
	}
}

// ErrDeposed says that another leader is in charge of the pipeline, or that nobody
// can know whether this one still is. Nothing was stopped.
var ErrDeposed = errors.New("this host leads no more")

// deposed marks an error so.
type deposed struct{ err error }

func (e *deposed) Error() string        { return e.err.Error() }
func (e *deposed) Unwrap() error        { return e.err }
func (e *deposed) Is(target error) bool { return target == ErrDeposed }

// inCharge marks an error that means the leadership is over.
func inCharge(err error) error {
	for _, over := range []error{checkpoint.ErrFenced, coordination.ErrSessionLost, coordination.ErrClosed} {
		if errors.Is(err, over) {
			return &deposed{err}
		}
	}
	return err
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
func (l *Leader) Stop() { l.stopOnce.Do(func() { close(l.stopping) }) }

// Run runs the pipeline until it has finished, was stopped, or failed. When ctx
// ends it returns at once, without a final checkpoint.
func (l *Leader) Run(ctx context.Context) (Outcome, error) {
	defer l.refuseSavepoints()
	if at, err := l.finishedBefore(ctx); err != nil || at != nil {
		if err == nil {
			l.setState(StateFinished)
		}
		return Outcome{Finished: true, Before: at}, err
	}
	for first := true; ; first = false {
		stop, err := l.epoch(ctx, first)
		moved := l.moved()
		if err == nil && moved && !stop.Finished {
			continue
		}
		if err == nil {
			l.setState(map[bool]State{true: StateFinished, false: StateStopped}[stop.Finished])
			out := Outcome{Finished: stop.Finished, Checkpoint: stop.N}
			if stop.Uncommitted {
				out.Uncommitted = stop.Waiting
			}
			return out, nil
		}
		if ctx.Err() != nil {
			l.setState(StateStopped)
			return Outcome{}, context.Cause(ctx)
		}
		if errors.Is(err, ErrDeposed) {
			return Outcome{}, err
		}
		cause := err
		wait, err := l.restart(cause)
		if err != nil {
			l.failed(FailureFinal, cause)
			l.setState(StateFailed)
			return Outcome{}, err
		}
		l.failed(FailureRestart, cause)
		l.waits(wait)
		select {
		case <-time.After(wait):
		case <-l.stopping:
			// Everything up to the newest checkpoint is safe already.
			l.setState(StateStopped)
			return Outcome{}, nil
		case <-ctx.Done():
			l.setState(StateStopped)
			return Outcome{}, context.Cause(ctx)
		}
	}
}

// Move makes a last checkpoint of the running epoch and begins another, whose tasks
// may be elsewhere. It is false where no data flows, or a move is under way.
func (l *Leader) Move() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.driver == nil || l.moving {
		return false
	}
	l.moving = true
	l.driver.events.put(checkpoint.WantHalt{})
	return true
}

// moved says whether an epoch ended because of Move, and nothing else.
func (l *Leader) moved() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	moved := l.moving
	l.moving = false
	select {
	case <-l.stopping:
		return false
	default:
		return moved
	}
}

// finishedBefore says when an earlier run finished, or nil.
func (l *Leader) finishedBefore(ctx context.Context) (*time.Time, error) {
	if l.From != "" {
		return nil, nil
	}
	h, err := l.ledger.Load(ctx)
	for warned := false; l.unavailable(err); h, err = l.ledger.Load(ctx) {
		if !warned {
			l.Log.Warn("the pipeline's records cannot be read, trying again", "cause", err)
			warned = true
		}
		select {
		case <-time.After(unavailablePause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if errors.Is(err, coordination.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, inCharge(fmt.Errorf("read the records of pipeline %s: %w", l.Topology.Name, err))
	}
	if r := h.Newest(); r != nil && r.State == checkpoint.Finished {
		l.setEpoch(h.Lineage.Epoch)
		return &r.CompletedAt, nil
	}
	return nil, nil
}

// unavailablePause is how long a leader waits until it asks a coordination service
// again that did not answer.
const unavailablePause = 500 * time.Millisecond

// unavailable says that the coordination service does not answer at present, which
// is nobody's fault in the pipeline.
func (l *Leader) unavailable(err error) bool {
	return l.Service && (errors.Is(err, coordination.ErrUnavailable) || errors.Is(err, coordination.ErrUnknownOutcome))
}

// Uncounted marks a failure that is nobody's fault in the pipeline, such as a host
// that was lost: it costs a rollback, but none of those that the restart policy
// allows, and there is nothing to wait for.
type Uncounted struct{ Err error }

// Error says what has happened.
func (e *Uncounted) Error() string { return e.Err.Error() }

// Unwrap returns what has happened.
func (e *Uncounted) Unwrap() error { return e.Err }

// restart says how long to wait before the next epoch, or why there is none.
func (l *Leader) restart(cause error) (time.Duration, error) {
	var uncounted *Uncounted
	if errors.As(cause, &uncounted) || l.unavailable(cause) {
		wait := l.hurry(time.Now())
		l.Log.Warn("rolling back to the last checkpoint", "in", wait, "cause", cause)
		l.restarted(cause, nil)
		return wait, nil
	}
	var incompatible *IncompatibleError
	var damaged *checkpoint.RestoreError
	var from *checkpoint.FromError
	if Fatal(cause) || errors.As(cause, &incompatible) || errors.As(cause, &damaged) || errors.As(cause, &from) {
		return 0, cause
	}
	policy := l.Topology.Restart
	now := time.Now()
	recent := []time.Time{}
	for _, t := range l.Status().Restarts {
		if now.Sub(t) < policy.Window {
			recent = append(recent, t)
		}
	}
	if len(recent) >= policy.Attempts {
		return 0, fmt.Errorf("%w\nthe restart policy allows %d restarts within %v, and all are used", cause, policy.Attempts, policy.Window)
	}
	// Doubling from Min to Max, with a jitter of a quarter.
	wait := policy.Backoff.Min << min(len(recent), 30)
	if wait > policy.Backoff.Max || wait <= 0 {
		wait = policy.Backoff.Max
	}
	wait -= time.Duration(rand.Int64N(int64(wait)/4 + 1))
	wait = max(wait, wishOf(cause))
	recent = append(recent, now)
	l.restarted(cause, recent)
	l.Log.Warn("rolling back to the last checkpoint", "in", wait.Round(time.Millisecond), "restart", len(recent), "allowed", policy.Attempts, "cause", cause)
	return wait, nil
}

// Where nobody is at fault a rollback begins at once; where they come one after the
// other each waits for twice as long.
const (
	uncountedWindow = time.Minute
	uncountedMin    = 100 * time.Millisecond
	uncountedMax    = 10 * time.Second
)

func (l *Leader) hurry(now time.Time) time.Duration {
	l.uncounted = slices.DeleteFunc(l.uncounted, func(t time.Time) bool { return now.Sub(t) > uncountedWindow })
	l.uncounted = append(l.uncounted, now)
	n := len(l.uncounted) - 3 // a host's death may be told in more ways than one
	if n <= 0 {
		return 0
	}
	return min(uncountedMin<<min(n, 10), uncountedMax)
}

// Fatal says whether no restart helps against a failure.
func Fatal(err error) bool {
	var fatal *fatalError
	return errors.As(err, &fatal) || task.Fatal(err)
}

func (l *Leader) restarted(cause error, counted []time.Time) {
	l.mu.Lock()
	l.status.Cause = cause.Error()
	l.status.Total++
	if counted != nil {
		l.status.Restarts = counted
	}
	l.mu.Unlock()
}

func (l *Leader) setState(s State) {
	l.mu.Lock()
	l.enter(s)
	l.mu.Unlock()
	l.changed()
}

// enter notes the state; the caller holds mu.
func (l *Leader) enter(s State) {
	if l.status.State != s {
		l.status.State, l.status.Since = s, time.Now()
	}
	l.status.NextAt = nil
}

// waits notes when the next epoch begins.
func (l *Leader) waits(wait time.Duration) {
	l.mu.Lock()
	l.enter(StateWaiting)
	next := time.Now().Add(wait)
	l.status.NextAt = &next
	l.mu.Unlock()
	l.changed()
}

func (l *Leader) setEpoch(epoch uint64) {
	l.mu.Lock()
	l.status.Epoch = epoch
	l.mu.Unlock()
}

// changed tells whoever follows the state.
func (l *Leader) changed() {
	if l.OnState != nil {
		l.OnState(l.Status())
	}
}

// note keeps what the coordinator says for whoever asks.
func (l *Leader) note(s checkpoint.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = s
}

// ended notes a completed checkpoint; ours says that this leader has begun it.
func (l *Leader) ended(end CheckpointEnd, r checkpoint.Record, ours bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Last = &end
	l.status.Slowest = max(l.status.Slowest, end.Duration)
	if ours {
		l.status.Completed++
	}
	if r.State == checkpoint.Finishing {
		l.enter(StateFinishing)
	}
}

func (l *Leader) lostOne(n uint64, reason error) {
	l.mu.Lock()
	l.status.Failed++
	l.mu.Unlock()
	l.failed(FailureCheckpoint, fmt.Errorf("checkpoint %d: %w", n, reason))
}

// Status pictures the pipeline now.
func (l *Leader) Status() LeaderStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.status
	s.Failures = slices.Clone(s.Failures)
	s.Committed = l.now.Committed
	if s.FailedInRow = l.now.Failures; l.now.LastFailure != nil {
		s.LastFailure = l.now.LastFailure.Error()
	}
	if c := l.now; c.InFlight != 0 && l.driver != nil {
		s.InFlight = &CheckpointNow{Number: c.InFlight, Phase: c.Phase, Since: c.Since, Awaited: c.Missing}
	}
	return s
}

// ErrNotRunning says that a savepoint was asked of a pipeline whose data does not
// flow.
var ErrNotRunning = errors.New("the pipeline is not running")

// Savepoint makes a checkpoint that is kept under a name, and waits until it is
// stored, its output published. Where the pipeline ends first, a savepoint whose
// checkpoint was complete by then is stored by the next run.
func (l *Leader) Savepoint(ctx context.Context, name string) error {
	l.mu.Lock()
	d := l.driver
	if d == nil {
		l.mu.Unlock()
		return ErrNotRunning
	}
	done, err := l.awaitSavepoint(name)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	d.events.put(checkpoint.WantSavepoint{Name: name})
	return l.savepoint(ctx, name, done)
}

// awaitSavepoint makes the channel by which a savepoint is answered. The caller
// holds mu.
func (l *Leader) awaitSavepoint(name string) (chan error, error) {
	if l.savepoints[name] != nil {
		return nil, fmt.Errorf("savepoint %s: %w", name, checkpoint.ErrSavepointExists)
	}
	done := make(chan error, 1)
	l.savepoints[name] = done
	return done, nil
}

// savepoint waits for its answer.
func (l *Leader) savepoint(ctx context.Context, name string, done chan error) error {
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("savepoint %s: %w", name, err)
		}
		return nil
	case <-ctx.Done():
		l.mu.Lock()
		delete(l.savepoints, name)
		l.mu.Unlock()
		return fmt.Errorf("savepoint %s: %w", name, context.Cause(ctx))
	}
}

// StopWithSavepoint asks for a final checkpoint that is kept under a name, and waits
// until it is stored, its output published. Run then returns. It fails with
// ErrNotRunning, and nothing is stopped, where no data flows.
func (l *Leader) StopWithSavepoint(ctx context.Context, name string) error {
	l.mu.Lock()
	if l.driver == nil || l.status.State != StateRunning {
		l.mu.Unlock()
		return ErrNotRunning
	}
	l.last = name
	done, err := l.awaitSavepoint(name)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	l.Stop()
	return l.savepoint(ctx, name, done)
}

// haltName is the savepoint that the final checkpoint is kept as; empty for none.
func (l *Leader) haltName() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// savepointDone answers who waits for a savepoint.
func (l *Leader) savepointDone(name string, err error) {
	l.mu.Lock()
	done := l.savepoints[name]
	delete(l.savepoints, name)
	l.mu.Unlock()
	if done != nil {
		done <- err
	}
}

// setDriver notes the driver of the running epoch, or that none runs.
func (l *Leader) setDriver(d *driver) {
	l.mu.Lock()
	l.driver = d
	l.now = checkpoint.Status{}
	if d != nil {
		l.enter(StateRunning)
	}
	l.mu.Unlock()
	l.changed()
	if d == nil {
		l.refuseSavepoints()
	}
}

// refuseSavepoints answers whoever waits for one when its epoch is over.
func (l *Leader) refuseSavepoints() {
	l.mu.Lock()
	all := l.savepoints
	l.savepoints = map[string]chan error{}
	l.mu.Unlock()
	for _, done := range all {
		done <- checkpoint.ErrStopped
	}
}

// step tells the hook, if there is one.
func (l *Leader) step(s Step) {
	if l.OnStep != nil {
		l.OnStep(s)
	}
}
