package task

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

type runStream = grpc.BidiStreamingClient[pluginv1.Frame, pluginv1.Frame]

// sendFrames carries the aligned input to the plugin.
func (t *Task) sendFrames(run runStream) error {
	attach, err := wire.FrameOf(&pluginv1.Frame{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{Task: t.cfg.Open.Task}}})
	if err != nil {
		return err
	}
	// One frame variable for all, so that a batch costs no allocation of ours.
	frame := attach
	for {
		if err := run.SendMsg(&frame); err != nil {
			frame.Free()
			// The receiving side learns why the stream broke.
			return nil
		}
		var kind wire.Kind
		if frame, kind, err = t.cfg.Input.Next(t.ctx); err != nil {
			if t.ctx.Err() != nil {
				return nil
			}
			return t.errorf("input: %w", err)
		}
		if kind == wire.KindBarrier {
			if err := t.barriers.send(&frame); err != nil {
				return t.errorf("input: %w", err)
			}
		}
	}
}

// receiveFrames carries the plugin's output to the edges.
func (t *Task) receiveFrames(run runStream) error {
	receive := func() (wire.Frame, wire.Header, error) {
		var frame wire.Frame
		if err := run.RecvMsg(&frame); err != nil {
			return frame, wire.Header{}, t.runEnded(err)
		}
		h, err := t.accept(&frame)
		if err != nil {
			frame.Free()
			return wire.Frame{}, h, t.errorf("the plugin broke the protocol: %w", err)
		}
		return frame, h, nil
	}
	if t.cfg.Output.Gathers() {
		return t.gatherFrames(receive)
	}
	for {
		frame, h, err := receive()
		if err != nil || frame.Data == nil {
			return err
		}
		if err := t.route(frame, h); err != nil {
			return err
		}
	}
}

func (t *Task) route(frame wire.Frame, h wire.Header) error {
	if err := t.cfg.Output.Route(t.ctx, frame, h); err != nil && t.ctx.Err() == nil {
		return t.errorf("output: %w", err)
	}
	return nil
}

// gatherFrames does the same where an edge gathers records: it must know when
// nothing more comes, so a goroutine of its own receives.
func (t *Task) gatherFrames(receive func() (wire.Frame, wire.Header, error)) error {
	type received struct {
		frame wire.Frame
		h     wire.Header
		err   error
	}
	frames := make(chan received, 1)
	t.spawn(func() error {
		defer close(frames)
		for {
			var r received
			r.frame, r.h, r.err = receive()
			select {
			case frames <- r:
			case <-t.ctx.Done():
				r.frame.Free()
				return nil
			}
			if r.err != nil || r.frame.Data == nil {
				return nil
			}
		}
	})
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	settle := func() error {
		wait, err := t.cfg.Output.Settle(t.ctx)
		if err != nil && t.ctx.Err() == nil {
			return t.errorf("output: %w", err)
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		return nil
	}
	for {
		var r received
		var ok bool
		select {
		case r, ok = <-frames:
		default:
			if err := settle(); err != nil {
				return err
			}
			select {
			case r, ok = <-frames:
			case <-timer.C:
				continue
			}
		}
		if !ok || r.err != nil || r.frame.Data == nil {
			return r.err
		}
		if err := t.route(r.frame, r.h); err != nil {
			return err
		}
	}
}

// runEnded explains the end of the data stream. A plugin that fails says why on
// Control, so that side has a moment to speak first.
func (t *Task) runEnded(err error) error {
	select {
	case <-t.ctx.Done():
		return nil
	case <-t.failing:
		return nil
	case <-time.After(controlGrace):
	}
	if t.closing.Load() {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return t.errorf("the plugin ended the data stream without a word")
	}
	return t.errorf("data stream: %w", err)
}

// accept refuses frames that a task of this kind may not send, or not now.
func (t *Task) accept(f *wire.Frame) (wire.Header, error) {
	cfg := &t.cfg
	if n := f.Len(); n > cfg.MaxFrame {
		return wire.Header{}, fmt.Errorf("a frame of %d bytes, at most %d are allowed", n, cfg.MaxFrame)
	}
	h, err := f.Header()
	if err != nil {
		return h, err
	}
	if int(h.Component) >= len(cfg.Open.Chain) {
		return h, fmt.Errorf("a frame of component %d in a chain of %d", h.Component, len(cfg.Open.Chain))
	}
	enumerator := cfg.ID.Role == pluginv1.Role_ROLE_ENUMERATOR
	switch h.Kind {
	case wire.KindBatch:
		if outputs := cfg.Open.Chain[h.Component].Outputs; int(h.Port) >= len(outputs) {
			return h, fmt.Errorf("a batch for output %d of node %s, which has %d", h.Port, cfg.Members[h.Component], len(outputs))
		}
		if enumerator {
			return h, errors.New("a batch from an enumerator")
		}
		if err := t.barriers.flow(); err != nil {
			return h, err
		}
	case wire.KindAssign, wire.KindNoMoreSplits:
		if !enumerator {
			return h, errors.New("a split assignment from a task that is no enumerator")
		}
		if err := t.barriers.flow(); err != nil {
			return h, err
		}
	case wire.KindBarrier:
		if err := t.barriers.pass(f); err != nil {
			return h, err
		}
	case wire.KindWatermark, wire.KindIdle, wire.KindSplitOpened, wire.KindSplitEnded:
	default:
		return h, fmt.Errorf("a frame of kind %d", h.Kind)
	}
	return h, nil
}

// controlGrace is how long a broken data stream waits for the reason on Control.
const controlGrace = 500 * time.Millisecond

// barriers are those sent to the plugin that it owes an answer to: each is passed
// on in Run and snapshotted in Control, both in the order in which they were sent.
// The two streams have no order between them, so a snapshot may arrive first.
type barriers struct {
	mu       sync.Mutex
	sent     []*pluginv1.Barrier // not passed on
	awaited  []passage           // not snapshotted
	haltedAt uint64              // the halt barrier that was passed on
	newest   uint64              // that was sent
}

// passage is a barrier on its way through the plugin.
type passage struct {
	n            uint64
	sent, passed time.Time
}

func (b *barriers) send(f *wire.Frame) error {
	m, err := f.Message()
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, m.GetBarrier())
	b.newest = m.GetBarrier().GetCheckpoint()
	b.awaited = append(b.awaited, passage{n: b.newest, sent: time.Now()})
	return nil
}

