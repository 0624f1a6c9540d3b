package wire

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestABatchHoldsWhatWasAppended drives every way to build, send and read a
// batch with random records, in a poisoned pool, and counts that all is released.
func TestABatchHoldsWhatWasAppended(t *testing.T) {
	rng := newRand(t)
	for range 100 {
		p := NewPoisonedPool()
		want := randomRecords(rng, 1+rng.IntN(300))
		for how, fill := range fillers {
			w := p.NewBuilder(1 << 20)
			if rng.IntN(2) == 0 { // a hint from an earlier batch
				appendRecord(w, want[0])
				w.Freeze().Release()
			}
			expected := fill(rng, p, w, want)
			b := w.Freeze()
			expectRecords(t, how, recordsOf(b), expected)
			expectRecords(t, how+", received", received(t, p, rng, b), expected)
			b.Release()
		}
		expectNothingLive(t, p)
	}
}

// fillers are the ways to fill a builder. They return what it should hold.
var fillers = map[string]func(*rand.Rand, *Pool, *Builder, []record) []record{
	"Append": func(_ *rand.Rand, _ *Pool, w *Builder, rs []record) []record {
		for _, r := range rs {
			appendRecord(w, r)
		}
		return rs
	},
	"Append of AvailableBuffer": func(rng *rand.Rand, _ *Pool, w *Builder, rs []record) []record {
		for _, r := range rs {
			if r.value != nil && rng.IntN(3) > 0 {
				r.value = append(w.AvailableBuffer(), r.value...)
			}
			appendRecord(w, r)
		}
		return rs
	},
	"AppendFrom": func(rng *rand.Rand, p *Pool, w *Builder, rs []record) []record {
		src := build(p, rs)
		defer src.Release()
		var out []record
		for i, r := range rs {
			for range rng.IntN(3) { // dropped, kept, doubled
				r.value = append(w.AvailableBuffer(), strings.ToUpper(string(r.value))...)
				w.AppendFrom(src, i, r.value)
				r.value = clone(r.value)
				out = append(out, r)
			}
		}
		if len(out) == 0 {
			w.AppendFrom(src, 0, nil)
			out = append(out, rs[0])
			out[0].value = nil
		}
		return out
	},
	"AppendRange": func(rng *rand.Rand, p *Pool, w *Builder, rs []record) []record {
		src := build(p, rs)
		defer src.Release()
		for from := 0; from < src.Len(); {
			to := from + 1 + rng.IntN(src.Len()-from)
			w.AppendRange(src, from, to)
			from = to
		}
		return rs
	},
	"AppendSelected": func(rng *rand.Rand, p *Pool, w *Builder, rs []record) []record {
		src := build(p, rs)
		defer src.Release()
		var indices []uint32
		var out []record
		for _, i := range rng.Perm(len(rs))[:1+rng.IntN(len(rs))] {
			indices = append(indices, uint32(i))
			out = append(out, rs[i])
		}
		half := len(indices) / 2
		w.AppendSelected(src, indices[:half])
		w.AppendSelected(src, indices[half:])
		return out
	},
	"AppendAll among others": func(rng *rand.Rand, p *Pool, w *Builder, rs []record) []record {
		src, other := build(p, rs), build(p, randomRecords(rng, 1+rng.IntN(20)))
		defer src.Release()
		defer other.Release()
		w.AppendAll(other)
		w.AppendAll(src)
		appendRecord(w, rs[0])
		w.AppendAll(src)
		return slices.Concat(recordsOf(other), rs, rs[:1], rs)
	},
}

func build(p *Pool, rs []record) *Batch {
	w := p.NewBuilder(1 << 20)
	for _, r := range rs {
		appendRecord(w, r)
	}
	return w.Freeze()
}

// received sends b and returns what the other side reads, having forwarded it
// once as it came, with a header of its own.
func received(t *testing.T, p *Pool, rng *rand.Rand, b *Batch) []record {
	t.Helper()
	f := Encode(rng.Uint32N(3), rng.Uint32N(300), rng.Uint32N(2), b)
	in := asReceived(p, &f, 1+rng.IntN(4000))
	first := mustDecode(t, p, &in)
	f = Encode(1, 2, 3, first)
	first.Release()
	h, err := f.Header()
	if err != nil || h.Component != 1 || h.Port != 2 || h.Target != 3 {
		t.Fatalf("header %+v, %v", h, err)
	}
	in = asReceived(p, &f, 1+rng.IntN(4000))
	second := mustDecode(t, p, &in)
	defer second.Release()
	return recordsOf(second)
}

