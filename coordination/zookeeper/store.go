package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/weirstream/weir/coordination"
)

// Store is a session with an ensemble. It implements coordination.Store.
type Store struct {
	root string // of the cluster's records, an absolute path
	acl  []zk.ACL
	log  *slog.Logger

	conn    *zk.Conn
	events  <-chan zk.Event // closed when the library has ended
	dialer  *dialer
	connect time.Duration // Config.ConnectTimeout

	mu      sync.Mutex
	err     error         // why the Store answers nothing more; nil while it does
	ended   chan struct{} // closed with err set
	session session
	doubts  []*doubt // commits whose outcome is not settled

	work     sync.WaitGroup // requests and watches
	over     chan struct{}  // closed when the library has ended and closeErr is set
	closeErr error

	records  hub[coordination.Change]
	listings hub[coordination.Listing]
}

var _ coordination.Store = (*Store)(nil)

// abs returns the znode of a record; that of "" is the cluster's root.
func (s *Store) abs(path string) string {
	if path == "" {
		return s.root
	}
	return s.root + "/" + path
}

// Get implements coordination.Reader.
func (s *Store) Get(ctx context.Context, path string) (coordination.Record, error) {
	if err := coordination.CheckPath(path); err != nil {
		return coordination.Record{}, err
	}
	c, err := ask(ctx, s, func() (coordination.Change, error) { return s.getRecord(path) })
	if err == nil && !c.Found {
		err = fmt.Errorf("%w: %s", coordination.ErrNotFound, path)
	}
	if err != nil {
		return coordination.Record{}, err
	}
	return c.Record, nil
}

// Children implements coordination.Reader.
func (s *Store) Children(ctx context.Context, path string) ([]string, error) {
	if err := checkParent(path); err != nil {
		return nil, err
	}
	l, err := ask(ctx, s, func() (coordination.Listing, error) { return s.getChildren(path) })
	return l.Names, err
}

// checkParent accepts the root too.
func checkParent(path string) error {
	if path == "" {
		return nil
	}
	return coordination.CheckPath(path)
}

func (s *Store) getRecord(path string) (coordination.Change, error) {
	data, stat, err := s.conn.Get(s.abs(path))
	return s.change(path, data, stat, err)
}

func (s *Store) getChildren(path string) (coordination.Listing, error) {
	names, _, err := s.conn.Children(s.abs(path))
	return s.listing(path, names, err)
}

func (s *Store) change(path string, data []byte, stat *zk.Stat, err error) (coordination.Change, error) {
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return coordination.Change{Record: coordination.Record{Path: path}}, nil
	case err != nil:
		return coordination.Change{}, s.explain(path, err)
	}
	return coordination.Change{Found: true, Record: coordination.Record{
		Path: path, Data: data, Version: int64(stat.Version),
		Created: uint64(stat.Czxid), Ephemeral: stat.EphemeralOwner != 0,
	}}, nil
}

func (s *Store) listing(path string, names []string, err error) (coordination.Listing, error) {
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return coordination.Listing{}, nil
	case err != nil:
		return coordination.Listing{}, s.explain(path, err)
	}
	slices.Sort(names)
	return coordination.Listing{Names: names}, nil
}

// explain says what a refusal by ZooKeeper means.
func (s *Store) explain(path string, err error) error {
	if errors.Is(err, zk.ErrNoAuth) {
		return fmt.Errorf("ZooKeeper refuses access to %s: its ACL is for other credentials than these", s.abs(path))
	}
	return err
}

// broken says whether an error is one of the connection, so that the request may
// or may not have arrived.
func broken(err error) bool {
	for _, e := range []error{zk.ErrConnectionClosed, zk.ErrClosing, zk.ErrNoServer, zk.ErrSessionExpired, zk.ErrSessionMoved} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// repeatPause is waited before a read that met a broken connection is repeated,
// unless the session's state changes before.
const repeatPause = 5 * time.Millisecond

// ask carries out a read, repeating it where the connection breaks, until it is
// answered, the session is suspended or over, or ctx ends.
func ask[T any](ctx context.Context, s *Store, do func() (T, error)) (T, error) {
	var none T
	for {
		if err := s.admit(ctx); err != nil {
			return none, err
		}
		v, err := await(ctx, s, do)
		if !broken(err) {
			return v, err
		}
		if err := s.pause(ctx); err != nil {
			return none, err
		}
	}
}

// await carries out one request in a goroutine, so that ctx can end the waiting.
func await[T any](ctx context.Context, s *Store, do func() (T, error)) (T, error) {
	var answer T
	var failure error
	done := make(chan struct{})
	if err := s.start(func() {
		defer close(done)
		answer, failure = do()
	}); err != nil {
		return answer, err
	}
	select {
	case <-done:
		return answer, failure
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// pause waits a moment before a repetition.
func (s *Store) pause(ctx context.Context) error {
	select {
	case <-s.changed():
	case <-time.After(repeatPause):
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// changed returns a channel that is closed when the session's state changes.
func (s *Store) changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session.changed
}

// admit waits until requests can be sent and the outcome of every commit that
// became unknown before is settled.
func (s *Store) admit(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	return s.settle(ctx)
}

// start runs work in a goroutine that Close waits for, or fails where the Store
// has ended.
func (s *Store) start(work func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.work.Go(work)
	return nil
}

// fail makes every call fail for this reason from now on, unless it does already.
func (s *Store) fail(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(reason)
}

func (s *Store) failLocked(reason error) {
	if s.err != nil {
		return
	}
	s.err = reason
	if errors.Is(reason, coordination.ErrSessionLost) {
		s.session.state = coordination.SessionLost
	}
	close(s.ended)
	s.session.signal()
}

// Close implements coordination.Store.
func (s *Store) Close() error {
	s.fail(coordination.ErrClosed)
	<-s.over
	s.work.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = coordination.ErrClosed // also after a loss
	return s.closeErr
}