// pass checks that the plugin passes on what it was sent, as it was sent.
func (b *barriers) pass(f *wire.Frame) error {
	m, err := f.Message()
	if err != nil {
		return err
	}
	passed := m.GetBarrier()
	n := passed.GetCheckpoint()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sent) == 0 {
		return fmt.Errorf("barrier %d passed on, but none is awaited", n)
	}
	switch sent := b.sent[0]; {
	case sent.GetCheckpoint() != n:
		return fmt.Errorf("barrier %d passed on, but barrier %d comes first", n, sent.GetCheckpoint())
	case !proto.Equal(sent, passed):
		return fmt.Errorf("barrier %d was sent as {%v} and passed on as {%v}", n, sent, passed)
	}
	b.sent = b.sent[1:]
	for i := range b.awaited {
		if b.awaited[i].n == n {
			b.awaited[i].passed = time.Now()
		}
	}
	if passed.GetHalt() {
		b.haltedAt = n
	}
	return nil
}

// flow refuses data behind a halt barrier.
func (b *barriers) flow() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.haltedAt != 0 {
		return fmt.Errorf("data behind barrier %d, which halts", b.haltedAt)
	}
	return nil
}

// snapshot checks that the snapshot of a barrier is the one that comes next, and
// notes in it when the barrier went where.
func (b *barriers) snapshot(s *Snapshot) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.awaited) == 0 {
		return fmt.Errorf("a snapshot of checkpoint %d, but none is awaited", s.Checkpoint)
	}
	next := b.awaited[0]
	if next.n != s.Checkpoint {
		return fmt.Errorf("a snapshot of checkpoint %d, but that of %d comes first", s.Checkpoint, next.n)
	}
	b.awaited = b.awaited[1:]
	s.Sent, s.Passed, s.Done = next.sent, next.passed, time.Now()
	return nil
}

// stage says how far the barrier of a checkpoint has come, and since when.
func (b *barriers) stage(n uint64) (Stage, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.awaited {
		switch {
		case p.n != n:
		case p.passed.IsZero():
			return StageProcess, p.sent
		default:
			return StageSnapshot, p.passed
		}
	}
	if n <= b.newest {
		return StageDone, time.Time{}
	}
	return StageBefore, time.Time{}
}
