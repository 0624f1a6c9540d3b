package coordination

import (
	"errors"
	"fmt"
)

// Conditions of an operation that did not hold. Commit returns them inside a
// *ConflictError; Get returns ErrNotFound by itself.
var (
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("record not found")
	// ErrExists: the record to create, or to be absent, is there.
	ErrExists = errors.New("record exists")
	// ErrVersion: the record has another version.
	ErrVersion = errors.New("record has another version")
	// ErrNotEmpty: the record to delete has children.
	ErrNotEmpty = errors.New("record has children")
	// ErrEphemeralParent: the record to create, or to be absent, would lie below
	// an ephemeral one, which has no children.
	ErrEphemeralParent = errors.New("ephemeral record cannot have children")
)

// Failures of a call.
var (
	// ErrInvalid: a malformed path or operation. No repetition helps.
	ErrInvalid = errors.New("invalid argument")
	// ErrTooLarge: a record above MaxData or a commit above MaxCommit.
	ErrTooLarge = errors.New("too large for coordination")
	// ErrUnknownOutcome: the reply was lost, the commit may have taken effect.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrUnavailable: the service cannot be reached or cannot write at present.
	// Nothing took effect.
	ErrUnavailable = errors.New("coordination unavailable")
	// ErrSessionLost: the session is over; ephemeral records and leaderships
	// went with it.
	ErrSessionLost = errors.New("session lost")
	// ErrClosed: the Store was closed.
	ErrClosed = errors.New("store closed")
)

// ConflictError says which operation of a commit was refused: the first whose
// condition did not hold. Nothing was written.
type ConflictError struct {
	Index int    // position in the arguments of Commit
	Kind  OpKind // what that operation was to do
	Path  string // of that operation
	Err   error  // ErrNotFound, ErrExists, ErrVersion, ErrNotEmpty or ErrEphemeralParent
}

// Error names the operation and the condition.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("operation %d (%s %s): %v", e.Index, e.Kind, e.Path, e.Err)
}

// Unwrap returns the condition, for errors.Is.
func (e *ConflictError) Unwrap() error { return e.Err }
