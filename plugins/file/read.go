package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/weirstream/weir/sdk"
)

// position is where reading goes on.
type position struct {
	// Offset of the next line: in the file, or in what a compressed one holds.
	Offset int64 `json:"offset"`
	// Line counts the lines of the split before it.
	Line int64 `json:"line"`
	// Head tells a followed file from one that was written anew in its place: the
	// checksum of its first HeadLen bytes.
	Head    uint32 `json:"head,omitempty"`
	HeadLen int64  `json:"head_len,omitempty"`
}

const (
	blockBytes = 256 << 10
	// headBytes is how much of a followed file's beginning is remembered.
	headBytes = 256
	// failedBytes is how much of a line above the limit its failed record keeps.
	failedBytes = 64 << 10
	// rotatedGrace is how long a file that was rotated away is still watched for
	// what its writer adds before it reopens.
	rotatedGrace = time.Second
)

// errTooLong is why a line above max_record fails.
var errTooLong = errors.New("line longer than max_record")

// reader reads the lines of one split.
type reader struct {
	source *source
	split  split
	file   *os.File
	in     io.Reader // file, or what decompresses it
	closed func() error
	limit  int64 // end of what may be read; -1 for a followed file
	max    int

	at  position
	buf []byte
	// buf[start:end] is read and not taken; buf[start] is at at.Offset.
	start, end int
	eof        bool
	// A line above the limit: its first bytes, and how many were skipped.
	long    []byte
	skipped int64

	displaced time.Time // when the path was first seen to lead elsewhere
}

