package file

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkLinesRead is what the source does beside appending to a batch, which is
// the SDK's: it reads blocks and finds the lines in them. A line of 100 bytes is an
// operation.
func BenchmarkLinesRead(b *testing.B) {
	path := filepath.Join(benchFolder(b), "in.txt")
	line := append(bytes.Repeat([]byte("x"), 99), '\n')
	if err := os.WriteFile(path, bytes.Repeat(line, 1<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := look(path)
	if err != nil {
		b.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	size := f.info.Size()
	r := &reader{
		source: &source{cfg: &SourceConfig{}}, split: split{Path: path, To: size, Size: size},
		file: file, in: file, limit: size, max: 1 << 20,
	}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for range b.N {
		i := bytes.IndexByte(r.buf[r.start:r.end], '\n')
		for i < 0 {
			switch err := r.fill(b.Context()); {
			case errors.Is(err, io.EOF), r.at.Offset >= size:
				r.at.Offset = 0
				if err := r.seekFile(0); err != nil {
					b.Fatal(err)
				}
			case err != nil:
				b.Fatal(err)
			}
			i = bytes.IndexByte(r.buf[r.start:r.end], '\n')
		}
		r.take(i + 1)
	}
}
