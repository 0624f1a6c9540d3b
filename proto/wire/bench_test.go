package wire

import (
	"fmt"
	"testing"
)

// The benchmarks count a record as an operation, in batches of 256 KiB with
// values of 100 bytes.

const benchBatch = 256 << 10

func fullBatch(p *Pool, keys bool) *Batch {
	w := p.NewBuilder(benchBatch)
	value := make([]byte, 100)
	for i := int64(0); !w.Full(); i++ {
		var key []byte
		if keys {
			key = fmt.Appendf(nil, "key-%d", i*7919%1000)
		}
		w.Append(key, value, NoTime, nil, "split", i)
	}
	return w.Freeze()
}

func BenchmarkAppend(b *testing.B) {
	value, key := make([]byte, 100), []byte("some key")
	run := func(name string, add func(w *Builder, i int64)) {
		b.Run(name, func(b *testing.B) {
			w := NewPool().NewBuilder(benchBatch)
			b.ReportAllocs()
			b.SetBytes(100)
			for i := range b.N {
				add(w, int64(i))
				if w.Full() {
					w.Freeze().Release()
				}
			}
		})
	}
	run("value", func(w *Builder, i int64) { w.Append(nil, value, NoTime, nil, "split", i) })
	run("value,key,time", func(w *Builder, i int64) {
		key[0] = byte(i)
		w.Append(key, value, i, nil, "split", i)
	})
	run("available buffer", func(w *Builder, i int64) {
		w.Append(nil, append(w.AvailableBuffer(), value...), NoTime, nil, "split", i)
	})
}

func BenchmarkAppendFrom(b *testing.B) {
	p := NewPool()
	src := fullBatch(p, true)
	w := p.NewBuilder(benchBatch)
	b.ReportAllocs()
	b.SetBytes(100)
	for i := 0; i < b.N; {
		for k := range src.Len() {
			w.AppendFrom(src, k, append(w.AvailableBuffer(), src.Value(k)...))
			if w.Full() {
				w.Freeze().Release()
			}
			if i++; i == b.N {
				break
			}
		}
	}
}

func BenchmarkAppendAll(b *testing.B) {
	p := NewPool()
	src := fullBatch(p, true)
	w := p.NewBuilder(benchBatch)
	b.ReportAllocs()
	b.SetBytes(100)
	for i := 0; i < b.N; i += src.Len() {
		w.AppendAll(src)
		w.Freeze().Release()
	}
}

func BenchmarkAppendSelected(b *testing.B) {
	p := NewPool()
	src := fullBatch(p, true)
	w := p.NewBuilder(benchBatch)
	w.SetOrigin(false)
	var every []uint32
	for i := 0; i < src.Len(); i += 4 {
		every = append(every, uint32(i))
	}
	b.ReportAllocs()
	b.SetBytes(100)
	for i := 0; i < b.N; i += len(every) {
		w.AppendSelected(src, every)
		if w.Full() {
			w.Freeze().Release()
		}
	}
}

func BenchmarkRead(b *testing.B) {
	src := fullBatch(NewPool(), true)
	b.ReportAllocs()
	sum := 0
	for i := 0; i < b.N; i += src.Len() {
		for k := range src.Len() {
			sum += len(src.Key(k)) + len(src.Value(k)) + int(src.Time(k)&1)
		}
	}
	sink = sum
}

var sink int

func BenchmarkEncode(b *testing.B) {
	src := fullBatch(NewPool(), true)
	b.ReportAllocs()
	b.SetBytes(100)
	for i := 0; i < b.N; i += src.Len() {
		f := Encode(0, 0, 0, src)
		f.Free()
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, piece := range map[string]int{"one piece": 1 << 20, "as gRPC gives it": 16 << 10} {
		b.Run(name, func(b *testing.B) {
			p := NewPool()
			src := fullBatch(p, true)
			f := Encode(0, 0, 0, src)
			in := asReceived(p, &f, piece)
			h, err := in.Header()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(100)
			for i := 0; i < b.N; i += src.Len() {
				f := in.Clone()
				d, err := p.Decode(&f, h)
				if err != nil {
					b.Fatal(err)
				}
				d.Release()
			}
		})
	}
}

// BenchmarkForward is what the host does with a frame: a frame is an operation.
func BenchmarkForward(b *testing.B) {
	p := NewPool()
	f := Encode(0, 0, 0, fullBatch(p, true))
	in := asReceived(p, &f, 16<<10)
	b.ReportAllocs()
	for range b.N {
		f := in.Clone()
		h, err := f.Header()
		if err != nil {
			b.Fatal(err)
		}
		f.Rewrite(h, 0, 1, 0)
		f.Free()
	}
}
