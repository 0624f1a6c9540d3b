package wire

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// good is a batch of two records that uses every column.
func good() *pluginv1.Batch {
	var payload []byte
	payload = append(payload, "ab"...) // keys "a", "b"
	payload = binary.LittleEndian.AppendUint32(payload, 1)
	payload = binary.LittleEndian.AppendUint32(payload, 2)
	payload = append(payload, "xyz"...) // values null, "xyz"
	payload = binary.LittleEndian.AppendUint32(payload, 0)
	payload = binary.LittleEndian.AppendUint32(payload, 3)
	payload = append(payload, 0b01)
	payload = binary.LittleEndian.AppendUint64(payload, 17) // one time
	payload = append(payload, AppendHeader(nil, "h", nil)...)
	payload = appendRuns(payload, []Run{{Split: 0, Count: 2, First: 5, Step: 1}})
	per := pluginv1.Column_ENCODING_PER_RECORD
	same := pluginv1.Column_ENCODING_CONSTANT
	return &pluginv1.Batch{
		Records: 2,
		Key:     &pluginv1.Column{Encoding: per, DataLength: 2},
		Value:   &pluginv1.Column{Encoding: per, DataLength: 3, HasNulls: true},
		Time:    &pluginv1.Column{Encoding: same, DataLength: 8},
		Headers: &pluginv1.Column{Encoding: same, DataLength: 9},
		Origin:  &pluginv1.Origin{Splits: []string{"s"}, RunCount: 1},
		Payload: &pluginv1.Batch_Inline{Inline: payload},
	}
}

// Offsets in good's payload.
const (
	goodKeyEnds   = 2
	goodValueEnds = 13
	goodNulls     = 21
	goodHeaders   = 30
	goodRuns      = 39
)

func decodeMessage(t testing.TB, p *Pool, m *pluginv1.Batch) (*Batch, error) {
	t.Helper()
	f, err := FrameOf(&pluginv1.Frame{Kind: &pluginv1.Frame_Batch{Batch: m}})
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.Header()
	if err != nil {
		return nil, err
	}
	b, err := p.Decode(&f, h)
	if f.Data != nil {
		t.Fatal("Decode left the frame")
	}
	return b, err
}

