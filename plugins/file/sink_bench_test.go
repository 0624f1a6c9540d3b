package file

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/weirstream/weir/sdk"
)

// The benchmarks count a record of 100 bytes as an operation, in batches of 256
// KiB.

func benchColumn() (c sdk.Column, n int) {
	for len(c.Data) < 256<<10 {
		c.Data = fmt.Appendf(c.Data, "%099d", n)
		c.Ends = append(c.Ends, uint32(len(c.Data)))
		n++
	}
	return c, n
}

// benchFolder lies in memory where there is such a place, so that the sink is
// measured and not the disk.
func benchFolder(b *testing.B) string {
	dir, err := os.MkdirTemp("/dev/shm", "weir")
	if err != nil {
		return b.TempDir() + "/"
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir + "/"
}

func BenchmarkSink(b *testing.B) {
	for _, compression := range []string{packNone, packGzip, packZstd} {
		b.Run(compression, func(b *testing.B) {
			c, n := benchColumn()
			cfg := &SinkConfig{Path: benchFolder(b), Compression: compression, Extension: "txt", Roll: &Roll{Size: 64 << 20}}
			s, k := openSink(b, osDisk{}, cfg), commits(b, osDisk{}, cfg, testOwner(1))
			ctx := context.Background()
			b.SetBytes(100)
			b.ReportAllocs()
			checkpoint := uint64(0)
			for i := 0; i < b.N; i += n {
				if err := s.add(c, n, func(int, error) {}); err != nil {
					b.Fatal(err)
				}
				if s.Due() {
					// Published files are removed, as by a consumer: memory is short.
					checkpoint++
					prepared, err := s.Prepare(ctx, sdk.Checkpoint{Number: checkpoint})
					if err == nil {
						err = k.Commit(ctx, prepared)
					}
					for _, p := range prepared {
						_ = os.Remove(cfg.Path + p.Name)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkLines is what the sink does beside writing.
func BenchmarkLines(b *testing.B) {
	c, n := benchColumn()
	var l lineBuffer
	b.SetBytes(100)
	b.ReportAllocs()
	for i := 0; i < b.N; i += n {
		if err := l.add(c, n, func([]byte) error { return nil }, func(int, error) {}); err != nil {
			b.Fatal(err)
		}
	}
}
