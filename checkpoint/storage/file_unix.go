//go:build unix

package storage

import (
	"errors"
	"os"
	"syscall"
)

// syncFolder makes the names in a folder durable and closes it. It takes what
// opening it returned.
func syncFolder(f *os.File, err error) error {
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