func TestDecodeRefusesWhatIsMalformed(t *testing.T) {
	put32 := func(at int, v uint32) func(*pluginv1.Batch) {
		return func(m *pluginv1.Batch) { binary.LittleEndian.PutUint32(m.GetInline()[at:], v) }
	}
	cases := map[string]struct {
		change func(*pluginv1.Batch)
		says   string
	}{
		"no records":                 {func(m *pluginv1.Batch) { m.Records = 0 }, "record"},
		"too many records":           {func(m *pluginv1.Batch) { m.Records = MaxRecords + 1 }, "records"},
		"more records than ends":     {func(m *pluginv1.Batch) { m.Records = 1 << 20 }, "key column"},
		"unknown encoding":           {func(m *pluginv1.Batch) { m.Key.Encoding = 3 }, "key column: encoding 3"},
		"key longer than payload":    {func(m *pluginv1.Batch) { m.Key.DataLength = 1 << 30 }, "key column"},
		"value longer than payload":  {func(m *pluginv1.Batch) { m.Value.DataLength = math.MaxUint32 }, "value column"},
		"absent column with data":    {func(m *pluginv1.Batch) { m.Key.Encoding = 0 }, "key column"},
		"ends that fall":             {put32(goodKeyEnds, 3), "key column: record 1"},
		"last end before the data's": {put32(goodKeyEnds+4, 1), "key column: the last record"},
		"last end behind the data's": {put32(goodValueEnds+4, 4), "value column: the last record"},
		"null with bytes":            {func(m *pluginv1.Batch) { m.GetInline()[goodNulls] = 0b10 }, "value column: record 1 is null"},
		"nulls in a constant":        {func(m *pluginv1.Batch) { m.Headers.HasNulls = true }, "headers column: nulls"},
		"null times":                 {func(m *pluginv1.Batch) { m.Time.HasNulls = true }, "time column"},
		"a time of seven bytes":      {func(m *pluginv1.Batch) { m.Time.DataLength = 7 }, "time column"},
		"too few times":              {func(m *pluginv1.Batch) { m.Time.Encoding = 2 }, "time column"},
		"a header name cut short":    {put32(goodHeaders, 6), "headers column: a header"},
		"a header name that is null": {put32(goodHeaders, nullLength), "headers column: a header"},
		"a header value cut short":   {put32(goodHeaders+5, 1), "headers column: a header"},
		"a split that is not there":  {put32(goodRuns, 1), "origin column: run 0 is of split 1 of 1"},
		"a run of no records":        {put32(goodRuns+4, 0), "origin column: run 0"},
		"a run of too many records":  {put32(goodRuns+4, 3), "origin column: run 0"},
		"runs that lack a record":    {put32(goodRuns+4, 1), "origin column: runs of 1"},
		"more runs than records":     {func(m *pluginv1.Batch) { m.Origin.RunCount = 3 }, "origin column: 3 runs"},
		"runs beyond the payload":    {func(m *pluginv1.Batch) { m.Origin.RunCount = 2 }, "origin column"},
		"payload left over":          {func(m *pluginv1.Batch) { m.Origin = nil }, "24 bytes of payload"},
		"no payload":                 {func(m *pluginv1.Batch) { m.Payload = nil }, "key column"},
		"a shared segment": {func(m *pluginv1.Batch) {
			m.Payload = &pluginv1.Batch_Segment{Segment: &pluginv1.SegmentRef{Segment: 1}}
		}, "shared segment"},
		"a constant that would not fit in memory": {func(m *pluginv1.Batch) {
			*m = pluginv1.Batch{
				Records: MaxRecords,
				Value:   &pluginv1.Column{Encoding: pluginv1.Column_ENCODING_CONSTANT, DataLength: 1 << 20},
				Payload: &pluginv1.Batch_Inline{Inline: make([]byte, 1<<20)},
			}
		}, "value column: a constant"},
	}
	p := NewPoisonedPool()
	if b, err := decodeMessage(t, p, good()); err != nil {
		t.Fatal(err)
	} else {
		expectRecords(t, "good", recordsOf(b), []record{
			{key: []byte("a"), time: 17, headers: AppendHeader(nil, "h", nil), split: "s", ordinal: 5},
			{key: []byte("b"), value: []byte("xyz"), time: 17, headers: AppendHeader(nil, "h", nil), split: "s", ordinal: 6},
		})
		b.Release()
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := good()
			c.change(m)
			_, err := decodeMessage(t, p, m)
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v, want one that says %q", err, c.says)
			}
			expectNothingLive(t, p)
		})
	}
}

func TestDecodePassesOverUnknownFields(t *testing.T) {
	m := good()
	unknown := protowire.AppendTag(nil, 100, protowire.Fixed64Type)
	unknown = protowire.AppendFixed64(unknown, 1)
	unknown = protowire.AppendTag(unknown, 101, protowire.BytesType)
	unknown = protowire.AppendString(unknown, "later")
	for _, x := range []proto.Message{m, m.Key, m.Origin} {
		x.ProtoReflect().SetUnknown(unknown)
	}
	b, err := decodeMessage(t, NewPool(), m)
	if err != nil || b.Len() != 2 || string(b.Key(1)) != "b" {
		t.Fatalf("%v, %v", b, err)
	}
}

// TestDecodeDoesNotTrustBytesTwice changes the received bytes behind a decoded
// batch's back, as the writer of a shared segment could.
func TestDecodeDoesNotTrustBytesTwice(t *testing.T) {
	rng := newRand(t)
	p := NewPool()
	for range 50 {
		built := build(p, randomRecords(rng, 1+rng.IntN(40)))
		f := Encode(0, 0, 0, built)
		bytes := f.Data.Materialize()
		in := Frame{Data: mem.BufferSlice{mem.SliceBuffer(bytes)}}
		b := mustDecode(t, p, &in)
		before := recordsOf(b)
		w := p.NewBuilder(1 << 20)
		for range 20 {
			for i := range bytes {
				bytes[i] = byte(rng.Uint32())
			}
			for i, r := range recordsOf(b) {
				was := before[i]
				if len(r.key) != len(was.key) || (r.value == nil) != (was.value == nil) || r.split != was.split || r.ordinal != was.ordinal {
					t.Fatalf("record %d was\n%v and became\n%v", i, was, r)
				}
			}
			for i := range b.Len() {
				for range b.Headers(i).All() {
				}
			}
			w.AppendAll(b)
			appendFromAll(w, b)
		}
	}
}

