package embedded

import (
	"context"
	"sync"

	"github.com/weirstream/weir/coordination/internal/watch"
)

// topic is what a watch waits for: a record, or the list of its children.
type topic struct {
	path     string
	children bool
}

// hub tells watches that what they wait for has changed. A signal is a channel
// of capacity one: a value in it says "look again", however often.
type hub struct {
	mu      sync.Mutex
	signals map[topic]map[chan struct{}]struct{}
}

func (h *hub) subscribe(t topic) chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.signals == nil {
		h.signals = make(map[topic]map[chan struct{}]struct{})
	}
	if h.signals[t] == nil {
		h.signals[t] = make(map[chan struct{}]struct{})
	}
	signal := make(chan struct{}, 1)
	h.signals[t][signal] = struct{}{}
	return signal
}

func (h *hub) unsubscribe(t topic, signal chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.signals[t], signal)
	if len(h.signals[t]) == 0 {
		delete(h.signals, t)
	}
}

// notify is called after the transaction has become visible to reads.
func (h *hub) notify(changed, listed []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, path := range changed {
		h.signal(topic{path: path})
	}
	for _, path := range listed {
		h.signal(topic{path: path, children: true})
	}
}

func (h *hub) signal(t topic) {
	for signal := range h.signals[t] {
		select {
		case signal <- struct{}{}:
		default:
		}
	}
}

// follower is what distinguishes the watches.
type follower[T any] struct {
	read   func(*tree) (T, error)
	same   func(a, b T) bool
	failed func(error) T
}

// follow sends what read returns, now and after each signal, until ctx or the
// session ends. It subscribes before it reads first, and signals come after the
// change can be read, so the last change is always followed by a read.
func follow[T any](ctx context.Context, s *Store, t topic, f follower[T]) <-chan T {
	out := watch.NewSlot[T]()
	work := func() {
		defer close(out)
		signal := s.db.hub.subscribe(t)
		defer s.db.hub.unsubscribe(t, signal)
		var last T
		for first := true; ; first = false {
			var now T
			err := s.read(ctx, func(t *tree) (err error) {
				now, err = f.read(t)
				return err
			})
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				out.Put(f.failed(err))
				return
			case first || !f.same(last, now):
				out.Put(now)
				last = now
			}
			select {
			case <-signal:
			case <-ctx.Done():
				return
			case <-s.ended:
				out.Put(f.failed(s.alive()))
				return
			}
		}
	}
	s.start(work, func(err error) {
		out.Put(f.failed(err))
		close(out)
	})
	return out
}
