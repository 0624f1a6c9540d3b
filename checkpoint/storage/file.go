package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// partial ends the name of an object that is being written. It lies beside its
// target, so that the rename stays within one folder.
const partial = ".partial"

// fileDriver keeps each object in a file below one folder. The folder is held
// open: once it is removed or replaced, its path leads elsewhere and every call
// fails, so that nothing is written where nobody will look for it.
type fileDriver struct {
	path string
	root *os.Root
	// fill writes a new file's content; a test replaces it.
	fill func(f *os.File, data []byte) error
}

func openFile(_ context.Context, rawURL string) (Driver, error) {
	dir, err := folder(rawURL)
	if err != nil {
		return nil, err
	}
	if err := makeRoot(dir); err != nil {
		return nil, classify(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &fileDriver{path: dir, root: root, fill: fill}, nil
}

// makeRoot makes a folder and its parents where they do not exist, and makes
// durable what it made.
func makeRoot(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return fs.ErrNotExist
	}
	if err := makeRoot(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(os.Open(parent))
}

// folder is the path that a file URL names.
func folder(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, redact(err))
	}
	p := u.Path
	if runtime.GOOS == "windows" {
		p = strings.TrimPrefix(p, "/") // file:///C:/weir
	}
	p = filepath.FromSlash(p)
	if u.Host != "" || u.RawQuery != "" || u.Fragment != "" || !filepath.IsAbs(p) {
		return "", fmt.Errorf("%w: a file URL is file:// and an absolute path, such as file:///var/lib/weir", ErrInvalid)
	}
	return filepath.Clean(p), nil
}

func (d *fileDriver) Write(ctx context.Context, name string, data []byte) error {
	if err := d.present(); err != nil {
		return err
	}
	// A concurrent Delete may take a folder away that just became empty.
	for try := 0; ; try++ {
		err := d.write(name, data)
		if err == nil {
			return nil
		}
		if gone := d.present(); gone != nil {
			return gone
		}
		if !errors.Is(err, fs.ErrNotExist) || try == 100 || ctx.Err() != nil {
			return classify(err)
		}
	}
}

func (d *fileDriver) write(name string, data []byte) (err error) {
	dir := path.Dir(name)
	if err := d.makeFolders(dir); err != nil {
		d.prune(dir)
		return err
	}
	temporary := name + partial
	defer func() {
		if err != nil {
			_ = d.root.Remove(temporary)
			d.prune(dir)
		}
	}()
	f, err := d.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(d.fill(f, data), f.Close()); err != nil {
		return err
	}
	if err := d.root.Rename(temporary, name); err != nil {
		return err
	}
	if err := d.syncFolder(dir); err != nil {
		_ = d.root.Remove(name)
		return err
	}
	return nil
}

func fill(f *os.File, data []byte) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// makeFolders makes dir and its parents, each durable before it is used.
func (d *fileDriver) makeFolders(dir string) error {
	if dir == "." {
		return nil
	}
	if _, err := d.root.Stat(dir); err == nil {
		return nil
	}
	if err := d.makeFolders(path.Dir(dir)); err != nil {
		return err
	}
	if err := d.root.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return d.syncFolder(path.Dir(dir))
}

// prune removes folders that are empty, from dir upwards.
func (d *fileDriver) prune(dir string) {
	for ; dir != "."; dir = path.Dir(dir) {
		if d.root.Remove(dir) != nil {
			return
		}
	}
}

func (d *fileDriver) syncFolder(dir string) error {
	return syncFolder(d.root.Open(dir))
}

func (d *fileDriver) Read(_ context.Context, name string) ([]byte, error) {
	data, err := d.root.ReadFile(name)
	if err == nil {
		return data, nil
	}
	if gone := d.present(); gone != nil {
		return nil, gone
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	return nil, err
}

func (d *fileDriver) List(ctx context.Context, prefix string) ([]Info, error) {
	if err := d.present(); err != nil {
		return nil, err
	}
	start := strings.TrimSuffix(prefix, "/")
	if start == "" {
		start = "."
	}
	var infos []Info
	err := fs.WalkDir(d.root.FS(), start, func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		var i fs.FileInfo
		if err == nil && !e.IsDir() {
			i, err = e.Info()
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // deleted meanwhile
			return nil
		case err != nil:
			return err
		case i != nil && i.Mode().IsRegular():
			infos = append(infos, Info{Name: name, Size: i.Size(), Modified: i.ModTime()})
		}
		return nil
	})
	return infos, classify(err)
}

func (d *fileDriver) Delete(_ context.Context, name string) error {
	if err := d.present(); err != nil {
		return err
	}
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return classify(err)
	}
	d.prune(path.Dir(name))
	return nil
}

func (d *fileDriver) Close() error { return d.root.Close() }

// present fails unless the path still leads to the folder that was opened.
func (d *fileDriver) present() error {
	held, err := d.root.Stat(".")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	found, err := os.Stat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s was removed", ErrGone, d.path)
	case err != nil:
		return err
	case !os.SameFile(held, found):
		return fmt.Errorf("%w: %s was replaced", ErrGone, d.path)
	}
	return nil
}

// classify says where an error of the file system means that there is no room.
func classify(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
