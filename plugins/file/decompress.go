package file

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/weirstream/weir/sdk"
)

// seekCompressed begins to decompress and skips to a position.
func (r *reader) seekCompressed(ctx context.Context, from *position) error {
	// What is behind the size that the file had is not read.
	in := countedInput{io.LimitReader(r.file, r.split.Size), r.source}
	switch r.split.Compression {
	case gzipped:
		z, err := gzip.NewReader(in)
		if err != nil {
			return r.damaged(err)
		}
		r.in = failsAs{z, r}
	case zstded:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			return r.damaged(err)
		}
		r.in = failsAs{z, r}
		closeFile := r.closed
		r.closed = func() error { z.Close(); return closeFile() }
	default:
		return sdk.Fatal(fmt.Errorf("%s: compression %q is not known", r.split.Path, r.split.Compression))
	}
	if from == nil {
		return nil
	}
	for left := from.Offset; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(io.Discard, r.in, min(left, blockBytes))
		if left -= n; err != nil {
			return err
		}
	}
	r.at = *from
	return nil
}

// countedInput counts what is read of a compressed file as done.
type countedInput struct {
	in     io.Reader
	source *source
}

// Read implements [io.Reader].
func (c countedInput) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.source.done.Add(int64(n))
	return n, err
}

// failsAs names the file in errors of its decompression.
type failsAs struct {
	in io.Reader
	r  *reader
}

// Read implements [io.Reader].
func (f failsAs) Read(p []byte) (int, error) {
	n, err := f.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = f.r.damaged(err)
	}
	return n, err
}

func (r *reader) damaged(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return sdk.Fatal(fmt.Errorf("%s is cut short: it ends amid its %s data; put the whole file there, and start over", r.split.Path, r.split.Compression))
	}
	return sdk.Fatal(fmt.Errorf("%s cannot be read as %s, which its name says it is: %w", r.split.Path, r.split.Compression, err))
}
