package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// task is one task of one epoch, from Open to Closed. Its goroutines:
//
//	control handler   sends what is in the outbox
//	control receiver  takes requests; never waits for the loop
//	life              opens components, runs the loop, closes components
//	run handler       sends frames
//	run receiver      takes frames into a bounded queue
//	reporter          looks at counters once a second
//	readers           one for each open split
//	observer          tells a source of completed checkpoints
//
// All have ended when the control handler returns, unless a component ignores
// its context beyond CloseTimeout.
type task struct {
	server  *Server
	open    *pluginv1.Open
	limits  limits
	pool    *wire.Pool
	log     *slog.Logger
	level   *slog.LevelVar
	out     *outbox
	members []*member

	ctx    context.Context
	cancel context.CancelCauseFunc
	group  sync.WaitGroup // goroutines that run on ctx

	restored chan []*pluginv1.Entry // the whole entries, once
	attached chan struct{}          // closed when Run has attached
	runOnce  atomic.Bool
	opened   atomic.Bool
	done     chan struct{} // closed when life has ended

	in     chan inFrame
	sender *sender

	// Mailboxes from Control to the loop.
	requests mailbox[*pluginv1.SplitRequest]
	finished mailbox[checkpointOutcome]
	commits  *Commits
	late     chan struct{} // a token when a component failed a record by itself
	failOnce sync.Once

	// The loop's own.
	changed bool
	passed  uint64 // the last barrier
	linger  *time.Timer
	lingers bool
	alarm   alarm
	halted  bool
	ended   bool
	reading *reading
	read    atomic.Int64 // records that readers have read
	busy    atomic.Int64 // nanoseconds in calls of the loop
	nested  int
	// calling is when the call under way began, in Unix nanoseconds, or 0, and
	// blockedBefore what sender.blocked was then.
	calling, blockedBefore atomic.Int64

	readBusy atomic.Int64     // nanoseconds in reads that brought records
	began    time.Time        // when the task was opened
	reported *pluginv1.Report // the last one
	// heldEntries are the restored splits, until reading begins.
	heldEntries []*pluginv1.Entry
}

// limits are Open.limits with defaults.
type limits struct {
	batch, record int
	memory        int64 // of held batches; 0: unbounded
	linger        time.Duration
	checkpoint    time.Duration
	read          int64 // records that readers may read; 0: unbounded
}

const (
	defaultBatch      = 256 << 10
	defaultRecord     = 8 << 20
	defaultCheckpoint = time.Minute
)

// Reasons to end that are no failure.
var (
	errClosed       = errors.New("closed by the host")
	errControlEnded = errors.New("the control stream ended")
	errRunEnded     = errors.New("the data stream ended")
	errLease        = errors.New("the lease ran out: control was silent")
)

func newTask(s *Server, open *pluginv1.Open) *task {
	t := &task{
		server: s,
		open:   open,
		limits: limits{
			batch:      int(open.GetLimits().GetBatchBytes()),
			record:     int(open.GetLimits().GetMaxRecordBytes()),
			memory:     int64(open.GetLimits().GetMemoryBytes()),
			linger:     open.GetLimits().GetLinger().AsDuration(),
			read:       int64(open.GetLimits().GetReadRecords()),
			checkpoint: orDefault(open.GetCheckpointTimeout().AsDuration(), defaultCheckpoint),
		},
		pool:     s.opts.Pool,
		level:    new(slog.LevelVar),
		out:      newOutbox(),
		restored: make(chan []*pluginv1.Entry, 1),
		attached: make(chan struct{}),
		done:     make(chan struct{}),
		in:       make(chan inFrame, inQueue),
		sender:   newSender(),
		late:     make(chan struct{}, 1),
		began:    time.Now(),
	}
	if t.limits.batch <= 0 {
		t.limits.batch = defaultBatch
	}
	if t.limits.record <= 0 {
		t.limits.record = defaultRecord
	}
	t.requests.ready = make(chan struct{}, 1)
	t.finished.ready = make(chan struct{}, 1)
	t.commits = newCommits(t.out)
	setLevel(t.level, open.GetLogLevel())
	t.log = newLogger(t.out, t.level, 0)
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	return t
}

func (t *task) String() string {
	r := t.open.GetTask()
	if r.GetRole() == pluginv1.Role_ROLE_ENUMERATOR {
		return fmt.Sprintf("%s[enumerator]", r.GetNode())
	}
	return fmt.Sprintf("%s[%d]", r.GetNode(), r.GetIndex())
}

func (t *task) enumerates() bool { return t.open.GetTask().GetRole() == pluginv1.Role_ROLE_ENUMERATOR }

// fail ends the task with its first failure, which is told at once.
func (t *task) fail(err error) {
	t.failOnce.Do(func() {
		if t.ctx.Err() == nil {
			t.out.fail(wireError(err))
		}
		t.cancel(err)
	})
}

// stop ends the task for a reason that is no failure of its own.
func (t *task) stop(reason error) { t.cancel(reason) }

// run is the task's life: it ends when everything of it has.
func (t *task) run() {
	defer close(t.done)
	entries, err := t.awaitRestored()
	if err == nil {
		err = t.openMembers(entries)
	}
	if err == nil {
		err = t.loop(entries)
	}
	if err != nil {
		t.fail(err)
	}
	t.cancel(errClosed)
	t.sender.close()
	t.group.Wait()
	t.drainInput()
	if t.reading != nil {
		t.reading.drop()
	}
	t.report(true)
	for _, m := range t.members {
		m.close()
	}
}

func (t *task) awaitRestored() ([]*pluginv1.Entry, error) {
	select {
	case entries := <-t.restored:
		return entries, nil
	case <-t.ctx.Done():
		return nil, context.Cause(t.ctx)
	}
}

// loop answers Opened, waits for Run and runs what the role asks for.
func (t *task) loop(entries []*pluginv1.Entry) error {
	t.opened.Store(true)
	t.out.put(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Opened{Opened: &pluginv1.Opened{}}})
	t.group.Go(t.reporter)
	select {
	case <-t.attached:
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	}
	if t.enumerates() {
		e, err := newEnumerator(t, entries)
		if err != nil {
			return err
		}
		return e.run()
	}
	for _, e := range entries {
		if e.GetKind() == pluginv1.Entry_KIND_SPLIT {
			t.heldEntries = append(t.heldEntries, e)
		}
	}
	return t.work()
}

// change tells the host of the first change since the last barrier.
func (t *task) change() {
	if !t.changed {
		t.changed = true
		t.out.put(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Changed{Changed: &pluginv1.Changed{After: t.passed}}})
	}
}

// wait waits for d, or less if the task ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// mailbox carries values from goroutines that must not wait.
type mailbox[T any] struct {
	mu    sync.Mutex
	items []T
	ready chan struct{}
}

func (m *mailbox[T]) put(v T) {
	m.mu.Lock()
	m.items = append(m.items, v)
	m.mu.Unlock()
	signal(m.ready)
}

func (m *mailbox[T]) take() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	items := m.items
	m.items = nil
	return items
}
