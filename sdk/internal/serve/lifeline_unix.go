//go:build unix

package serve

import (
	"fmt"
	"os"
	"syscall"
)

// hide keeps a file from the process's children.
func hide(fd int) { syscall.CloseOnExec(fd) }

// open takes over a file by its number and hides it from children.
func open(fd int, name string) (*os.File, error) {
	hide(fd)
	// Reading must not take a thread for the process's whole life.
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("%s: file %d: %w", name, fd, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
