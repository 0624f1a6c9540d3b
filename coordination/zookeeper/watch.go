package zookeeper

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/go-zookeeper/zk"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/internal/watch"
)

// hub keeps the watches of one kind. Those on one path share a topic, so that the
// library and the server have at most one watch on it, however many come and go:
// one that was set cannot be taken back.
type hub[T any] struct {
	store  *Store
	read   func(path string) (T, error)
	watch  func(path string) (T, <-chan zk.Event, error) // reads and sets a watch
	same   func(a, b T) bool
	clone  func(T) T
	failed func(path string, err error) T

	mu     sync.Mutex
	topics map[string]*topic[T]
	idle   int // topics with neither follower nor goroutine, kept for their watch
}

// topic is what watches on one path share.
type topic[T any] struct {
	path      string
	poke      chan struct{} // asks for another look
	running   bool
	followers map[*follower[T]]struct{}
	fired     <-chan zk.Event // has a value when the watch that is set has fired; nil: none is set
}

// follower is one watch.
type follower[T any] struct {
	out    watch.Slot[T]
	joined bool // a look has begun after it came
	sent   bool
	last   T
}

// follow adds a follower, until ctx or the Store ends.
func (h *hub[T]) follow(ctx context.Context, path string) <-chan T {
	f := &follower[T]{out: watch.NewSlot[T]()}
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[path]
	if t == nil {
		t = &topic[T]{path: path, poke: make(chan struct{}, 1), followers: map[*follower[T]]struct{}{}}
	}
	if !t.running {
		if err := h.store.start(func() { h.run(t) }); err != nil {
			return watch.Refuse(h.failed(path, err))
		}
		if h.topics[path] != nil {
			h.idle--
		}
		h.topics[path], t.running = t, true
	}
	t.followers[f] = struct{}{}
	t.look()
	context.AfterFunc(ctx, func() { h.leave(t, f) })
	return f.out
}

func (t *topic[T]) look() {
	select {
	case t.poke <- struct{}{}:
	default:
	}
}

// leave ends a follower whose context has ended.
func (h *hub[T]) leave(t *topic[T], f *follower[T]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, there := t.followers[f]; there {
		delete(t.followers, f)
		close(f.out)
		t.look()
	}
}

// pokeAll makes every topic look again.
func (h *hub[T]) pokeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		t.look()
	}
}

// run looks whenever it is asked to or the watch fires, while there are followers.
func (h *hub[T]) run(t *topic[T]) {
	for {
		select {
		case <-t.poke:
		case <-t.fired:
			t.fired = nil
		case <-h.store.ended:
			h.end(t, h.store.alive())
			return
		}
		if !h.begin(t) {
			return
		}
		changed := h.store.changed()
		v, err := h.look(t)
		switch {
		case err == nil:
			h.publish(t, v)
		case errors.Is(err, coordination.ErrUnavailable):
			select {
			case <-changed:
				t.look()
			case <-h.store.ended:
			}
		default:
			h.end(t, err)
			return
		}
	}
}

// begin notes who is there as a look begins. It retires the topic if nobody is.
func (h *hub[T]) begin(t *topic[T]) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(t.followers) == 0 {
		t.running = false
		h.retire(t)
		return false
	}
	for f := range t.followers {
		f.joined = true
	}
	return true
}

// look reads, and sets a watch unless one is set. A watch that is set stays so
// across connections.
func (h *hub[T]) look(t *topic[T]) (T, error) {
	ctx := context.Background() // ends with the Store
	if t.fired != nil {
		return ask(ctx, h.store, func() (T, error) { return h.read(t.path) })
	}
	type watched struct {
		v     T
		fired <-chan zk.Event
	}
	w, err := ask(ctx, h.store, func() (w watched, err error) {
		w.v, w.fired, err = h.watch(t.path)
		return w, err
	})
	t.fired = w.fired
	return w.v, err
}

// publish gives a value to all who were there when the look began.
func (h *hub[T]) publish(t *topic[T], v T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range t.followers {
		if f.joined && !(f.sent && h.same(f.last, v)) {
			f.out.Put(h.clone(v))
			f.sent, f.last = true, v
		}
	}
}

