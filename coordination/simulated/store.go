package simulated

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/internal/watch"
)

// Store is a session. It implements coordination.Store.
type Store struct {
	e  *Ensemble
	id uint64

	mu      sync.Mutex
	err     error // why it answers nothing more
	ended   chan struct{}
	changed chan struct{} // closed, and replaced, when what follows changes, or err
	cut     bool
	paused  bool
	state   coordination.SessionState
	contact time.Time     // when the last request was sent that was answered
	heard   time.Time     // when the ensemble last heard of the session
	expired bool          // the ensemble has ended it, whether the client knows or not
	gone    chan struct{} // closed with expired set
	seen    uint64        // transaction

	work sync.WaitGroup
}

var _ coordination.Store = (*Store)(nil)

// Open opens a session. That is a transaction too: it sees what was committed
// before.
func (e *Ensemble) Open() *Store {
	e.mu.Lock()
	e.sessions++
	s := &Store{
		e: e, id: e.sessions, ended: make(chan struct{}), changed: make(chan struct{}), gone: make(chan struct{}),
		state: coordination.SessionConnected, contact: time.Now(), heard: time.Now(), seen: e.zxid,
	}
	e.mu.Unlock()
	s.work.Go(s.client)
	e.servers.Go(s.server)
	return s
}

// signal wakes who waits for a change. The mutex is held.
func (s *Store) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Cut takes the client's connection away, or gives it back.
func (s *Store) Cut(cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = cut
	s.signal()
}

// Pause keeps the client's process from running, as far as the Store goes: no call
// begins or returns, and nothing is sent on a channel. Or it lets it run again.
func (s *Store) Pause(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = paused
	s.signal()
}

// fail ends the Store. The mutex is held.
func (s *Store) fail(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	if errors.Is(err, coordination.ErrSessionLost) {
		s.state = coordination.SessionLost
	}
	close(s.ended)
	s.signal()
}

// Expire ends the session as the ensemble does, and lets the client know.
func (s *Store) Expire() {
	s.over()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail(coordination.ErrSessionLost)
}

// over ends the session in the ensemble.
func (s *Store) over() {
	s.mu.Lock()
	first := !s.expired
	if first {
		s.expired = true
		close(s.gone)
	}
	s.mu.Unlock()
	if first {
		s.e.expire(s.id)
	}
}

// client is the client's heartbeat and lease.
func (s *Store) client() {
	ticker := time.NewTicker(s.e.options.Timeout / 6)
	defer ticker.Stop()
	for {
		s.mu.Lock()
		if !s.paused && s.err == nil {
			if !s.cut {
				s.contacted(time.Now())
			}
			s.judge()
		}
		s.mu.Unlock()
		select {
		case <-ticker.C:
		case <-s.ended:
			return
		}
	}
}

// contacted notes an answer to a request that was sent then. The mutex is held.
func (s *Store) contacted(sent time.Time) {
	if s.expired {
		s.fail(coordination.ErrSessionLost)
		return
	}
	s.heard = time.Now()
	if sent.After(s.contact) {
		s.contact = sent
	}
}

// judge derives the state from the lease. The mutex is held.
func (s *Store) judge() {
	age, state := time.Since(s.contact), coordination.SessionConnected
	switch {
	case s.err != nil:
		return
	case age >= s.e.options.Timeout:
		s.fail(coordination.ErrSessionLost)
		return
	case age >= s.e.options.Timeout*2/3:
		state = coordination.SessionSuspended
	}
	if state != s.state {
		s.state = state
		s.signal()
	}
}

// server ends the session when the ensemble has not heard of it for the timeout,
// and up to a tick more, whatever has become of the client.
func (s *Store) server() {
	slack := s.e.upTo(s.e.options.Timeout / 4)
	for {
		s.mu.Lock()
		left := s.e.options.Timeout + slack - time.Since(s.heard)
		s.mu.Unlock()
		if left <= 0 {
			s.over()
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-s.gone:
			timer.Stop()
			return
		case <-s.e.stopped:
			timer.Stop()
			return
		}
	}
}

