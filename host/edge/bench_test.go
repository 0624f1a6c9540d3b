package edge

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/mem"

	"github.com/weirstream/weir/proto/wire"
)

// benchFrame is a full batch of 100-byte values as gRPC hands it over: in pieces
// of 16 KiB.
func benchFrame(b *testing.B, p *wire.Pool, keys int) (wire.Frame, wire.Header) {
	b.Helper()
	w := p.NewBuilder(256 << 10)
	value := make([]byte, 100)
	for i := 0; !w.Full(); i++ {
		w.Append(fmt.Appendf(nil, "key-%d", i*7919%keys), value, wire.NoTime, nil, "split", int64(i))
	}
	batch := w.Freeze()
	defer batch.Release()
	f := wire.Encode(0, 0, 0, batch)
	all := f.Data.Materialize()
	f.Free()
	for len(all) > 0 {
		n := min(len(all), 16<<10)
		f.Data = append(f.Data, mem.Copy(all[:n], p))
		all = all[n:]
	}
	h, err := f.Header()
	if err != nil {
		b.Fatal(err)
	}
	return f, h
}

// BenchmarkForwardHop takes a frame from a plugin through router, channel and
// input: a batch is an operation, of some 2,300 records. What it allocates is the
// clone that stands for the received frame, and a header where the ports differ.
func BenchmarkForwardHop(b *testing.B) {
	for _, port := range []uint32{0, 1} {
		b.Run(fmt.Sprint("port ", port), func(b *testing.B) {
			p := wire.NewPool()
			f, h := benchFrame(b, p, 1000)
			in := NewInput(DefaultLimits())
			r, err := NewRouter(RouterOptions{Pool: p, Edges: []Edge{{ID: "e", Partition: forward, Channels: []*Channel{in.Open(ID{}, port)}}}})
			if err != nil {
				b.Fatal(err)
			}
			ctx := b.Context()
			b.ReportAllocs()
			b.SetBytes(int64(f.Len()))
			for range b.N {
				if err := r.Route(ctx, f.Clone(), h); err != nil {
					b.Fatal(err)
				}
				it, err := in.Next(ctx)
				if err != nil {
					b.Fatal(err)
				}
				it.Frame.Free()
			}
		})
	}
}

// BenchmarkKeyedHop counts a record as an operation.
func BenchmarkKeyedHop(b *testing.B) {
	for _, tasks := range []int{1, 2, 16} {
		for _, keys := range []int{1, 1_000_000} {
			b.Run(fmt.Sprintf("%d tasks, %d keys", tasks, keys), func(b *testing.B) {
				p := wire.NewPool()
				f, h := benchFrame(b, p, keys)
				r, ins := fan(b, p, Edge{Partition: byKey}, tasks)
				ctx := b.Context()
				b.ReportAllocs()
				b.SetBytes(100)
				for i := 0; i < b.N; i += int(h.Records) {
					if err := r.Route(ctx, f.Clone(), h); err != nil {
						b.Fatal(err)
					}
					for _, in := range ins {
						for !in.channels[0].Empty() {
							it, err := in.Next(ctx)
							if err != nil {
								b.Fatal(err)
							}
							it.Frame.Free()
						}
					}
				}
			})
		}
	}
}
