//go:build !unix

package stdout

import "errors"

// Write implements [io.Writer].
func (unclosed) Write([]byte) (int, error) {
	return 0, errors.New("the host's standard output does not reach plugins on this system")
}
