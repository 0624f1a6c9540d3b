package edge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// Edge is one edge as its sending task sees it.
type Edge struct {
	// ID names the edge in errors and statistics, as "parse.out -> write.in".
	ID string
	// Component and Output are where the edge begins: the index in the sender's
	// chain, and the index in Member.outputs.
	Component, Output uint32
	Partition         pluginv1.Partition
	// Splits marks the edge from an enumerator to its readers: assignments go to
	// the reader that they name. It carries no batches.
	Splits bool
	// TellSplits: who receives needs to know where the records of a split begin and
	// end.
	TellSplits bool
	// Origin keeps the origin of records where a keyed edge builds new batches.
	Origin bool
	// Channels has one for each receiving task, in order; a forward edge has one.
	Channels []*Channel
}

// RouterOptions configure a Router.
type RouterOptions struct {
	// Task is the sender's index: where a rebalanced edge begins its round.
	Task  int
	Edges []Edge
	Pool  *wire.Pool
	// MaxParallelism is the number of key groups.
	MaxParallelism int
	// BatchBytes and Linger bound the batches that a keyed edge gathers.
	BatchBytes int
	Linger     time.Duration
	// NullKeys gets the records without a key that came for a keyed edge, as a
	// batch that is released when it returns. Its error is Route's. Nil: they are
	// an error that wraps [ErrNullKey].
	NullKeys func(ctx context.Context, edge string, component, output uint32, records *wire.Batch) error
}

// ErrNullKey says that a record without a key came for a keyed edge.
var ErrNullKey = errors.New("edge: a record without a key on an edge that partitions by key")

// Router distributes what one task's plugin emits over the channels of its
// outputs. It belongs to one goroutine, save Stats, Assigned and SetTap.
type Router struct {
	opts    RouterOptions
	edges   []*route
	outputs map[port][]*route
	splits  *route
	dropped atomic.Uint64
	tap     atomic.Pointer[Tap]
	assigns atomic.Uint64
}

// Tap is shown the batches that a router passes on, on the router's goroutine. It
// must not block, and clones a frame that it keeps.
type Tap func(f *wire.Frame, h wire.Header)

type port struct{ component, output uint32 }

// route is an edge with what the router keeps for it.
type route struct {
	Edge
	turn  int    // of rebalance: the next receiver
	keyed *keyed // of a keyed edge

	records, batches, bytes, nullKeys atomic.Uint64
}

// NewRouter returns a router over edges whose channels are open.
func NewRouter(opts RouterOptions) (*Router, error) {
	r := &Router{opts: opts, outputs: make(map[port][]*route)}
	for _, e := range opts.Edges {
		if len(e.Channels) == 0 {
			return nil, fmt.Errorf("edge %s: no channels", e.ID)
		}
		rt := &route{Edge: e, turn: opts.Task % len(e.Channels)}
		switch {
		case e.Splits:
			if r.splits != nil {
				return nil, fmt.Errorf("edge %s: a second edge of splits beside %s", e.ID, r.splits.ID)
			}
			r.splits = rt
		case e.Partition == pluginv1.Partition_PARTITION_FORWARD && len(e.Channels) != 1:
			return nil, fmt.Errorf("edge %s: forward to %d channels", e.ID, len(e.Channels))
		case e.Partition == pluginv1.Partition_PARTITION_KEY:
			if len(e.Channels) > opts.MaxParallelism {
				return nil, fmt.Errorf("edge %s: %d tasks for %d key groups", e.ID, len(e.Channels), opts.MaxParallelism)
			}
			rt.keyed = newKeyed(&r.opts, rt)
		case e.Partition == pluginv1.Partition_PARTITION_UNSPECIFIED:
			return nil, fmt.Errorf("edge %s: no partition", e.ID)
		}
		r.edges = append(r.edges, rt)
		if !e.Splits {
			at := port{e.Component, e.Output}
			r.outputs[at] = append(r.outputs[at], rt)
		}
	}
	return r, nil
}

// Route passes a frame on; h is its header. It takes the frame over, also when
// it fails. It waits while a channel that it needs is full.
//
// A batch goes to the edges of the output that it names; watermark and idle go
// to every channel of those; a barrier goes to every channel of every edge;
// Assign and NoMoreSplits go to the reader that is their target, SplitOpened and
// SplitEnded to the edges of their component that tell splits. All keep their
// order on each channel. What goes to an output without edges is counted and
// dropped. Other kinds are for the caller to handle, and an error here.
func (r *Router) Route(ctx context.Context, f wire.Frame, h wire.Header) error {
	switch h.Kind {
	case wire.KindBatch:
		return r.routeBatch(ctx, f, h)
	case wire.KindAssign, wire.KindNoMoreSplits:
		if r.splits == nil {
			f.Free()
			return fmt.Errorf("%w: splits from a task that has no readers", ErrProtocol)
		}
		c, err := r.splits.target(h)
		if err != nil {
			f.Free()
			return err
		}
		if h.Kind == wire.KindAssign && h.BodyLen() > 0 { // an empty one says that there is none
			r.assigns.Add(1)
		}
		return c.Push(ctx, FrameItem(f, h))
	}
	defer f.Free()
	switch h.Kind {
	case wire.KindSplitOpened, wire.KindSplitEnded:
		return r.tellSplit(ctx, f, h)
	case wire.KindWatermark:
		m, err := f.Message()
		if err != nil {
			return err
		}
		return r.tell(ctx, r.outputs[port{h.Component, h.Port}], WatermarkItem(m.GetWatermark().GetTime()))
	case wire.KindIdle:
		m, err := f.Message()
		if err != nil {
			return err
		}
		return r.tell(ctx, r.outputs[port{h.Component, h.Port}], IdleItem(m.GetIdle().GetNoSplit()))
	case wire.KindBarrier:
		b, err := ReadBarrier(&f)
		if err != nil {
			return err
		}
		return r.tell(ctx, r.edges, BarrierItem(b))
	}
	return fmt.Errorf("%w: a frame of kind %d cannot be routed", ErrProtocol, h.Kind)
}

