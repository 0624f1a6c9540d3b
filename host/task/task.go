// Package task runs one task of one pipeline epoch from the host's side: it
// opens the task in a plugin process, hands restored state over, carries the
// ordered stream between the plugin and the host's edges, and gathers snapshots.
//
// Enumerators, readers, operators and sinks are the same kind of task: each has
// one ordered input and one ordered output. They differ only in what their
// frames say.
//
// A task owns four goroutines, all of which have ended when [Task.Close] has
// returned:
//
//	control out   a queue that never blocks its writers
//	control in    snapshots, reports, logs, failures
//	run out       from the input to the plugin
//	run in        from the plugin to the output
package task

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// ID names a task within its pipeline.
type ID struct {
	Node  string
	Index int
	Role  pluginv1.Role
}

// String is "mask[2]", or "logs[enumerator]".
func (id ID) String() string {
	if id.Role == pluginv1.Role_ROLE_ENUMERATOR {
		return id.Node + "[enumerator]"
	}
	return fmt.Sprintf("%s[%d]", id.Node, id.Index)
}

// Input yields the task's aligned input in order.
type Input interface {
	// Next waits for the next frame, which then belongs to the caller.
	Next(ctx context.Context) (wire.Frame, wire.Kind, error)
}

// Output takes what the plugin sends. It is called from one goroutine; each call
// that is given a frame consumes it, also where it fails. All wait while the
// receivers are full.
type Output interface {
	Route(ctx context.Context, f wire.Frame, h wire.Header) error
	// Gathers says that records may be kept back to fill batches, so that Settle
	// must be called whenever the plugin has nothing more at the moment. It
	// returns how long until it must be called again even so, or 0.
	Gathers() bool
	Settle(ctx context.Context) (time.Duration, error)
}

// Observer hears what the task says on Control. Calls come from one goroutine,
// in order, and must not block.
type Observer interface {
	Snapshot(id ID, s Snapshot)
	SplitRequest(id ID, r *pluginv1.SplitRequest)
	Exhausted(id ID)
	// Changed says that the task holds something that checkpoint after, whose
	// barrier it passed last, does not; 0 for none in this epoch.
	Changed(id ID, after uint64)
	Report(id ID, r *pluginv1.Report)
	// AwaitingCommits says that the task takes no data until earlier output is
	// committed, or that it does again.
	AwaitingCommits(id ID, waiting bool)
	// Tapped brings records that passed on an output that is tapped.
	Tapped(id ID, s *pluginv1.Tapped)
}

// Snapshot is a task's part of a checkpoint.
type Snapshot struct {
	Checkpoint uint64
	// Entries are by member of the chain; parts are joined.
	Entries []*pluginv1.Entry
	// Synchronous is for how long the task stood still.
	Synchronous time.Duration
	// Sent, Passed and Done are when the barrier went to the plugin, when the plugin
	// passed it on (zero where that is still to come), and when the last part of
	// the snapshot came.
	Sent, Passed, Done time.Time
	// Err is set where the task could not make the snapshot but goes on.
	Err error
}

// Config says which task to run and what it is connected to.
type Config struct {
	ID     ID
	Plugin string // for errors
	Client pluginv1.PluginClient
	Open   *pluginv1.Open
	// Restore are the entries of the restored checkpoint that fall to this task.
	Restore  []*pluginv1.Entry
	Input    Input
	Output   Output
	Observer Observer
	Log      *slog.Logger
	// Members are the display names of the chain's nodes.
	Members []string
	// MaxFrame bounds a frame that the plugin sends, in bytes.
	MaxFrame int
	// PartBytes bounds a restore part; 0 is 1 MiB.
	PartBytes int
	// OpenTimeout bounds the time from Open to Opened.
	OpenTimeout time.Duration
}

// Task is one task in a plugin process. Its methods may be called concurrently.
type Task struct {
	cfg     Config
	ctx     context.Context // ends at the end of Close
	cancel  context.CancelFunc
	control *controlQueue
	stream  grpc.BidiStreamingClient[pluginv1.ControlRequest, pluginv1.ControlResponse]

	opened chan struct{} // closed when the plugin has answered Opened
	closed chan struct{} // closed when the plugin has answered Closed
	silent chan struct{} // closed when nothing more will come on Control
	group  sync.WaitGroup

	closing  atomic.Bool // the host has asked the task to close
	barriers barriers

	failOnce sync.Once
	failing  chan struct{} // closed at the first failure
	failure  error         // set before failing is closed
}

