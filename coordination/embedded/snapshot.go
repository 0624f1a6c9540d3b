package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/weirstream/weir/coordination"
	"go.etcd.io/bbolt"
)

// Pauses between tries of a copy that met a commit.
const (
	copyPause    = 2 * time.Millisecond
	copyPauseMax = 50 * time.Millisecond
)

// Snapshot is the content of a database file at one moment. It implements
// coordination.Reader and may be used concurrently.
type Snapshot struct {
	bolt *bbolt.DB
	file string // the copy
}

var _ coordination.Reader = (*Snapshot)(nil)

// OpenSnapshot reads the database at path whether or not a process has it open,
// by copying it. Ephemeral records are shown as they are in the file; after a
// crash those of the dead process are among them. It fails with fs.ErrNotExist
// where there is no file and with ErrDamaged where it cannot be trusted. While
// commits follow each other faster than the file can be copied it tries again,
// until ctx ends.
//
// The copy is sound for the same reason for which bbolt survives a crash.
// Between two writes of a meta page, a writer touches only pages that the
// newest whole transaction does not use. So a copy during which no meta page
// changed holds that transaction unharmed, with whatever the next one had begun
// to write beside it; and a meta page caught half-written fails its checksum and
// changes afterwards. One commit in between is already too many: the transaction
// behind it may reuse pages of the state that the copy began with.
func OpenSnapshot(ctx context.Context, path string) (*Snapshot, error) {
	s, err := openSnapshot(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("read coordination database %s: %w", path, err)
	}
	return s, nil
}

func openSnapshot(ctx context.Context, path string) (_ *Snapshot, err error) {
	from, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	to, err := os.CreateTemp("", "weir-snapshot-*.db")
	if err != nil {
		return nil, err
	}
	s := &Snapshot{file: to.Name()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	err = untilQuiet(ctx, func() (bool, error) {
		before, err := readMeta(from)
		if err != nil {
			return false, err
		}
		return copySince(before, to, from)
	})
	if err = errors.Join(err, to.Close()); err != nil {
		return nil, err
	}
	if s.bolt, err = openBolt(s.file, time.Second, true); err != nil {
		return nil, err
	}
	if err := s.bolt.View(checkFormat); err != nil {
		return nil, err
	}
	os.Remove(s.file) // at once, where an open file can be removed
	return s, nil
}

// untilQuiet repeats a copy until no commit fell into it.
func untilQuiet(ctx context.Context, copy func() (quiet bool, err error)) error {
	for pause := copyPause; ; pause = min(2*pause, copyPauseMax) {
		if quiet, err := copy(); quiet || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is written too often to be copied: %w", ctx.Err())
		case <-time.After(pause):
		}
	}
}

// copySince copies the newest transaction, given the meta pages as they were
// read before, and says whether no commit fell into the copying. What it found
// wrong with the file counts only then.
func copySince(before metaPages, to, from *os.File) (quiet bool, err error) {
	size, wrong := before.size()
	if wrong == nil {
		wrong = copyPages(to, from, before, size)
	}
	after, err := readMeta(from)
	if err != nil {
		return false, err
	}
	if before != after {
		return false, nil
	}
	return true, wrong
}

// copyPages writes the meta pages as they were read, and the pages behind them.
func copyPages(to, from *os.File, meta metaPages, size int64) error {
	if err := to.Truncate(0); err != nil {
		return err
	}
	if _, err := to.WriteAt(meta[:], 0); err != nil {
		return err
	}
	start := int64(len(meta))
	rest := io.NewSectionReader(from, start, size-start)
	n, err := io.Copy(io.NewOffsetWriter(to, start), rest)
	if err != nil {
		return err
	}
	if n < size-start {
		return fmt.Errorf("%w: it was cut short, %d bytes of %d are left", ErrDamaged, start+n, size)
	}
	return nil
}

// Get implements coordination.Reader.
func (s *Snapshot) Get(ctx context.Context, path string) (rec coordination.Record, err error) {
	if err := errors.Join(coordination.CheckPath(path), ctx.Err()); err != nil {
		return rec, err
	}
	err = s.view(func(t *tree) error {
		rec, err = getRecord(t, path)
		return err
	})
	return rec, err
}

// Children implements coordination.Reader.
func (s *Snapshot) Children(ctx context.Context, path string) (names []string, err error) {
	if err := errors.Join(checkParent(path), ctx.Err()); err != nil {
		return nil, err
	}
	err = s.view(func(t *tree) error {
		names = t.children(path)
		return nil
	})
	return names, err
}

func (s *Snapshot) view(do func(*tree) error) error {
	return closed(s.bolt.View(func(tx *bbolt.Tx) error { return do(newTree(tx)) }))
}

// Close removes the copy.
func (s *Snapshot) Close() error {
	var errs []error
	if s.bolt != nil {
		errs = append(errs, s.bolt.Close())
	}
	if err := os.Remove(s.file); !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
