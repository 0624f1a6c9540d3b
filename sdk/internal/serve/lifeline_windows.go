package serve

import (
	"fmt"
	"os"
)

func hide(int) {}

// open has nothing to take over: Windows passes no numbered files on, and the
// lifeline is standard input.
func open(fd int, name string) (*os.File, error) {
	return nil, fmt.Errorf("%s: file %d cannot have been inherited on Windows", name, fd)
}