// Start opens a task in its plugin process. Whatever becomes of it, the caller
// ends it with Close.
func Start(cfg Config) (*Task, error) {
	t := &Task{
		cfg:     cfg,
		control: newControlQueue(),
		opened:  make(chan struct{}),
		closed:  make(chan struct{}),
		silent:  make(chan struct{}),
		failing: make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	stream, err := cfg.Client.Control(t.ctx)
	if err != nil {
		t.cancel()
		return nil, t.errorf("open the control stream: %w", err)
	}
	t.stream = stream
	t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Open{Open: cfg.Open}})
	for _, part := range parts(cfg.Restore, cfg.PartBytes) {
		t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_RestorePart{RestorePart: part}})
	}
	t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Restored{Restored: &pluginv1.Restored{}}})
	t.spawn(t.sendControl)
	t.spawn(func() error {
		defer close(t.silent)
		return t.receiveControl()
	})
	return t, nil
}

// Opened waits until the plugin has answered that the task is ready.
func (t *Task) Opened(ctx context.Context) error {
	timer := time.NewTimer(t.cfg.OpenTimeout)
	defer timer.Stop()
	select {
	case <-t.opened:
		return nil
	case <-t.failing:
		return t.failure
	case <-timer.C:
		return t.errorf("not ready %v after it was opened", t.cfg.OpenTimeout)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Run begins to carry data. Call it once, after Opened.
func (t *Task) Run() error {
	run, err := t.cfg.Client.Run(t.ctx)
	if err != nil {
		return t.errorf("open the data stream: %w", err)
	}
	t.spawn(func() error { return t.sendFrames(run) })
	t.spawn(func() error { return t.receiveFrames(run) })
	return nil
}

// Stage is how far a task has come with a barrier.
type Stage int

// The stages, in order.
const (
	StageBefore   Stage = iota // it has not gone to the plugin
	StageProcess               // the plugin has not passed it on
	StageSnapshot              // its snapshot is not complete
	StageDone
)

// Barrier says how far the task has come with the barrier of a checkpoint, and
// since when.
func (t *Task) Barrier(n uint64) (Stage, time.Time) { return t.barriers.stage(n) }

// ID returns the task's name.
func (t *Task) ID() ID { return t.cfg.ID }

// Completed tells the task that a checkpoint's record is durable.
func (t *Task) Completed(n uint64) {
	t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Completed{Completed: &pluginv1.Completed{Checkpoint: n}}})
}

// Committed tells the task that all output up to a checkpoint is published, and
// that this is durable.
func (t *Task) Committed(through uint64) {
	t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Committed{Committed: &pluginv1.Committed{Through: through}}})
}

// Aborted tells the task that a checkpoint's record will never be written.
func (t *Task) Aborted(n uint64) {
	t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Aborted{Aborted: &pluginv1.Aborted{Checkpoint: n}}})
}

// SplitRequest hands a reader's request to an enumerator.
func (t *Task) SplitRequest(r *pluginv1.SplitRequest) {
	t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_SplitRequest{SplitRequest: r}})
}

// SetLogLevel changes the level of what the task logs.
func (t *Task) SetLogLevel(level string) {
	t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_SetLogLevel{SetLogLevel: &pluginv1.SetLogLevel{Level: level}}})
}

// SetTap asks for samples of an output that stays inside the plugin, or for no more.
func (t *Task) SetTap(component, output uint32, on bool) {
	t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_SetTap{
		SetTap: &pluginv1.SetTap{Component: component, Output: output, On: on},
	}})
}

// Failing is closed when the task has failed; Err then says why.
func (t *Task) Failing() <-chan struct{} { return t.failing }

// Err says why the task failed, or nil.
func (t *Task) Err() error {
	select {
	case <-t.failing:
		return t.failure
	default:
		return nil
	}
}

// Close asks the plugin to stop the task at once and waits until it has answered
// or ctx ends. It reports whether the plugin answered; where it did not, its
// process must be killed before another epoch opens. All goroutines have ended
// when Close returns.
func (t *Task) Close(ctx context.Context) (answered bool) {
	t.closing.Store(true)
	t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Close{Close: &pluginv1.Close{}}})
	select {
	case <-t.silent:
	case <-ctx.Done():
	}
	select {
	case <-t.closed:
		answered = true
	default:
	}
	t.cancel()
	t.group.Wait()
	return answered
}

// spawn starts one of the task's goroutines; an error fails the task.
func (t *Task) spawn(run func() error) {
	t.group.Go(func() {
		if err := run(); err != nil {
			t.fail(err)
		}
	})
}

// fail notes the first cause.
func (t *Task) fail(err error) {
	t.failOnce.Do(func() {
		t.failure = err
		close(t.failing)
	})
}

// errorf makes an error that names the task.
func (t *Task) errorf(format string, args ...any) error {
	return &Error{
		ID:     t.cfg.ID,
		Node:   t.cfg.ID.Node,
		Plugin: t.cfg.Plugin,
		Err:    fmt.Errorf(format, args...),
	}
}
