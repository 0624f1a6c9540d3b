package file

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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
	// Copied is when the newest copy was made (ns since the Unix epoch) that was
	// read in place of a followed file which had been truncated.
	Copied int64 `json:"copied,omitempty"`
	// Header is the record that names the columns.
	Header string `json:"header,omitempty"`
	// CSV: the file was read as csv, so that no value is open at Offset.
	CSV bool `json:"csv,omitempty"`
}

const (
	blockBytes = 256 << 10
	// failedBytes is how much of a line above the limit its failed record keeps.
	failedBytes = 64 << 10
	// lineRest is how much is read at once of the rest of a line that goes on behind
	// the end of what is read.
	lineRest = 4 << 10
	// failedTogether bounds the bytes of failed lines that one Read hands over.
	failedTogether = 256 << 10
)

// avroContainer is what an Avro object container file begins with, and no text.
var avroContainer = []byte("Obj\x01")

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
	format *records // nil are lines

	at  position // of the line at hand
	buf []byte
	// buf[start:end] is read and not taken.
	start, end int
	eof        bool
	amid       bool  // what comes first is the end of a line that is not the split's
	behind     int64 // records that begin before it are passed over
	// Of a line above the limit: its first bytes, and how many are behind us.
	long    []byte
	skipped int64
	failed  int // bytes of failed lines in this Read

	copy      *os.File // in which a file that was truncated is read to its end
	copied    int64    // when it was made
	headBuf   [headBytes]byte
	displaced time.Time // since when the path leads elsewhere and nothing more came
}

// read is how far the file has been read.
func (r *reader) read() int64 { return r.at.Offset + r.skipped + int64(r.end-r.start) }

