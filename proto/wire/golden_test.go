package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// goldenRecord is a record of testdata/batch.json: strings hold the bytes, null
// is null.
type goldenRecord struct {
	Key     *string        `json:"key"`
	Value   *string        `json:"value"`
	Time    *int64         `json:"time"`
	Headers []goldenHeader `json:"headers,omitempty"`
	Split   string         `json:"split"`
	Ordinal int64          `json:"ordinal"`
}

type goldenHeader struct {
	Name  string  `json:"name"`
	Value *string `json:"value"`
}

// TestGoldenBatch compares one frame with testdata: batch.hex is the encoded
// pluginv1.Frame, batch.json says what it holds. Another implementation of the
// layout can check itself against the same two files. WEIR_UPDATE=1 rewrites
// batch.hex.
func TestGoldenBatch(t *testing.T) {
	text, err := os.ReadFile("testdata/batch.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden []goldenRecord
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	var want []record
	for _, g := range golden {
		r := record{key: textBytes(g.Key), value: textBytes(g.Value), time: NoTime, split: g.Split, ordinal: g.Ordinal}
		if g.Time != nil {
			r.time = *g.Time
		}
		for _, h := range g.Headers {
			r.headers = AppendHeader(r.headers, h.Name, textBytes(h.Value))
		}
		want = append(want, r)
	}
	p := NewPool()
	f := Encode(1, 2, 4, build(p, want))
	got := f.Data.Materialize()
	if os.Getenv("WEIR_UPDATE") != "" {
		if err := os.WriteFile("testdata/batch.hex", hexLines(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := os.ReadFile("testdata/batch.hex")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(hexLines(got), lines) {
		t.Fatalf("the encoded frame is\n%swant\n%s", hexLines(got), lines)
	}
	wire, err := hex.DecodeString(strings.Join(strings.Fields(string(lines)), ""))
	if err != nil {
		t.Fatal(err)
	}
	in := Frame{Data: mem.BufferSlice{mem.SliceBuffer(wire)}}
	expectRecords(t, "decoded", recordsOf(mustDecode(t, p, &in)), want)
}

func textBytes(s *string) []byte {
	if s == nil {
		return nil
	}
	return []byte(*s)
}

func hexLines(b []byte) []byte {
	var out bytes.Buffer
	for len(b) > 0 {
		n := min(32, len(b))
		out.WriteString(hex.EncodeToString(b[:n]) + "\n")
		b = b[n:]
	}
	return out.Bytes()
}

// TestAnEncodedBatchIsTheProtobufMessage reads random frames with protobuf's own
// decoder, and writes them with its encoder.
func TestAnEncodedBatchIsTheProtobufMessage(t *testing.T) {
	rng := newRand(t)
	p := NewPool()
	for range 100 {
		want := randomRecords(rng, 1+rng.IntN(100))
		b := build(p, want)
		f := Encode(1, 2, 3, b)
		size := f.Len()
		m, err := f.Message()
		if err != nil {
			t.Fatal(err)
		}
		if m.Component != 1 || m.Port != 2 || m.Target != 3 || len(m.ProtoReflect().GetUnknown()) > 0 {
			t.Fatalf("frame %v", m)
		}
		batch := m.GetBatch()
		if int(batch.Records) != len(want) || len(batch.ProtoReflect().GetUnknown()) > 0 {
			t.Fatalf("batch %v", batch)
		}
		if got := batch.Value.GetEncoding(); got != pluginv1.Column_Encoding(b.Values().Encoding) {
			t.Fatalf("value column %v, want encoding %d", batch.Value, b.Values().Encoding)
		}
		if got := int(batch.Origin.GetRunCount()); got != len(b.Runs()) {
			t.Fatalf("%d runs, want %d", got, len(b.Runs()))
		}
		again, err := proto.Marshal(m)
		if err != nil || len(again) != size {
			t.Fatalf("protobuf makes %d bytes of it, ours are %d, %v", len(again), size, err)
		}
		in := Frame{Data: mem.BufferSlice{mem.SliceBuffer(again)}}
		expectRecords(t, "by way of protobuf", recordsOf(mustDecode(t, p, &in)), want)
	}
}