// end ends every follower with err.
func (h *hub[T]) end(t *topic[T], err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range t.followers {
		f.out.Put(h.failed(t.path, err))
		close(f.out)
	}
	clear(t.followers)
	t.running = false
	h.retire(t)
}

// retire forgets a topic, or keeps it while a watch is set that a later follower
// can use. Now and then those whose watch has fired meanwhile are forgotten.
func (h *hub[T]) retire(t *topic[T]) {
	if t.fired == nil {
		delete(h.topics, t.path)
		return
	}
	if h.idle++; h.idle < len(h.topics)/2 || h.idle < minIdle {
		return
	}
	for path, t := range h.topics {
		if !t.running && len(t.fired) > 0 {
			delete(h.topics, path)
			h.idle--
		}
	}
}

// minIdle is how many topics may be idle before it is worth to look at them.
const minIdle = 64

func newRecords(s *Store) hub[coordination.Change] {
	return hub[coordination.Change]{
		store: s, topics: map[string]*topic[coordination.Change]{}, read: s.getRecord,
		watch: func(path string) (coordination.Change, <-chan zk.Event, error) {
			data, stat, fired, err := s.conn.GetW(s.abs(path))
			if errors.Is(err, zk.ErrNoNode) {
				fired, err = s.awaitCreation(path)
				return coordination.Change{Record: coordination.Record{Path: path}}, fired, err
			}
			c, err := s.change(path, data, stat, err)
			return c, fired, err
		},
		same: func(a, b coordination.Change) bool {
			return a.Found == b.Found && a.Record.Created == b.Record.Created && a.Record.Version == b.Record.Version
		},
		clone: func(c coordination.Change) coordination.Change {
			c.Record.Data = bytes.Clone(c.Record.Data)
			return c
		},
		failed: func(path string, err error) coordination.Change {
			return coordination.Change{Record: coordination.Record{Path: path}, Err: err}
		},
	}
}

func newListings(s *Store) hub[coordination.Listing] {
	return hub[coordination.Listing]{
		store: s, topics: map[string]*topic[coordination.Listing]{}, read: s.getChildren,
		watch: func(path string) (coordination.Listing, <-chan zk.Event, error) {
			names, _, fired, err := s.conn.ChildrenW(s.abs(path))
			if errors.Is(err, zk.ErrNoNode) {
				fired, err = s.awaitCreation(path)
				return coordination.Listing{}, fired, err
			}
			l, err := s.listing(path, names, err)
			return l, fired, err
		},
		same: func(a, b coordination.Listing) bool { return slices.Equal(a.Names, b.Names) },
		clone: func(l coordination.Listing) coordination.Listing {
			l.Names = slices.Clone(l.Names)
			return l
		},
		failed: func(_ string, err error) coordination.Listing { return coordination.Listing{Err: err} },
	}
}

// awaitCreation sets a watch on a record that was not there just now. If it is
// there by now, it is as if the watch had fired.
func (s *Store) awaitCreation(path string) (<-chan zk.Event, error) {
	there, _, fired, err := s.conn.ExistsW(s.abs(path))
	if err != nil {
		return nil, s.explain(path, err)
	}
	if there {
		again := make(chan zk.Event, 1)
		again <- zk.Event{Type: zk.EventNodeCreated}
		return again, nil
	}
	return fired, nil
}

// Watch implements coordination.Store.
func (s *Store) Watch(ctx context.Context, path string) <-chan coordination.Change {
	if err := coordination.CheckPath(path); err != nil {
		return watch.Refuse(s.records.failed(path, err))
	}
	return s.records.follow(ctx, path)
}

// WatchChildren implements coordination.Store.
func (s *Store) WatchChildren(ctx context.Context, path string) <-chan coordination.Listing {
	if err := checkParent(path); err != nil {
		return watch.Refuse(s.listings.failed(path, err))
	}
	return s.listings.follow(ctx, path)
}
