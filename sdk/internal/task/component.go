package task

import (
	"context"
	"log/slog"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
	"github.com/weirstream/weir/sdk/internal/state"
)

// Component is one source, operator or sink with its author's types erased.
// Exactly one of OpenSource, OpenOperator and OpenSink is set, as Spec.Kind says.
// All functions may be called concurrently.
type Component struct {
	Spec *pluginv1.Component

	// Validate checks a configuration offline; Probe asks the outside.
	Validate func(config []byte, secretPaths []string) *pluginv1.ValidateResponse
	Probe    func(ctx context.Context, r *pluginv1.ProbeRequest) []*pluginv1.Fault

	OpenSource   func(ctx context.Context, config []byte, env *Env) (Source, error)
	OpenOperator func(ctx context.Context, config []byte, env *Env) (Operator, error)
	OpenSink     func(ctx context.Context, config []byte, env *Env) (Sink, error)

	// OpenCommitter is set where the sink prepares output.
	OpenCommitter func(ctx context.Context, config []byte, secretPaths []string, owner *pluginv1.Owner, log *slog.Logger) (Committer, error)
}

// Env is what a component's instance knows of its task.
type Env struct {
	Owner          *pluginv1.Owner
	Index          int
	Parallelism    int
	MaxParallelism int
	Role           pluginv1.Role
	Guarantee      pluginv1.Guarantee
	MaxRecord      int
	// Pool is how many names a sink's task may keep in use outside; 0 leaves it to
	// the component.
	Pool int
	// Commits is a sink's view of how far output is committed.
	Commits *Commits
	// Inputs are the names of the connected input ports, by port number.
	Inputs []string
	// KeyGroups are those that the task owns; nil without keyed state.
	KeyGroups *pluginv1.KeyGroups
	// OnDisk says that keyed state is to be kept on disk. Scratch is the task's folder,
	// below which Dir is the component's own; both are empty where the host gives none.
	OnDisk       bool
	Scratch, Dir string
	// SecretPaths name the fields of the configuration whose values no message
	// may repeat.
	SecretPaths []string
	Log         *slog.Logger
	Metrics     *Metrics
	// Held counts what the component keeps past its calls.
	Held *Held
	// Restored holds this member's entries of the restored checkpoint that are
	// neither splits nor the enumerator's: LIST, BROADCAST, KEY_GROUP, FILE, WRITER.
	// Entries that travelled in parts are whole again.
	Restored           []*pluginv1.Entry
	RestoredCheckpoint uint64
	// Now is the processing time, in nanoseconds since the Unix epoch.
	Now func() int64
	// Again waits before a part of a call is repeated that returned this error, and
	// returns nil; or the error that the call ends with. waited is how long was
	// waited before.
	Again func(ctx context.Context, call string, err error, try int, waited *time.Duration) error
}

// Split is a split with the author's description as JSON.
type Split struct {
	ID    string
	Data  []byte
	After []string
}

// Source is what both roles of a source node open; an enumerator calls Splits, a
// worker all else save Close, which both call last.
type Source interface {
	// Splits lists splits. With a nil cursor all that exist; a source that
	// returns a cursor is given it back and lists only those behind it. more: call
	// again later. It is called from one goroutine.
	Splits(ctx context.Context, cursor []byte) (splits []Split, next []byte, more bool, err error)
	// SplitInterval is the time between two calls of Splits; 0 leaves it to the
	// task, which takes a second.
	SplitInterval() time.Duration

	// OpenSplit is called from the goroutine that then calls the Reader, so it
	// runs concurrently with other splits.
	OpenSplit(ctx context.Context, s Split, position []byte) (Reader, error)
	// Completed tells the positions of a completed checkpoint, by split id. It has
	// a goroutine of its own; a checkpoint may be skipped or repeated.
	Completed(ctx context.Context, checkpoint uint64, at map[string][]byte) error
	// Progress is asked for about once a second, from any goroutine.
	Progress() *pluginv1.Progress // nil where the source does not say
	ConcurrentSplits() int        // 0: unbounded
	Snapshot(ctx context.Context) ([]*pluginv1.Entry, error)
	Close() error
}

// Reader reads one split. Read returns the position after the last appended
// record, io.EOF with the last ones; on any other error what it appended is
// dropped. A position is frozen once returned: Encode turns it into JSON later,
// on another goroutine.
type Reader interface {
	Read(ctx context.Context, out *Output) (position any, err error)
	Encode(position any) ([]byte, error)
	Close() error
}

// Operator processes batches, all calls from one goroutine. Input ports are
// numbered as in Member.inputs; a batch is dead after the call unless held.
type Operator interface {
	Process(ctx context.Context, port int, in *wire.Batch, out *Output) error
	OnWatermark(ctx context.Context, t int64, out *Output) error
	// Flush comes before each barrier, and with final at the end of input.
	Flush(ctx context.Context, final bool, out *Output) error
	Snapshot(ctx context.Context) ([]*pluginv1.Entry, error)
	Close() error
}

// Stateful is an [Operator] with keyed state and timers.
type Stateful interface {
	Operator
	// Capture is the synchronous part of a checkpoint's snapshot of keyed state.
	Capture(checkpoint uint64) (state.Later, error)
	// Concluded says what became of a checkpoint.
	Concluded(checkpoint uint64, completed bool)
	// NextTimer is when the first timer in processing time is due, in nanoseconds.
	NextTimer() (at int64, ok bool)
	// OnTime fires the timers in processing time that are due, and does what is to
	// be done now and then.
	OnTime(ctx context.Context, out *Output) error
	// Undo takes back what the last Process did to state. It had one record, which
	// failed, and whose output is dropped.
	Undo()
}

// Barrier is what a sink must know of a checkpoint.
type Barrier struct {
	Checkpoint uint64
	Roll       bool // prepare everything: nothing may stay unfinished
	Final      bool // input has ended
}

// Sink writes batches, all calls from one goroutine. Only the Fail methods of
// failed may be used, those from any goroutine.
type Sink interface {
	Write(ctx context.Context, port int, in *wire.Batch, failed *Output) error
	Flush(ctx context.Context) error
	// Prepare follows Flush at each barrier and returns entries of kind
	// COMMITTABLE; none where the sink has no committer.
	Prepare(ctx context.Context, b Barrier) ([]*pluginv1.Entry, error)
	// Snapshot returns entries of kind WRITER, LIST and BROADCAST.
	Snapshot(ctx context.Context) ([]*pluginv1.Entry, error)
	// Due says that output waits to be rolled although nothing was written. It is
	// asked between calls.
	Due() bool
	Close() error
}

// Committer publishes and sweeps; it may live in a process without a writer.
type Committer interface {
	Commit(ctx context.Context, committables []*pluginv1.Entry) error
	Sweep(ctx context.Context, r *pluginv1.SweepRequest) error
	Close() error
}