func TestNullIsNotEmpty(t *testing.T) {
	p := NewPoisonedPool()
	want := []record{
		{key: []byte{}, value: nil, time: NoTime},
		{key: nil, value: []byte{}, time: NoTime},
		{key: []byte{}, value: []byte{}, time: NoTime, headers: AppendHeader(nil, "", nil)},
	}
	b := build(p, want)
	expectRecords(t, "received", received(t, p, newRand(t), b), want)
	for name, value := range b.Headers(2).All() {
		if name == nil || value != nil {
			t.Fatalf("header %q: %v", name, value)
		}
	}
	b.Release()
	expectNothingLive(t, p)
}

func TestAColumnThatNobodyNeedsCostsNothing(t *testing.T) {
	p := NewPool()
	w := p.NewBuilder(1 << 20)
	for range 1000 {
		w.Append(nil, []byte("12345678"), NoTime, nil, "", 0)
	}
	bare := encodedSize(w.Freeze())
	if want := 1000*(8+4) + 30; bare > want {
		t.Fatalf("1000 values of 8 bytes take %d bytes, want at most %d", bare, want)
	}
	for i := range 1000 {
		w.Append([]byte("same"), []byte("12345678"), 17, AppendHeader(nil, "a", nil), "split", int64(i))
	}
	if full := encodedSize(w.Freeze()); full > bare+100 {
		t.Fatalf("constant columns and one run of origins take %d bytes", full-bare)
	}
	w.SetOrigin(false)
	w.Append(nil, nil, NoTime, nil, "split", 1)
	if b := w.Freeze(); b.HasOrigin() {
		t.Fatal("origin was switched off")
	}
}

func encodedSize(b *Batch) int {
	f := Encode(0, 0, 0, b)
	return f.Len()
}

func TestABatchIsFullAtItsLimitAndTakesOneLargerRecord(t *testing.T) {
	w := NewPool().NewBuilder(1000)
	w.Append(nil, make([]byte, 500), NoTime, nil, "", 0)
	if w.Full() {
		t.Fatal("full at half its limit")
	}
	w.Append(nil, make([]byte, 5000), NoTime, nil, "", 0)
	if !w.Full() || w.Len() != 2 {
		t.Fatal("not full beyond its limit")
	}
	w.Freeze().Release()
	for range maxBatchRecords {
		if w.Full() {
			t.Fatal("records that cost nothing are full too early")
		}
		w.Append(nil, nil, NoTime, nil, "", 0)
	}
	if !w.Full() {
		t.Fatal("records that cost nothing are never full")
	}
}

func TestAvailableBufferIsNotCopied(t *testing.T) {
	w := NewPool().NewBuilder(1 << 20)
	v := append(w.AvailableBuffer(), "value"...)
	w.Append(nil, v, NoTime, nil, "", 0)
	b := w.Freeze()
	if !sameStart(b.Value(0), v) {
		t.Fatal("the value was copied")
	}
}

func TestWhatOutlivesItsBatchIsFoundOut(t *testing.T) {
	p := NewPoisonedPool()
	b := build(p, []record{{value: []byte("kept too long"), time: NoTime}})
	f := Encode(0, 0, 0, b)
	in := asReceived(p, &f, 5)
	d := mustDecode(t, p, &in)
	for _, x := range []*Batch{b, d} {
		v := x.Value(0)
		x.Hold()
		x.Release()
		if string(v) != "kept too long" {
			t.Fatalf("a held batch lost its value: %q", v)
		}
		x.Release()
		if !bytes.Equal(v, bytes.Repeat([]byte{Poison}, len(v))) {
			t.Fatalf("a released batch still shows %q", v)
		}
	}
	expectNothingLive(t, p)
}

func TestABatchReleasedTwicePanics(t *testing.T) {
	for what, misuse := range map[string]func(*Batch){
		"release": (*Batch).Release, "hold": (*Batch).Hold,
	} {
		b := build(NewPoisonedPool(), []record{{}})
		b.Release()
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s after the last release went unnoticed", what)
				}
			}()
			misuse(b)
		}()
	}
}

