package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// disk is what the sink asks of a file system, so that tests can stop it at any
// step, and lose what was not synced.
type disk interface {
	// folder opens a folder that exists.
	folder(path string) (folder, error)
	// makeFolder makes a folder, and those above it, to stay.
	makeFolder(path string) error
}

// folder is an open folder. Names are of files in it; whatever is done to names is
// durable after sync.
type folder interface {
	// here fails with fs.ErrNotExist where the path leads to this folder no more.
	here() error
	// create makes a new file for writing; it fails where the name is taken.
	create(name string) (handle, error)
	// open opens a file for reading.
	open(name string) (handle, error)
	// update opens a file for writing at its end, and makes it first if asked.
	update(name string, make bool) (handle, error)
	// leadsTo reports whether a name still is that of an open file.
	leadsTo(name string, h handle) (bool, error)
	// rename gives a file another name, atomically where the system can. It fails
	// with fs.ErrExist where that is taken.
	rename(from, to string) error
	remove(name string) error
	size(name string) (int64, error)
	list() ([]string, error)
	sync() error
	close() error
}

// handle is an open file.
type handle interface {
	io.Reader
	io.Writer
	Sync() error
	Truncate(size int64) error
	Seek(offset int64, whence int) (int64, error)
	Close() error
	// copyFrom appends the first n bytes of another file of the same disk.
	copyFrom(from handle, n int64) error
	// lock takes the file for this handle alone, until it is closed; false where
	// another has it.
	lock() (bool, error)
}

// osDisk is the operating system's.
type osDisk struct{}

func (osDisk) folder(path string) (folder, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := dir.Stat()
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return &osFolder{path, dir, info}, nil
}

// makeFolder syncs every folder that gets a new entry.
func (osDisk) makeFolder(path string) error {
	var above []string
	for at := filepath.Clean(path); ; {
		if _, err := os.Stat(at); err == nil {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		parent := filepath.Dir(at)
		if parent == at {
			break
		}
		above = append(above, parent)
		at = parent
	}
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	for _, dir := range above {
		if err := syncFolder(dir); err != nil {
			return err
		}
	}
	return nil
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(syncDir(dir), dir.Close())
}

type osFolder struct {
	path string
	dir  *os.File
	info fs.FileInfo
}

func (f *osFolder) at(name string) string { return filepath.Join(f.path, name) }

func (f *osFolder) here() error {
	now, err := os.Stat(f.path)
	if err == nil && !os.SameFile(now, f.info) {
		err = &fs.PathError{Op: "stat", Path: f.path, Err: fmt.Errorf("another folder has taken its place: %w", fs.ErrNotExist)}
	}
	return err
}

func (f *osFolder) create(name string) (handle, error) {
	return fileHandle(os.OpenFile(f.at(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666))
}

func (f *osFolder) open(name string) (handle, error) { return fileHandle(os.Open(f.at(name))) }

func (f *osFolder) update(name string, make bool) (handle, error) {
	flags := os.O_RDWR
	if make {
		flags |= os.O_CREATE
	}
	h, err := os.OpenFile(f.at(name), flags, 0o666)
	if err != nil {
		return nil, err
	}
	info, err := h.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", f.at(name))
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return &osHandle{h}, nil
}

func (f *osFolder) leadsTo(name string, h handle) (bool, error) {
	now, err := os.Stat(f.at(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	open, err := h.(*osHandle).Stat()
	return err == nil && os.SameFile(now, open), err
}

func (f *osFolder) rename(from, to string) error {
	err := renameExclusive(f.at(from), f.at(to))
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return linkAndRemove(f.at(from), f.at(to))
}

// linkAndRemove is a rename that replaces nothing, for file systems without one.
// It goes on where an earlier one stopped in the middle: the file then has a
// second name, be it the new one or what a consumer has made of that.
func linkAndRemove(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if links(info) <= 1 {
		if err := os.Link(from, to); err != nil {
			return err
		}
	}
	return os.Remove(from)
}

func (f *osFolder) remove(name string) error { return os.Remove(f.at(name)) }

func (f *osFolder) size(name string) (int64, error) {
	info, err := os.Stat(f.at(name))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// list reads the folder anew: the open one keeps its place.
func (f *osFolder) list() ([]string, error) {
	dir, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	return names, errors.Join(err, dir.Close())
}

func (f *osFolder) sync() error { return syncDir(f.dir) }

func (f *osFolder) close() error { return f.dir.Close() }

type osHandle struct{ *os.File }

func fileHandle(f *os.File, err error) (handle, error) {
	if err != nil {
		return nil, err
	}
	return &osHandle{f}, nil
}

// copyFrom lets the kernel copy, or share, the bytes where it can.
func (h *osHandle) copyFrom(from handle, n int64) error {
	copied, err := io.Copy(h.File, io.LimitReader(from.(*osHandle).File, n))
	if err == nil && copied < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (h *osHandle) lock() (bool, error) { return lockFile(h.File) }
