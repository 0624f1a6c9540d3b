package task

import (
	"context"
	"sync"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Commits is what a task knows of the commits of its pipeline's output. It is
// safe for concurrent use.
type Commits struct {
	// tell says to the host that the task waits, or no longer does.
	tell func(waiting bool)

	mu      sync.Mutex
	through uint64
	changed chan struct{} // closed and made anew when through grows
	waiters int
}

func newCommits(out *outbox) *Commits {
	return &Commits{changed: make(chan struct{}), tell: func(waiting bool) {
		out.put(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_AwaitingCommits{
			AwaitingCommits: &pluginv1.AwaitingCommits{Waiting: waiting},
		}})
	}}
}

// committed notes that everything up to a checkpoint is published for good.
func (c *Commits) committed(through uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if through > c.through {
		c.through = through
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// Through returns the newest checkpoint whose output, and that of all before it,
// is published for good; 0 where none of this epoch is.
func (c *Commits) Through() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.through
}

// Await waits until Through has reached a checkpoint, and tells the host so
// meanwhile.
func (c *Commits) Await(ctx context.Context, checkpoint uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.through >= checkpoint {
		return nil
	}
	if c.waiters++; c.waiters == 1 {
		c.tell(true)
	}
	defer func() {
		if c.waiters--; c.waiters == 0 {
			c.tell(false)
		}
	}()
	for c.through < checkpoint {
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		c.mu.Lock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}
