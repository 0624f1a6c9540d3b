package file

import (
	"fmt"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// identity names a file whatever it is called: device, inode and, since inodes are
// used again, the time of its birth where the file system keeps that.
func identity(path string, info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return path
	}
	var x unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME|unix.STATX_INO, &x); err == nil && x.Mask&unix.STATX_BTIME != 0 && x.Ino == st.Ino {
		return fmt.Sprintf("%d-%d-%d", st.Dev, st.Ino, x.Btime.Sec*1e9+int64(x.Btime.Nsec))
	}
	return fmt.Sprintf("%d-%d", st.Dev, st.Ino)
}
