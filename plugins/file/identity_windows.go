package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// identity names an open file whatever it is called: volume, file number and time
// of creation. Where the file system has none of these it is the path, so that a
// rotated file is not recognised.
func identity(f *os.File, _ fs.FileInfo) string {
	var by windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &by); err != nil || by.FileIndexHigh == 0 && by.FileIndexLow == 0 {
		return f.Name()
	}
	return fmt.Sprintf("%d-%d-%d", by.VolumeSerialNumber,
		uint64(by.FileIndexHigh)<<32|uint64(by.FileIndexLow), by.CreationTime.Nanoseconds())
}

// identityAt is identity of the file at path; same is false where it cannot be told
// that it is the one of which info was taken a moment ago.
func identityAt(path string, info fs.FileInfo) (id string, same bool) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false
	}
	if err != nil {
		return path, true // a folder, or one that may not be read: who opens it tells
	}
	defer f.Close()
	now, err := f.Stat()
	if err != nil || !os.SameFile(now, info) {
		return "", false
	}
	return identity(f, now), true
}
