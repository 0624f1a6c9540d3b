package storage

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// syncFolder does nothing: Windows offers no way to flush a folder, and makes
// names durable with its own journal.
func syncFolder(f *os.File, err error) error {
	if err != nil {
		return err
	}
	return f.Close()
}

func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}
