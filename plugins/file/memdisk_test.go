package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
)

// memDisk is a disk in memory that forgets, at a loss of power, what was not
// synced: the end of files, and the newest changes of names.
type memDisk struct {
	mu      sync.Mutex
	folders map[string]*memDir
}

type memDir struct {
	names   map[string]*memFile
	durable map[string]*memFile
	changes []func(map[string]*memFile) // since the last sync, in order
}

type memFile struct {
	data   []byte
	synced int
	taken  bool // moved out of the folder, to stay
	locked *memHandle
}

func newMemDisk() *memDisk { return &memDisk{folders: map[string]*memDir{}} }

// process is the disk as one process sees it. before is called ahead of each
// step, with its name: it may wait, and with an error the step is not done. A write
// that fails so has written half.
type process struct {
	*memDisk
	before func(op string) error
}

func (d *memDisk) process() *process { return &process{d, func(string) error { return nil }} }

// losePower takes back a random part of what was not synced.
func (d *memDisk) losePower(r *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.folders)) {
		dir := d.folders[name]
		dir.names = maps.Clone(dir.durable)
		// What was not synced may also come to disk in another order.
		ordered, n := r.IntN(2) == 0, r.IntN(len(dir.changes)+1)
		for i, change := range dir.changes {
			if ordered && i < n || !ordered && r.IntN(2) == 0 {
				change(dir.names)
			}
		}
		dir.changes = nil
		for _, name := range slices.Sorted(maps.Keys(dir.names)) {
			f := dir.names[name]
			if f.taken {
				delete(dir.names, name)
				continue
			}
			if len(f.data) > f.synced {
				f.data = f.data[:f.synced+r.IntN(len(f.data)-f.synced+1)]
			}
			f.synced = len(f.data)
		}
		dir.durable = maps.Clone(dir.names)
	}
}

// files returns the contents of a folder.
func (d *memDisk) files(folder string) map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[string][]byte{}
	if dir := d.folders[folder]; dir != nil {
		for name, f := range dir.names {
			out[name] = slices.Clone(f.data)
		}
	}
	return out
}

// take moves a file out of the disk, as a consumer does who syncs.
func (d *memDisk) take(folder, name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir := d.folders[folder]
	f := dir.names[name]
	delete(dir.names, name)
	f.taken = true
	return f.data
}

func (p *process) makeFolder(at string) error {
	if err := p.before("mkdir"); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.folders[at] == nil {
		p.folders[at] = &memDir{names: map[string]*memFile{}, durable: map[string]*memFile{}}
	}
	return nil
}

func (p *process) folder(at string) (folder, error) {
	if err := p.before("open folder"); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	dir := p.folders[at]
	if dir == nil {
		return nil, &fs.PathError{Op: "open", Path: at, Err: fs.ErrNotExist}
	}
	return &memFolder{p, at, dir}, nil
}

type memFolder struct {
	p   *process
	at  string
	dir *memDir
}

// change does something to names that a sync makes durable.
func (d *memDir) change(do func(map[string]*memFile)) {
	do(d.names)
	d.changes = append(d.changes, do)
}

// step runs one step, unless the process is told to stop before it.
func (f *memFolder) step(op, name string, do func(file *memFile) error) error {
	if err := f.p.before(op); err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	return do(f.dir.names[name])
}

func missing(name string) error { return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist} }

func (f *memFolder) here() error {
	return f.step("stat", f.at, func(*memFile) error {
		if f.p.folders[f.at] != f.dir {
			return missing(f.at)
		}
		return nil
	})
}

func (f *memFolder) create(name string) (h handle, err error) {
	err = f.step("create", name, func(file *memFile) error {
		if file != nil {
			return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
		}
		file = &memFile{}
		f.dir.change(func(names map[string]*memFile) { names[name] = file })
		h = &memHandle{folder: f, file: file}
		return nil
	})
	return h, err
}

func (f *memFolder) open(name string) (h handle, err error) { return f.update(name, false) }

func (f *memFolder) update(name string, make bool) (h handle, err error) {
	err = f.step("open", name, func(file *memFile) error {
		if file == nil && !make {
			return missing(name)
		}
		if file == nil {
			file = &memFile{}
			f.dir.change(func(names map[string]*memFile) { names[name] = file })
		}
		h = &memHandle{folder: f, file: file}
		return nil
	})
	return h, err
}

