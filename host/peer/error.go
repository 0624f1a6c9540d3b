package peer

import (
	"fmt"

	"github.com/weirstream/weir/host/edge"
)

// ChannelError says that a channel between two hosts cannot be opened, or broke.
type ChannelError struct {
	From, To string // hosts
	Channel  edge.ID
	// Unreachable: nobody answered at the receiver's address.
	Unreachable bool
	Err         error
}

// Error names the channel and both hosts.
func (e *ChannelError) Error() string {
	return fmt.Sprintf("channel %s from host %s to host %s: %v", e.Channel, e.From, e.To, e.Err)
}

// Unwrap returns what happened.
func (e *ChannelError) Unwrap() error { return e.Err }
