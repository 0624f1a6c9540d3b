package embedded

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weirstream/weir/coordination"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Options of Open. The zero value is what most want.
type Options struct {
	// LockTimeout is how long Open waits for another process to let go of the
	// file. Zero is one second.
	LockTimeout time.Duration
}

// DB is an open database file. It may be used concurrently.
type DB struct {
	path string
	bolt *bbolt.DB
	hub  hub

	// writing is held, by a value in it, by whoever runs a write transaction. It
	// stands before bbolt's own lock so that waiting for it ends with a context.
	writing chan struct{}

	mu       sync.Mutex
	closed   bool
	broken   error // why no session can be opened any more
	sessions map[*Store]struct{}
	last     uint64 // newest session id
}

// Open opens the database at path and creates it where there is none; its folder
// must exist. Ephemeral records that a dead process left are removed. It fails
// with ErrLocked while another process, or another DB of this one, has it open,
// and with ErrDamaged where the file cannot be trusted.
func Open(path string, o Options) (*DB, error) {
	if o.LockTimeout <= 0 {
		o.LockTimeout = time.Second
	}
	db, err := open(path, o.LockTimeout)
	if err != nil {
		return nil, fmt.Errorf("open coordination database %s: %w", path, err)
	}
	return db, nil
}

func open(path string, timeout time.Duration) (*DB, error) {
	if err := create(path, timeout); err != nil {
		return nil, err
	}
	removeStale(path)
	if err := checkWhole(path); err != nil {
		return nil, err
	}
	bolt, err := openBolt(path, timeout, false)
	if err != nil {
		return nil, err
	}
	left := false // ephemeral records of a process that died
	err = bolt.View(func(tx *bbolt.Tx) error {
		if err := checkFormat(tx); err != nil {
			return err
		}
		left = newTree(tx).hasOwned()
		return nil
	})
	if err == nil && left {
		err = bolt.Update(func(tx *bbolt.Tx) error { return newTree(tx).expire(0) })
	}
	if err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return &DB{
		path: path, bolt: bolt,
		writing:  make(chan struct{}, 1),
		sessions: make(map[*Store]struct{}),
	}, nil
}

// NewStore opens a session. It fails with ErrClosed once the database is closed,
// and with ErrUnavailable once a failed sync has made it worthless.
func (db *DB) NewStore() (*Store, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, coordination.ErrClosed
	}
	if db.broken != nil {
		return nil, db.broken
	}
	db.last++
	s := &Store{db: db, id: db.last, ended: make(chan struct{})}
	db.sessions[s] = struct{}{}
	return s, nil
}

// Close closes every session and the file. A second Close does nothing.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	db.mu.Unlock()

	var errs []error
	for _, s := range db.stores() {
		errs = append(errs, s.Close())
	}
	errs = append(errs, db.bolt.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close coordination database %s: %w", db.path, err)
	}
	return nil
}

// view runs a read transaction.
func (db *DB) view(do func(*tree) error) error {
	return closed(db.bolt.View(func(tx *bbolt.Tx) error { return do(newTree(tx)) }))
}

// update runs a write transaction and tells the watches what it changed.
func (db *DB) update(ctx context.Context, do func(*tree) error) error {
	select {
	case db.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-db.writing }()

	tx, err := db.bolt.Begin(true)
	if err != nil {
		return closed(err)
	}
	defer tx.Rollback() // nothing, once it has been committed
	t := newTree(tx)
	if err := do(t); err != nil {
		return err
	}
	if len(t.changed) == 0 { // checks alone need no disk
		return nil
	}
	id := tx.ID()
	if err := tx.Commit(); err != nil {
		return db.commitFailed(id, err)
	}
	db.hub.notify(t.changed, t.listed)
	return nil
}

// closed says in the words of package coordination that the file is closed.
func closed(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return coordination.ErrClosed
	}
	return err
}

// commitFailed finds out what a failed bbolt commit left behind. The meta page
// is written last and makes the transaction: if the file still shows the one
// before, ours was never begun for anybody who reads it. If it shows ours, the
// page may or may not be on disk, and only opening the file again can tell.
func (db *DB) commitFailed(id int, cause error) error {
	now := -1
	err := db.bolt.View(func(tx *bbolt.Tx) error {
		now = tx.ID()
		return nil
	})
	if err == nil && now < id {
		return fmt.Errorf("%w: write %s: %w", coordination.ErrUnavailable, db.path, cause)
	}
	wrong := fmt.Errorf("%s needs to be opened again after a failed sync: %w", db.path, cause)
	db.mu.Lock()
	db.broken = fmt.Errorf("%w: %w", coordination.ErrUnavailable, wrong)
	db.mu.Unlock()
	for _, s := range db.stores() {
		s.stop(fmt.Errorf("%w: %w", coordination.ErrSessionLost, wrong))
	}
	return fmt.Errorf("%w: %w", coordination.ErrUnknownOutcome, wrong)
}

// stores lists the sessions that have not been closed.
func (db *DB) stores() []*Store {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.Collect(maps.Keys(db.sessions))
}

// forget drops a session that has ended.
func (db *DB) forget(s *Store) {
	db.mu.Lock()
	defer db.mu.Unlock()
	delete(db.sessions, s)
}
