package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weirstream/weir/host/edge"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/proto/policy"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// keyless applies the failure policy of a task's members to records that a keyed
// edge cannot place for want of a key. The plugin does not know of them, so what it
// reports is completed with them. The limit of a policy counts them apart from what
// the plugin fails.
type keyless struct {
	members []*pipeline.Node
	pool    *wire.Pool

	mu     sync.Mutex
	counts []keylessCount // by member
}

type keylessCount struct {
	limit                 policy.Limit
	skipped, deadLettered uint64
	samples               []*pluginv1.FailureSample
}

func newKeyless(members []*pipeline.Node, pool *wire.Pool) *keyless {
	k := &keyless{members: members, pool: pool, counts: make([]keylessCount, len(members))}
	for i, n := range members {
		k.counts[i].limit = policy.NewLimit(n.OnFailure)
	}
	return k
}

// handle takes records that a member sent and an edge refused. Dead letters leave
// by emit.
func (k *keyless) handle(ctx context.Context, name string, component uint32, records *wire.Batch,
	emit func(ctx context.Context, component, output uint32, b *wire.Batch) error,
) error {
	node := k.members[component]
	cause := fmt.Errorf("%s: %w", name, edge.ErrNullKey)
	switch node.OnFailure.GetAction() {
	case pluginv1.FailurePolicy_ACTION_SKIP, pluginv1.FailurePolicy_ACTION_DEAD_LETTER:
	default:
		return fmt.Errorf("node %s: %d records on %w", node.Name, records.Len(), cause)
	}
	if err := k.count(node, &k.counts[component], records, cause); err != nil {
		return err
	}
	if node.OnFailure.GetAction() == pluginv1.FailurePolicy_ACTION_SKIP {
		return nil
	}
	output, _ := outputIndex(node, pipeline.OutputErrors)
	letters := deadLetters(k.pool, node, records, cause)
	defer letters.Release()
	return emit(ctx, component, output, letters)
}

func (k *keyless) count(n *pipeline.Node, c *keylessCount, records *wire.Batch, cause error) error {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range records.Len() {
		if i >= records.Len()-policy.MaxSamples {
			c.samples = last(append(c.samples, policy.Sample(now, records, i, cause.Error())))
		}
		if c.limit.Over(now) {
			return fmt.Errorf("node %s: more than %d failed records within %v, the last: %w", n.Name, c.limit.Count, c.limit.Span, cause)
		}
		if n.OnFailure.GetAction() == pluginv1.FailurePolicy_ACTION_SKIP {
			c.skipped++
		} else {
			c.deadLettered++
		}
	}
	return nil
}

// complete adds what was counted here to a plugin's report.
func (k *keyless) complete(r *pluginv1.Report) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range r.GetComponents() {
		if int(c.Component) >= len(k.counts) {
			continue
		}
		own := &k.counts[c.Component]
		c.FailedSkipped += own.skipped
		c.FailedDeadLettered += own.deadLettered
		if len(own.samples) > 0 {
			c.Samples = append(c.Samples, own.samples...)
			slices.SortStableFunc(c.Samples, func(a, b *pluginv1.FailureSample) int {
				return int(a.TimeUnixNano - b.TimeUnixNano)
			})
			c.Samples = last(c.Samples)
		}
	}
}

// last are the newest samples.
func last(s []*pluginv1.FailureSample) []*pluginv1.FailureSample {
	return s[max(0, len(s)-policy.MaxSamples):]
}

// deadLetters are records with what is known of their failure.
func deadLetters(pool *wire.Pool, n *pipeline.Node, records *wire.Batch, cause error) *wire.Batch {
	w := pool.NewBuilder(records.Size())
	w.SetOrigin(true)
	for i := range records.Len() {
		split, ordinal := records.Origin(i)
		h := append(wire.Headers(nil), records.Headers(i)...)
		h = policy.AppendHeaders(h, cause.Error(), n.ID, split, ordinal)
		w.Append(records.Key(i), records.Value(i), records.Time(i), h, split, ordinal)
	}
	return w.Freeze()
}
