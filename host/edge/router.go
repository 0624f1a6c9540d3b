package edge

import (
	"context"
	"errors"
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
// outputs. It belongs to one goroutine, save Stats.
type Router struct{}

// NewRouter returns a router over edges whose channels are open.
func NewRouter(opts RouterOptions) (*Router, error) { return nil, nil }

// Route passes a frame on; h is its header. It takes the frame over, also when
// it fails. It waits while a channel that it needs is full.
//
// A batch goes to the edges of the output that it names; watermark and idle go
// to every channel of those; a barrier goes to every channel of every edge;
// Assign and NoMoreSplits go to the reader that is their target. All keep their
// order on each channel. What goes to an output without edges is counted and
// dropped. Other kinds are for the caller to handle, and an error here.
func (r *Router) Route(ctx context.Context, f wire.Frame, h wire.Header) error { return nil }

// Emit routes a batch that the host makes: a dead letter, say. The caller still
// releases it.
func (r *Router) Emit(ctx context.Context, component, output uint32, b *wire.Batch) error { return nil }

// Gathers reports whether an edge gathers records, so that Settle must be called.
func (r *Router) Gathers() bool { return false }

// Settle is called when the plugin has nothing more to route at the moment. What
// was gathered for a receiver to which nothing is on its way leaves at once; the
// rest may wait for company. It returns how long until Settle must be called
// again even if nothing comes; 0 means that nothing waits.
func (r *Router) Settle(ctx context.Context) (time.Duration, error) { return 0, nil }

// Flush sends everything that was gathered.
func (r *Router) Flush(ctx context.Context) error { return nil }

// Close drops what was gathered. The channels are left alone.
func (r *Router) Close() {}

// EdgeStats is what an edge has carried.
type EdgeStats struct {
	ID string
	// Records and Batches count what was routed; Bytes are encoded bytes. A record
	// that is broadcast counts once.
	Records, Batches, Bytes uint64
	// NullKeys are records that did not go on for want of a key.
	NullKeys uint64
}

// RouterStats is what a router has carried.
type RouterStats struct {
	Edges []EdgeStats
	// Dropped are records for outputs without an edge.
	Dropped uint64
	// Blocked is the time for which Route, Settle and Flush waited for room.
	Blocked time.Duration
}

// Stats may be called at any time by anyone.
func (r *Router) Stats() RouterStats { return RouterStats{} }
