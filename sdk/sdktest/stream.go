package sdktest

import (
	"context"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// controlStream is the plugin's end of a Control stream whose other end is a task.
type controlStream struct {
	grpc.ServerStream
	ctx  context.Context
	in   chan *pluginv1.ControlRequest
	task *taskRun
}

func (s *controlStream) Context() context.Context { return s.ctx }

func (s *controlStream) Recv() (*pluginv1.ControlRequest, error) {
	select {
	case r := <-s.in:
		return r, nil
	case <-s.ctx.Done():
		return nil, io.EOF
	}
}

func (s *controlStream) Send(r *pluginv1.ControlResponse) error {
	s.task.control(r)
	return nil
}

// runStream is the plugin's end of a Run stream.
type runStream struct {
	grpc.ServerStream
	ctx  context.Context
	in   chan wire.Frame
	task *taskRun
}

func (s *runStream) Context() context.Context { return s.ctx }

func (s *runStream) RecvMsg(m any) error {
	f, ok := m.(*wire.Frame)
	if !ok {
		return fmt.Errorf("a %T is received as a frame", m)
	}
	select {
	case *f = <-s.in:
		return nil
	case <-s.ctx.Done():
		return io.EOF
	}
}

func (s *runStream) SendMsg(m any) error {
	f, ok := m.(*wire.Frame)
	if !ok {
		return fmt.Errorf("a %T is sent as a frame", m)
	}
	return s.task.frame(f)
}

func (s *runStream) Recv() (*pluginv1.Frame, error) { return nil, io.ErrNoProgress }

func (s *runStream) Send(*pluginv1.Frame) error { return io.ErrNoProgress }

// board holds what a task has said, for one who waits for it.
type board struct {
	mu      sync.Mutex
	changed chan struct{} // closed at each change
}

// update changes what the board guards and wakes those who wait.
func (b *board) update(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// wait waits until done, which runs under the lock, or ctx ends.
func (b *board) wait(ctx context.Context, done func() bool) error {
	for {
		b.mu.Lock()
		if done() {
			b.mu.Unlock()
			return nil
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
