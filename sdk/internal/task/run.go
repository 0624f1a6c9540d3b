package task

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

type runStream = grpc.BidiStreamingServer[pluginv1.Frame, pluginv1.Frame]

// inQueue is how many received frames wait for the loop.
const inQueue = 2

// inFrame is a received frame: a batch, ready to be read, or another message.
type inFrame struct {
	port    int
	batch   *wire.Batch
	message *pluginv1.Frame
}

func (f inFrame) release() {
	if f.batch != nil {
		f.batch.Release()
	}
}

// Run implements [pluginv1.PluginServer]: one task's data.
func (s *Server) Run(stream runStream) error {
	t, err := s.attach(stream)
	if err != nil {
		return err
	}
	go func() {
		if err := t.receiveFrames(stream); err != nil {
			t.fail(err)
		}
		// The task is ending; the loop may have left already.
		t.drainInput()
	}()
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	if err := t.sender.run(ctx, func(f *wire.Frame) error { return stream.SendMsg(f) }); err != nil {
		t.stop(errRunEnded)
	}
	// The control stream tells why the task ended; this one ends after it.
	select {
	case <-t.done:
	case <-stream.Context().Done():
	}
	return nil
}

// attach reads the first frame and finds its task.
func (s *Server) attach(stream runStream) (*task, error) {
	var f wire.Frame
	if err := stream.RecvMsg(&f); err != nil {
		return nil, err
	}
	defer f.Free()
	h, err := f.Header()
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "protocol: first frame of Run: %v", err)
	}
	if h.Kind != wire.KindAttach {
		return nil, status.Errorf(codes.InvalidArgument, "protocol: Run begins with Attach, not with %s", kindName(h.Kind))
	}
	m, err := f.Message()
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "protocol: Attach: %v", err)
	}
	ref := m.GetAttach().GetTask()
	t := s.find(ref)
	switch {
	case t == nil:
		return nil, status.Errorf(codes.NotFound, "protocol: Attach names task %s[%d] of epoch %d, which is not open", ref.GetNode(), ref.GetIndex(), ref.GetEpoch())
	case !t.opened.Load():
		return nil, status.Errorf(codes.FailedPrecondition, "protocol: Attach before Opened of task %s", t)
	case !t.runOnce.CompareAndSwap(false, true):
		return nil, status.Errorf(codes.AlreadyExists, "protocol: a second Attach to task %s", t)
	}
	close(t.attached)
	return t, nil
}

// receiveFrames fills the loop's queue until the stream ends.
func (t *task) receiveFrames(stream runStream) error {
	for {
		var f wire.Frame
		if err := stream.RecvMsg(&f); err != nil {
			if errors.Is(err, io.EOF) || stream.Context().Err() != nil || t.ctx.Err() != nil {
				t.stop(errRunEnded)
				return nil
			}
			return protocolErrorf("data stream: %w", err)
		}
		in, err := t.accept(&f)
		if err != nil {
			return protocolErrorf("%w", err)
		}
		select {
		case t.in <- in:
		case <-t.ctx.Done():
			in.release()
			return nil
		}
	}
}

// accept reads a frame and refuses one that a task of this kind never gets. It
// consumes f.
func (t *task) accept(f *wire.Frame) (inFrame, error) {
	h, err := f.Header()
	if err != nil {
		f.Free()
		return inFrame{}, err
	}
	head := t.members[0]
	if h.Component != 0 {
		f.Free()
		return inFrame{}, fmt.Errorf("%s for component %d: a chain is entered at its head", kindName(h.Kind), h.Component)
	}
	if h.Kind == wire.KindBatch {
		if head.isSource() || int(h.Port) >= max(1, len(head.spec.GetInputs())) {
			f.Free()
			return inFrame{}, fmt.Errorf("a Batch for input %d of component %q, which has %d", h.Port, head.spec.GetComponent(), len(head.spec.GetInputs()))
		}
		b, err := t.pool.Decode(f, h)
		if err != nil {
			return inFrame{}, fmt.Errorf("a Batch for component %q: %w", head.spec.GetComponent(), err)
		}
		return inFrame{port: int(h.Port), batch: b}, nil
	}
	defer f.Free()
	allowed := false
	switch h.Kind {
	case wire.KindBarrier:
		allowed = true
	case wire.KindWatermark, wire.KindIdle, wire.KindSplitOpened, wire.KindSplitEnded:
		allowed = !head.isSource()
	case wire.KindAssign, wire.KindNoMoreSplits:
		allowed = head.isSource() && !t.enumerates()
	}
	if !allowed {
		return inFrame{}, fmt.Errorf("%s to task %s, which is %s", kindName(h.Kind), t, t.kind())
	}
	m, err := f.Message()
	if err != nil {
		return inFrame{}, fmt.Errorf("%s: %w", kindName(h.Kind), err)
	}
	return inFrame{message: m}, nil
}

// drainInput drops what was received and is not processed any more.
func (t *task) drainInput() {
	for {
		select {
		case f := <-t.in:
			f.release()
		default:
			return
		}
	}
}

func (t *task) kind() string {
	switch {
	case t.enumerates():
		return "an enumerator"
	case t.members[0].isSource():
		return "a reader of splits"
	}
	return "no reader of splits"
}

// send queues a frame that is not a batch.
func (t *task) send(m *pluginv1.Frame) error {
	f, err := wire.FrameOf(m)
	if err != nil {
		return err
	}
	t.sender.frame(f)
	return nil
}

func kindName(k wire.Kind) string {
	switch k {
	case wire.KindAttach:
		return "Attach"
	case wire.KindBatch:
		return "Batch"
	case wire.KindWatermark:
		return "Watermark"
	case wire.KindBarrier:
		return "Barrier"
	case wire.KindAssign:
		return "Assign"
	case wire.KindNoMoreSplits:
		return "NoMoreSplits"
	case wire.KindSplitOpened:
		return "SplitOpened"
	case wire.KindSplitEnded:
		return "SplitEnded"
	case wire.KindIdle:
		return "Idle"
	}
	return fmt.Sprintf("a frame of kind %d", uint32(k))
}
