package recordbatch

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/weirstream/weir/sdk"
)

type record struct {
	key, value []byte
	headers    []protocol.Header
	ms         int64
}

func (r record) wire() sdk.Headers {
	var h sdk.Headers
	for _, x := range r.headers {
		h = h.Add(x.Key, x.Value)
	}
	return h
}

func encode(t testing.TB, c compress.Compression, p Producer, records []record) []byte {
	t.Helper()
	e := NewEncoder(c)
	e.Reset(0)
	for _, r := range records {
		e.Append(r.key, r.value, r.wire(), r.ms)
	}
	out, err := e.Finish(p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var samples = []record{
	{value: []byte("hello"), ms: 1700000000123},
	{key: []byte("k"), ms: 1700000000100}, // a tombstone, and earlier than the first
	{key: []byte{}, value: []byte{}, ms: 1700000009999},
	{key: []byte("h"), value: []byte("v"), ms: 1700000000123, headers: []protocol.Header{
		{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}, {Key: "", Value: []byte{}},
	}},
}

// TestGoldenBytes: of a transactional batch; every field by hand.
func TestGoldenBytes(t *testing.T) {
	got := encode(t, 0, Producer{ID: 0x0102030405060708, Epoch: 0x0a0b, Sequence: 0x01020304, Transactional: true}, samples[:2])
	want := "" +
		"00000051" + // size of the record set
		"0000000000000000" + // base offset
		"00000045" + // batch length
		"ffffffff" + // leader epoch
		"02" + // magic
		"26b545c1" + // crc32c
		"0010" + // attributes: transactional
		"00000001" + // last offset delta
		"0000018bcfe5687b" + // first time
		"0000018bcfe5687b" + // highest time
		"0102030405060708" + // producer id
		"0a0b" + // producer epoch
		"01020304" + // base sequence
		"00000002" + // records
		"16" + "00" + "00" + "00" + "01" + "0a68656c6c6f" + "00" +
		"0e" + "00" + "2d" + "02" + "026b" + "01" + "00"
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
}

// TestTheSameBytesAsKafkaGo: whose encoder knows no producer.
func TestTheSameBytesAsKafkaGo(t *testing.T) {
	var theirs []protocol.Record
	for _, r := range samples {
		theirs = append(theirs, protocol.Record{
			Time: time.UnixMilli(r.ms), Key: protocol.NewBytes(r.key), Value: protocol.NewBytes(r.value), Headers: r.headers,
		})
	}
	var want bytes.Buffer
	set := protocol.RecordSet{Version: 2, Records: protocol.NewRecordReader(theirs...)}
	if _, err := set.WriteTo(&want); err != nil {
		t.Fatal(err)
	}
	if got := encode(t, 0, NoProducer, samples); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("got  %x\nwant %x", got, want.Bytes())
	}
}

// check decodes a record set with kafka-go, which checks the sum, and compares.
func check(t testing.TB, set []byte, c compress.Compression, p Producer, want []record) {
	t.Helper()
	if n := binary.BigEndian.Uint32(set); int(n) != len(set)-4 {
		t.Fatalf("size %d of %d bytes", n, len(set)-4)
	}
	if crc := binary.BigEndian.Uint32(set[4+crcAt:]); crc != crc32.Checksum(set[4+attributesAt:], castagnoli) {
		t.Fatal("wrong checksum")
	}
	var rs protocol.RecordSet
	if _, err := rs.ReadFrom(bytes.NewReader(set)); err != nil {
		t.Fatal(err)
	}
	if rs.Attributes.Compression() != c || rs.Attributes.Transactional() != p.Transactional || rs.Attributes.Control() {
		t.Fatalf("attributes %v", rs.Attributes)
	}
	stream := rs.Records.(*protocol.RecordStream)
	if len(stream.Records) != 1 {
		t.Fatalf("%d batches", len(stream.Records))
	}
	b := stream.Records[0].(*protocol.RecordBatch)
	if b.ProducerID != p.ID || b.ProducerEpoch != p.Epoch || b.BaseSequence != p.Sequence {
		t.Fatalf("producer %+v", b)
	}
	for i, w := range want {
		r, err := rs.Records.ReadRecord()
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if got := all(t, r.Key); !same(got, w.key) {
			t.Fatalf("record %d: key %q, want %q", i, got, w.key)
		}
		if got := all(t, r.Value); !same(got, w.value) {
			t.Fatalf("record %d: value %q, want %q", i, got, w.value)
		}
		if r.Offset != int64(i) || r.Time.UnixMilli() != w.ms {
			t.Fatalf("record %d: offset %d, time %d, want %d", i, r.Offset, r.Time.UnixMilli(), w.ms)
		}
		if len(r.Headers) != len(w.headers) {
			t.Fatalf("record %d: headers %v, want %v", i, r.Headers, w.headers)
		}
		for j, h := range r.Headers {
			if h.Key != w.headers[j].Key || !same(h.Value, w.headers[j].Value) {
				t.Fatalf("record %d: header %d is %q, want %q", i, j, h, w.headers[j])
			}
		}
	}
	if _, err := rs.Records.ReadRecord(); !errors.Is(err, io.EOF) {
		t.Fatalf("more than %d records: %v", len(want), err)
	}
}

func all(t testing.TB, b protocol.Bytes) []byte {
	t.Helper()
	if b == nil {
		return nil
	}
	data, err := protocol.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	if data == nil {
		return []byte{}
	}
	return data
}

// same tells null from empty.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func TestEveryCompressionIsReadByKafkaGo(t *testing.T) {
	for c := compress.Compression(0); c <= compress.Zstd; c++ {
		t.Run(c.String(), func(t *testing.T) {
			p := Producer{ID: 7, Epoch: 3, Sequence: math.MaxInt32, Transactional: c%2 == 0}
			check(t, encode(t, c, p, samples), c, p, samples)
		})
	}
}

