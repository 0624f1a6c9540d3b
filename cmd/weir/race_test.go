//go:build race && unix

package main

import (
	"os"
	"syscall"
)

// underTest is main for the scripts. A program with the race detector waits a second
// before it ends unless it is told otherwise in its environment, of which a plugin
// process gets nothing: so that starts itself again, in place.
func underTest() {
	if os.Getenv("GORACE") == "" {
		if self, err := os.Executable(); err == nil {
			_ = syscall.Exec(self, os.Args, append(os.Environ(), "GORACE=atexit_sleep_ms=0"))
		}
	}
	main()
}
