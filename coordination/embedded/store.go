package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/internal/watch"
)

// Store is a session on a DB. It implements coordination.Store.
type Store struct {
	db *DB
	id uint64

	mu    sync.Mutex
	err   error         // why the session ended; nil while it lives
	ended chan struct{} // closed with err set
	work  sync.WaitGroup
}

var _ coordination.Store = (*Store)(nil)

// alive returns why the session has ended, and nil while it has not.
func (s *Store) alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Get implements coordination.Reader.
func (s *Store) Get(ctx context.Context, path string) (rec coordination.Record, err error) {
	if err := coordination.CheckPath(path); err != nil {
		return rec, err
	}
	err = s.read(ctx, func(t *tree) error {
		rec, err = getRecord(t, path)
		return err
	})
	return rec, err
}

// Children implements coordination.Reader.
func (s *Store) Children(ctx context.Context, path string) (names []string, err error) {
	if err := checkParent(path); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(t *tree) error {
		names = t.children(path)
		return nil
	})
	return names, err
}

func getRecord(t *tree, path string) (coordination.Record, error) {
	n, found, err := t.get(path)
	switch {
	case err != nil:
		return coordination.Record{}, err
	case !found:
		return coordination.Record{}, fmt.Errorf("%w: %s", coordination.ErrNotFound, path)
	}
	return n.record(path), nil
}

// checkParent accepts the root too.
func checkParent(path string) error {
	if path == "" {
		return nil
	}
	return coordination.CheckPath(path)
}

func (s *Store) read(ctx context.Context, do func(*tree) error) error {
	if err := errors.Join(s.alive(), ctx.Err()); err != nil {
		return err
	}
	return s.db.view(do)
}

// Commit implements coordination.Store. Once its turn to write has come, ctx no
// longer interrupts it.
func (s *Store) Commit(ctx context.Context, ops ...coordination.Op) error {
	if err := coordination.CheckOps(ops); err != nil {
		return err
	}
	if err := errors.Join(s.alive(), ctx.Err()); err != nil {
		return err
	}
	return s.db.update(ctx, func(t *tree) error {
		// Asked inside the transaction, so that nothing of a session comes after
		// the removal of its ephemeral records.
		if err := s.alive(); err != nil {
			return err
		}
		for i, op := range ops {
			if err := t.apply(op, s.id); isCondition(err) {
				return &coordination.ConflictError{Index: i, Kind: op.Kind, Path: op.Path, Err: err}
			} else if err != nil {
				return err
			}
		}
		return nil
	})
}

func isCondition(err error) bool {
	switch err {
	case coordination.ErrNotFound, coordination.ErrExists, coordination.ErrVersion,
		coordination.ErrNotEmpty, coordination.ErrEphemeralParent:
		return true
	}
	return false
}

// Watch implements coordination.Store.
func (s *Store) Watch(ctx context.Context, path string) <-chan coordination.Change {
	failed := func(err error) coordination.Change {
		return coordination.Change{Record: coordination.Record{Path: path}, Err: err}
	}
	if err := coordination.CheckPath(path); err != nil {
		return watch.Refuse(failed(err))
	}
	return follow(ctx, s, topic{path: path}, follower[coordination.Change]{
		read: func(t *tree) (c coordination.Change, err error) {
			c.Record, err = getRecord(t, path)
			if errors.Is(err, coordination.ErrNotFound) {
				return coordination.Change{Record: coordination.Record{Path: path}}, nil
			}
			c.Found = true
			return c, err
		},
		same: func(a, b coordination.Change) bool {
			return a.Found == b.Found && a.Record.Created == b.Record.Created && a.Record.Version == b.Record.Version
		},
		failed: failed,
	})
}

// WatchChildren implements coordination.Store.
func (s *Store) WatchChildren(ctx context.Context, path string) <-chan coordination.Listing {
	failed := func(err error) coordination.Listing { return coordination.Listing{Err: err} }
	if err := checkParent(path); err != nil {
		return watch.Refuse(failed(err))
	}
	return follow(ctx, s, topic{path: path, children: true}, follower[coordination.Listing]{
		read: func(t *tree) (coordination.Listing, error) {
			return coordination.Listing{Names: t.children(path)}, nil
		},
		same:   func(a, b coordination.Listing) bool { return slices.Equal(a.Names, b.Names) },
		failed: failed,
	})
}

// WatchSession implements coordination.Store. The state is connected until the
// session ends.
func (s *Store) WatchSession(ctx context.Context) <-chan coordination.SessionState {
	out := watch.NewSlot[coordination.SessionState]()
	s.start(func() {
		out.Put(coordination.SessionConnected)
		select {
		case <-ctx.Done():
		case <-s.ended:
		}
		if errors.Is(s.alive(), coordination.ErrSessionLost) {
			out.Put(coordination.SessionLost)
		}
		close(out)
	}, func(err error) {
		if errors.Is(err, coordination.ErrSessionLost) {
			out.Put(coordination.SessionLost)
		}
		close(out)
	})
	return out
}

// Lease implements coordination.Store: a session does not expire by time.
func (s *Store) Lease() coordination.Lease { return coordination.Lease{} }

// Close implements coordination.Store.
func (s *Store) Close() error {
	err := s.end(coordination.ErrClosed)
	s.work.Wait()
	s.db.forget(s)
	return err
}

// Expire ends the session as a service does that has not heard of it for too
// long: its ephemeral records are removed and its calls fail with
// ErrSessionLost. Nothing but tests and operators has reason to call it.
func (s *Store) Expire() error { return s.end(coordination.ErrSessionLost) }

// end ends the session and removes its ephemeral records.
func (s *Store) end(reason error) error {
	if !s.stop(reason) {
		return nil
	}
	err := s.db.update(context.Background(), func(t *tree) error { return t.expire(s.id) })
	if err != nil {
		return fmt.Errorf("remove ephemeral records: %w", err)
	}
	return nil
}

// stop makes every call fail for this reason from now on, and says whether the
// session was alive until now.
func (s *Store) stop(reason error) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = s.err == nil
	s.err = reason
	if first {
		close(s.ended)
	}
	return first
}

// start runs work in a goroutine that Close waits for. On a session that has
// ended it calls refused instead.
func (s *Store) start(work func(), refused func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		refused(s.err)
		return
	}
	s.work.Go(work)
}
