package sdktest

import (
	"bytes"
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/weirstream/weir/proto/wire"
	"github.com/weirstream/weir/sdk"
)

// timed is an operator that runs a function on each batch and measures it.
type timed struct {
	process func(*sdk.Batch, *sdk.Collector)
	spent   *time.Duration
}

func (o *timed) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	start := time.Now()
	o.process(in, out)
	*o.spent += time.Since(start)
	return nil
}

func (o *timed) Close() error { return nil }

// BenchmarkOperator passes 100-byte records through the task runtime without a
// process between: decode, the operator, encode. process-ns is the share of the
// operator's own call with what it sends.
func BenchmarkOperator(b *testing.B) {
	var scratch []byte
	var keep []uint32
	for _, c := range []struct {
		name    string
		process func(*sdk.Batch, *sdk.Collector)
	}{
		{"upper", func(in *sdk.Batch, out *sdk.Collector) {
			for r := range in.All() {
				buf := out.AvailableBuffer()
				for _, c := range r.Value() {
					if 'a' <= c && c <= 'z' {
						c -= 'a' - 'A'
					}
					buf = append(buf, c)
				}
				out.Emit(r, buf)
			}
		}},
		{"emit", func(in *sdk.Batch, out *sdk.Collector) {
			for r := range in.All() {
				out.Emit(r, append(out.AvailableBuffer(), r.Value()...))
			}
		}},
		{"emit-copied", func(in *sdk.Batch, out *sdk.Collector) {
			for r := range in.All() {
				scratch = append(scratch[:0], r.Value()...)
				out.Emit(r, scratch)
			}
		}},
		{"emit-row", func(in *sdk.Batch, out *sdk.Collector) {
			for r := range in.All() {
				row := r.Row()
				row.Key = row.Value[:8]
				out.EmitRow(r, row)
			}
		}},
		{"forward", func(in *sdk.Batch, out *sdk.Collector) {
			for r := range in.All() {
				out.Forward(r)
			}
		}},
		{"forward-to", func(in *sdk.Batch, out *sdk.Collector) {
			for r := range in.All() {
				out.To("side").Forward(r)
			}
		}},
		{"forward-selected", func(in *sdk.Batch, out *sdk.Collector) {
			keep = keep[:0]
			for i := range in.Len() {
				if i%2 == 0 {
					keep = append(keep, uint32(i))
				}
			}
			out.ForwardSelected(in, keep)
		}},
		{"forward-all", func(in *sdk.Batch, out *sdk.Collector) { out.ForwardAll(in) }},
		{"read-only", func(in *sdk.Batch, _ *sdk.Collector) {
			for r := range in.All() {
				if len(r.Value()) == 0 && r.Key() != nil {
					panic("empty")
				}
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkOperator(b, c.process) })
	}
}

func benchmarkOperator(b *testing.B, process func(*sdk.Batch, *sdk.Collector)) {
	var spent time.Duration
	component := sdk.NewOperator("timed", "", func(context.Context, *struct{}, *sdk.Task) (*timed, error) {
		return &timed{process, &spent}, nil
	}, sdk.Outputs(sdk.Output{Name: "side"}))
	o := NewOperator(b, component, nil, func(s *settings) { s.fast = true })

	const size = 100
	builder := o.run.h.own.NewBuilder(256 << 10)
	for i := 0; !builder.Full(); i++ {
		value := strconv.AppendInt(bytes.Repeat([]byte("x"), size-8), int64(10_000_000+i), 10)
		builder.Append(nil, value, wire.NoTime, nil, "", 0)
	}
	batch := builder.Freeze()
	defer batch.Release()
	feed := func(records int) {
		for sent := 0; sent < records; sent += batch.Len() {
			if err := o.run.push(wire.Encode(0, 0, 0, batch)); err != nil {
				b.Fatal(err)
			}
		}
		if err := o.run.settle("Process"); err != nil {
			b.Fatal(err)
		}
	}
	feed(20 * batch.Len())
	spent = 0
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	feed(b.N)
	b.StopTimer()
	b.ReportMetric(float64(spent.Nanoseconds())/float64(max(b.N, batch.Len())), "process-ns/op")
}
