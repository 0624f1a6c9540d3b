package zookeeper

import (
	"context"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/internal/watch"
)

// session is what is known of the session with the ensemble, guarded by the
// Store's mutex. Times are those of now.
type session struct {
	link    *link // the newest connection
	has     bool  // the server at its other end knows the session
	opened  bool  // the library has a watch: the next connection will set it
	up      bool  // requests may be sent
	upSince time.Duration

	timeout time.Duration // granted
	contact time.Duration // when the last answered request through the leader was sent
	state   coordination.SessionState
	changed chan struct{} // closed, and replaced, when up, state or the Store's end change
}

func (s *session) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// due returns when two thirds of the lease are over, and all of it.
func (s *session) due() (suspended, lost time.Duration) {
	return s.contact + s.timeout*2/3, s.contact + s.timeout
}

// event is told of the session by the library, in the goroutine that connects. It
// must not block.
func (s *Store) event(e zk.Event) {
	if e.Type != zk.EventSession {
		return
	}
	switch e.State {
	case zk.StateHasSession:
		s.joined()
	case zk.StateDisconnected:
		s.mu.Lock()
		s.session.has, s.session.up = false, false
		s.session.signal()
		s.mu.Unlock()
	case zk.StateExpired:
		s.fail(coordination.ErrSessionLost)
	}
}

// joined notes that a server has accepted the session.
func (s *Store) joined() {
	s.mu.Lock()
	defer s.mu.Unlock()
	timeout, asked := s.session.link.granted()
	if s.session.timeout == 0 {
		s.session.contact, s.session.state = asked, coordination.SessionConnected
	}
	s.session.timeout, s.session.has = timeout, true
	s.session.signal()
}

// raise lets requests through on a connection whose watches are set, and makes
// every watch look again.
func (s *Store) raise(l *link) {
	s.mu.Lock()
	if s.session.link == l && s.session.has && !s.session.up {
		s.session.up, s.session.upSince = true, now()
		s.session.signal()
	}
	s.mu.Unlock()
	s.records.pokeAll()
	s.listings.pokeAll()
}

// renew extends the lease: a request that was sent then has been answered by way
// of the leader.
func (s *Store) renew(sent time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session.contact = max(s.session.contact, sent)
	s.judge()
}

// judge derives the state from the lease and returns when it will be another. The
// mutex is held.
func (s *Store) judge() (next time.Duration) {
	t := now()
	if s.err != nil || s.session.state == 0 {
		return t + time.Minute // until then something will have changed
	}
	state := coordination.SessionConnected
	suspended, lost := s.session.due()
	next = suspended
	if t >= suspended {
		state, next = coordination.SessionSuspended, lost
	}
	switch {
	case t >= lost:
		s.failLocked(fmt.Errorf("%w: ZooKeeper has not answered for %s", coordination.ErrSessionLost, s.session.timeout))
	case state != s.session.state:
		s.session.state = state
		s.session.signal()
	}
	return next
}

// silent says that the ensemble does not answer, and what each server did.
func (s *Store) silent() error {
	const text = "%w: ZooKeeper has not answered for two thirds of the session timeout"
	if trouble := s.dialer.trouble(); trouble != nil {
		return fmt.Errorf(text+": %w", coordination.ErrUnavailable, trouble)
	}
	return fmt.Errorf(text, coordination.ErrUnavailable)
}

// ready waits until requests can be sent.
func (s *Store) ready(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil && s.alive() == nil {
			return err
		}
		s.mu.Lock()
		s.judge() // a process that was paused learns it here first
		err, state, up, changed := s.err, s.session.state, s.session.up, s.session.changed
		s.mu.Unlock()
		switch {
		case err != nil:
			return err
		case state == coordination.SessionSuspended:
			return s.silent()
		case up:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// alive returns why the Store has ended, and nil while it has not.
func (s *Store) alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Lease implements coordination.Store.
func (s *Store) Lease() coordination.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return coordination.Lease{Timeout: s.session.timeout, Age: now() - s.session.contact}
}

// WatchSession implements coordination.Store.
func (s *Store) WatchSession(ctx context.Context) <-chan coordination.SessionState {
	out := watch.NewSlot[coordination.SessionState]()
	follow := func() {
		watch.Session(ctx, out, func() (coordination.SessionState, <-chan struct{}, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.session.state, s.session.changed, s.err
		})
	}
	if s.start(follow) != nil {
		follow() // ends at once
	}
	return out
}

// The heartbeat's parts of the session timeout.
const (
	heartbeatEvery = 6 // a sync is sent when none was answered for this part
	heartbeatLimit = 3 // a connection is given up on which none was answered for this part
)

// heartbeat renews the lease until the Store ends.
func (s *Store) heartbeat() {
	answers := make(chan error, 1)
	var sent time.Duration // when the one that is under way was; 0: none is
	var told coordination.SessionState
	var server string
	for {
		s.mu.Lock()
		next := s.judge()
		t, timeout := now(), s.session.timeout
		link, up, upSince, changed := s.session.link, s.session.up, s.session.upSince, s.session.changed
		beat, state, err := s.session.contact+timeout/heartbeatEvery, s.session.state, s.err
		s.mu.Unlock()

		if err != nil {
			return
		}
		if up && link.server != server {
			server = link.server
			s.log.Info("connected to ZooKeeper", "server", server, "session timeout", timeout)
		}
		if state != told && told != 0 {
			s.log.Warn("ZooKeeper session", "state", state)
		}
		told = state
		switch {
		case !up:
		case sent == 0 && t >= beat:
			sent = t
			if s.start(func() {
				_, err := s.conn.Sync(s.root)
				answers <- err
			}) != nil {
				return
			}
			next = min(next, t+timeout/heartbeatLimit)
		case sent == 0:
			next = min(next, beat)
		default:
			limit := max(sent, upSince) + timeout/heartbeatLimit
			if t >= limit {
				s.log.Info("ZooKeeper server does not answer, trying another", "server", link.server)
				link.Close()
			} else {
				next = min(next, limit)
			}
		}
		timer := time.NewTimer(max(next-t, time.Millisecond))
		select {
		case err := <-answers:
			if err == nil {
				s.renew(sent)
			}
			sent = 0
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}
