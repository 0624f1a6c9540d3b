package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
)

// found is a file that the source's path leads to.
type found struct {
	path string
	info fs.FileInfo
	id   string
}

// errNoFile says that a folder or glob is empty.
var errNoFile = errors.New("leads to no file")

func isGlob(path string) bool { return strings.ContainsAny(path, "*?[{") }

// look returns what is at path: its information and its identity are those of one
// and the same file, also while another takes its name.
func look(path string) (found, error) {
	for {
		info, err := os.Stat(path)
		if err != nil {
			return found{}, err
		}
		if id, same := identityAt(path, info); same {
			return found{path, info, id}, nil
		}
	}
}

// list finds the files, sorted by name. A path that leads to none is an error,
// unless the source follows, and waits for them.
func (c *SourceConfig) list() ([]found, error) {
	paths, err := c.paths()
	if err != nil {
		return nil, err
	}
	var files []found
	for _, path := range paths {
		if !utf8.ValidString(path) {
			// Splits and checkpoints are text.
			return nil, fmt.Errorf("the name %q is no UTF-8: rename the file, or leave it out", path)
		}
		f, err := look(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && (c.Follow || isGlob(c.Path)):
			continue // gone since it was listed, or not there yet
		case err != nil:
			return nil, readError(path, err)
		case f.info.Mode().IsRegular():
			files = append(files, f)
		case path == c.Path:
			return nil, fmt.Errorf("%s is neither a file nor a folder", path)
		}
	}
	if len(files) == 0 && !c.Follow {
		return nil, fmt.Errorf("%s %w", c.Path, errNoFile)
	}
	return files, nil
}

func (c *SourceConfig) paths() ([]string, error) {
	if isGlob(c.Path) {
		base, _ := doublestar.SplitPattern(filepath.ToSlash(c.Path))
		if err := folderExists(filepath.FromSlash(base)); err != nil {
			return nil, err
		}
		paths, err := doublestar.FilepathGlob(c.Path, doublestar.WithFailOnIOErrors(), doublestar.WithFilesOnly(), doublestar.WithNoHidden())
		if err != nil {
			return nil, fmt.Errorf("glob %s: %w", c.Path, err)
		}
		slices.Sort(paths)
		return paths, nil
	}
	info, err := os.Stat(c.Path)
	if err != nil || !info.IsDir() {
		// Of a missing file the caller tells.
		return []string{c.Path}, folderExists(filepath.Dir(c.Path))
	}
	entries, err := os.ReadDir(c.Path)
	if err != nil {
		return nil, readError(c.Path, err)
	}
	var paths []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			paths = append(paths, filepath.Join(c.Path, e.Name()))
		}
	}
	return paths, nil
}

// folderExists says what to do where a folder is missing that files are looked for
// in.
func folderExists(dir string) error {
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the folder %s does not exist: make it, or correct the path (%w)", dir, fs.ErrNotExist)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no folder", dir)
	}
	return nil
}

// beside lists the regular files of path's folder, sorted by name: a rotated file
// stays in its folder, under a name that the source's path need not match.
func beside(path string) []found {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // who opens the file tells
	}
	var files []found
	for _, e := range entries {
		if f, err := look(filepath.Join(dir, e.Name())); err == nil && f.info.Mode().IsRegular() {
			files = append(files, f)
		}
	}
	return files
}
