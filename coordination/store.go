package coordination

import (
	"context"
	"math"
	"time"
)

// Limits of one record and one commit. ZooKeeper refuses a request of 1 MiB;
// what is larger belongs into checkpoint storage, with its name in a record.
const (
	// MaxData is the largest number of bytes that one record holds.
	MaxData = 512 << 10
	// MaxCommit is the largest size of one commit in bytes: for each operation
	// its data, its path and a fixed 64.
	MaxCommit = 768 << 10
	// MaxPath is the largest length of a path in bytes.
	MaxPath = 1024
)

// Record is one record as it was read. Its Data belongs to the reader.
type Record struct {
	Path string
	Data []byte // empty and absent are the same: length 0
	// Version counts the Sets since the record was created.
	Version int64
	// Created is a number of the commit that created the record. It is greater
	// than that of every record created by an earlier commit, also before a
	// restart of the service, and equal for records of the same commit.
	Created uint64
	// Ephemeral says that the record goes with the session that created it.
	Ephemeral bool
}

// Reader is the reading half of a Store.
type Reader interface {
	// Get reads one record. It fails with ErrNotFound where there is none.
	//
	// It may lag behind what other sessions have committed, but never behind
	// what this Store has committed, read or been refused: after a
	// ConflictError it shows what stood in the way, or something newer.
	Get(ctx context.Context, path string) (Record, error)

	// Children names the records directly below path, sorted by byte order,
	// without their parents' part. The path "" is the root. A path without a
	// record has no children. It lags as Get does. Keep the children of one
	// record below some ten thousand: the answer is one message.
	Children(ctx context.Context, path string) ([]string, error)
}

// Store is one session with the coordination service. All methods may be called
// concurrently. Commits of one goroutine take effect in the order of its calls;
// concurrent ones in any order.
//
// Every method fails with ErrClosed after Close, with ErrSessionLost once the
// session is lost, with ErrUnavailable while the service cannot be reached
// (nothing took effect, and a later call may succeed), with ErrInvalid on a
// malformed argument, and with ctx.Err() when ctx ends first.
type Store interface {
	Reader

	// Commit applies ops in order, all or none. Each op sees the effect of those
	// before it. When it returns nil the effect is durable. It fails with
	//
	//   - *ConflictError when an op's condition does not hold: nothing was written;
	//   - ErrTooLarge when a record or the whole is above its limit: nothing was
	//     written;
	//   - ErrUnknownOutcome when the reply was lost, also because ctx ended
	//     while the commit was under way (the error then is ctx.Err() as well);
	//     see the package documentation. The outcome is settled before any later
	//     call on this Store answers.
	//
	// The data of ops is not kept after the call.
	Commit(ctx context.Context, ops ...Op) error

	// Watch sends the state of the record now and after it changed, until ctx
	// ends; then it closes the channel. It coalesces: a slow receiver finds only
	// the newest state, at most one is buffered, and the same state is not sent
	// twice in a row. It never misses the last change, never goes back in time,
	// and needs no receiver to make progress. When the session ends, or path is
	// malformed, the last value carries Err.
	//
	// Watching a path without a record is how to wait for its creation.
	Watch(ctx context.Context, path string) <-chan Change

	// WatchChildren does the same with the names that Children returns. A child
	// that was deleted and created again between two values goes unseen.
	WatchChildren(ctx context.Context, path string) <-chan Listing

	// WatchSession sends the session's state now and after it changed, with the
	// guarantees of Watch. The channel closes after SessionLost, after Close, or
	// when ctx ends.
	WatchSession(ctx context.Context) <-chan SessionState

	// Lease returns how long ago the service's leader was last known to have heard
	// of the session. It asks nobody.
	Lease() Lease

	// Close ends the session and waits for the Store's goroutines. Its ephemeral
	// records are gone when it returns nil, and otherwise when the service
	// expires the session. A second Close does nothing.
	Close() error
}

// Change is one value of a watch.
type Change struct {
	Record Record // with Path alone where there is no record
	Found  bool
	Err    error // ErrSessionLost, ErrClosed or ErrInvalid; the channel closes after it
}

// Listing is one value of a watch on children.
type Listing struct {
	Names []string // sorted
	Err   error    // as in Change
}

// Lease says how long a session is still sure: the service keeps it for Timeout
// from the moment at which the last answered request that went through the
// service's leader was sent. A read is no such request: a server that is cut off
// from the leader answers reads.
type Lease struct {
	// Timeout is what the service has granted; zero where a session does not expire
	// by time.
	Timeout time.Duration
	// Age is the time since that moment, on a clock that also runs while the machine
	// sleeps; zero where a session does not expire by time.
	Age time.Duration
}

// Left returns what is left of the lease until this part of it is over, such as
// two thirds; it is negative afterwards. A session that does not expire by time
// has for ever, which is the largest Duration.
func (l Lease) Left(part float64) time.Duration {
	if l.Timeout == 0 {
		return math.MaxInt64
	}
	return time.Duration(part*float64(l.Timeout)) - l.Age
}

// SessionState tells how sure a session is. It follows a lease: from the moment
// at which the last answered request that went through the service's leader was
// sent, for the session timeout, on a clock that also runs while the machine
// sleeps. Short disconnections do not show.
type SessionState int

const (
	// SessionConnected: less than two thirds of the lease have passed.
	SessionConnected SessionState = iota + 1
	// SessionSuspended: two thirds of the lease have passed without an answer.
	// Whoever relies on the session begins to stop. It may become connected
	// again, with its ephemeral records and leaderships intact.
	SessionSuspended
	// SessionLost: the lease is over or the service has expired the session.
	// This is final.
	SessionLost
)

// String returns "connected", "suspended" or "lost".
func (s SessionState) String() string {
	switch s {
	case SessionConnected:
		return "connected"
	case SessionSuspended:
		return "suspended"
	case SessionLost:
		return "lost"
	default:
		return "unknown"
	}
}
