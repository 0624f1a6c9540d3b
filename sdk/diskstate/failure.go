package diskstate

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
)

// failure is the first error of a store, behind which nothing in it can be relied upon.
type failure struct {
	once sync.Once
	err  error
	set  chan struct{} // closed when err is
}

func newFailure() *failure { return &failure{set: make(chan struct{})} }

func (f *failure) fail(err error) {
	f.once.Do(func() {
		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("the disk is full: %w: make room, and the pipeline goes on from its last checkpoint", err)
		}
		f.err = fmt.Errorf("state on disk: %w", err)
		close(f.set)
	})
}

// Err implements [state.Backend].
func (f *failure) Err() error {
	select {
	case <-f.set:
		return f.err
	default:
		return nil
	}
}
