package state

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"

	"github.com/weirstream/weir/proto/keygroup"
)

func filled(b *testing.B, keys int) (*Keyed, *State, func(i int) []byte) {
	b.Helper()
	all := Groups{0, 127, 128}
	k, err := NewKeyed(NewMemory(all), all, func() int64 { return 0 }, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	s, err := k.Open(Spec{Name: "count"}, keygroup.Header{Shape: keygroup.ShapeValue, Codec: "int"}, Migration{})
	if err != nil {
		b.Fatal(err)
	}
	key := make([]byte, 8)
	at := func(i int) []byte {
		binary.LittleEndian.PutUint64(key, uint64(uint32(i)*0x9e3779b1%uint32(keys)))
		return key
	}
	value := make([]byte, 8)
	for i := range keys {
		binary.LittleEndian.PutUint64(key, uint64(i))
		setKey(k, key)
		k.Begin()
		s.Put(nil, value)
	}
	return k, s, at
}

// What a count costs: one read and one write of an integer, 1 M keys in an order
// that no cache foresees, one by one and with a word ahead.
func BenchmarkCount(b *testing.B) {
	for _, ahead := range []int{1, 64} {
		b.Run(fmt.Sprint("ahead ", ahead), func(b *testing.B) {
			k, s, at := filled(b, 1_000_000)
			value, hashes := make([]byte, 8), make([]uint32, ahead)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%ahead == 0 {
					for j := range hashes {
						hashes[j] = keygroup.Hash(at(i + j))
					}
					if ahead > 1 {
						k.Warm(hashes)
					}
				}
				k.SetKey(at(i), hashes[i%ahead])
				k.Begin()
				n := binary.LittleEndian.Uint64(s.Get(nil))
				binary.LittleEndian.PutUint64(value, n+1)
				s.Put(nil, value)
			}
		})
	}
}

// The synchronous part of a snapshot of 1 M keys, and beside it what the rest
// takes.
func BenchmarkCapture(b *testing.B) {
	k, s, at := filled(b, 1_000_000)
	value := make([]byte, 8)
	var stood, walked time.Duration
	for b.Loop() {
		for i := range 100_000 {
			setKey(k, at(i))
			k.Begin()
			s.Put(nil, value)
		}
		start := time.Now()
		l, err := k.Capture(1)
		if err != nil {
			b.Fatal(err)
		}
		stood += time.Since(start)
		start = time.Now()
		if err := l.Walk(func(*pluginv1.Entry) bool { return true }); err != nil {
			b.Fatal(err)
		}
		l.Release()
		walked += time.Since(start)
	}
	b.ReportMetric(float64(stood.Microseconds())/float64(b.N), "stood-µs")
	b.ReportMetric(float64(walked.Microseconds())/float64(b.N), "walk-µs")
}

func BenchmarkSetTimerAgain(b *testing.B) {
	k, _, at := filled(b, 1000)
	for i := 0; b.Loop(); i++ {
		setKey(k, at(i))
		k.Begin()
		k.SetTimer(Timer{EventTime, int64(i/100000) * 1e9, 0})
	}
}