// running waits while the process is paused.
func (s *Store) running() {
	for {
		s.mu.Lock()
		paused, changed := s.paused && s.err == nil, s.changed
		s.mu.Unlock()
		if !paused {
			return
		}
		<-changed
	}
}

// travel takes a request or an answer its time. It waits while the connection is
// cut, and fails when it was waited for too long.
func (s *Store) travel(ctx context.Context) error {
	if d := s.e.upTo(s.e.options.Delay); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.ended:
		case <-ctx.Done():
		}
	}
	for {
		s.running()
		s.mu.Lock()
		s.judge()
		err, state, cut, changed := s.err, s.state, s.cut, s.changed
		s.mu.Unlock()
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case state == coordination.SessionSuspended:
			return fmt.Errorf("%w: suspended", coordination.ErrUnavailable)
		case !cut:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// Commit implements coordination.Store.
func (s *Store) Commit(ctx context.Context, ops ...coordination.Op) error {
	if err := coordination.CheckOps(ops); err != nil {
		return err
	}
	sent := time.Now()
	if err := s.travel(ctx); err != nil {
		return err
	}
	if s.e.chance(s.e.options.Loss / 2) {
		return fmt.Errorf("%w: the request was lost", coordination.ErrUnknownOutcome)
	}
	if s.e.options.Ask != nil {
		ops = s.e.options.Ask(ops)
	}
	zxid, err := s.apply(ops)
	if errors.Is(err, coordination.ErrSessionLost) {
		return err
	}
	lost := s.e.chance(s.e.options.Loss / 2)
	if failed := s.travel(ctx); failed != nil {
		return fmt.Errorf("%w: %w", coordination.ErrUnknownOutcome, failed)
	}
	s.mu.Lock()
	s.seen = max(s.seen, zxid)
	s.contacted(sent)
	s.mu.Unlock()
	if lost {
		return fmt.Errorf("%w: the answer was lost", coordination.ErrUnknownOutcome)
	}
	return err
}

// apply is the ensemble's part of a commit: a session that it has ended writes
// nothing.
func (s *Store) apply(ops []coordination.Op) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expired || s.err != nil {
		s.fail(coordination.ErrSessionLost)
		return 0, s.err
	}
	s.heard = time.Now()
	return s.e.commit(ops, s.id)
}

// look returns a state that the session may see, and when there is more.
func (s *Store) look(ctx context.Context) (View, <-chan struct{}, error) {
	if err := s.travel(ctx); err != nil {
		return View{}, nil, err
	}
	s.mu.Lock()
	seen := s.seen
	s.mu.Unlock()
	v, more := s.e.view(seen)
	s.mu.Lock()
	// Others of this session may have seen more meanwhile.
	s.seen = max(s.seen, v.zxid)
	v.zxid = s.seen
	s.mu.Unlock()
	return v, more, nil
}

// Get implements coordination.Reader.
func (s *Store) Get(ctx context.Context, path string) (coordination.Record, error) {
	if err := coordination.CheckPath(path); err != nil {
		return coordination.Record{}, err
	}
	v, _, err := s.look(ctx)
	if err != nil {
		return coordination.Record{}, err
	}
	rec, there := v.Get(path)
	if !there {
		return coordination.Record{}, fmt.Errorf("%w: %s", coordination.ErrNotFound, path)
	}
	return rec, nil
}

// Children implements coordination.Reader.
func (s *Store) Children(ctx context.Context, path string) ([]string, error) {
	if path != "" {
		if err := coordination.CheckPath(path); err != nil {
			return nil, err
		}
	}
	v, _, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	return v.Children(path), nil
}