func (f *memFolder) leadsTo(name string, h handle) (leads bool, err error) {
	err = f.step("stat", name, func(file *memFile) error {
		leads = file == h.(*memHandle).file
		return nil
	})
	return leads, err
}

func (f *memFolder) rename(from, to string) error {
	return f.step("rename", from, func(file *memFile) error {
		switch {
		case file == nil:
			return missing(from)
		case f.dir.names[to] != nil:
			return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
		}
		f.dir.change(func(names map[string]*memFile) {
			delete(names, from)
			names[to] = file
		})
		return nil
	})
}

func (f *memFolder) remove(name string) error {
	return f.step("remove", name, func(file *memFile) error {
		if file == nil {
			return missing(name)
		}
		f.dir.change(func(names map[string]*memFile) { delete(names, name) })
		return nil
	})
}

func (f *memFolder) size(name string) (size int64, err error) {
	err = f.step("stat", name, func(file *memFile) error {
		if file == nil {
			return missing(name)
		}
		size = int64(len(file.data))
		return nil
	})
	return size, err
}

func (f *memFolder) list() (names []string, err error) {
	err = f.step("list", f.at, func(*memFile) error {
		names = slices.Sorted(maps.Keys(f.dir.names))
		return nil
	})
	return names, err
}

func (f *memFolder) sync() error {
	return f.step("sync", f.at, func(*memFile) error {
		f.dir.durable, f.dir.changes = maps.Clone(f.dir.names), nil
		return nil
	})
}

func (f *memFolder) close() error { return nil }

type memHandle struct {
	folder *memFolder
	file   *memFile
	at     int
}

func (h *memHandle) Write(b []byte) (int, error) {
	stop := h.folder.p.before("write")
	h.folder.p.mu.Lock()
	defer h.folder.p.mu.Unlock()
	n := len(b)
	if stop != nil {
		n /= 2
	}
	end := h.at + n
	h.file.data = append(h.file.data[:min(h.at, len(h.file.data))], append(bytes.Clone(b[:n]), h.file.data[min(end, len(h.file.data)):]...)...)
	h.file.synced = min(h.file.synced, h.at)
	h.at = end
	return n, stop
}

func (h *memHandle) Read(b []byte) (int, error) {
	h.folder.p.mu.Lock()
	defer h.folder.p.mu.Unlock()
	n := copy(b, h.file.data[min(h.at, len(h.file.data)):])
	h.at += n
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (h *memHandle) Seek(offset int64, whence int) (int64, error) {
	h.folder.p.mu.Lock()
	defer h.folder.p.mu.Unlock()
	if whence == io.SeekEnd {
		offset += int64(len(h.file.data))
	}
	h.at = int(offset)
	return offset, nil
}

func (h *memHandle) Truncate(size int64) error {
	return h.folder.step("truncate", "", func(*memFile) error {
		h.file.data = h.file.data[:size]
		h.file.synced = min(h.file.synced, int(size))
		return nil
	})
}

func (h *memHandle) Sync() error {
	return h.folder.step("fsync", "", func(*memFile) error {
		h.file.synced = len(h.file.data)
		return nil
	})
}

func (h *memHandle) copyFrom(from handle, n int64) error {
	data := from.(*memHandle).file.data
	if int64(len(data)) < n {
		return io.ErrUnexpectedEOF
	}
	_, err := h.Write(data[:n:n])
	return err
}

func (h *memHandle) lock() (bool, error) {
	h.folder.p.mu.Lock()
	defer h.folder.p.mu.Unlock()
	if h.file.locked != nil {
		return false, nil
	}
	h.file.locked = h
	return true, nil
}

func (h *memHandle) Close() error {
	h.folder.p.mu.Lock()
	defer h.folder.p.mu.Unlock()
	if h.file.locked == h {
		h.file.locked = nil
	}
	return nil
}

var errCrashed = errors.New("the process is dead")

// isHidden reports whether a consumer does not look at a name.
func isHidden(name string) bool { return path.Base(name)[0] == '.' }
