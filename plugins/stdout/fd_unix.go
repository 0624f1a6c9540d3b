//go:build unix

package stdout

import (
	"errors"
	"io"
	"syscall"
)

// Write implements [io.Writer].
func (u unclosed) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := syscall.Write(u.fd, p[written:])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return written, err
		case n == 0:
			return written, io.ErrShortWrite
		}
		written += n
	}
	return written, nil
}