// Open implements [sdk.Source].
func (s *source) Open(_ context.Context, sp sdk.Split[split], from *position) (sdk.Reader[position], error) {
	d := sp.Data
	f, err := s.openFile(d)
	if err != nil {
		return nil, err
	}
	r := &reader{
		source: s, split: d, file: f, in: f, closed: f.Close, limit: d.Size, max: s.task.MaxRecord,
		buf: make([]byte, blockBytes),
	}
	if d.To < 0 {
		r.limit = -1
	}
	if err := r.seek(from); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// openFile opens the file that was found, wherever it was renamed to since.
func (s *source) openFile(d split) (*os.File, error) {
	path := d.Path
	f, err := os.Open(path)
	same := false
	if err == nil {
		info, statErr := f.Stat()
		if statErr != nil {
			return nil, errors.Join(statErr, f.Close())
		}
		same = identity(path, info) == d.File
	}
	if !same && s.cfg.Follow {
		if moved := s.find(d.File); moved != "" {
			if f != nil {
				f.Close()
			}
			path = moved
			f, err = os.Open(path)
			same = err == nil
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, sdk.Fatal(fmt.Errorf("%s has vanished since it was found; put it back, or start over", d.Path))
	case errors.Is(err, fs.ErrPermission):
		return nil, sdk.Fatal(fmt.Errorf("%s may not be read: %w", d.Path, err))
	case err != nil:
		return nil, err
	case !same:
		return nil, sdk.Fatal(errors.Join(fmt.Errorf("%s is another file than the one that was found; put that one back, or start over", d.Path), f.Close()))
	}
	if d.To >= 0 {
		info, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if info.Size() < d.Size {
			return nil, sdk.Fatal(errors.Join(fmt.Errorf("%s has %d bytes, and had %d when it was found: it was cut short or written anew; put the old one back, or start over", d.Path, info.Size(), d.Size), f.Close()))
		}
	}
	return f, nil
}

// find returns the path of a file by its identity, or nothing.
func (s *source) find(id string) string {
	files, err := s.cfg.list()
	if err != nil {
		return ""
	}
	for _, f := range files {
		if identity(f.path, f.info) == id {
			return f.path
		}
	}
	return ""
}

// seek goes to a position, or to the first line that begins in the split.
func (r *reader) seek(from *position) error {
	if r.split.Compression != plain {
		return r.seekCompressed(from)
	}
	if from != nil {
		r.at = *from
		if r.limit < 0 {
			if err := r.checkHead(); err != nil {
				return err
			}
		}
		return r.seekFile(r.at.Offset)
	}
	r.at.Offset = r.split.From
	if r.split.From == 0 || r.split.To < 0 {
		return r.seekFile(r.at.Offset)
	}
	// The range owns a line that begins at its first byte, so it looks for the end
	// of the line before from one byte earlier.
	r.at.Offset--
	if err := r.seekFile(r.at.Offset); err != nil {
		return err
	}
	for {
		if i := bytes.IndexByte(r.buf[r.start:r.end], '\n'); i >= 0 {
			r.take(i + 1)
			return nil
		}
		r.take(r.end - r.start)
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

func (r *reader) seekFile(offset int64) error {
	r.start, r.end, r.eof = 0, 0, false
	_, err := r.file.Seek(offset, io.SeekStart)
	return err
}

// take moves n bytes on.
func (r *reader) take(n int) {
	r.start += n
	r.at.Offset += int64(n)
}

// fill reads more behind what is there. io.EOF says that there is no more for now.
func (r *reader) fill() error {
	if r.eof {
		return io.EOF
	}
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		r.start, r.end = 0, r.end-r.start
	}
	if r.end == len(r.buf) {
		grown := make([]byte, min(2*len(r.buf), r.max+blockBytes))
		copy(grown, r.buf[:r.end])
		r.buf = grown
	}
	room := r.buf[r.end:]
	if r.limit >= 0 && r.split.Compression == plain {
		left := r.limit - (r.at.Offset + int64(r.end-r.start))
		if left <= 0 {
			r.eof = true
			return io.EOF
		}
		room = room[:min(int64(len(room)), left)]
	}
	n, err := r.in.Read(room)
	r.end += n
	switch {
	case n > 0:
		return nil
	case errors.Is(err, io.EOF):
		// A followed file may have more later.
		r.eof = r.limit >= 0
		return io.EOF
	case err != nil:
		return fmt.Errorf("read %s: %w", r.split.Path, err)
	}
	return nil
}

// Read implements [sdk.Reader].
func (r *reader) Read(ctx context.Context, out *sdk.Collector) (position, error) {
	for {
		before := r.at
		done, err := r.lines(out)
		r.source.done.Add(r.at.Offset - before.Offset)
		switch {
		case err != nil:
			return position{}, err
		case done:
			return r.at, io.EOF
		case r.at.Line > before.Line:
			return r.at, nil
		}
		// A followed file has nothing new.
		if ended, err := r.wait(ctx); err != nil {
			return position{}, err
		} else if ended {
			r.rest(out)
			return r.at, io.EOF
		}
	}
}

// lines appends lines until a batch is full or there are no more for now. done
// says that the split has ended.
func (r *reader) lines(out *sdk.Collector) (done bool, err error) {
	for {
		for {
			// A line that began in the range is read to its end, wherever that is.
			if r.long == nil && r.split.To >= 0 && r.split.Compression == plain && r.at.Offset >= r.split.To {
				return true, nil
			}
			i := bytes.IndexByte(r.buf[r.start:r.end], '\n')
			if i < 0 {
				break
			}
			r.line(out, r.buf[r.start:r.start+i])
			r.take(i + 1)
			if out.Full() {
				return false, nil
			}
		}
		if r.end-r.start > r.max {
			r.skip()
		}
		if err := r.fill(); errors.Is(err, io.EOF) {
			if r.limit < 0 {
				return false, nil
			}
			r.rest(out)
			return true, nil
		} else if err != nil {
			return false, err
		}
	}
}

// line appends one line, or fails it where it is too long.
func (r *reader) line(out *sdk.Collector, b []byte) {
	switch {
	case r.long != nil:
		length := r.skipped + int64(len(b))
		out.FailRow(sdk.Row{Value: r.long, Origin: r.at.Line}, int(length), fmt.Errorf("%w: %d bytes, at most %d are allowed", errTooLong, length, r.max))
		r.long, r.skipped = nil, 0
	case len(b) > r.max:
		out.FailRow(sdk.Row{Value: b[:min(len(b), failedBytes)], Origin: r.at.Line}, len(b), fmt.Errorf("%w: %d bytes, at most %d are allowed", errTooLong, len(b), r.max))
	default:
		out.Append(sdk.Row{Value: b, Origin: r.at.Line})
	}
	r.at.Line++
}

// skip drops what is there of a line above the limit, all but its beginning.
func (r *reader) skip() {
	if r.long == nil {
		r.long = bytes.Clone(r.buf[r.start:min(r.end, r.start+failedBytes)])
	}
	r.skipped += int64(r.end - r.start)
	r.take(r.end - r.start)
}

// rest appends a last line without newline.
func (r *reader) rest(out *sdk.Collector) {
	if n := r.end - r.start; n > 0 || r.long != nil {
		r.line(out, r.buf[r.start:r.end])
		r.take(n)
	}
}

// wait waits a moment for a followed file to grow. ended says that it was rotated
// away and is complete.
func (r *reader) wait(ctx context.Context) (ended bool, err error) {
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-time.After(r.source.cfg.Poll):
	}
	if err := r.checkHead(); err != nil {
		return false, err
	}
	info, err := os.Stat(r.split.Path)
	if err == nil && identity(r.split.Path, info) == r.split.File {
		r.displaced = time.Time{}
		return false, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if r.displaced.IsZero() {
		r.displaced = time.Now()
	}
	own, err := r.file.Stat()
	if err != nil {
		return false, err
	}
	complete := own.Size() <= r.at.Offset+int64(r.end-r.start)
	return complete && time.Since(r.displaced) >= max(rotatedGrace, 2*r.source.cfg.Poll), nil
}

// checkHead finds out whether a followed file was cut or written anew since, and
// begins it again if so. It also remembers more of its beginning.
func (r *reader) checkHead() error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	head := make([]byte, headBytes)
	n, err := r.file.ReadAt(head[:min(headBytes, info.Size())], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", r.split.Path, err)
	}
	read := r.at.Offset + int64(r.end-r.start)
	if info.Size() < read || int64(n) < r.at.HeadLen || crc32.ChecksumIEEE(head[:r.at.HeadLen]) != r.at.Head {
		r.source.task.Log.Warn("a followed file was truncated: reading it from its beginning",
			"path", r.split.Path, "size", info.Size(), "read", read)
		r.at.Offset, r.long, r.skipped = 0, nil, 0
		if err := r.seekFile(0); err != nil {
			return err
		}
	}
	r.at.HeadLen = min(int64(n), max(r.at.Offset, r.at.HeadLen))
	r.at.Head = crc32.ChecksumIEEE(head[:r.at.HeadLen])
	return nil
}

// Close implements [sdk.Reader].
func (r *reader) Close() error { return r.closed() }
