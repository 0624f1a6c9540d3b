package coordination

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Combined is a view of a session on which the commits of all goroutines that wait
// at the same time travel as one. Each is refused, or takes effect, as if it had
// been alone: where a condition of one does not hold, that one goes alone. Whatever
// is not a commit is the session's own.
type Combined struct {
	Store
	pause time.Duration

	mu      sync.Mutex
	waiting []*parcel
	writing bool
	work    sync.WaitGroup
	once    sync.Once
	closed  chan struct{}
}

// parcel is what one caller wants committed.
type parcel struct {
	ctx  context.Context
	ops  []Op
	size int
	done chan error // holds the outcome
}

var _ Store = (*Combined)(nil)

// Combine returns a view of a session that begins a commit at most once in a pause;
// the first after a longer one begins at once. With no pause, commits are combined
// as far as they wait for the one before. Closing the view closes the session; one that
// is left alone runs nothing once its callers have been answered and the pause is over.
func Combine(s Store, pause time.Duration) *Combined {
	return &Combined{Store: s, pause: pause, closed: make(chan struct{})}
}

// Commit implements [Store].
func (c *Combined) Commit(ctx context.Context, ops ...Op) error {
	if err := CheckOps(ops); err != nil {
		return err
	}
	p := &parcel{ctx: ctx, ops: ops, size: sizeOf(ops), done: make(chan error, 1)}
	c.mu.Lock()
	c.waiting = append(c.waiting, p)
	if !c.writing {
		c.writing = true
		c.work.Go(c.write)
	}
	c.mu.Unlock()
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		if c.withdraw(p) {
			return ctx.Err()
		}
		return <-p.done // it is under way: the outcome is settled before this returns
	}
}

// Close implements [Store].
func (c *Combined) Close() error {
	c.once.Do(func() { close(c.closed) })
	err := c.Store.Close()
	c.work.Wait()
	return err
}

// Waiting is how many commits wait for one that is under way.
func (c *Combined) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

// withdraw takes back what is not under way.
func (c *Combined) withdraw(p *parcel) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, w := range c.waiting {
		if w == p {
			c.waiting = append(c.waiting[:i:i], c.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// write is the goroutine that writes, as long as somebody waits.
func (c *Combined) write() {
	for {
		next := time.After(c.pause)
		batch := c.take()
		if len(batch) == 0 {
			return
		}
		c.send(batch)
		if c.pause > 0 {
			select {
			case <-next:
			case <-c.closed:
			}
		}
	}
}

// take returns what waits and fits into one commit, at least one where there is any.
func (c *Combined) take() []*parcel {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, size := 0, 0
	for _, p := range c.waiting {
		if size += p.size; n > 0 && size > MaxCommit {
			break
		}
		n++
	}
	batch := c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	c.writing = n > 0
	return batch
}

// maxRefused is how often parcels that wait together are refused for one of them,
// which then goes alone, until all go one by one.
const maxRefused = 3

// send commits parcels as one, or alone where they are refused for a reason that need
// not be everybody's.
func (c *Combined) send(batch []*parcel) {
	for refused := 0; len(batch) > 1 && refused < maxRefused; refused++ {
		err := c.together(batch)
		if common(err) {
			for _, p := range batch {
				p.done <- err
			}
			return
		}
		var conflict *ConflictError
		if !errors.As(err, &conflict) {
			break
		}
		i, before := 0, len(batch[0].ops)
		for conflict.Index >= before {
			i++
			before += len(batch[i].ops)
		}
		c.alone(batch[i])
		batch = slices.Delete(batch, i, i+1)
	}
	for _, p := range batch {
		c.alone(p)
	}
}

// common says that an outcome is that of every parcel.
func common(err error) bool {
	return err == nil || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome) ||
		errors.Is(err, ErrSessionLost) || errors.Is(err, ErrClosed) || errors.Is(err, context.Canceled)
}

func (c *Combined) alone(p *parcel) { p.done <- c.Store.Commit(p.ctx, p.ops...) }

// together commits parcels as one, as long as anybody still wants that.
func (c *Combined) together(batch []*parcel) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wanted atomic.Int32
	wanted.Store(int32(len(batch)))
	var ops []Op
	for _, p := range batch {
		ops = append(ops, p.ops...)
		defer context.AfterFunc(p.ctx, func() {
			if wanted.Add(-1) == 0 {
				cancel()
			}
		})()
	}
	return c.Store.Commit(ctx, ops...)
}