// tellSplit passes on where the records of a split begin or end.
func (r *Router) tellSplit(ctx context.Context, f wire.Frame, h wire.Header) error {
	for _, rt := range r.edges {
		if !rt.TellSplits || rt.Component != h.Component {
			continue
		}
		for _, c := range rt.Channels {
			if err := c.Push(ctx, FrameItem(f.Clone(), h)); err != nil {
				return rt.wrap(err)
			}
		}
	}
	return nil
}

// tell sends a signal behind everything that was gathered, to all channels of
// the routes. No batch comes between: once one receiver has a barrier, nothing
// can keep the others from getting it.
func (r *Router) tell(ctx context.Context, routes []*route, it Item) error {
	for _, rt := range routes {
		if err := rt.keyed.flush(ctx); err != nil {
			return err
		}
	}
	for _, rt := range routes {
		for _, c := range rt.Channels {
			if err := c.Push(ctx, it); err != nil {
				return rt.wrap(err)
			}
		}
	}
	return nil
}

// Assigned says that an enumerator has assigned splits. It may be called from any
// goroutine.
func (r *Router) Assigned() bool { return r.assigns.Load() > 0 }

// SetTap shows every batch to tap from now on, or to nobody where it is nil. It may
// be called from any goroutine.
func (r *Router) SetTap(tap Tap) {
	if tap == nil {
		r.tap.Store(nil)
		return
	}
	r.tap.Store(&tap)
}

func (r *Router) routeBatch(ctx context.Context, f wire.Frame, h wire.Header) error {
	if tap := r.tap.Load(); tap != nil {
		(*tap)(&f, h)
	}
	routes := r.outputs[port{h.Component, h.Port}]
	if len(routes) == 0 {
		f.Free()
		r.dropped.Add(uint64(h.Records))
		return nil
	}
	last := len(routes) - 1
	for _, rt := range routes[:last] {
		if err := rt.send(ctx, f.Clone(), h); err != nil {
			f.Free()
			return err
		}
	}
	return routes[last].send(ctx, f, h)
}

// Emit routes a batch that the host makes: a dead letter, say. The caller still
// releases it.
func (r *Router) Emit(ctx context.Context, component, output uint32, b *wire.Batch) error {
	f := wire.Encode(component, output, 0, b)
	h, err := f.Header()
	if err != nil {
		f.Free()
		return err
	}
	return r.routeBatch(ctx, f, h)
}

// Gathers reports whether an edge gathers records, so that Settle must be called.
func (r *Router) Gathers() bool {
	return slices.ContainsFunc(r.edges, func(rt *route) bool { return rt.keyed != nil })
}

// Settle is called when the plugin has nothing more to route at the moment. What
// was gathered for a receiver to which nothing is on its way leaves at once; the
// rest may wait for company. It returns how long until Settle must be called
// again even if nothing comes; 0 means that nothing waits.
//
// So where the router gathers, its caller receives frames in another goroutine,
// routes them from a short queue, and settles whenever the queue is empty and
// whenever that time has passed.
func (r *Router) Settle(ctx context.Context) (time.Duration, error) {
	var wait time.Duration
	for _, rt := range r.edges {
		w, err := rt.keyed.settle(ctx)
		if err != nil {
			return 0, err
		}
		if w > 0 && (wait == 0 || w < wait) {
			wait = w
		}
	}
	return wait, nil
}

// Flush sends everything that was gathered.
func (r *Router) Flush(ctx context.Context) error {
	for _, rt := range r.edges {
		if err := rt.keyed.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close drops what was gathered. The channels are left alone.
func (r *Router) Close() {
	for _, rt := range r.edges {
		rt.keyed.discard()
	}
}

// send puts a batch into the channels that the edge's partition names.
func (rt *route) send(ctx context.Context, f wire.Frame, h wire.Header) error {
	rt.batches.Add(1)
	rt.records.Add(uint64(h.Records))
	rt.bytes.Add(uint64(h.BodyLen()))
	to := rt.Channels[0]
	switch {
	case h.Target > 0:
		var err error
		if to, err = rt.target(h); err != nil {
			f.Free()
			return err
		}
	case rt.keyed != nil:
		return rt.keyed.add(ctx, f, h)
	case rt.Partition == pluginv1.Partition_PARTITION_REBALANCE:
		to = rt.Channels[rt.turn]
		rt.turn = (rt.turn + 1) % len(rt.Channels)
	case rt.Partition == pluginv1.Partition_PARTITION_BROADCAST:
		for _, c := range rt.Channels[1:] {
			if err := c.Push(ctx, FrameItem(f.Clone(), h)); err != nil {
				f.Free()
				return rt.wrap(err)
			}
		}
	}
	return rt.wrap(to.Push(ctx, FrameItem(f, h)))
}

// target is the channel that the sender named.
func (rt *route) target(h wire.Header) (*Channel, error) {
	if h.Target == 0 || int(h.Target) > len(rt.Channels) {
		return nil, fmt.Errorf("%w: %s: target %d of %d tasks", ErrProtocol, rt.ID, h.Target, len(rt.Channels))
	}
	return rt.Channels[h.Target-1], nil
}

func (rt *route) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("edge %s: %w", rt.ID, err)
}
