package edge

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/weirstream/weir/proto/wire"
)

// Limits bound what the channels of one receiving task hold, in bytes of encoded
// batches. A batch larger than any of them still passes, alone in its channel.
type Limits struct {
	// Reserve is each channel's own room.
	Reserve int
	// Channel bounds one channel, its own room included.
	Channel int
	// Common is shared by the task's channels, on top of their own room.
	Common int
}

// DefaultLimits leaves each channel its own 64 KiB and at most 2 MiB: with the
// HTTP/2 windows and what is on its way into and out of the two plugins, a
// channel stays below 4 MiB.
func DefaultLimits() Limits {
	return Limits{Reserve: 64 << 10, Channel: 2 << 20, Common: 4 << 20}
}

// OutletLimits are those of the near end of a channel to another host: with the
// HTTP/2 window between, and what waits at the far end, it stays below 4 MiB too.
func OutletLimits() Limits {
	return Limits{Reserve: 64 << 10, Channel: 512 << 10, Common: 512 << 10}
}

// Input merges the channels of one receiving task into one ordered stream.
type Input struct {
	opts Limits

	mu       sync.Mutex
	channels []*Channel
	common   int        // bytes charged to Limits.Common
	round    []*Channel // channels that have something to deliver, in turn
	arrival  chan struct{}
	closed   bool
	failed   error

	cut       alignment
	watermark int64    // the last one handed out
	idle      idleness // what was handed out last, where it was idle
}

// NewInput returns an input without channels.
func NewInput(limits Limits) *Input {
	return &Input{opts: limits, arrival: make(chan struct{}, 1), watermark: math.MinInt64}
}

// Open adds a channel into an input port of the task's component. All channels
// are opened before the first Push and Next.
func (in *Input) Open(id ID, port uint32) *Channel {
	c := &Channel{id: id, port: port, in: in, room: make(chan struct{}, 1), watermark: math.MinInt64}
	in.channels = append(in.channels, c)
	return c
}

// Next returns the next item for the plugin, its frame addressed to the input
// port; the frame is the caller's. It waits until there is one, ctx is done, the
// input is closed ([ErrClosed]), a channel is closed (an error that names it and
// wraps ErrClosed), or a sender broke the protocol (an error that names the
// channel and wraps [ErrProtocol]). After such an error there is no next.
//
// Channels take turns, item by item. A channel that delivered a barrier rests
// until all have. Watermarks come out when their minimum over the channels that
// are not idle rises; idle comes out when all are.
func (in *Input) Next(ctx context.Context) (Item, error) {
	for {
		it, ok, err := in.take()
		switch {
		case err != nil:
			return Item{}, err
		case ok && it.Channel != nil:
			it.Frame.Rewrite(it.header, 0, it.Channel.port, 0)
			return it, nil
		case ok:
			return it, it.encode()
		}
		select {
		case <-in.arrival:
		case <-ctx.Done():
			return Item{}, ctx.Err()
		}
	}
}

// take returns the next item if there is one. Its frame is not addressed yet.
func (in *Input) take() (Item, bool, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.closed:
		return Item{}, false, ErrClosed
	case in.failed != nil:
		return Item{}, false, in.failed
	}
	for len(in.round) > 0 {
		c := in.round[0]
		in.round = append(in.round[:0], in.round[1:]...)
		c.turn = false
		e := c.queue.pop()
		c.release(&e)
		it, ok, err := in.deliver(c, e.Item)
		if err != nil {
			e.Frame.Free()
			in.failed = fmt.Errorf("%w: %s: %w", ErrProtocol, c.id, err)
			return Item{}, false, in.failed
		}
		in.arrived(c)
		if ok {
			return it, true, nil
		}
	}
	return Item{}, false, nil
}

// deliver takes in what c delivers and returns what that makes for the plugin.
func (in *Input) deliver(c *Channel, it Item) (Item, bool, error) {
	switch it.Kind {
	case wire.KindBarrier:
		return in.align(c, it.Barrier)
	case wire.KindWatermark:
		if it.Watermark < c.watermark {
			return Item{}, false, fmt.Errorf("watermark %d after %d", it.Watermark, c.watermark)
		}
		c.watermark, c.idle = it.Watermark, waited
		return in.rise()
	case wire.KindIdle:
		if c.idle = quiet; it.NoSplit {
			c.idle = noSplit
		}
		return in.rise()
	case wire.KindBatch:
		if in.cut.halted {
			return Item{}, false, fmt.Errorf("a batch behind the halt barrier of checkpoint %d", in.cut.passed)
		}
	}
	it.Channel = c
	return it, true, nil
}

// rise returns a watermark if it rose, or idle if no channel is waited for.
func (in *Input) rise() (Item, bool, error) {
	low, idle := in.lowest()
	switch {
	case idle != waited && in.idle == idle:
		return Item{}, false, nil
	case idle != waited:
		in.idle = idle
		return IdleItem(idle == noSplit), true, nil
	case low > in.watermark || in.idle != waited:
		// The same watermark again ends idleness where it did not rise.
		in.idle = waited
		in.watermark = max(low, in.watermark)
		return WatermarkItem(in.watermark), true, nil
	}
	return Item{}, false, nil
}

// lowest is the least watermark of the channels that are waited for. An edge none of
// whose senders has a split holds the watermark, as long as another edge does not
// have the same to say.
func (in *Input) lowest() (low int64, idle idleness) {
	low = math.MaxInt64
	alive, silent, held := false, false, false
	for from := 0; from < len(in.channels); {
		edge := in.channels[from].id.Edge
		live, calm := false, false
		for ; from < len(in.channels) && in.channels[from].id.Edge == edge; from++ {
			switch c := in.channels[from]; c.idle {
			case waited:
				low, live = min(low, c.watermark), true
			case quiet:
				calm = true
			}
		}
		switch {
		case live:
			alive = true
		case calm:
			silent = true
		default:
			held = true
		}
	}
	switch {
	case held && (alive || silent):
		return min(low, in.watermark), waited
	case alive:
		return low, waited
	case silent:
		return low, quiet
	}
	return low, noSplit
}

// arrived gives c a turn if it has something to deliver.
func (in *Input) arrived(c *Channel) {
	if c.turn || c.held || c.queue.len() == 0 {
		return
	}
	c.turn = true
	in.round = append(in.round, c)
	signal(in.arrival)
}

// Close ends the input and all its channels: what is queued is freed, and every
// Next and Push returns [ErrClosed]. It may be called again.
func (in *Input) Close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	for _, c := range in.channels {
		for c.queue.len() > 0 {
			e := c.queue.pop()
			c.release(&e)
			e.Frame.Free()
		}
		c.wake()
	}
	signal(in.arrival)
}
