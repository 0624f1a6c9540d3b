package task

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/proto/wire"
)

// maxQueued is how many batches wait to be sent, beside the one being sent.
const maxQueued = 2

// sender is the queue between a task's loop and the goroutine that sends its
// frames. It bounds batches only: a barrier or watermark never waits for room.
type sender struct {
	mu      sync.Mutex
	queue   []queued
	batches int
	sending bool
	closed  bool

	ready chan struct{} // a token when the queue is not empty
	space chan struct{} // a token when a batch has left it
	// idle has a token when everything has been sent: the loop then sends what it
	// has gathered.
	idle    chan struct{}
	blocked atomic.Int64 // nanoseconds that the loop has waited for room
	waiting atomic.Int64 // since when it waits now, in Unix nanoseconds, or 0
}

type queued struct {
	frame wire.Frame
	batch bool
}

func newSender() *sender {
	return &sender{
		ready: make(chan struct{}, 1),
		space: make(chan struct{}, 1),
		idle:  make(chan struct{}, 1),
	}
}

// busy says that something has not been sent yet.
func (s *sender) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sending || len(s.queue) > 0
}

// batch queues a batch and waits for room. It consumes the frame.
func (s *sender) batch(ctx context.Context, f wire.Frame) error {
	if s.put(f, true) {
		return nil
	}
	start := time.Now()
	s.waiting.Store(start.UnixNano())
	defer func() {
		s.waiting.Store(0)
		s.blocked.Add(int64(time.Since(start)))
	}()
	for {
		select {
		case <-s.space:
			if s.put(f, true) {
				return nil
			}
		case <-ctx.Done():
			f.Free()
			return context.Cause(ctx)
		}
	}
}

// blockedTime is for how long the loop has waited for room, also now.
func (s *sender) blockedTime() time.Duration {
	blocked := time.Duration(s.blocked.Load())
	if since := s.waiting.Load(); since != 0 {
		blocked += time.Since(time.Unix(0, since))
	}
	return blocked
}

// frame queues a frame that is not a batch.
func (s *sender) frame(f wire.Frame) { s.put(f, false) }

func (s *sender) put(f wire.Frame, batch bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		f.Free()
		return true
	case batch && s.batches >= maxQueued:
		return false
	}
	s.queue = append(s.queue, queued{f, batch})
	if batch {
		s.batches++
	}
	signal(s.ready)
	return true
}

// take returns the next frame to send, or false where there is none.
func (s *sender) take() (wire.Frame, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		if s.sending {
			s.sending = false
			signal(s.idle)
		}
		return wire.Frame{}, false
	}
	q := s.queue[0]
	s.queue[0] = queued{}
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil
	}
	if q.batch {
		s.batches--
		signal(s.space)
	}
	s.sending = true
	return q.frame, true
}

// run sends until ctx ends or send fails.
func (s *sender) run(ctx context.Context, send func(*wire.Frame) error) error {
	for {
		f, ok := s.take()
		if !ok {
			select {
			case <-s.ready:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		err := send(&f)
		f.Free()
		if err != nil {
			return err
		}
	}
}

// close drops what is queued and all that follows.
func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.queue {
		s.queue[i].frame.Free()
	}
	s.queue, s.closed = nil, true
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
