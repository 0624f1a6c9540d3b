package kafka

import (
	"testing"

	kafkago "github.com/segmentio/kafka-go"
)

// TestMurmur2 has the values of the Java client's own test.
func TestMurmur2(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
	}
}

func FuzzKeysGoWhereKafkaGoPutsThem(f *testing.F) {
	f.Add([]byte("key"), uint8(3))
	f.Add([]byte{}, uint8(0))
	f.Fuzz(func(t *testing.T, key []byte, n uint8) {
		parts := make([]int, int(n)+1)
		for i := range parts {
			parts[i] = i
		}
		if key == nil {
			return // a null key is spread
		}
		want := kafkago.Murmur2Balancer{}.Balance(kafkago.Message{Key: key}, parts...)
		if got := partitionOf(key, len(parts)); got != want {
			t.Errorf("%q over %d: %d, want %d", key, len(parts), got, want)
		}
	})
}
