package file

import (
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A log may be rotated by copying it and truncating it then (copytruncate). What
// was written between the last look and the truncation is in the copy alone, and
// so is all that was written between two such rotations while nobody looked.

// copies returns what may be copies of the file, older ones first.
func (r *reader) copies() []found {
	var copies []found
	for _, f := range beside(r.split.Path) {
		rest, related := strings.CutPrefix(filepath.Base(f.path), filepath.Base(r.split.Path))
		if related && rotatedSuffix.MatchString(rest) && f.id != r.split.File {
			copies = append(copies, f)
		}
	}
	slices.SortStableFunc(copies, func(a, b found) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	return copies
}

// openCopy looks for the newest copy of what a followed file held before it was
// truncated, and goes on reading there. It reports whether there is one.
func (r *reader) openCopy() bool {
	if r.at.HeadLen == 0 {
		return false
	}
	for _, c := range slices.Backward(r.copies()) {
		if c.info.Size() < r.read() {
			continue
		}
		f, head := openHead(c, r.at.HeadLen)
		if f == nil {
			continue
		}
		if int64(len(head)) == r.at.HeadLen && crc32.ChecksumIEEE(head) == r.at.Head {
			if _, err := f.Seek(r.read(), io.SeekStart); err == nil {
				r.readCopy(f, c)
				return true
			}
		}
		_ = f.Close()
	}
	return false
}

// openNextCopy ends the copy at hand, if any, and begins the next that was made
// after it. It reports whether there is one.
func (r *reader) openNextCopy() (bool, error) {
	if err := r.closeCopy(); err != nil || r.at.Copied == 0 {
		return false, err
	}
	if now, err := look(r.split.Path); err != nil || now.id != r.split.File {
		return false, nil // what is beside it was not copied from this one
	}
	for _, c := range r.copies() {
		if c.info.ModTime().UnixNano() <= r.at.Copied || c.info.Size() == 0 {
			continue
		}
		f, head := openHead(c, headBytes)
		if f == nil {
			continue
		}
		r.start, r.end = 0, 0
		if r.format != nil {
			r.format.reset()
		}
		r.at = position{
			Line: r.at.Line, Copied: r.at.Copied,
			Head: crc32.ChecksumIEEE(head), HeadLen: int64(len(head)),
		}
		r.readCopy(f, c)
		return true, nil
	}
	return false, nil
}

// openHead opens a file, at its beginning, and reads the first bytes of it; nil
// where that cannot be done.
func openHead(c found, n int64) (*os.File, []byte) {
	f, err := openAs(c.path, c.id)
	if err != nil {
		return nil, nil
	}
	head := make([]byte, n)
	read, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		_ = f.Close()
		return nil, nil
	}
	return f, head[:read]
}

func (r *reader) readCopy(f *os.File, c found) {
	r.source.task.Log.Info("a followed file was truncated: reading what it held in its copy",
		"path", r.split.Path, "copy", c.path, "from", r.read())
	r.copy, r.in, r.copied = f, f, c.info.ModTime().UnixNano()
}

// closeCopy goes back to the file itself.
func (r *reader) closeCopy() error {
	if r.copy == nil {
		return nil
	}
	err := r.copy.Close()
	r.copy, r.in, r.at.Copied = nil, r.file, r.copied
	return err
}
