package zookeeper

import (
	"errors"
	"fmt"
	"time"

	"github.com/weirstream/weir/coordination"
)

// run renews the lease until the Store ends, and then ends the library.
func (s *Store) run() {
	defer close(s.over)
	s.heartbeat()
	graceful := errors.Is(s.alive(), coordination.ErrClosed)
	if graceful {
		s.awaitLink()
	}
	s.dialer.stop()
	s.conn.Close() // asks the server to end the session, and waits a second
	s.drain()

	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.session.link
	if l != nil {
		l.Close() // the library leaves it open when the session has expired
	}
	if graceful && s.session.timeout != 0 && !l.sessionClosed() {
		s.closeErr = fmt.Errorf("ZooKeeper did not confirm the end of the session: its ephemeral records stay up to %s", s.session.timeout)
	}
}

// awaitLink waits a moment for a connection, so that the session can be ended in
// place of expiring.
func (s *Store) awaitLink() {
	timeout := time.NewTimer(s.connect)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		up, opened, changed := s.session.up, s.session.opened, s.session.changed
		s.mu.Unlock()
		if up || !opened {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			return
		}
	}
}

// drain waits until the library has ended. A server that does not answer is given
// up on.
func (s *Store) drain() {
	limit := time.AfterFunc(s.connect, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.session.link != nil {
			s.session.link.Close()
		}
	})
	defer limit.Stop()
	for range s.events {
	}
}
