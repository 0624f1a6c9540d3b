package task

import (
	"context"
	"io"
	"sync/atomic"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

var line = []byte("0123456789 the quick brown fox jumps over the lazy dog, and then over the next one, 9876543210 ....")

// benchOptions are those of production: no poison.
func benchOptions(o *Options) { o.Pool = wire.NewPool() }

func upper(_ context.Context, _ int, in *wire.Batch, out *Output) error {
	for i := range in.Len() {
		v, b := in.Value(i), out.AvailableBuffer()
		for _, c := range v {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			b = append(b, c)
		}
		out.Emit(in, i, b)
	}
	return nil
}

// BenchmarkChain is a source, an operator and a sink in one task: ns and
// allocations a record.
func BenchmarkChain(b *testing.B) {
	for _, bench := range []struct {
		name    string
		process func(context.Context, int, *wire.Batch, *Output) error
	}{
		{"forward", nil},
		{"emit", func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
			for i := range in.Len() {
				out.Emit(in, i, append(out.AvailableBuffer(), in.Value(i)...))
			}
			return nil
		}},
		{"upper", upper},
	} {
		b.Run(bench.name, func(b *testing.B) {
			source := &fakeSource{concurrent: 1, read: func(_ context.Context, r *fakeReader, out *Output) (any, error) {
				for !out.Full() && r.next < b.N {
					out.Append(nil, line, wire.NoTime, nil, int64(r.next))
					r.next++
				}
				if r.next >= b.N {
					return r.next, io.EOF
				}
				return r.next, nil
			}}
			var n atomic.Int64
			done := make(chan struct{})
			h := newHost(b, []*Component{
				sourceNamed("source", source), operatorNamed("op", &fakeOperator{process: bench.process}),
				benchSink("sink", &n, int64(b.N), done),
			}, benchOptions)
			open := openOf(memberOf("source", toNext("out")), fed(memberOf("op", toNext("out"))), fed(memberOf("sink")))
			open.Limits.BatchBytes = 256 << 10
			task := h.open(open)
			b.ReportAllocs()
			b.ResetTimer()
			task.assign(&pluginv1.Split{Id: "s"})
			<-done
			b.StopTimer()
			task.close()
		})
	}
}

// BenchmarkOperator is one operator task, fed and read over an in-memory
// connection.
func BenchmarkOperator(b *testing.B) {
	h := newHost(b, []*Component{operatorNamed("op", &fakeOperator{process: upper})}, benchOptions)
	open := openOf(fed(memberOf("op", toHost("out"))))
	open.Limits.BatchBytes = 256 << 10
	open.Limits.Linger = nil
	task := h.start(open)
	task.hear("Opened", func(m *pluginv1.ControlResponse) bool { return m.GetOpened() != nil })
	run, err := h.client.Run(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	task.run = run
	task.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{Task: open.Task}}})
	w := h.pool.NewBuilder(256 << 10)
	for !w.Full() {
		w.Append(nil, line, wire.NoTime, nil, "", 0)
	}
	batch := w.Freeze()
	defer batch.Release()
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for sent := 0; sent < b.N; sent += batch.Len() {
			f := wire.Encode(0, 0, 0, batch)
			if run.SendMsg(&f) != nil {
				return
			}
		}
	}()
	for got := 0; got < b.N; {
		var f wire.Frame
		if err := run.RecvMsg(&f); err != nil {
			b.Fatal(err)
		}
		header, err := f.Header()
		if err != nil {
			b.Fatal(err)
		}
		got += int(header.Records)
		f.Free()
	}
	b.StopTimer()
	task.close()
}

type benchWriter struct {
	fakeSink
	n    *atomic.Int64
	want int64
	done chan struct{}
}

func (s *benchWriter) Write(_ context.Context, _ int, in *wire.Batch, _ *Output) error {
	if n := s.n.Add(int64(in.Len())); n >= s.want && n-int64(in.Len()) < s.want {
		close(s.done)
	}
	return nil
}

func benchSink(name string, n *atomic.Int64, want int64, done chan struct{}) *Component {
	return &Component{
		Spec: &pluginv1.Component{Kind: pluginv1.Kind_KIND_SINK, Name: name},
		OpenSink: func(context.Context, []byte, *Env) (Sink, error) {
			return &benchWriter{n: n, want: want, done: done}, nil
		},
	}
}
