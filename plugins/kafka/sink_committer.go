package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/sdk"
)

// parallelCalls is how many transactions are ended at the same time.
const parallelCalls = 8

// committer commits transactions and ends those that earlier epochs left. Neither
// needs the process that wrote them.
type committer struct {
	client *client.Client
	node   *sdk.Node
	within time.Duration
}

func newCommitter(_ context.Context, cfg *SinkConfig, n *sdk.Node) (*committer, error) {
	c, err := client.New(&cfg.Config, client.NoTopics...)
	if err != nil {
		return nil, sdk.Fatal(err)
	}
	return &committer{client: c, node: n, within: cfg.APITimeoutDuration()}, nil
}

// Close implements [sdk.Committer].
func (c *committer) Close() error {
	c.client.Close()
	return nil
}

// Commit implements [sdk.Committer]. An id is used again, which shuts this epoch of
// it out, only when its last commit is durable: so a transaction that the broker does
// not know any more was never committed.
func (c *committer) Commit(ctx context.Context, cs []committable) error {
	for len(cs) > 0 {
		n := 1
		for n < len(cs) && cs[n].Checkpoint == cs[0].Checkpoint {
			n++
		}
		if err := c.commitAll(ctx, cs[:n], cs[n:]); err != nil {
			return err
		}
		cs = cs[n:]
	}
	return nil
}

// commitAll commits the transactions of one checkpoint, each whatever becomes of the
// others, so that an error tells all that is lost. later are those of later ones.
func (c *committer) commitAll(ctx context.Context, cs, later []committable) error {
	errs := make([]error, len(cs))
	var group errgroup.Group
	group.SetLimit(parallelCalls)
	for i, t := range cs {
		group.Go(func() error {
			errs[i] = inCall("commit of transaction "+t.Transaction, persist(ctx, c.within, func() error {
				return endTransaction(ctx, c.client, t.Transaction, t.Producer, t.Epoch, true)
			}))
			return nil
		})
	}
	_ = group.Wait()
	var first error
	var lost []committable
	for i, err := range errs {
		if fenced(err) {
			if len(lost) == 0 {
				first = err
			}
			lost = append(lost, cs[i])
		}
	}
	if len(lost) > 0 {
		return sdk.Fatal(lossError(first, lost, later))
	}
	if err := errors.Join(errs...); err != nil {
		// A right that is missing can be given while the transaction lives.
		return unmarked{fmt.Errorf("checkpoint %d: %w", cs[0].Checkpoint, err)}
	}
	return nil
}

// lossError says what is lost, what else is in doubt, and what to do.
func lossError(err error, lost, later []committable) error {
	why := "somebody else has used its id"
	if expires := lost[0].Expires; time.Now().After(expires) {
		why = fmt.Sprintf("it expired at %s", expires.UTC().Format(time.RFC3339))
	}
	doubt := ""
	if len(later) > 0 {
		doubt = fmt.Sprintf(" In doubt are those of checkpoints that came after it, since nothing commits them: offsets %s.", offsets(later))
	}
	return fmt.Errorf("%w: the broker has aborted it, %s, and the records of checkpoint %d are lost to consumers of committed records: "+
		"offsets %s.%s They can still be read with isolation.level=read_uncommitted. "+
		"To go on, restore a savepoint (--from), or start over (--fresh), and let transaction.timeout.ms, and transaction.max.timeout.ms "+
		"of the broker, be longer than the pipeline may be down", err, why, lost[0].Checkpoint, offsets(lost), doubt)
}

// offsets are what transactions have written, as text.
func offsets(cs []committable) string {
	var all []string
	for _, t := range cs {
		for _, r := range t.Written {
			all = append(all, r.String())
		}
	}
	return strings.Join(all, ", ")
}

// sweepTimeout is the timeout of the transactions that Sweep begins and nobody
// writes to.
const sweepTimeout = 10 * time.Second

// Sweep implements [sdk.Committer]: it ends whatever is open in any id that tasks of
// earlier epochs could use.
func (c *committer) Sweep(ctx context.Context, s sdk.Sweep) error {
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(parallelCalls)
	for _, g := range s.Earlier {
		pool := g.Pool
		if pool == 0 {
			pool = defaultPool
		}
		for task := range g.Parallelism {
			for n := range pool {
				if g.Epoch >= c.node.Epoch {
					continue // never an id that a task of this epoch may use
				}
				id := transactionalID(c.node.UID, c.node.Node, g.Epoch, task, n)
				group.Go(func() error {
					_, err := initProducer(within, c.client, id, sweepTimeout, c.within)
					return err
				})
			}
		}
	}
	err := group.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return inCall("end transactions of earlier epochs", err)
}
