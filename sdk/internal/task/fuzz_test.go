package task

import (
	"testing"

	"google.golang.org/grpc/mem"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// FuzzFrames gives a worker any bytes as a frame: it reads them or refuses them,
// and releases what it took.
func FuzzFrames(f *testing.F) {
	pool := wire.NewPool()
	w := pool.NewBuilder(1 << 20)
	w.Append([]byte("k"), []byte("v"), 7, wire.AppendHeader(nil, "h", nil), "s", 1)
	b := w.Freeze()
	batch := wire.Encode(0, 0, 0, b)
	f.Add(batch.Data.Materialize())
	batch.Free()
	b.Release()
	for _, m := range []*pluginv1.Frame{
		{Kind: &pluginv1.Frame_Barrier{Barrier: &pluginv1.Barrier{Checkpoint: 1}}},
		{Kind: &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: -1}}},
		{Component: 1, Kind: &pluginv1.Frame_Idle{Idle: &pluginv1.Idle{}}},
		{Target: 3, Kind: &pluginv1.Frame_Assign{Assign: &pluginv1.Assign{Splits: splitsOf("a")}}},
	} {
		frame, err := wire.FrameOf(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame.Data.Materialize())
	}
	t := newTask(NewServer(Plugin{}, []*Component{operatorNamed("op", &fakeOperator{})}, Options{Pool: pool}), openOf(fed(memberOf("op", toHost("out")))))
	if err := t.plan(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(tb *testing.T, data []byte) {
		in, err := t.accept(&wire.Frame{Data: mem.BufferSlice{mem.SliceBuffer(data)}})
		if err == nil && in.batch == nil && in.message == nil {
			tb.Error("neither read nor refused")
		}
		if err == nil {
			_ = in.name()
			if in.batch != nil {
				_ = recordsOf(in.batch)
			}
		}
		in.release()
		if batches, _ := pool.Live(); batches != 0 {
			tb.Errorf("%d batches are left", batches)
		}
	})
}