func appendFromAll(w *Builder, b *Batch) {
	for i := range b.Len() {
		w.AppendFrom(b, i, nil)
	}
}

func TestDecodeLeavesTheReceivedBytes(t *testing.T) {
	m := good()
	m.GetInline()[goodNulls] |= 0xf0 // bits that belong to no record
	wire, err := proto.Marshal(&pluginv1.Frame{Kind: &pluginv1.Frame_Batch{Batch: m}})
	if err != nil {
		t.Fatal(err)
	}
	before := string(wire)
	in := Frame{Data: mem.BufferSlice{mem.SliceBuffer(wire)}}
	p := NewPool()
	b := mustDecode(t, p, &in)
	if b.Values().Nulls[0] != 1 {
		t.Fatalf("nulls %b", b.Values().Nulls)
	}
	b.Release()
	build(p, []record{{value: []byte("x")}, {}, {}}).Release()
	if string(wire) != before {
		t.Fatal("the received bytes changed")
	}
}

func FuzzDecode(f *testing.F) {
	frame := func(b *Batch) []byte {
		f := Encode(0, 1, 0, b)
		return f.Data.Materialize()
	}
	m, err := proto.Marshal(&pluginv1.Frame{Kind: &pluginv1.Frame_Batch{Batch: good()}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m)
	f.Add(frame(build(NewPool(), []record{{}})))
	f.Add(frame(build(NewPool(), []record{{value: []byte("x"), time: NoTime}, {}})))
	f.Fuzz(func(t *testing.T, wire []byte) {
		p := NewPoisonedPool()
		in := Frame{Data: mem.BufferSlice{mem.SliceBuffer(wire)}}
		h, err := in.Header()
		if err != nil {
			return
		}
		if _, err := in.Message(); err != nil && h.Kind != KindBatch {
			return // the body itself is only checked where it is read
		}
		b, err := p.Decode(&in, h)
		if err == nil {
			if b.Len() <= 1000 {
				// What was accepted can be read, built and sent again, and stays the same.
				rs := recordsOf(b)
				w := p.NewBuilder(1 << 20)
				w.AppendAll(b)
				again := w.Freeze()
				expectRecords(t, "built again", recordsOf(again), rs)
				out := Encode(0, 0, 0, again)
				again.Release()
				d := mustDecode(t, p, &out)
				expectRecords(t, "sent again", recordsOf(d), rs)
				d.Release()
			}
			b.Release()
		}
		expectNothingLive(t, p)
	})
}

func FuzzFrameHeader(f *testing.F) {
	f.Add([]byte{0x08, 1, 0x10, 2, 0x18, 3, 0x2a, 2, 0x08, 1}, 3)
	f.Add([]byte{0x3a, 0}, 1)
	f.Fuzz(func(t *testing.T, wire []byte, piece int) {
		p := NewPool()
		src := Frame{Data: mem.BufferSlice{mem.SliceBuffer(wire)}}
		in := asReceived(p, &src, 1+int(uint16(piece)))
		defer in.Free()
		h, err := in.Header()
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v", err)
			}
			return
		}
		body := in.Body(h, p)
		before := string(body.ReadOnlyData())
		body.Free()
		in.Rewrite(h, 3, 400, 5)
		again, err := in.Header()
		if err != nil || again.Component != 3 || again.Port != 400 || again.Target != 5 || again.Kind != h.Kind {
			t.Fatalf("rewritten: %+v, %v", again, err)
		}
		body = in.Body(again, p)
		defer body.Free()
		if string(body.ReadOnlyData()) != before {
			t.Fatal("the body changed")
		}
	})
}
