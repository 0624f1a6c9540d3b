package recordbatch

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/segmentio/kafka-go/compress"
)

// maxDecompressed bounds what one batch may become: a few kilobytes can be made to
// fill any memory.
const maxDecompressed = 1 << 30

// decompress appends what is compressed in data to dst.
func decompress(dst []byte, codec uint16, data []byte) ([]byte, error) {
	if codec > uint16(compress.Zstd) {
		return dst, fmt.Errorf("compression %d is not known", codec)
	}
	c := compress.Compression(codec).Codec()
	r := c.NewReader(bytes.NewReader(data))
	defer r.Close()
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, max(4*len(data), 4096))
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, fmt.Errorf("it is not %s: %w", c.Name(), err)
		case len(dst) > maxDecompressed:
			return dst, fmt.Errorf("it holds more than %d bytes", maxDecompressed)
		}
	}
}