// Open implements [sdk.Source].
func (s *source) Open(ctx context.Context, sp sdk.Split[split], from *position) (sdk.Reader[position], error) {
	d := sp.Data
	f, err := s.openFile(d)
	if err != nil {
		return nil, err
	}
	r := &reader{source: s, split: d, file: f, in: f, closed: f.Close, limit: d.Size, max: s.task.MaxRecord}
	if d.To < 0 {
		r.limit = -1
	}
	if r.format, err = s.cfg.records(); err == nil {
		err = r.seek(ctx, r.wholeRecords(from))
	}
	if err == nil {
		err = r.knowHeader()
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	s.opened(d)
	if d.Compression == plain {
		s.done.Add(r.at.Offset - d.From)
	}
	return r, nil
}

// seek goes to a position, or to the first line that begins in the split.
func (r *reader) seek(ctx context.Context, from *position) error {
	if r.split.Compression != plain {
		return r.seekCompressed(ctx, from)
	}
	if from != nil {
		r.at = *from
	} else {
		r.at.Offset = r.split.From
	}
	if r.limit < 0 {
		cut, err := r.checkHead()
		if err == nil && cut {
			if r.openCopy() {
				return nil
			}
			return r.restart()
		}
		if err == nil && r.at.HeadLen == 0 {
			// It held nothing when it was last looked at: whether it was truncated
			// since cannot be seen.
			if opened, err := r.openNextCopy(); opened || err != nil {
				return err
			}
		}
		if from == nil && r.at.Offset > 0 {
			r.amid = true
			r.at.Offset--
		}
		return errors.Join(err, r.seekFile(r.at.Offset))
	}
	if from != nil || r.split.From == 0 {
		return r.seekFile(r.at.Offset)
	}
	// The range owns a line that begins at its first byte, so it looks for the end
	// of the line before from one byte earlier. Where no line begins in it, it looks
	// no farther than its own end.
	r.at.Offset--
	if err := r.seekFile(r.at.Offset); err != nil {
		return err
	}
	for r.at.Offset < r.split.To {
		if i := bytes.IndexByte(r.buf[r.start:r.end], '\n'); i >= 0 {
			r.take(i + 1)
			return nil
		}
		r.take(r.end - r.start)
		if err := r.fill(ctx); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
	return nil
}

func (r *reader) seekFile(offset int64) error {
	r.start, r.end, r.eof = 0, 0, false
	if r.format != nil {
		r.format.reset()
	}
	_, err := r.file.Seek(offset, io.SeekStart)
	return err
}

// take moves n bytes on, behind the line at hand.
func (r *reader) take(n int) {
	r.start += n
	r.at.Offset += r.skipped + int64(n)
	r.long, r.skipped = nil, 0
}

// fill reads more behind what is there. io.EOF says that there is no more for now.
func (r *reader) fill(ctx context.Context) error {
	if r.eof {
		return io.EOF
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		r.start, r.end = 0, r.end-r.start
	}
	if r.buf == nil {
		r.buf = r.source.block()
	} else if r.end == len(r.buf) {
		grown := make([]byte, min(2*len(r.buf), r.max+blockBytes))
		copy(grown, r.buf[:r.end])
		r.buf = grown
	}
	room := r.buf[r.end:]
	bounded := r.limit >= 0 && r.split.Compression == plain
	if bounded {
		left := r.limit - r.read()
		if left <= 0 {
			// The file may have grown since it was found: its last line of then is
			// not torn, nothing behind it is read.
			left = lineRest
		}
		room = room[:min(int64(len(room)), left)]
	}
	n, err := r.in.Read(room)
	if r.read() == 0 && bytes.HasPrefix(room[:n], avroContainer) {
		return sdk.Fatal(fmt.Errorf("%s is an Avro object container file, which is not supported: make JSON lines of it (avro-tools tojson), and read those with format: json", r.split.Path))
	}
	if r.limit < 0 && r.copy == nil && n > 0 {
		if same, err := r.still(room[:n]); err != nil || !same {
			return cmp.Or(err, io.EOF) // wait finds that it was truncated
		}
	}
	r.end += n
	switch {
	case n > 0:
		if !r.displaced.IsZero() {
			r.displaced = time.Now() // its writer has not let go of it
		}
		return nil
	case errors.Is(err, io.EOF) && bounded && r.read() < r.limit:
		return sdk.Fatal(fmt.Errorf("%s ends after %d bytes, and had %d when it was found: it was cut short while it was read", r.split.Path, r.read(), r.limit))
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
	r.failed = 0
	for {
		before := r.at
		done, err := r.lines(ctx, out)
		if r.split.Compression == plain {
			r.source.done.Add(r.at.Offset - before.Offset)
		}
		switch {
		case err != nil:
			return position{}, err
		case done:
			return r.at, io.EOF
		case r.at.Line > before.Line:
			return r.at, nil
		}
		// A followed file has nothing new.
		state, err := r.wait(ctx)
		switch {
		case err != nil:
			return position{}, err
		case state == complete:
			err := r.rest(ctx, out)
			return r.at, cmp.Or(err, io.EOF)
		case state == truncated && r.openCopy():
		case state == truncated, state == copied:
			if err := r.rest(ctx, out); err != nil {
				return position{}, err
			}
			if err := r.restart(); err != nil {
				return position{}, err
			}
			if r.at.Line > before.Line {
				return r.at, nil
			}
		}
	}
}

// lines appends lines until a batch is full or there are no more for now. done
// says that the split has ended.
func (r *reader) lines(ctx context.Context, out *sdk.Collector) (done bool, err error) {
	for {
		for {
			// A line that began in the range is read to its end, wherever that is.
			if r.split.To >= 0 && r.split.Compression == plain && r.at.Offset >= r.split.To {
				return true, nil
			}
			i := r.lineEnd()
			if i < 0 {
				break
			}
			if r.amid {
				r.amid = false
				r.take(i + 1)
				continue
			}
			if err := r.line(ctx, out, r.buf[r.start:r.start+i]); err != nil {
				return false, err
			}
			r.take(i + 1)
			if out.Full() || r.failed >= failedTogether {
				return false, nil
			}
		}
		switch {
		case r.amid:
			r.take(r.end - r.start)
		case r.end-r.start > r.max || r.skipped > 0:
			r.skip()
		}
		if err := r.fill(ctx); errors.Is(err, io.EOF) {
			if r.limit < 0 {
				return false, nil
			}
			return true, r.rest(ctx, out)
		} else if err != nil {
			return false, err
		}
	}
}

// lineEnd returns the index of the newline that ends the line at hand, or -1.
func (r *reader) lineEnd() int {
	if r.format != nil && !r.amid {
		return r.recordEnd()
	}
	return bytes.IndexByte(r.buf[r.start:r.end], '\n')
}

// line appends one line, or fails it where it is too long.
func (r *reader) line(ctx context.Context, out *sdk.Collector, b []byte) error {
	length := r.skipped + int64(len(b))
	switch {
	case length > int64(r.max) && r.nameless():
		return sdk.Fatal(fmt.Errorf("the header of %s: %w: %d bytes", r.split.Path, errTooLong, length))
	case r.at.Offset < r.behind && !r.nameless():
		return nil
	}
	if length <= int64(r.max) {
		if r.format != nil {
			return r.record(ctx, out, b)
		}
		out.Append(sdk.Row{Value: b, Origin: r.at.Line})
	} else {
		kept := r.keep(b)
		out.FailRow(sdk.Row{Value: kept, Origin: r.at.Line}, int(length), fmt.Errorf("%w: %d bytes, at most %d are allowed", errTooLong, length, r.max))
		r.failed += len(kept)
	}
	r.counted()
	return nil
}

// counted notes that the line at hand has been handed on or failed.
func (r *reader) counted() {
	r.at.Line++
	r.at.CSV = r.format != nil && r.format.csv != nil
}

// keep returns what a failed record has of a line above the limit, of which b
// comes next.
func (r *reader) keep(b []byte) []byte {
	room := min(failedBytes, r.max) - len(r.long)
	return append(r.long, b[:min(len(b), max(room, 0))]...)
}

// skip drops what is there of a line above the limit, all but its beginning.
func (r *reader) skip() {
	r.long = r.keep(r.buf[r.start:r.end])
	r.skipped += int64(r.end - r.start)
	r.start = r.end
	if r.format != nil {
		r.format.scanned = 0
	}
}

// rest appends a last line without newline.
func (r *reader) rest(ctx context.Context, out *sdk.Collector) error {
	n := r.end - r.start
	if n == 0 && r.skipped == 0 {
		return nil
	}
	err := r.line(ctx, out, r.buf[r.start:r.end])
	r.take(n)
	if r.format != nil {
		r.format.reset()
	}
	return err
}

// release gives the buffer back while there is nothing in it.
func (r *reader) release() {
	if r.start == r.end {
		r.source.reuse(r.buf)
		r.buf, r.start, r.end = nil, 0, 0
	}
}

// Close implements [sdk.Reader].
func (r *reader) Close() error {
	r.source.reuse(r.buf)
	r.buf = nil
	return errors.Join(r.closeCopy(), r.closed())
}
