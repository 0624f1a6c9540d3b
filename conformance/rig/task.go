package rig

import (
	"context"
	"sync"
	"time"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// Received is a record as a task sent it.
type Received struct {
	exchange.Record
	Split   string
	Ordinal int64
}

// Event is one frame that a task sent: a batch's records, or a message.
type Event struct {
	wire.Header
	Records []Received
	Message *pluginv1.Frame
	// Size is that of the frame in bytes.
	Size int
}

// Task is one task and what it has said. Its methods may be called concurrently.
type Task struct {
	*task.Task
	ID task.ID
	// Scratch is its folder for state on disk; empty where it has none.
	Scratch string

	stage   *Stage
	process *Plugin
	pool    *wire.Pool
	in      inbox
	gate    gate

	mu        sync.Mutex
	grown     chan struct{} // closed and replaced when anything below grows
	events    []Event
	snapshots []task.Snapshot
	requests  []*pluginv1.SplitRequest
	exhausted bool
	changed   []uint64
	report    *pluginv1.Report
	awaiting  bool
	bytes     int // of all frames received
	completed stored

	// onRequest and onFrame let a source's tasks talk to each other.
	onRequest func(*pluginv1.SplitRequest)
	onFrame   func(Event)
}

func (t *Task) update(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	close(t.grown)
	t.grown = make(chan struct{})
}

// look calls f with what has come so far.
func (t *Task) look(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

// await waits until f, called with the lock held, says so. A task of the stage
// that fails meanwhile fails the case, and so does one that takes too long.
func (t *Task) await(what string, f func() bool) {
	tb := t.stage.t
	done := func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return f()
	}
	for {
		t.mu.Lock()
		ok, grown := f(), t.grown
		t.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-grown:
		case <-t.stage.failing:
			// What came before the failure counts.
			if !done() {
				tb.Fatalf("waiting for %s of task %s: %v", what, t.ID, t.stage.failure)
			}
		case <-tb.Context().Done():
			tb.Fatalf("task %s: %s did not come in time", t.ID, what)
		}
	}
}

// Next implements [task.Input].
func (t *Task) Next(ctx context.Context) (wire.Frame, wire.Kind, error) { return t.in.next(ctx) }

// Route implements [task.Output].
func (t *Task) Route(ctx context.Context, f wire.Frame, h wire.Header) error {
	defer f.Free()
	if h.Kind != wire.KindSplitOpened && h.Kind != wire.KindSplitEnded {
		if err := t.gate.wait(ctx); err != nil {
			return err
		}
	}
	e := Event{Header: h, Size: f.Len()}
	if h.Kind == wire.KindBarrier && t != t.stage.Enumerator && t.stage.stallAtBarriers.Load() {
		t.gate.close()
	}
	if h.Kind == wire.KindBatch {
		b, err := t.pool.Decode(&f, h)
		if err != nil {
			return err
		}
		e.Records = recordsOf(b)
		b.Release()
	} else {
		var err error
		if e.Message, err = f.Message(); err != nil {
			return err
		}
	}
	t.update(func() {
		t.events = append(t.events, e)
		t.bytes += e.Size
	})
	if t.onFrame != nil {
		t.onFrame(e)
	}
	return nil
}

// Gathers implements [task.Output].
func (t *Task) Gathers() bool { return false }

// Settle implements [task.Output].
func (t *Task) Settle(context.Context) (time.Duration, error) { return 0, nil }

// Snapshot implements [task.Observer].
func (t *Task) Snapshot(_ task.ID, s task.Snapshot) {
	t.update(func() { t.snapshots = append(t.snapshots, s) })
}

// SplitRequest implements [task.Observer].
func (t *Task) SplitRequest(_ task.ID, r *pluginv1.SplitRequest) {
	var answer func(*pluginv1.SplitRequest)
	t.update(func() {
		t.requests = append(t.requests, r)
		answer = t.onRequest
	})
	if answer != nil {
		answer(r)
	}
}

// Exhausted implements [task.Observer].
func (t *Task) Exhausted(task.ID) { t.update(func() { t.exhausted = true }) }

// Changed implements [task.Observer].
func (t *Task) Changed(_ task.ID, after uint64) {
	t.update(func() { t.changed = append(t.changed, after) })
}

// AwaitingCommits implements [task.Observer].
func (t *Task) AwaitingCommits(_ task.ID, waiting bool) { t.update(func() { t.awaiting = waiting }) }

// Tapped implements [task.Observer]: nothing is tapped.
func (t *Task) Tapped(task.ID, *pluginv1.Tapped) {}

// Report implements [task.Observer].
func (t *Task) Report(_ task.ID, r *pluginv1.Report) { t.update(func() { t.report = r }) }

// Events are the frames so far.
func (t *Task) Events() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Event(nil), t.events...)
}

func recordsOf(b *wire.Batch) []Received {
	out := make([]Received, b.Len())
	for i := range out {
		r := &out[i]
		r.Key, r.Value, r.Time = clone(b.Key(i)), clone(b.Value(i)), b.Time(i)
		for name, value := range b.Headers(i).All() {
			r.Headers = append(r.Headers, exchange.Header{Name: string(name), Value: clone(value)})
		}
		r.Split, r.Ordinal = b.Origin(i)
	}
	return out
}

// clone keeps nil and empty apart.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

// inbox holds the frames that a task is yet to be sent, and counts those that it
// has taken.
type inbox struct {
	mu    sync.Mutex
	queue []queued
	ready chan struct{}
	taken int // bytes
}

type queued struct {
	frame wire.Frame
	kind  wire.Kind
}

func (in *inbox) put(f wire.Frame, kind wire.Kind) {
	in.mu.Lock()
	in.queue = append(in.queue, queued{f, kind})
	in.mu.Unlock()
	select {
	case in.ready <- struct{}{}:
	default:
	}
}

func (in *inbox) next(ctx context.Context) (wire.Frame, wire.Kind, error) {
	for {
		in.mu.Lock()
		if len(in.queue) > 0 {
			q := in.queue[0]
			in.queue = in.queue[1:]
			in.taken += q.frame.Len()
			in.mu.Unlock()
			return q.frame, q.kind, nil
		}
		in.mu.Unlock()
		select {
		case <-in.ready:
		case <-ctx.Done():
			return wire.Frame{}, 0, context.Cause(ctx)
		}
	}
}

// sent is the number of bytes that the task's stream has taken.
func (in *inbox) sent() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.taken
}

// gate holds a task's output back while it is shut.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil while open; closed when it opens
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return nil
	}
	select {
	case <-shut:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