// TestAnEncoderIsUsedAgain: nothing of one batch is in the next, and a batch may be
// finished for another producer.
func TestAnEncoderIsUsedAgain(t *testing.T) {
	for _, c := range []compress.Compression{0, compress.Lz4} {
		e := NewEncoder(c)
		for round := range 3 {
			e.Reset(100)
			some := samples[round:]
			for _, r := range some {
				e.Append(r.key, r.value, r.wire(), r.ms)
			}
			for _, p := range []Producer{{ID: 1, Epoch: 2, Sequence: int32(round), Transactional: true}, NoProducer} {
				set, err := e.Finish(p)
				if err != nil {
					t.Fatal(err)
				}
				check(t, set, c, p, some)
			}
		}
	}
}

func TestABatchIsNoLongerThanItsBound(t *testing.T) {
	wide := record{key: make([]byte, 70), value: make([]byte, 200), ms: math.MaxInt64 / 2,
		headers: []protocol.Header{{Key: "name", Value: make([]byte, 130)}, {Key: ""}}}
	var records []record
	size := 0
	for i := range 300 {
		r := wide
		if i%2 == 1 {
			r.ms = -r.ms
		}
		records = append(records, r)
		size += len(r.key) + len(r.value) + len(r.wire())
	}
	set := encode(t, 0, NoProducer, records)
	if got, bound := len(set)-sizePrefix, size+Overhead(len(records)); got > bound {
		t.Errorf("%d bytes, bound %d", got, bound)
	}
}

// FuzzKafkaGoReadsWhatIsEncoded: whatever the records are.
func FuzzKafkaGoReadsWhatIsEncoded(f *testing.F) {
	f.Add(uint8(0), int64(1), int16(2), int32(3), true, []byte("\x01abc\x02\x00defg"), int64(1700000000000))
	f.Add(uint8(2), int64(-1), int16(-1), int32(-1), false, []byte{}, int64(-5))
	f.Add(uint8(4), int64(1<<40), int16(32767), int32(1<<30), true, bytes.Repeat([]byte("\x03key\x05value\x09"), 100), int64(0))
	f.Fuzz(func(t *testing.T, c uint8, id int64, epoch int16, seq int32, transactional bool, data []byte, ms int64) {
		compression := compress.Compression(c % 5)
		p := Producer{ID: id, Epoch: epoch, Sequence: seq, Transactional: transactional}
		ms %= 1 << 45 // beyond, kafka-go's time.Time is not exact
		if records := carve(data, ms); len(records) > 0 {
			check(t, encode(t, compression, p, records), compression, p, records)
		}
	})
}

// carve makes records of any bytes.
func carve(data []byte, ms int64) []record {
	take := func() []byte {
		if len(data) == 0 {
			return nil
		}
		n := int(data[0])
		data = data[1:]
		if n == 255 {
			return nil
		}
		n = min(n, len(data))
		b := data[:n:n]
		data = data[n:]
		return b
	}
	var records []record
	for len(data) > 0 && len(records) < 1000 {
		r := record{key: take(), value: take(), ms: ms}
		ms += int64(len(r.value))<<20 - 3
		for range len(r.key) % 3 {
			r.headers = append(r.headers, protocol.Header{Key: fmt.Sprintf("%x", take()), Value: take()})
		}
		records = append(records, r)
	}
	return records
}

func BenchmarkEncode(b *testing.B) {
	value := bytes.Repeat([]byte("x"), 100)
	for _, c := range []compress.Compression{0, compress.Lz4} {
		b.Run(c.String(), func(b *testing.B) {
			e := NewEncoder(c)
			b.ReportAllocs()
			for b.Loop() {
				e.Reset(1 << 17)
				for range 1000 {
					e.Append(nil, value, nil, 1700000000000)
				}
				if _, err := e.Finish(NoProducer); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
		})
	}
}
