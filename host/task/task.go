// Package task runs one task of one pipeline epoch from the host's side: it
// opens the task in a plugin process, hands restored state over, carries the
// ordered stream between the plugin and the host's edges, and gathers snapshots.
//
// Enumerators, readers, operators and sinks are the same kind of task: each has
// one ordered input and one ordered output. They differ only in what their
// frames say.
//
// A task owns four goroutines, all of which have ended when [Task.Close] or
// [Task.Wait] has returned:
//
//	control out   a queue that never blocks its writers
//	control in    snapshots, reports, logs, failures
//	run out       from the input to the plugin
//	run in        from the plugin to the output
package task

import (
	"context"
	"errors"
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
	Next(ctx context.Context) (wire.Frame, error)
}

// Output takes what the plugin sends. Each call consumes the frame, also where
// it fails, and blocks while the receivers are full.
type Output interface {
	Route(ctx context.Context, h wire.Header, f wire.Frame) error
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
}

// Snapshot is a task's part of a checkpoint.
type Snapshot struct {
	Checkpoint uint64
	// Entries are by member of the chain; parts are joined.
	Entries []*pluginv1.Entry
	// Synchronous is for how long the task stood still.
	Synchronous time.Duration
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
	// OpenTimeout bounds the time from Open to Opened.
	OpenTimeout time.Duration
}

// Task is one open task. Its methods may be called concurrently.
type Task struct {
	cfg     Config
	ctx     context.Context
	cancel  context.CancelCauseFunc
	control *controlQueue
	stream  grpc.BidiStreamingClient[pluginv1.ControlRequest, pluginv1.ControlResponse]

	opened   chan struct{} // closed when the plugin has answered Opened
	closed   chan struct{} // closed when the plugin has answered Closed
	done     chan struct{} // closed when every goroutine has ended
	group    sync.WaitGroup
	once     sync.Once
	closing  atomic.Bool // the host asked the task to close
	barriers barriers
}

// errClosing is the cause with which a task ends that was asked to.
var errClosing = errors.New("task closed")

// Start opens a task and returns when the plugin has answered that it is ready.
// The task lives until Close is called, it fails, or ctx ends.
func Start(ctx context.Context, cfg Config) (*Task, error) {
	t := &Task{
		cfg:     cfg,
		control: newControlQueue(),
		opened:  make(chan struct{}),
		closed:  make(chan struct{}),
		done:    make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	stream, err := cfg.Client.Control(t.ctx)
	if err != nil {
		t.cancel(err)
		return nil, t.errorf("open the control stream: %w", err)
	}
	t.stream = stream
	t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Open{Open: cfg.Open}})
	for _, part := range parts(cfg.Restore) {
		t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_RestorePart{RestorePart: part}})
	}
	t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Restored{Restored: &pluginv1.Restored{}}})
	t.spawn(t.sendControl)
	t.spawn(t.receiveControl)

	timer := time.NewTimer(cfg.OpenTimeout)
	defer timer.Stop()
	select {
	case <-t.opened:
		return t, nil
	case <-timer.C:
		t.fail(t.errorf("not ready %v after it was opened", cfg.OpenTimeout))
	case <-t.ctx.Done():
	}
	t.seal()
	<-t.done
	return nil, t.Err()
}

// Run begins to carry data. Call it once, after Start.
func (t *Task) Run() error {
	run, err := t.cfg.Client.Run(t.ctx)
	if err != nil {
		err = t.errorf("open the data stream: %w", err)
		t.fail(err)
		t.seal()
		return err
	}
	t.spawn(func() error { return t.sendFrames(run) })
	t.spawn(func() error { return t.receiveFrames(run) })
	t.seal()
	return nil
}

// ID returns the task's name.
func (t *Task) ID() ID { return t.cfg.ID }

// Completed tells the task that a checkpoint's record is durable.
func (t *Task) Completed(n uint64) {
	t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Completed{Completed: &pluginv1.Completed{Checkpoint: n}}})
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

// Done is closed when the task has ended and all of its goroutines have.
func (t *Task) Done() <-chan struct{} { return t.done }

// Failing is closed when the task begins to end, which is before Done.
func (t *Task) Failing() <-chan struct{} { return t.ctx.Done() }

// Err says why the task ended: nil while it runs and after Close.
func (t *Task) Err() error {
	cause := context.Cause(t.ctx)
	if errors.Is(cause, errClosing) {
		return nil
	}
	return cause
}

// Close asks the plugin to stop the task at once and waits until it has answered
// or ctx ends. It reports whether the plugin answered; where it did not, its
// process must be killed before another epoch opens. All goroutines have ended
// when Close returns.
func (t *Task) Close(ctx context.Context) (answered bool) {
	t.closing.Store(true)
	t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Close{Close: &pluginv1.Close{}}})
	select {
	case <-t.closed:
		answered = true
	case <-t.ctx.Done():
		// The plugin's own failure ends its side; only Closed says that the
		// components are closed as well.
		select {
		case <-t.closed:
			answered = true
		default:
		}
	case <-ctx.Done():
	}
	t.cancel(errClosing)
	t.seal()
	<-t.done
	return answered
}

// spawn starts one of the task's goroutines; an error ends the task.
func (t *Task) spawn(run func() error) {
	t.group.Go(func() {
		if err := run(); err != nil {
			t.fail(err)
		}
	})
}

// seal lets Done close once the goroutines started so far have ended.
func (t *Task) seal() {
	t.once.Do(func() {
		go func() {
			t.group.Wait()
			t.cancel(errClosing)
			close(t.done)
		}()
	})
}

// fail ends the task with its first cause.
func (t *Task) fail(err error) { t.cancel(err) }

// errorf makes an error that names the task.
func (t *Task) errorf(format string, args ...any) error {
	return &Error{
		ID:     t.cfg.ID,
		Node:   t.cfg.ID.Node,
		Plugin: t.cfg.Plugin,
		Err:    fmt.Errorf(format, args...),
	}
}
