package file

import (
	"bufio"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// output is a file that lines are written to. What was written before settle
// returned is a valid prefix: whole lines, whole gzip members or zstd frames, on
// disk.
type output struct {
	file handle
	size int64 // bytes that the file has taken
	pack packer
	raw  *bufio.Writer // between the packer and the file
	// unsynced: bytes were written after the last settle.
	unsynced bool
}

// packer compresses. A member begins with the first Write after Reset.
type packer interface {
	io.WriteCloser // Close ends the member
	Reset(w io.Writer)
}

// The names of compressions, as a configuration writes them.
const (
	packNone = "none"
	packGzip = "gzip"
	packZstd = "zstd"
)

// compressedExtensions are what compressions put behind a file's extension.
var compressedExtensions = map[string]string{packGzip: ".gz", packZstd: ".zst"}

func newPacker(compression string) (packer, error) {
	switch compression {
	case packGzip:
		return gzip.NewWriter(nil), nil
	case packZstd:
		// One goroutine: the calling one. A task is the unit of parallelism.
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	}
	return nil, nil
}

// packedBuffer gathers what a compressor puts out in small pieces.
const packedBuffer = 256 << 10

// newOutput writes to file, which has size bytes already. pack may serve another
// output afterwards.
func newOutput(file handle, size int64, pack packer) *output {
	o := &output{file: file, size: size, pack: pack}
	if pack != nil {
		o.raw = bufio.NewWriterSize(counted{o}, packedBuffer)
	}
	return o
}

func (o *output) write(p []byte) error {
	if o.pack == nil {
		o.unsynced = true
		_, err := counted{o}.Write(p)
		return err
	}
	if !o.unsynced {
		o.pack.Reset(o.raw)
		o.unsynced = true
	}
	_, err := o.pack.Write(p)
	return err
}

// settle makes what was written a valid prefix.
func (o *output) settle() error {
	if !o.unsynced {
		return nil
	}
	if o.pack != nil {
		if err := o.pack.Close(); err != nil {
			return err
		}
		if err := o.raw.Flush(); err != nil {
			return err
		}
	}
	if err := o.file.Sync(); err != nil {
		return err
	}
	o.unsynced = false
	return nil
}

// counted writes to the output's file and counts.
type counted struct{ o *output }

func (c counted) Write(p []byte) (int, error) {
	n, err := c.o.file.Write(p)
	c.o.size += int64(n)
	return n, err
}
