package file

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// identity names an open file whatever it is called: device, inode and, since
// inodes are used again, the time of its birth.
func identity(f *os.File, info fs.FileInfo) string {
	id, _ := identityAt(f.Name(), info)
	return id
}

// identityAt is identity of the file at path, of which info was taken a moment
// ago.
func identityAt(path string, info fs.FileInfo) (id string, same bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return path, true
	}
	return fmt.Sprintf("%d-%d-%d", st.Dev, st.Ino, st.Birthtimespec.Nano()), true
}
