package edge

import (
	"errors"
	"fmt"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// ErrClosed is returned by everything that waits for a channel or an input that
// has been closed.
var ErrClosed = errors.New("edge: closed")

// ErrProtocol is wrapped by errors about what a plugin sent: an item that must
// not come where it came.
var ErrProtocol = errors.New("edge: protocol violated")

// ID names a channel: the edge, as "parse.out -> write.in", and the indices of
// the sending and the receiving task.
type ID struct {
	Edge     string
	From, To int
}

func (id ID) String() string { return fmt.Sprintf("%s (task %d to %d)", id.Edge, id.From, id.To) }

// Barrier is what a barrier says; see frame.proto.
type Barrier struct {
	Checkpoint      uint64
	End, Halt, Roll bool
}

// Item is one element of a channel, or of the stream that [Input.Next] merges.
type Item struct {
	Kind wire.Kind
	// Frame is what goes to the plugin. Next always sets it; watermarks, idle and
	// barriers that are pushed have none yet.
	Frame wire.Frame
	// Records is the number of records of a batch.
	Records uint32
	// Barrier and Watermark are set for their kind.
	Barrier   Barrier
	Watermark int64
	// NoSplit says of Idle that the sender has no split to read.
	NoSplit bool

	// Set by Next. Channel is what a batch or a passing frame came by;
	// Alignment says how a barrier came together.
	Channel   *Channel
	Alignment Alignment

	header wire.Header // of Frame
}

// Alignment says how a barrier came together.
type Alignment struct {
	// Took is the time between the first and the last channel's barrier.
	Took time.Duration
	// Last is the channel that the others waited for.
	Last *Channel
}

// FrameItem is a batch, or a frame that passes unread; h is its header.
func FrameItem(f wire.Frame, h wire.Header) Item {
	return Item{Kind: h.Kind, Frame: f, Records: h.Records, header: h}
}

// ItemOf makes an item of a frame that came from a channel's other end on another
// host. Where it fails the frame is still the caller's.
func ItemOf(f wire.Frame) (Item, error) {
	h, err := f.Header()
	if err != nil {
		return Item{}, err
	}
	switch h.Kind {
	case wire.KindBatch, wire.KindAssign, wire.KindNoMoreSplits:
		return FrameItem(f, h), nil
	case wire.KindBarrier:
		b, err := ReadBarrier(&f)
		if err != nil {
			return Item{}, err
		}
		f.Free()
		return BarrierItem(b), nil
	case wire.KindWatermark:
		m, err := f.Message()
		if err != nil {
			return Item{}, err
		}
		f.Free()
		return WatermarkItem(m.GetWatermark().GetTime()), nil
	case wire.KindIdle:
		m, err := f.Message()
		if err != nil {
			return Item{}, err
		}
		f.Free()
		return IdleItem(m.GetIdle().GetNoSplit()), nil
	}
	return Item{}, fmt.Errorf("%w: a frame of kind %d between hosts", ErrProtocol, h.Kind)
}

// BarrierItem is a barrier.
func BarrierItem(b Barrier) Item { return Item{Kind: wire.KindBarrier, Barrier: b} }

// WatermarkItem is a watermark.
func WatermarkItem(t int64) Item { return Item{Kind: wire.KindWatermark, Watermark: t} }

// IdleItem says that the sender has no watermark to wait for: nothing comes, or, with
// noSplit, it has no split to read.
func IdleItem(noSplit bool) Item { return Item{Kind: wire.KindIdle, NoSplit: noSplit} }

// ReadBarrier reads a frame of kind barrier, which stays the caller's.
func ReadBarrier(f *wire.Frame) (Barrier, error) {
	m, err := f.Message()
	if err != nil {
		return Barrier{}, err
	}
	b := m.GetBarrier()
	if b == nil {
		return Barrier{}, fmt.Errorf("%w: not a barrier", wire.ErrMalformed)
	}
	return Barrier{Checkpoint: b.Checkpoint, End: b.End, Halt: b.Halt, Roll: b.Roll}, nil
}

// encode makes the frame of a watermark, idle or barrier.
func (it *Item) encode() (err error) {
	m := new(pluginv1.Frame)
	switch it.Kind {
	case wire.KindBarrier:
		b := it.Barrier
		m.Kind = &pluginv1.Frame_Barrier{Barrier: &pluginv1.Barrier{
			Checkpoint: b.Checkpoint, End: b.End, Halt: b.Halt, Roll: b.Roll,
		}}
	case wire.KindWatermark:
		m.Kind = &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: it.Watermark}}
	default:
		m.Kind = &pluginv1.Frame_Idle{Idle: &pluginv1.Idle{NoSplit: it.NoSplit}}
	}
	it.Frame, err = wire.FrameOf(m)
	return err
}
