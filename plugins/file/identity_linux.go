package file

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// identity names an open file whatever it is called: device, inode and, since
// inodes are used again, the time of its birth where the file system keeps that.
func identity(f *os.File, info fs.FileInfo) string {
	var x unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME|unix.STATX_INO, &x)
	return identityOf(f.Name(), info, &x, err)
}

// identityAt is identity of the file at path, of which info was taken a moment
// ago; same is false where another file has taken the name since.
func identityAt(path string, info fs.FileInfo) (id string, same bool) {
	var x unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME|unix.STATX_INO, &x)
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && err == nil && x.Ino != st.Ino || err == unix.ENOENT {
		return "", false
	}
	return identityOf(path, info, &x, err), true
}

func identityOf(path string, info fs.FileInfo, x *unix.Statx_t, err error) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return path
	}
	if err == nil && x.Mask&unix.STATX_BTIME != 0 {
		return fmt.Sprintf("%d-%d-%d", st.Dev, st.Ino, x.Btime.Sec*1e9+int64(x.Btime.Nsec))
	}
	return fmt.Sprintf("%d-%d", st.Dev, st.Ino)
}
