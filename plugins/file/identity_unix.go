//go:build unix && !linux

package file

import (
	"fmt"
	"io/fs"
	"syscall"
)

// identity names a file whatever it is called: device and inode. An inode that is
// used again may be taken for the file that had it.
func identity(path string, info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return path
	}
	return fmt.Sprintf("%d-%d", st.Dev, st.Ino)
}
