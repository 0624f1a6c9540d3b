// Package flock keeps processes from running the same thing twice, by locks
// that the kernel lets go of when their holders are dead, however they died.
//
// [Take] takes one lock file. [TakeRun] takes the two of one run of a pipeline in
// its state folder:
//
//   - the host's lock, which no child inherits. While it is held a host is alive,
//     and a second run is refused at once.
//   - the plugins' lock, which every plugin process inherits. While only that is
//     held, the host is dead and some of its plugins are still ending; a new
//     run waits for them.
//
// A lock belongs to the open file, which a child that gets the file shares with
// its parent. It is let go of by closing the file in the last process that has
// it, never by unlocking, which would unlock it for all. Lock files are never
// removed: who locks a file that another has just unlinked locks nothing.
//
// Windows has no locks that a child inherits. There the host's lock alone is
// taken, [Run.Inherit] returns nil, and a new run does not wait for leftovers of
// a killed one.
package flock

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// HeldError says that another process holds a lock.
type HeldError struct {
	Path string
	PID  int // as the holder wrote it into the file; 0 where that could not be read
}

// Error names the file and the process.
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is held by another process", e.Path)
	}
	return fmt.Sprintf("%s is held by process %d", e.Path, e.PID)
}

// Take takes the lock at path, creates the file where there is none, and writes
// the pid of this process into it. It does not wait: it fails with *HeldError
// where another process has it, or this one by another Take.
//
// The lock is held until the file is closed in this process and in every child
// that got it through exec.Cmd.ExtraFiles. No other child gets it.
func Take(path string) (*os.File, error) {
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	locked, err := tryLock(f)
	if err == nil && !locked {
		err = &HeldError{Path: path, PID: holder(f)}
	}
	if err == nil {
		err = writePID(f)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock: %w", err)
	}
	return f, nil
}

func open(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) }

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintln(io.NewOffsetWriter(f, 0), os.Getpid())
	return err
}

// A holder writes its pid just after it got the lock, so that for a moment the
// file has none, or that of a former holder. So it is read again, a few times,
// until it is that of a living process.
const (
	pidTries = 20
	pidPause = 5 * time.Millisecond
)

func holder(f *os.File) (pid int) {
	for range pidTries {
		b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
		if err != nil {
			return 0
		}
		if pid, _ = strconv.Atoi(string(bytes.TrimSpace(b))); pid > 0 && alive(pid) {
			break
		}
		time.Sleep(pidPause)
	}
	return max(pid, 0)
}
