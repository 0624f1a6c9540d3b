package edge

import (
	"context"
	"fmt"
	"time"

	"github.com/weirstream/weir/proto/keygroup"
	"github.com/weirstream/weir/proto/wire"
)

const (
	// gatherBytes bounds what a keyed edge gathers for all its receivers together.
	gatherBytes = 4 << 20
	// minGather is the least that it gathers for each.
	minGather = 16 << 10
)

// keyed gathers the records of an edge by receiving task. A nil keyed gathers
// nothing.
type keyed struct {
	opts   *RouterOptions
	rt     *route
	limit  int
	owners []uint16 // by group
	tasks  []gathered
	nulls  []uint32
}

// gathered is what waits to leave for one task.
type gathered struct {
	*wire.Builder
	since time.Time // when the first record came
	picks []uint32  // the records of the batch at hand
}

func newKeyed(opts *RouterOptions, rt *route) *keyed {
	n := len(rt.Channels)
	k := &keyed{opts: opts, rt: rt, tasks: make([]gathered, n), owners: make([]uint16, opts.MaxParallelism)}
	k.limit = min(opts.BatchBytes, max(minGather, gatherBytes/n))
	for g := range k.owners {
		k.owners[g] = uint16(keygroup.Owner(g, len(k.owners), n))
	}
	for i := range k.tasks {
		k.tasks[i].Builder = opts.Pool.NewBuilder(k.limit)
		k.tasks[i].SetOrigin(rt.Origin)
	}
	return k
}

// add takes a batch apart by key. What fills a task's batch leaves.
func (k *keyed) add(ctx context.Context, f wire.Frame, h wire.Header) error {
	b, err := k.opts.Pool.Decode(&f, h)
	if err != nil {
		return k.rt.wrap(err)
	}
	defer b.Release()
	k.pick(b)
	if len(k.nulls) > 0 {
		if err := k.refuse(ctx, h, b); err != nil {
			return k.rt.wrap(err)
		}
	}
	now := time.Now()
	for i := range k.tasks {
		t := &k.tasks[i]
		if len(t.picks) == 0 {
			continue
		}
		share := b.Size() / b.Len() * len(t.picks)
		whole := len(t.picks) == b.Len() && share >= k.limit/2
		if t.Len() > 0 && (whole || t.Size()+share > k.limit+k.limit/8) {
			if err := k.leave(ctx, i); err != nil {
				return err
			}
		}
		if whole {
			if err := k.push(ctx, i, b); err != nil {
				return err
			}
			continue
		}
		if t.Len() == 0 {
			t.since = now
		}
		t.AppendSelected(b, t.picks)
		if t.Full() {
			if err := k.leave(ctx, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// pick sorts the records of b by the task that owns their key.
func (k *keyed) pick(b *wire.Batch) {
	k.nulls = k.nulls[:0]
	for i := range k.tasks {
		k.tasks[i].picks = k.tasks[i].picks[:0]
	}
	keys := b.Keys()
	start := uint32(0)
	for i := range b.Len() {
		key := keys.Data
		if keys.Encoding == wire.PerRecord {
			end := keys.Ends[i]
			key = keys.Data[start:end]
			start = end
		}
		if len(key) == 0 && b.Key(i) == nil {
			k.nulls = append(k.nulls, uint32(i))
			continue
		}
		t := &k.tasks[0]
		if len(k.tasks) > 1 {
			t = &k.tasks[k.owners[keygroup.Of(key, len(k.owners))]]
		}
		t.picks = append(t.picks, uint32(i))
	}
}

// refuse hands over the records that have no key.
func (k *keyed) refuse(ctx context.Context, h wire.Header, b *wire.Batch) error {
	k.rt.nullKeys.Add(uint64(len(k.nulls)))
	if k.opts.NullKeys == nil {
		split, ordinal := b.Origin(int(k.nulls[0]))
		return fmt.Errorf("%w: %d records, the first is ordinal %d of split %q", ErrNullKey, len(k.nulls), ordinal, split)
	}
	w := k.opts.Pool.NewBuilder(k.limit)
	w.AppendSelected(b, k.nulls)
	failed := w.Freeze()
	defer failed.Release()
	return k.opts.NullKeys(ctx, k.rt.ID, h.Component, h.Port, failed)
}

// leave sends what was gathered for a task.
func (k *keyed) leave(ctx context.Context, task int) error {
	b := k.tasks[task].Freeze()
	if b == nil {
		return nil
	}
	defer b.Release()
	return k.push(ctx, task, b)
}

func (k *keyed) push(ctx context.Context, task int, b *wire.Batch) error {
	c := k.rt.Channels[task]
	f := wire.Encode(0, c.port, 0, b)
	h, err := f.Header()
	if err != nil {
		f.Free()
		return k.rt.wrap(err)
	}
	return k.rt.wrap(c.Push(ctx, FrameItem(f, h)))
}

func (k *keyed) flush(ctx context.Context) error {
	if k == nil {
		return nil
	}
	for i := range k.tasks {
		if err := k.leave(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (k *keyed) settle(ctx context.Context) (wait time.Duration, err error) {
	if k == nil {
		return 0, nil
	}
	for i := range k.tasks {
		t := &k.tasks[i]
		if t.Len() == 0 {
			continue
		}
		left := k.opts.Linger - time.Since(t.since)
		if left <= 0 || k.rt.Channels[i].Empty() {
			if err := k.leave(ctx, i); err != nil {
				return 0, err
			}
		} else if wait == 0 || left < wait {
			wait = left
		}
	}
	return wait, nil
}

func (k *keyed) discard() {
	if k == nil {
		return
	}
	for i := range k.tasks {
		k.tasks[i].Discard()
	}
}
