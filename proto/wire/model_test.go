package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
)

// record is a record as the tests keep it: nothing shared, nothing encoded.
type record struct {
	key, value []byte
	time       int64
	headers    Headers
	split      string
	ordinal    int64
}

func (r record) String() string {
	return fmt.Sprintf("{key %q null %t, value %d bytes null %t, time %d, headers %x, %q/%d}",
		r.key, r.key == nil, len(r.value), r.value == nil, r.time, r.headers, r.split, r.ordinal)
}

func (r record) equal(o record) bool {
	return sameBytes(r.key, o.key) && sameBytes(r.value, o.value) && r.time == o.time &&
		bytes.Equal(r.headers, o.headers) && r.split == o.split && (r.split == "" || r.ordinal == o.ordinal)
}

func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// recordsOf copies a batch out.
func recordsOf(b *Batch) []record {
	var rs []record
	for i := range b.Len() {
		split, ordinal := b.Origin(i)
		rs = append(rs, record{
			clone(b.Key(i)), clone(b.Value(i)), b.Time(i),
			Headers(clone(b.Headers(i))), split, ordinal,
		})
	}
	return rs
}

// clone keeps the difference between null and empty.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

func expectRecords(t testing.TB, what string, got, want []record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d records, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !got[i].equal(want[i]) {
			t.Fatalf("%s: record %d is\n%v, want\n%v", what, i, got[i], want[i])
		}
	}
}

func appendRecord(w *Builder, r record) {
	w.Append(r.key, r.value, r.time, r.headers, r.split, r.ordinal)
}

// randomRecords makes records of a random shape: each column may be missing,
// the same throughout, or different for each record, with or without nulls.
func randomRecords(rng *rand.Rand, n int) []record {
	bytesOf := func(max int) func() []byte {
		shape, nulls := rng.IntN(4), rng.IntN(3) == 0
		same := randomBytes(rng, rng.IntN(max))
		return func() []byte {
			switch {
			case shape == 0 || nulls && rng.IntN(4) == 0:
				return nil
			case shape == 1:
				return same
			}
			return randomBytes(rng, rng.IntN(max))
		}
	}
	key, value := bytesOf(20), bytesOf(400)
	name, headerValue := bytesOf(8), bytesOf(30)
	headers, times, origin := rng.IntN(4), rng.IntN(3), rng.IntN(3)
	splits := 1 + rng.IntN(40)
	ordinal := rng.Int64N(1000)
	var rs []record
	for range n {
		r := record{key: key(), value: value(), time: NoTime}
		for range headers {
			if rng.IntN(3) > 0 {
				r.headers = AppendHeader(r.headers, string(name()), headerValue())
			}
		}
		switch {
		case times == 1:
			r.time = 7
		case times == 2 && rng.IntN(5) > 0:
			r.time = rng.Int64()
		}
		if origin > 0 && (origin == 2 || rng.IntN(10) > 0) {
			if rng.IntN(5) == 0 {
				ordinal += rng.Int64N(10) - 5
			}
			r.split, r.ordinal = fmt.Sprintf("split-%d", rng.IntN(splits)), ordinal
			ordinal++
			if rng.IntN(3) > 0 {
				splits = 1
			}
		}
		rs = append(rs, r)
	}
	return rs
}

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rng.IntN(26))
	}
	return b
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

// asReceived returns the frame as gRPC would hand it over: other memory, in
// pieces of its own size.
func asReceived(p *Pool, f *Frame, piece int) Frame {
	all := f.Data.Materialize()
	f.Free()
	var data mem.BufferSlice
	for len(all) > 0 {
		n := min(piece, len(all))
		chunk := p.Get(max(n, inPlace))
		*chunk = (*chunk)[:n]
		copy(*chunk, all)
		data = append(data, mem.NewBuffer(chunk, p))
		all = all[n:]
	}
	return Frame{Data: data}
}

func mustDecode(t testing.TB, p *Pool, f *Frame) *Batch {
	t.Helper()
	h, err := f.Header()
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Decode(f, h)
	if err != nil {
		t.Fatal(err)
	}
	if b.Len() != int(h.Records) {
		t.Fatalf("the header says %d records, the batch has %d", h.Records, b.Len())
	}
	return b
}

func expectNothingLive(t testing.TB, p *Pool) {
	t.Helper()
	if batches, buffers := p.Live(); batches != 0 || buffers != 0 {
		t.Fatalf("%d batches and %d buffers were never released", batches, buffers)
	}
}
