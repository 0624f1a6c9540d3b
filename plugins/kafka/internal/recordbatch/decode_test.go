package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"github.com/weirstream/weir/sdk"
)

// made is a batch as the encoder makes it, at some offset, as a broker keeps it.
func made(t testing.TB, c compress.Compression, p Producer, base int64, n int, each func(i int) (key, value []byte, h sdk.Headers, ms int64)) []byte {
	t.Helper()
	e := NewEncoder(c)
	e.Reset(0)
	for i := range n {
		e.Append(each(i))
	}
	set, err := e.Finish(p)
	if err != nil {
		t.Fatal(err)
	}
	b := slices.Clone(set[sizePrefix:])
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[leaderEpochAt:], 3)
	return b
}

func numbered(i int) (key, value []byte, h sdk.Headers, ms int64) {
	return fmt.Appendf(nil, "key-%d", i), fmt.Appendf(nil, "value-%d", i), nil, int64(1000 + i)
}

// read reads all records of a set as text.
func read(set []byte) (out []string, err error) {
	var buf []byte
	for len(set) > 0 {
		b, rest, err := Cut(set)
		if err != nil {
			return out, err
		}
		rs, err := b.Records(&buf)
		if err != nil {
			return out, err
		}
		for r := (Record{}); rs.Next(&r); {
			line := fmt.Sprintf("%d %d %q %q", r.Offset, r.Time, text(r.Key), text(r.Value))
			headers := r.Headers
			for range r.HeaderCount {
				name, value, more, ok := NextHeader(headers)
				if !ok {
					return out, fmt.Errorf("record %d: header", r.Offset)
				}
				headers = more
				line += fmt.Sprintf(" %s=%q", name, text(value))
			}
			out = append(out, line)
		}
		if rs.Err() != nil {
			return out, rs.Err()
		}
		set = rest
	}
	return out, nil
}

func text(b []byte) string {
	if b == nil {
		return "null"
	}
	return string(b)
}

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	records := []struct {
		key, value []byte
		headers    sdk.Headers
		ms         int64
	}{
		{nil, nil, nil, 1700000000000},
		{[]byte{}, []byte{}, sdk.Headers(nil).Add("", []byte{}), 1700000000000},
		{[]byte("k"), bytes.Repeat([]byte("v"), 70000), sdk.Headers(nil).Add("a", nil).Add("a", []byte("2")).Add("ö", bytes.Repeat([]byte("h"), 300)), 1699999999000},
		{bytes.Repeat([]byte("k"), 200), []byte("v"), nil, 1800000000000},
	}
	want := []string{
		`100 1700000000000 "null" "null"`,
		`101 1700000000000 "" "" =""`,
		fmt.Sprintf(`102 1699999999000 "k" %q a="null" a="2" ö=%q`, strings.Repeat("v", 70000), strings.Repeat("h", 300)),
		fmt.Sprintf(`103 1800000000000 %q "v"`, strings.Repeat("k", 200)),
	}
	for c := range compress.Zstd + 1 {
		set := made(t, c, NoProducer, 100, len(records), func(i int) ([]byte, []byte, sdk.Headers, int64) {
			r := records[i]
			return r.key, r.value, r.headers, r.ms
		})
		got, err := read(set)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: %.500q, %v", c, got, err)
		}
	}
}

// What is read the short way is what is read the long way, also where bytes are wrong.
func TestTheShortWayReadsTheSame(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	some := func(sizes ...int) []byte {
		n := sizes[random.IntN(len(sizes))]
		if n < 0 {
			return nil
		}
		return bytes.Repeat([]byte("x"), n)
	}
	usual := 0
	for i := range 1000 {
		large := 100 // or, now and then, up to what takes four bytes to say
		if i%20 == 0 {
			large = 8192 << random.IntN(8)
		}
		set := made(t, 0, NoProducer, 100, 20, func(int) (key, value []byte, h sdk.Headers, ms int64) {
			for range random.IntN(3) {
				h = h.Add("h", some(-1, 0, 1, 100))
			}
			return some(-1, 0, 1, 63, 64, 200), some(-1, 0, 1, 63, 64, large), h, random.Int64N(1 << random.IntN(30))
		})
		for range random.IntN(3) {
			set[headerSize+random.IntN(len(set)-headerSize)] = byte(random.Uint32())
		}
		b, _, err := Cut(sealed(set))
		if err != nil {
			t.Fatal(err)
		}
		long, _ := b.Records(nil)
		for short := long; ; {
			var got, want Record
			at := long.rest
			more := long.left > 0 && long.any(&want)
			if long.left--; short.usual(&got) {
				if usual++; !more || !reflect.DeepEqual(got, want) || len(short.rest) != len(long.rest) {
					t.Fatalf("%.100x is read as %+v, %d bytes; it is %+v, %d bytes, %v", at, got, len(short.rest), want, len(long.rest), long.err)
				}
			}
			if !more {
				break
			}
			short = long
		}
	}
	if usual < 1000 {
		t.Errorf("%d records were read the short way", usual)
	}
}

