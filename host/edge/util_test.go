package edge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

const (
	forward   = pluginv1.Partition_PARTITION_FORWARD
	byKey     = pluginv1.Partition_PARTITION_KEY
	rebalance = pluginv1.Partition_PARTITION_REBALANCE
	broadcast = pluginv1.Partition_PARTITION_BROADCAST
)

// batchOf makes a batch item of values, in a frame for port.
func batchOf(t testing.TB, p *wire.Pool, port uint32, values ...string) Item {
	t.Helper()
	w := p.NewBuilder(1 << 20)
	for i, v := range values {
		w.Append([]byte(v), []byte(v), wire.NoTime, nil, "s", int64(i))
	}
	return itemOf(t, w.Freeze(), 0, port)
}

func itemOf(t testing.TB, b *wire.Batch, component, port uint32) Item {
	t.Helper()
	defer b.Release()
	f := wire.Encode(component, port, 0, b)
	h, err := f.Header()
	if err != nil {
		t.Fatal(err)
	}
	return FrameItem(f, h)
}

// sized makes a batch whose frame has exactly size bytes.
func sized(t testing.TB, p *wire.Pool, size int) Item {
	t.Helper()
	for n := max(0, size-64); n < size; n++ {
		w := p.NewBuilder(1 << 20)
		w.Append(nil, make([]byte, n), wire.NoTime, nil, "", 0)
		it := itemOf(t, w.Freeze(), 0, 0)
		if it.Frame.Len() == size {
			return it
		}
		it.Frame.Free()
	}
	t.Fatalf("no batch has %d bytes", size)
	return Item{}
}

// frameOf makes a frame of a message and its header.
func frameOf(t testing.TB, m *pluginv1.Frame) (wire.Frame, wire.Header) {
	t.Helper()
	f, err := wire.FrameOf(m)
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.Header()
	if err != nil {
		t.Fatal(err)
	}
	return f, h
}

func barrierFrame(b Barrier) *pluginv1.Frame {
	return &pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: &pluginv1.Barrier{
		Checkpoint: b.Checkpoint, End: b.End, Halt: b.Halt, Roll: b.Roll,
	}}}
}

// values decodes a batch item and frees it.
func values(t testing.TB, p *wire.Pool, it *Item) []string {
	t.Helper()
	b := decode(t, p, it)
	defer b.Release()
	var vs []string
	for i := range b.Len() {
		vs = append(vs, string(b.Value(i)))
	}
	return vs
}

func decode(t testing.TB, p *wire.Pool, it *Item) *wire.Batch {
	t.Helper()
	h, err := it.Frame.Header()
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Decode(&it.Frame, h)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func push(t testing.TB, c *Channel, items ...Item) {
	t.Helper()
	for _, it := range items {
		if err := c.Push(t.Context(), it); err != nil {
			t.Fatal(err)
		}
	}
}

// next returns the next item in words: values, "watermark 3", "barrier 7 end".
func next(t testing.TB, p *wire.Pool, in *Input) string {
	t.Helper()
	it, err := in.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return words(t, p, &it)
}

func words(t testing.TB, p *wire.Pool, it *Item) string {
	t.Helper()
	switch it.Kind {
	case wire.KindBatch:
		h, err := it.Frame.Header()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(values(t, p, it), " at port ", h.Port)
	case wire.KindAssign, wire.KindNoMoreSplits:
		it.Frame.Free()
		return "splits"
	}
	m, err := it.Frame.Message()
	if err != nil {
		t.Fatal(err)
	}
	it.Frame.Free()
	switch {
	case m.GetWatermark() != nil && m.GetWatermark().Time == it.Watermark:
		return fmt.Sprint("watermark ", it.Watermark)
	case m.GetIdle() != nil:
		return "idle"
	case m.GetBarrier() != nil:
		b := it.Barrier
		if read := m.GetBarrier(); read.Checkpoint != b.Checkpoint || read.End != b.End || read.Halt != b.Halt || read.Roll != b.Roll {
			t.Fatalf("the frame says %+v, the item %+v", read, b)
		}
		s := fmt.Sprint("barrier ", b.Checkpoint)
		for name, set := range map[string]bool{"end": b.End, "halt": b.Halt, "roll": b.Roll} {
			if set {
				s += " " + name
			}
		}
		return s
	}
	return fmt.Sprint("kind ", it.Kind)
}

func expectNext(t testing.TB, p *wire.Pool, in *Input, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := next(t, p, in); got != w {
			t.Fatalf("next is %q, want %q", got, w)
		}
	}
}

// expectNothing says that Next has to wait.
func expectNothing(t testing.TB, p *wire.Pool, in *Input) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 { // an old wake-up may be left
		it, err := in.Next(ctx)
		if err == nil {
			t.Fatalf("next is %q, want nothing", words(t, p, &it))
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

func expectNothingLive(t testing.TB, p *wire.Pool) {
	t.Helper()
	if batches, buffers := p.Live(); batches != 0 || buffers != 0 {
		t.Fatalf("%d batches and %d buffers were never released", batches, buffers)
	}
}

// openAll returns an input with one channel for each port.
func openAll(limits Limits, ports ...uint32) (*Input, []*Channel) {
	in := NewInput(limits)
	var cs []*Channel
	for i, port := range ports {
		cs = append(cs, in.Open(ID{Edge: "a.out -> b.in", From: i}, port))
	}
	return in, cs
}

// newRand returns a generator whose seed is logged and can be set by WEIR_SEED.
func newRand(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("WEIR_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
