package sdktest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirstream/weir/proto/policy"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// taskRun is one open task, and what it has said.
type taskRun struct {
	h        *host
	ref      *pluginv1.TaskRef
	cancel   context.CancelFunc
	requests chan *pluginv1.ControlRequest
	frames   chan wire.Frame
	ended    chan struct{} // both streams have

	scratch string // the task's folder
	idles   int    // sent

	board
	records   map[string][]Record // by output, not taken yet
	failed    []Failed            // not taken yet
	idle      map[uint32]int      // received, by output
	watermark map[uint32]int64
	passed    uint64          // newest barrier
	sent      int             // records of the main output
	before    int             // of them, those before the newest barrier
	splits    map[string]bool // those that have ended
	entries   map[uint64][]*pluginv1.Entry
	done      uint64 // newest checkpoint whose snapshot is whole
	opened    bool
	closed    bool
	err       error // of the task, or of a stream
}

// open opens a task with restored entries.
func (h *host) open(restored uint64, entries []*pluginv1.Entry) (*taskRun, error) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &taskRun{
		h:         h,
		ref:       &pluginv1.TaskRef{Uid: h.owner.UID, Epoch: h.owner.Epoch, Node: h.owner.Node, Index: uint32(h.index)},
		cancel:    cancel,
		requests:  make(chan *pluginv1.ControlRequest),
		frames:    make(chan wire.Frame),
		ended:     make(chan struct{}),
		records:   map[string][]Record{},
		idle:      map[uint32]int{},
		watermark: map[uint32]int64{},
		splits:    map[string]bool{},
		entries:   map[uint64][]*pluginv1.Entry{},
	}
	if h.spec.GetCapabilities().GetDiskState() {
		r.scratch = h.t.TempDir()
	}
	go r.serve(ctx)
	h.t.Cleanup(r.close)
	err := r.request(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Open{Open: &pluginv1.Open{
		Task: r.ref, Cluster: h.owner.Cluster, Pipeline: h.owner.Pipeline,
		Parallelism: uint32(h.parallelism), MaxParallelism: maxParallelism,
		Chain:              h.chain(),
		Limits:             &pluginv1.Limits{BatchBytes: uint32(h.batch), MaxRecordBytes: uint32(h.maxRecord)},
		RestoredCheckpoint: restored,
		LogLevel:           "debug",
		CheckpointTimeout:  durationpb.New(h.timeout),
		Pool:               poolSize,
		Scratch:            r.scratch,
	}}})
	if err == nil && len(entries) > 0 {
		err = r.request(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_RestorePart{RestorePart: &pluginv1.RestorePart{Entries: entries}}})
	}
	if err == nil {
		err = r.request(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Restored{Restored: &pluginv1.Restored{}}})
	}
	if err == nil {
		err = r.await("open", func() bool { return r.opened })
	}
	if err == nil {
		err = r.send(&pluginv1.Frame{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{Task: r.ref}}})
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// serve runs both streams. Run begins when the task is open; Control, which tells
// why a task ends, ends last.
func (r *taskRun) serve(ctx context.Context) {
	defer close(r.ended)
	running := make(chan struct{})
	go func() {
		defer close(running)
		opened := false
		_ = r.wait(ctx, func() bool { opened = r.opened; return r.opened || r.closed })
		if opened {
			r.end(false, r.h.server.Run(&runStream{ctx: ctx, in: r.frames, task: r}))
		}
	}()
	r.end(true, r.h.server.Control(&controlStream{ctx: ctx, in: r.requests, task: r}))
	r.cancel()
	<-running
}

// end notes that a stream has ended.
func (r *taskRun) end(closed bool, err error) {
	r.update(func() {
		r.closed = r.closed || closed
		if r.err == nil {
			r.err = err
		}
	})
}

// close ends the task as a host does that stops it at once.
func (r *taskRun) close() {
	_ = r.request(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Close{Close: &pluginv1.Close{}}})
	select {
	case <-r.ended:
	case <-time.After(2 * r.h.timeout):
		r.h.t.Errorf("the component did not end within %v", 2*r.h.timeout)
		r.cancel()
		return
	}
	if r.scratch != "" {
		if err := os.RemoveAll(r.scratch); err != nil {
			r.h.t.Error(err)
		}
	}
}

// control hears a message of the task.
func (r *taskRun) control(m *pluginv1.ControlResponse) {
	switch k := m.Kind.(type) {
	case *pluginv1.ControlResponse_Opened:
		r.update(func() { r.opened = true })
	case *pluginv1.ControlResponse_Failed:
		r.update(func() { r.err = newError(k.Failed.Error) })
	case *pluginv1.ControlResponse_SnapshotPart:
		r.update(func() {
			n := k.SnapshotPart.Checkpoint
			r.entries[n] = append(r.entries[n], k.SnapshotPart.Entries...)
		})
	case *pluginv1.ControlResponse_SnapshotDone:
		r.update(func() { r.done = k.SnapshotDone.Checkpoint })
	case *pluginv1.ControlResponse_Log:
		for _, l := range k.Log.Records {
			r.h.t.Logf("%s %s %s", l.Level, l.Message, l.Attributes)
		}
	}
}