// Watch implements coordination.Store.
func (s *Store) Watch(ctx context.Context, path string) <-chan coordination.Change {
	failed := func(err error) coordination.Change {
		return coordination.Change{Record: coordination.Record{Path: path}, Err: err}
	}
	if err := coordination.CheckPath(path); err != nil {
		return watch.Refuse(failed(err))
	}
	return follow(ctx, s, failed, func(v View) coordination.Change {
		rec, there := v.Get(path)
		return coordination.Change{Record: rec, Found: there}
	}, func(a, b coordination.Change) bool {
		return a.Found == b.Found && a.Record.Created == b.Record.Created && a.Record.Version == b.Record.Version
	})
}

// WatchChildren implements coordination.Store.
func (s *Store) WatchChildren(ctx context.Context, path string) <-chan coordination.Listing {
	failed := func(err error) coordination.Listing { return coordination.Listing{Err: err} }
	if path != "" {
		if err := coordination.CheckPath(path); err != nil {
			return watch.Refuse(failed(err))
		}
	}
	return follow(ctx, s, failed, func(v View) coordination.Listing {
		return coordination.Listing{Names: v.Children(path)}
	}, func(a, b coordination.Listing) bool { return slices.Equal(a.Names, b.Names) })
}

// start runs work in a goroutine that Close waits for, or returns why it cannot.
func (s *Store) start(work func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.work.Go(work)
	return nil
}

// follow sends what read returns, now and after each change, until ctx or the
// session ends.
func follow[T any](ctx context.Context, s *Store, failed func(error) T, read func(View) T, same func(a, b T) bool) <-chan T {
	out := watch.NewSlot[T]()
	work := func() {
		defer close(out)
		var last T
		for first := true; ; {
			s.mu.Lock()
			changed := s.changed
			s.mu.Unlock()
			var again <-chan time.Time
			v, more, err := s.look(ctx)
			switch {
			case errors.Is(err, coordination.ErrUnavailable):
				more = changed
			case ctx.Err() != nil:
				return
			case err != nil:
				out.Put(failed(err))
				return
			default:
				if now := read(v); first || !same(last, now) {
					out.Put(now)
					last, first = now, false
				}
				if !s.e.newest(v) {
					again = time.After(max(s.e.options.Lag/4, time.Millisecond)) // the lag will be over
				}
			}
			select {
			case <-more:
			case <-again:
			case <-ctx.Done():
				return
			case <-s.ended:
			}
		}
	}
	if err := s.start(work); err != nil {
		return watch.Refuse(failed(err))
	}
	return out
}

// newest says whether there is nothing that a view does not show.
func (e *Ensemble) newest(v View) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tree.upTo(time.Now(), e.zxid) <= v.zxid
}

// WatchSession implements coordination.Store.
func (s *Store) WatchSession(ctx context.Context) <-chan coordination.SessionState {
	out := watch.NewSlot[coordination.SessionState]()
	work := func() {
		watch.Session(ctx, out, func() (coordination.SessionState, <-chan struct{}, error) {
			s.running()
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.state, s.changed, s.err
		})
	}
	if s.start(work) != nil {
		work() // ends at once
	}
	return out
}

// Lease implements coordination.Store.
func (s *Store) Lease() coordination.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return coordination.Lease{Timeout: s.e.options.Timeout, Age: time.Since(s.contact)}
}

// Close implements coordination.Store. A session that is cut off is not closed: it
// expires, also when the client's process has ended.
func (s *Store) Close() error {
	s.mu.Lock()
	unheard := (s.cut || s.paused) && s.err == nil
	if unheard {
		s.fail(coordination.ErrSessionLost)
	} else {
		s.fail(coordination.ErrClosed)
	}
	s.mu.Unlock()
	var err error
	if unheard {
		err = errors.New("simulated: nobody heard that the session is closed")
	} else if !errors.Is(s.reason(), coordination.ErrSessionLost) {
		s.over()
	}
	s.work.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = coordination.ErrClosed
	return err
}

func (s *Store) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
