package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/weirstream/weir/sdk"
)

// openFile opens the file that was found, wherever it was renamed to since.
func (s *source) openFile(d split) (*os.File, error) {
	f, err := openAs(d.Path, d.File)
	if f == nil && s.cfg.Follow {
		if files, listErr := s.cfg.list(); listErr == nil {
			f, err = openMoved(d.File, slices.Concat(files, beside(d.Path)), err)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, sdk.Fatal(fmt.Errorf("%s has vanished since it was found; put it back, or start over", d.Path))
	case errors.Is(err, fs.ErrPermission):
		return nil, sdk.Fatal(readError(d.Path, err))
	case errors.Is(err, errOther):
		return nil, sdk.Fatal(fmt.Errorf("%s is another file than the one that was found; put that one back, or start over", d.Path))
	case err != nil:
		return nil, err
	}
	if d.To >= 0 {
		info, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if info.Size() < d.Size {
			return nil, sdk.Fatal(errors.Join(fmt.Errorf("%s has %d bytes, and had %d when it was found: it was cut short or written anew; put the old one back, or start over", d.Path, info.Size(), d.Size), f.Close()))
		}
	}
	return f, nil
}

// errOther says that a path leads to another file than the one wanted.
var errOther = errors.New("another file")

// openAs opens path if it leads to the file of that identity.
func openAs(path, id string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && identity(f, info) != id {
		err = errOther
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// openMoved opens the file of that identity among files, or fails with err.
func openMoved(id string, files []found, err error) (*os.File, error) {
	for _, m := range files {
		if m.id != id {
			continue
		}
		f, openErr := openAs(m.path, id)
		if openErr == nil {
			return f, nil
		}
		err = openErr
	}
	return nil, err
}
