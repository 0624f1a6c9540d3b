package file

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameExclusive renames and fails with fs.ErrExist where the new name is taken,
// in one step. Some file systems cannot: errors.ErrUnsupported.
func renameExclusive(from, to string) error {
	err := unix.RenamexNp(from, to, unix.RENAME_EXCL)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EINVAL):
		return errors.ErrUnsupported
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}
