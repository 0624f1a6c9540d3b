package coordination

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// How long a contender that gave up is tried to be withdrawn where the service
// does not answer, and the pauses between tries.
const (
	withdrawTimeout = 10 * time.Second
	retryPause      = 20 * time.Millisecond
	retryPauseMax   = time.Second
)

// ElectionPath is the record whose children are the contenders of an election.
func ElectionPath(name string) string { return "elections/" + name }

// Leadership is a won election. All methods may be called concurrently.
type Leadership struct {
	store Store
	path  string
	epoch uint64
	stop  context.CancelFunc // ends the watch on our contender
	lost  chan struct{}
	err   error // written before lost is closed
}

// Campaign takes part in the election called name and returns when it is won.
// The candidate's bytes are what Leader shows to others.
//
// When ctx ends first, or on any other error, Campaign withdraws its contender
// before it returns, so that no leader arises who knows nothing of it. While the
// service does not answer that takes as long as the session can still live, and
// at most ten seconds; should even that fail, the error says so and the contender
// stays until the Store is closed.
func Campaign(ctx context.Context, s Store, name string, candidate []byte) (*Leadership, error) {
	dir := ElectionPath(name)
	path := dir + "/" + rand.Text()
	if err := CheckOps([]Op{CreateEphemeral(path, candidate)}); err != nil {
		return nil, fmt.Errorf("campaign %s: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("campaign %s: %w", name, err) // whatever state the store is in
	}
	epoch, err := contend(ctx, s, dir, path, candidate)
	if err != nil {
		err = fmt.Errorf("campaign %s: %w", name, err)
		wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTimeout)
		defer cancel()
		return nil, errors.Join(err, withdraw(wctx, s, path))
	}
	wctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &Leadership{store: s, path: path, epoch: epoch, stop: stop, lost: make(chan struct{})}
	go l.watch(s.Watch(wctx, path))
	return l, nil
}

// Epoch is the fencing number: greater than that of every earlier leader of
// this election, across restarts of everybody.
func (l *Leadership) Epoch() uint64 { return l.epoch }

// Guard is an operation to put into a Commit, first by convention. The commit
// is refused once this leadership is over; see Fenced.
func (l *Leadership) Guard() Op { return Check(l.path, 0) }

// Fenced says whether err is that of a Commit refused by Guard.
func (l *Leadership) Fenced(err error) bool {
	var c *ConflictError
	return errors.As(err, &c) && c.Path == l.path
}

// Lost is closed when the leadership is known to be over: resigned, removed by
// somebody, or gone with the session. It comes late where the service cannot be
// reached; only Guard excludes a write after the end. A suspended session does
// not end a leadership.
func (l *Leadership) Lost() <-chan struct{} { return l.lost }

// Err says why the leadership ended, and is nil while Lost is open.
func (l *Leadership) Err() error {
	select {
	case <-l.lost:
		return l.err
	default:
		return nil
	}
}

// Resign gives the leadership up. Lost is closed when it returns, and the next
// contender leads when it returns nil. On an error the contender may stay until
// the session ends; Resign may then be called again.
func (l *Leadership) Resign(ctx context.Context) error {
	l.stop()
	<-l.lost
	return withdraw(ctx, l.store, l.path)
}

// watch closes lost when our contender's record is gone, the session is over,
// or Resign ended the watch.
func (l *Leadership) watch(changes <-chan Change) {
	defer close(l.lost)
	defer l.stop()
	for c := range changes {
		switch {
		case c.Err != nil:
			l.err = fmt.Errorf("leadership lost: %w", c.Err)
			return
		case !c.Found:
			l.err = fmt.Errorf("leadership lost: %s was removed", l.path)
			return
		}
	}
	l.err = errors.New("leadership resigned")
}