func TestAFrameHoldsTheColumnsThatItSends(t *testing.T) {
	p := NewPoisonedPool()
	big := bytes.Repeat([]byte("x"), 3*inPlace)
	b := build(p, []record{{key: big, value: big, time: NoTime, headers: AppendHeader(nil, "h", big)}})
	f := Encode(0, 0, 0, b)
	g := f.Clone()
	b.Release()
	f.Free()
	d := mustDecode(t, p, &g)
	if !bytes.Equal(d.Value(0), big) {
		t.Fatal("the column went before the frame that sends it")
	}
	d.Release()
	expectNothingLive(t, p)
}

func TestWithTimesChangesTheTimesAlone(t *testing.T) {
	p := NewPoisonedPool()
	rng := newRand(t)
	for range 50 {
		want := randomRecords(rng, 1+rng.IntN(50))
		b := build(p, want)
		if rng.IntN(2) == 0 {
			f := Encode(0, 0, 0, b)
			b.Release()
			in := asReceived(p, &f, 1000)
			b = mustDecode(t, p, &in)
		}
		times := make([]int64, b.Len())
		for i := range times {
			times[i] = rng.Int64()
			want[i].time = times[i]
		}
		timed := b.WithTimes(times)
		b.Release()
		expectRecords(t, "derived", recordsOf(timed), want)
		expectRecords(t, "derived and received", received(t, p, rng, timed), want)
		timed.Release()
		expectNothingLive(t, p)
	}
}

func TestADerivedBatchLeavesItsBaseWhenItGoes(t *testing.T) {
	p := NewPool()
	rng := newRand(t)
	want := randomRecords(rng, 100)
	base := build(p, want)
	for range 20 {
		base.WithTimes(make([]int64, base.Len())).Release()
		build(p, randomRecords(rng, 150)).Release() // in the memory of the derived one
		expectRecords(t, "base", recordsOf(base), want)
	}
	base.Release()
	expectNothingLive(t, p)
}

func TestOriginsThatKeepTheirStepAreOneRun(t *testing.T) {
	w := NewPool().NewBuilder(1 << 20)
	for i := range 300 {
		w.Append(nil, nil, NoTime, nil, "a", int64(3*i))
	}
	b := w.Freeze()
	if len(b.Runs()) != 1 {
		t.Fatalf("%d runs", len(b.Runs()))
	}
	w.AppendRange(b, 0, 100)
	w.AppendRange(b, 100, 101)
	w.AppendAll(build(w.pool, []record{{split: "b"}}))
	w.AppendRange(b, 102, 300)
	if runs := w.Freeze().Runs(); len(runs) != 3 {
		t.Fatalf("%d runs: %v", len(runs), runs)
	}
}

func TestManySplitsKeepTheirNames(t *testing.T) {
	p := NewPool()
	w := p.NewBuilder(1 << 20)
	rng := newRand(t)
	for range 3 {
		var want []record
		for i := range 500 {
			want = append(want, record{time: NoTime, split: string(randomBytes(rng, 2)), ordinal: int64(i)})
			appendRecord(w, want[i])
		}
		b := w.Freeze()
		expectRecords(t, "many splits", recordsOf(b), want)
		seen := map[string]bool{}
		for _, s := range b.Splits() {
			if seen[s] {
				t.Fatalf("split %q is listed twice", s)
			}
			seen[s] = true
		}
		b.Release()
	}
}

func TestHeadersGetFindsTheLastOfAName(t *testing.T) {
	h := AppendHeader(nil, "a", []byte("1"))
	h = AppendHeader(h, "b", nil)
	h = AppendHeader(h, "a", []byte("2"))
	if v, ok := h.Get("a"); !ok || string(v) != "2" {
		t.Fatalf("a is %q, %t", v, ok)
	}
	if v, ok := h.Get("b"); !ok || v != nil {
		t.Fatalf("b is %q, %t", v, ok)
	}
	if _, ok := h.Get("c"); ok || h.Len() != 3 {
		t.Fatal("a header that is not there was found")
	}
}

func TestHeadersInMemoryThatChangesDoNotPanic(t *testing.T) {
	whole := AppendHeader(AppendHeader(nil, "name", []byte("value")), "n", nil)
	for i := range whole {
		for _, v := range []byte{0, 1, 0x7f, 0xff} {
			h := slices.Clone(whole)
			h[i] = v
			for range h.All() {
			}
			h.Get("name")
			h[:i].Get("n")
		}
	}
}
