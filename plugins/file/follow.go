package file

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"time"
)

const (
	// headBytes is how much of a followed file's beginning is remembered.
	headBytes = 256
	// A file that was rotated away is still watched for what its writer adds before
	// it turns to the next one: for graceful looks once something is in that one,
	// else for patient ones.
	graceful = 5
	patient  = 50
)

// tail is what a followed file without anything new is like.
type tail int

const (
	growing   tail = iota
	complete       // it was rotated away, and nothing comes any more
	truncated      // what was read is not there any more
	copied         // it was truncated, and what it held before is read to its end
)

// wait waits a moment for a followed file to grow. Where the source followed before
// its restart and does not any more, it waits for nothing: the file ends where it
// ends now.
func (r *reader) wait(ctx context.Context) (tail, error) {
	if r.copy != nil {
		return copied, nil
	}
	poll := r.source.cfg.Poll
	r.release()
	if r.source.cfg.Follow {
		select {
		case <-ctx.Done():
			return growing, ctx.Err()
		case <-time.After(poll):
		}
	}
	if cut, err := r.checkHead(); err != nil {
		return growing, err
	} else if cut {
		return truncated, nil
	}
	if !r.source.cfg.Follow {
		own, err := r.file.Stat()
		if err != nil || own.Size() > r.read() {
			return growing, err
		}
		return complete, nil
	}
	looks, err := r.looks()
	if err != nil {
		return growing, err
	}
	if looks == 0 {
		r.displaced = time.Time{}
		return growing, nil
	}
	if r.displaced.IsZero() {
		r.displaced = time.Now()
	}
	own, err := r.file.Stat()
	if err != nil {
		return growing, err
	}
	// One that was rotated away before it was found has been watched enough if it
	// has been quiet for long.
	grace := time.Duration(looks) * poll
	quiet := time.Since(r.displaced) >= grace || r.split.Rotated && time.Since(own.ModTime()) >= grace
	if quiet && own.Size() <= r.read() {
		return complete, nil
	}
	return growing, nil
}

// looks is how many more looks a file that was rotated away is given, or 0 where
// it was not.
func (r *reader) looks() (int, error) {
	if r.split.Rotated {
		return patient, nil
	}
	now, err := look(r.split.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return patient, nil
	case err != nil:
		return 0, err
	case now.id == r.split.File:
		return 0, nil
	case now.info.Size() == 0:
		return patient, nil
	}
	return graceful, nil
}

// still says, of bytes just read of a followed file, that they continue what was
// read before: that it was not truncated, and written anew beyond where it had been
// read, just now.
func (r *reader) still(fresh []byte) (bool, error) {
	head, _, err := r.head()
	if err != nil {
		return false, err
	}
	if int64(len(head)) >= r.at.HeadLen && crc32.ChecksumIEEE(head[:r.at.HeadLen]) != r.at.Head {
		return false, nil
	}
	if at := r.read(); at == r.at.HeadLen && at < headBytes {
		// Remembered as it was read, before anybody can write it anew.
		fresh = fresh[:min(int64(len(fresh)), headBytes-at)]
		r.at.Head, r.at.HeadLen = crc32.Update(r.at.Head, crc32.IEEETable, fresh), at+int64(len(fresh))
	}
	return true, nil
}

// checkHead finds out whether a followed file was cut or written anew since. If
// not, it remembers more of its beginning.
func (r *reader) checkHead() (cut bool, err error) {
	head, size, err := r.head()
	if err != nil {
		return false, err
	}
	if size < r.read() || int64(len(head)) < r.at.HeadLen || crc32.ChecksumIEEE(head[:r.at.HeadLen]) != r.at.Head {
		return true, nil
	}
	// The rest is remembered when it is read.
	head = head[:min(int64(len(head)), max(r.read(), r.at.HeadLen))]
	r.at.HeadLen, r.at.Head = int64(len(head)), crc32.ChecksumIEEE(head)
	return false, nil
}

// head returns the beginning that the file has now, and its size.
func (r *reader) head() (head []byte, size int64, err error) {
	info, err := r.file.Stat()
	if err != nil {
		return nil, 0, err
	}
	head = r.headBuf[:min(headBytes, info.Size())]
	n, err := r.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, fmt.Errorf("read %s: %w", r.split.Path, err)
	}
	return head[:n], info.Size(), nil
}

// restart begins a followed file that was truncated anew, with what was copied from
// it and truncated meanwhile before what it holds now.
func (r *reader) restart() error {
	r.long, r.skipped, r.amid, r.behind = nil, 0, false, 0
	level := slog.LevelWarn // something may be lost
	if r.copy != nil {
		level = slog.LevelInfo
	}
	if opened, err := r.openNextCopy(); opened || err != nil {
		return err
	}
	r.source.task.Log.Log(context.Background(), level, "a followed file was truncated: reading it from its beginning",
		"path", r.split.Path, "read", r.at.Offset)
	r.at = position{Line: r.at.Line, Copied: r.at.Copied}
	return r.seekFile(0)
}
