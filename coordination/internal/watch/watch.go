// Package watch holds what the watches of all implementations of coordination.Store
// are made of.
package watch

import (
	"context"
	"errors"

	"github.com/weirstream/weir/coordination"
)

// Slot is a channel of capacity one that holds the newest value. One goroutine puts
// at a time and never blocks; a receiver that is slow misses older values.
type Slot[T any] chan T

// NewSlot returns an empty one.
func NewSlot[T any]() Slot[T] { return make(Slot[T], 1) }

// Put replaces the value.
func (s Slot[T]) Put(v T) {
	select {
	case <-s:
	default:
	}
	s <- v
}

// Refuse returns a channel with one value, closed.
func Refuse[T any](v T) <-chan T {
	out := NewSlot[T]()
	out.Put(v)
	close(out)
	return out
}

// Session puts each state of a session that look returns, the last of which may be that
// it is lost, and closes out when ctx or the session has ended. changed is closed when
// look is worth calling again.
func Session(ctx context.Context, out Slot[coordination.SessionState], look func() (state coordination.SessionState, changed <-chan struct{}, err error)) {
	defer close(out)
	var last coordination.SessionState
	for {
		state, changed, err := look()
		if state != last && (err == nil || errors.Is(err, coordination.ErrSessionLost)) {
			out.Put(state)
			last = state
		}
		if err != nil {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