// Leader reads the record of the contender that leads: its candidate's bytes as
// Data, its epoch as Created. It fails with ErrNotFound where nobody leads, and
// may lag as every read does.
func Leader(ctx context.Context, r Reader, name string) (Record, error) {
	dir := ElectionPath(name)
	names, err := r.Children(ctx, dir)
	if err != nil {
		return Record{}, err
	}
	var leader Record
	for _, n := range names {
		rec, err := r.Get(ctx, dir+"/"+n)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return Record{}, err
		case leader.Path == "" || before(rec, leader):
			leader = rec
		}
	}
	if leader.Path == "" {
		return Record{}, fmt.Errorf("leader of %s: %w", name, ErrNotFound)
	}
	return leader, nil
}

// before orders contenders. Only those that one commit created together, which
// Campaign never does, need their names for it.
func before(a, b Record) bool {
	return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Path, b.Path)) < 0
}

// contend creates the contender and waits until all before it are gone.
//
// One listing is enough. It is read after our record was created, so it holds
// everybody who was created before us and is still there: a session never reads
// a state older than its own write. Whoever is not in it came later or is gone.
// So each name in it is looked at once, and waited for if it came before us.
func contend(ctx context.Context, s Store, dir, path string, candidate []byte) (epoch uint64, err error) {
	if err := enter(ctx, s, path, candidate); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	own := s.Watch(ctx, path)
	self, err := present(ctx, own)
	if err != nil {
		return 0, err
	}
	var names []string
	if err := retry(ctx, func() (err error) { names, err = s.Children(ctx, dir); return err }); err != nil {
		return 0, err
	}
	for _, n := range names {
		other := dir + "/" + n
		if other == path {
			continue
		}
		var rec Record
		err := retry(ctx, func() (err error) { rec, err = s.Get(ctx, other); return err })
		if errors.Is(err, ErrNotFound) || err == nil && before(self, rec) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if err := outlive(ctx, s, other, own); err != nil {
			return 0, err
		}
	}
	return self.Created, nil
}

// enter creates the contender's record. Its name is ours alone, so a lost reply
// is answered by asking again: if the record exists, we made it.
func enter(ctx context.Context, s Store, path string, candidate []byte) error {
	err := retry(ctx, func() error { return s.Commit(ctx, CreateEphemeral(path, candidate)) })
	if errors.Is(err, ErrExists) {
		return nil
	}
	return err
}

// withdraw deletes the contender's record, however often it takes. A session
// that is over has done so itself.
func withdraw(ctx context.Context, s Store, path string) error {
	err := retry(ctx, func() error { return s.Commit(ctx, Delete(path, AnyVersion)) })
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrSessionLost), errors.Is(err, ErrClosed):
		return nil
	}
	return fmt.Errorf("contender %s stays until its session ends: %w", path, err)
}

// outlive waits until the record at other is gone, or fails when our own is.
func outlive(ctx context.Context, s Store, other string, own <-chan Change) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ahead := s.Watch(ctx, other)
	for {
		select {
		case c, ok := <-ahead:
			if _, err := state(ctx, c, ok); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			} else if err != nil {
				return nil
			}
		case c, ok := <-own:
			if _, err := state(ctx, c, ok); err != nil {
				return err
			}
		}
	}
}

// present receives one value of a watch, which must show a record.
func present(ctx context.Context, changes <-chan Change) (Record, error) {
	c, ok := <-changes
	return state(ctx, c, ok)
}

func state(ctx context.Context, c Change, ok bool) (Record, error) {
	switch {
	case !ok:
		return Record{}, cmp.Or(ctx.Err(), ErrClosed)
	case c.Err != nil:
		return Record{}, c.Err
	case !c.Found:
		return Record{}, fmt.Errorf("%w: %s", ErrNotFound, c.Record.Path)
	}
	return c.Record, nil
}

// retry repeats do while it fails because of the connection, with growing
// pauses, until ctx ends.
func retry(ctx context.Context, do func() error) error {
	for pause := retryPause; ; pause = min(2*pause, retryPauseMax) {
		err := do()
		if err == nil || !errors.Is(err, ErrUnknownOutcome) && !errors.Is(err, ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}
