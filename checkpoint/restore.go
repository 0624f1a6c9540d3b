package checkpoint

import (
	"context"
	"fmt"

	"github.com/weirstream/weir/checkpoint/storage"
)

// Choice is the checkpoint that an epoch starts from.
type Choice struct {
	// Record and Manifest are nil for a start from nothing.
	Record   *Record
	Manifest *Manifest
	// Passed are newer records that could not be restored, newest first.
	Passed []Passed
	// Retract: output that was published after Record is to be withdrawn in Sweep.
	Retract bool
	// AcceptedDuplicates: it may come twice, as a person allowed.
	AcceptedDuplicates bool
}

// Passed is a record that was passed over, and why.
type Passed struct {
	Record Record
	Err    error
}

// RestoreOptions allow what would otherwise be refused.
type RestoreOptions struct {
	// Retract: every sink of the pipeline withdraws output when told to.
	Retract bool
	// AcceptDuplicates: a person prefers doubled output to none.
	AcceptDuplicates bool
}

// Choose picks the record to restore: the newest, read and verified with all
// its objects. Where that one is damaged it falls back to the record before it,
// but only if nothing of the damaged one can have been published, or Retract or
// AcceptDuplicates allow it. Otherwise it fails with a *RestoreError that names
// the checkpoint.
func Choose(ctx context.Context, st *storage.Storage, h History, o RestoreOptions) (Choice, error) {
	panic("unwritten")
}

// RestoreError says which checkpoint cannot be restored, and why no older one may
// take its place.
type RestoreError struct {
	N   uint64
	Err error
}

// Error names the checkpoint.
func (e *RestoreError) Error() string {
	return fmt.Sprintf("checkpoint %d cannot be restored: %v", e.N, e.Err)
}

// Unwrap returns what is wrong with it.
func (e *RestoreError) Unwrap() error { return e.Err }
