package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/secret"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

const (
	// commitTimeout bounds one call of Commit or Sweep; it is then repeated.
	commitTimeout = 2 * time.Minute
	// The waits between calls that failed.
	commitBackoffMin = 100 * time.Millisecond
	commitBackoffMax = 10 * time.Second
)

// committer publishes and sweeps the output of one sink node. Its calls come one
// at a time.
type committer struct {
	node   *pipeline.Node
	client pluginv1.PluginClient
	owner  *pluginv1.Owner
	log    *slog.Logger
	mask   *secret.Mask

	mu    sync.Mutex
	last  error // why the newest call failed; nil once it has been answered
	since time.Time
}

// commit repeats Commit until it is answered, fails for good, or ctx ends.
// Entries are committables in the order of their checkpoints.
func (c *committer) commit(ctx context.Context, entries []*pluginv1.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	return c.repeat(ctx, "commit", func(ctx context.Context) (*pluginv1.Error, error) {
		r, err := c.client.Commit(ctx, &pluginv1.CommitRequest{
			Owner: c.owner, Component: c.node.Component, Config: c.node.Config,
			SecretPaths: c.node.SecretPaths, Committables: entries,
		})
		return r.GetError(), err
	})
}

// sweep repeats Sweep in the same way.
func (c *committer) sweep(ctx context.Context, r *pluginv1.SweepRequest) error {
	r.Owner, r.Component, r.Config, r.SecretPaths = c.owner, c.node.Component, c.node.Config, c.node.SecretPaths
	return c.repeat(ctx, "sweep", func(ctx context.Context) (*pluginv1.Error, error) {
		answer, err := c.client.Sweep(ctx, r)
		return answer.GetError(), err
	})
}

// failing says why output is uncommitted at present, or nil, and since when.
func (c *committer) failing() (since time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since, c.last
}

func (c *committer) repeat(ctx context.Context, what string, call func(context.Context) (*pluginv1.Error, error)) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = commitBackoffMin, commitBackoffMax
	for {
		err := c.mask.Error(c.once(ctx, what, call))
		c.mu.Lock()
		if c.last == nil {
			c.since = time.Now()
		}
		c.last = err
		c.mu.Unlock()
		if err == nil {
			return nil
		}
		var fatal *fatalError
		if errors.As(err, &fatal) || ctx.Err() != nil {
			return err
		}
		pause := wait.NextBackOff()
		c.log.Warn("the sink did not answer a "+what+", trying again", "node", c.node.Name, "in", pause, "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}

func (c *committer) once(ctx context.Context, what string, call func(context.Context) (*pluginv1.Error, error)) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	failure, err := call(ctx)
	switch {
	case status.Code(err) == codes.FailedPrecondition:
		// A newer epoch has been there: this one has nothing more to say.
		return &fatalError{fmt.Errorf("node %s: %s refused: %w", c.node.Name, what, err)}
	case err != nil:
		return fmt.Errorf("node %s: %s: %w", c.node.Name, what, err)
	case failure == nil:
		return nil
	case failure.Class == pluginv1.Error_CLASS_FATAL:
		return &fatalError{fmt.Errorf("node %s: %s failed for good: %s", c.node.Name, what, failure.Message)}
	default:
		return fmt.Errorf("node %s: %s: %s", c.node.Name, what, failure.Message)
	}
}

// fatalError marks a failure that no restart helps.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }
