//go:build unix && !linux && !darwin && !solaris && !aix

package file

import "errors"

// renameExclusive does not exist here as one step.
func renameExclusive(string, string) error { return errors.ErrUnsupported }