func TestBatchesOfASetAreCutOneByOne(t *testing.T) {
	set := slices.Concat(
		made(t, 0, NoProducer, 10, 3, numbered),
		made(t, compress.Zstd, Producer{ID: 7, Epoch: 1, Transactional: true}, 20, 2, numbered),
		made(t, 0, NoProducer, 22, 5, numbered))
	next, epoch, ok := End(set[:len(set)-1])
	if next != 22 || epoch != 3 || !ok {
		t.Errorf("the end of what is whole is %d, epoch %d, %v", next, epoch, ok)
	}
	if _, _, ok := End(set[:100]); ok {
		t.Error("a part of a batch has an end")
	}
	var seen []string
	for {
		b, rest, err := Cut(set)
		if err != nil {
			if !errors.Is(err, ErrPartial) {
				t.Error(err)
			}
			break
		}
		seen = append(seen, fmt.Sprint(b.BaseOffset, b.LastOffset, b.ProducerID, b.Transactional(), b.Control()))
		set = rest
	}
	if want := []string{"10 12 -1 false false", "20 21 7 true false", "22 26 -1 false false"}; !slices.Equal(seen, want) {
		t.Errorf("got %q", seen)
	}
}

// A broker may set the times of a batch, and compaction may leave gaps in it.
func TestWhatABrokerChangesIsSeen(t *testing.T) {
	set := made(t, 0, NoProducer, 5, 2, numbered)
	binary.BigEndian.PutUint16(set[attributesAt:], logAppendTimeBit)
	binary.BigEndian.PutUint64(set[maxTimeAt:], 9999)
	binary.BigEndian.PutUint32(set[lastOffsetDeltaAt:], 8)
	sealed(set)
	got, err := read(set)
	if want := []string{`5 9999 "key-0" "value-0"`, `6 9999 "key-1" "value-1"`}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q %v", got, err)
	}
	if next, _, _ := End(set); next != 14 {
		t.Errorf("the next offset is %d", next)
	}
}

// sealed computes the checksum anew.
func sealed(b []byte) []byte {
	binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[attributesAt:], castagnoli))
	return b
}

func TestAMarkerSaysHowATransactionEnded(t *testing.T) {
	for _, aborted := range []bool{true, false} {
		kind := byte(1)
		if aborted {
			kind = 0
		}
		set := made(t, 0, Producer{ID: 9, Transactional: true}, 5, 1, func(int) ([]byte, []byte, sdk.Headers, int64) {
			return []byte{0, 0, 0, kind}, []byte{0, 0, 0, 0, 0, 0}, nil, 1
		})
		binary.BigEndian.PutUint16(set[attributesAt:], transactionalBit|controlBit)
		b, _, err := Cut(sealed(set))
		if err != nil || !b.Control() {
			t.Fatal(err, b)
		}
		if got, err := b.Aborts(); err != nil || got != aborted {
			t.Errorf("aborts: %v %v, want %v", got, err, aborted)
		}
	}
}

// Whatever byte is wrong, no record is read that was not written.
func TestNoCorruptBatchIsRead(t *testing.T) {
	for c := range compress.Zstd + 1 {
		good := made(t, c, NoProducer, 100, 20, numbered)
		want, err := read(good)
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			if i < batchLengthAt || i >= leaderEpochAt && i < magicAt {
				continue // the broker's own, outside of the checksum
			}
			bad := slices.Clone(good)
			bad[i] ^= 1 << (i % 8)
			got, err := read(bad)
			if err == nil || len(got) > 0 && !slices.Equal(got, want[:len(got)]) {
				t.Errorf("%v, byte %d: read %q, %v", c, i, got, err)
			}
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) && !errors.Is(err, ErrPartial) {
				t.Errorf("%v, byte %d: %v", c, i, err)
			}
		}
	}
}

// With a right checksum too, bytes of any kind end in an error or in records, never
// in a panic, and take bounded memory.
func FuzzDecode(f *testing.F) {
	for c := range compress.Zstd + 1 {
		f.Add(made(f, c, NoProducer, 100, 5, numbered))
	}
	f.Fuzz(func(t *testing.T, set []byte) {
		if len(set) > headerSize {
			sealed(set)
		}
		_, _ = read(set)
		End(set)
	})
}

func TestAnOldFormatIsToldApart(t *testing.T) {
	set := made(t, 0, NoProducer, 100, 5, numbered)
	set[magicAt] = 1
	if _, _, err := Cut(set); err == nil || !strings.Contains(err.Error(), "version 1") {
		t.Error(err)
	}
}

func TestReadingDoesNotAllocateARecord(t *testing.T) {
	set := made(t, 0, NoProducer, 100, 1000, numbered)
	allocs := testing.AllocsPerRun(10, func() {
		b, _, _ := Cut(set)
		rs, _ := b.Records(nil)
		for r := (Record{}); rs.Next(&r); {
		}
	})
	if allocs > 10 {
		t.Errorf("%v allocations for 1000 records", allocs)
	}
}

func BenchmarkDecode(b *testing.B) {
	value := bytes.Repeat([]byte("v"), 100)
	for _, c := range []compress.Compression{0, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		name := c.String()
		if c == 0 {
			name = "none"
		}
		b.Run(name, func(b *testing.B) {
			const n = 1000
			set := made(b, c, NoProducer, 100, n, func(int) ([]byte, []byte, sdk.Headers, int64) { return nil, value, nil, 1 })
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				batch, _, err := Cut(set)
				if err != nil {
					b.Fatal(err)
				}
				rs, err := batch.Records(&buf)
				if err != nil {
					b.Fatal(err)
				}
				for r := (Record{}); rs.Next(&r); {
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
		})
	}
}