// frame hears a frame of the task.
func (r *taskRun) frame(f *wire.Frame) error {
	head, err := f.Header()
	if err != nil {
		return err
	}
	if head.Kind == wire.KindBatch {
		if r.h.fast {
			f.Free()
			return nil
		}
		b, err := r.h.own.Decode(f, head)
		if err != nil {
			return err
		}
		records := decode(b)
		b.Release()
		r.update(func() { r.add(r.h.outputs[head.Port], records) })
		return nil
	}
	m, err := f.Message()
	if err != nil {
		return err
	}
	r.update(func() {
		switch k := m.Kind.(type) {
		case *pluginv1.Frame_Idle:
			r.idle[head.Port]++
		case *pluginv1.Frame_Watermark:
			r.watermark[head.Port] = k.Watermark.Time
		case *pluginv1.Frame_Barrier:
			r.passed, r.before = k.Barrier.Checkpoint, r.sent
		case *pluginv1.Frame_SplitEnded:
			r.splits[k.SplitEnded.Id] = true
		}
	})
	return nil
}

// add takes records of an output; those of errors carry what failed in headers.
func (r *taskRun) add(output string, records []Record) {
	if output == "out" {
		r.sent += len(records)
	}
	if output != "errors" {
		r.records[output] = append(r.records[output], records...)
		return
	}
	for _, record := range records {
		f := Failed{Record: record}
		f.Headers = nil
		for _, h := range record.Headers {
			switch h.Name {
			case policy.HeaderError:
				f.Err = string(h.Value)
			case policy.HeaderLength:
				f.Length = string(h.Value)
			default:
				if !strings.HasPrefix(h.Name, "weir.") {
					f.Headers = append(f.Headers, h)
				}
			}
		}
		r.failed = append(r.failed, f)
	}
}

// request says something on Control.
func (r *taskRun) request(m *pluginv1.ControlRequest) error {
	select {
	case r.requests <- m:
		return nil
	case <-r.ended:
		return r.failure()
	}
}

// send sends a frame that is not a batch.
func (r *taskRun) send(m *pluginv1.Frame) error {
	f, err := wire.FrameOf(m)
	if err != nil {
		return err
	}
	return r.push(f)
}

// batch sends records to an input port.
func (r *taskRun) batch(port int, records []Record) error {
	b := encode(r.h.own, records)
	if b == nil {
		return nil
	}
	f := wire.Encode(0, uint32(port), 0, b)
	b.Release()
	return r.push(f)
}

func (r *taskRun) push(f wire.Frame) error {
	ctx, cancel := r.h.context()
	defer cancel()
	select {
	case r.frames <- f:
		return nil
	case <-r.ended:
		f.Free()
		return r.failure()
	case <-ctx.Done():
		f.Free()
		return context.Cause(ctx)
	}
}

// settle returns when everything that was sent has been processed.
func (r *taskRun) settle(call string) error {
	r.idles++
	if err := r.send(&pluginv1.Frame{Kind: &pluginv1.Frame_Idle{Idle: &pluginv1.Idle{}}}); err != nil {
		return err
	}
	return r.await(call, func() bool {
		for port := range r.h.outputs {
			if r.idle[uint32(port)] < r.idles {
				return false
			}
		}
		return true
	})
}

// barrier sends a barrier and waits for the whole snapshot.
func (r *taskRun) barrier(b *pluginv1.Barrier) ([]*pluginv1.Entry, error) {
	if err := r.send(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: b}}); err != nil {
		return nil, err
	}
	err := r.await("barrier", func() bool { return r.passed >= b.Checkpoint && r.done >= b.Checkpoint })
	var entries []*pluginv1.Entry
	r.update(func() {
		entries = r.entries[b.Checkpoint]
		delete(r.entries, b.Checkpoint)
	})
	return whole(entries), err
}

// await waits until done, or until the task has failed.
func (r *taskRun) await(call string, done func() bool) error {
	ctx, cancel := r.h.context()
	defer cancel()
	err := r.wait(ctx, func() bool { return r.err != nil || r.closed || done() })
	if err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	return r.failureUnless(done)
}

func (r *taskRun) failureUnless(done func() bool) (err error) {
	r.update(func() {
		switch {
		case r.err != nil:
			err = r.err
		case !done():
			err = fmt.Errorf("the task has ended")
		}
	})
	return err
}

func (r *taskRun) failure() error { return r.failureUnless(func() bool { return false }) }

// take returns what has come since the last time.
func (r *taskRun) take() (result Result) {
	r.update(func() {
		result.Out = r.records["out"]
		delete(r.records, "out")
		result.Outputs = maps.Clone(r.records)
		clear(r.records)
		result.Failed, r.failed = r.failed, nil
		if w, ok := r.watermark[0]; ok {
			result.watermark = &w
		}
	})
	return result
}

// whole joins entries that came in parts.
func whole(parts []*pluginv1.Entry) []*pluginv1.Entry {
	var entries []*pluginv1.Entry
	more := false
	for _, p := range parts {
		if more {
			last := entries[len(entries)-1]
			last.Content = &pluginv1.Entry_Payload{Payload: slices.Concat(last.GetPayload(), p.GetPayload())}
		} else {
			entries = append(entries, p)
		}
		more = p.More
		entries[len(entries)-1].More = false
	}
	return entries
}
