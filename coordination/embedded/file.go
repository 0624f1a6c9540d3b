package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrLocked: another process holds the database, or this one has it open.
var ErrLocked = errors.New("held by another process")

// ErrDamaged: the file is not a database of this package, or was cut short.
var ErrDamaged = errors.New("database file is damaged")

// pageSize is fixed so that a file moves between machines, and so that the two
// meta pages are where metaPages expects them.
const pageSize = 4096

// metaPages are the first two pages of a bbolt file. A transaction writes its
// meta page last, into slot txid mod 2, and becomes the state of the file by it.
type metaPages [2 * pageSize]byte

// The layout of a bbolt meta page, behind a page header of 16 bytes: magic,
// version, page size, flags (uint32 each), root (two uint64), freelist, high
// water mark in pages, txid, and an FNV-1a 64 of what stands before it. bbolt
// writes in the byte order of the machine.
const (
	metaStart    = 16
	metaMagic    = 0xED0CDAED
	metaPageSize = metaStart + 8
	metaEnd      = metaStart + 40
	metaTxid     = metaStart + 48
	metaSum      = metaStart + 56
)

func readMeta(r io.ReaderAt) (m metaPages, err error) {
	if _, err := r.ReadAt(m[:], 0); errors.Is(err, io.EOF) {
		return m, fmt.Errorf("%w: it is shorter than %d bytes", ErrDamaged, len(m))
	} else if err != nil {
		return m, err
	}
	return m, nil
}

// size returns how many bytes the newest whole transaction spans.
func (m *metaPages) size() (int64, error) {
	var pages, txid uint64
	found := false
	for slot := range 2 {
		p := m[slot*pageSize : (slot+1)*pageSize]
		h := fnv.New64a()
		h.Write(p[metaStart:metaSum])
		order := binary.NativeEndian
		if order.Uint32(p[metaStart:]) != metaMagic || order.Uint64(p[metaSum:]) != h.Sum64() ||
			order.Uint32(p[metaPageSize:]) != pageSize {
			continue
		}
		if id := order.Uint64(p[metaTxid:]); !found || id > txid {
			found, txid, pages = true, id, order.Uint64(p[metaEnd:])
		}
	}
	if !found {
		return 0, fmt.Errorf("%w: it has no valid meta page", ErrDamaged)
	}
	return int64(pages) * pageSize, nil
}

// checkWhole fails where the file is shorter than its newest transaction, which
// bbolt would meet as a fault in mapped memory.
func checkWhole(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := readMeta(f)
	if err != nil {
		return err
	}
	want, err := m.size()
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < want {
		return fmt.Errorf("%w: it was cut short, %d bytes of %d are left", ErrDamaged, info.Size(), want)
	}
	return nil
}

// openBolt opens the file with bbolt and checks its structure, which costs less
// than a millisecond for a few megabytes and turns what would be a panic in the
// middle of a run into an error at its start.
func openBolt(path string, timeout time.Duration, readOnly bool) (db *bbolt.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: timeout, PageSize: pageSize, ReadOnly: readOnly, NoStatistics: true,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrLocked
	case err != nil:
		return nil, err
	}
	if err := db.View(checkStructure); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// checkStructure returns the first fault that bbolt finds.
func checkStructure(tx *bbolt.Tx) error {
	var first error
	for err := range tx.Check() { // to the end, which ends its goroutine
		if first == nil {
			first = fmt.Errorf("%w: %v", ErrDamaged, err)
		}
	}
	return first
}

// create makes an empty database at path unless there is one. It is made under
// a name of its own and linked into place, so that a process killed at any
// point leaves either no database or a whole one.
func create(path string, timeout time.Duration) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir, base := filepath.Dir(path), filepath.Base(path)
	f, err := os.CreateTemp(dir, base+freshInfix+"*")
	if err != nil {
		return err
	}
	fresh := f.Name()
	defer os.Remove(fresh)
	if err := f.Close(); err != nil {
		return err
	}
	db, err := openBolt(fresh, timeout, false)
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(prepare), db.Close()); err != nil {
		return err
	}
	if err := os.Link(fresh, path); err != nil {
		if _, statErr := os.Stat(path); statErr != nil { // else somebody was faster
			return err
		}
	}
	return syncDir(dir)
}

const freshInfix = ".new-"

// removeStale removes what processes killed inside create left beside the
// database at path. One that is inside create now finds the database in place.
func removeStale(path string) {
	dir, base := filepath.Dir(path), filepath.Base(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // they do no harm
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), base+freshInfix) {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// syncDir makes a new name in dir durable. Windows has no such call, and orders
// names by its own journal.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
