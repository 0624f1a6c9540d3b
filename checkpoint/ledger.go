package checkpoint

import (
	"context"
	"errors"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
)

// Errors of a ledger beside ErrFenced.
var (
	// ErrLate: the checkpoint is decided, an ack to it no longer counts.
	ErrLate = errors.New("checkpoint is decided already")
	// ErrSavepointExists: another checkpoint is kept under this name.
	ErrSavepointExists = errors.New("a savepoint of this name exists")
)

// Leadership fences what a leader writes. A *coordination.Leadership is one.
type Leadership interface {
	Epoch() uint64
	Guard() coordination.Op
}

// Ledger reads and writes the records of one pipeline. Those methods that say
// so need a leadership; the others serve any host and any reader. It is safe for
// concurrent use, but a leader calls its writing methods one at a time.
//
// A method that writes returns nil when its effect is durable, [ErrFenced] when
// somebody else is in charge, an error that is coordination.ErrUnknownOutcome
// when even reading back could not tell, and any other error when nothing was
// written. It reads back by itself as long as ctx allows, so a caller repeats it
// rather than looking for itself.
type Ledger struct {
	store coordination.Store
	lead  Leadership
	dir   string
}

// NewLedger returns the ledger of the pipeline called name. With a nil lead it
// serves only methods that need none.
func NewLedger(store coordination.Store, lead Leadership, name string) *Ledger {
	return &Ledger{store: store, lead: lead, dir: "pipelines/" + name}
}

// History is all that is recorded about a pipeline.
type History struct {
	Lineage  Lineage
	Sequence Sequence
	// Records, newest first, abandoned ones included.
	Records []Record
	// Savepoints that are stored, by name.
	Savepoints []Record
	Committed  uint64
	Pending    *Pending
	Acks       []Ack
}

// Load reads what there is. It fails with coordination.ErrNotFound where the
// pipeline has no records.
func (l *Ledger) Load(ctx context.Context) (History, error) { panic("unwritten") }

// Begin starts a new epoch with this generation (its Epoch is filled in): it
// creates the pipeline where there is none, closes the pending checkpoint, and
// only then reads the history. It needs a leadership.
func (l *Ledger) Begin(ctx context.Context, g Generation) (History, error) { panic("unwritten") }

// Fresh gives the pipeline a new uid, without any checkpoint. Stored savepoints
// stay. It returns what was there before. The next Begin starts its first epoch.
// It needs a leadership.
func (l *Ledger) Fresh(ctx context.Context) (History, error) { panic("unwritten") }

// Adopt notes in the current generation which checkpoint it restores, and marks
// the records that were passed over as abandoned. It needs a leadership, and
// comes after Choose and before anything of the restored checkpoint is used.
func (l *Ledger) Adopt(ctx context.Context, c Choice) error { panic("unwritten") }

// Swept drops the generations that no retained record is of. It needs a
// leadership and comes after every sink node was swept.
func (l *Ledger) Swept(ctx context.Context) error { panic("unwritten") }

// Open allocates the next number and writes the pending record, in one commit.
// It needs a leadership. Called again with the same ID it returns the same.
func (l *Ledger) Open(ctx context.Context, p Pending) (Pending, error) { panic("unwritten") }

// Ack writes a host's ack below the pending record. It fails with ErrLate where
// the checkpoint is decided; an ack that is there already is no error.
func (l *Ledger) Ack(ctx context.Context, a Ack) error { panic("unwritten") }

// Write makes the checkpoint exist: it checks leader epoch and pipeline epoch,
// consumes the pending record and creates the record. It needs a leadership.
func (l *Ledger) Write(ctx context.Context, r Record) error { panic("unwritten") }

// Confirm finds out what became of a Write with unknown outcome, and writes the
// record where it did not happen. It needs a leadership.
func (l *Ledger) Confirm(ctx context.Context, r Record) error { panic("unwritten") }

// ClosePending removes the pending record without making a checkpoint of it. It
// needs a leadership.
func (l *Ledger) ClosePending(ctx context.Context, n uint64) error { panic("unwritten") }

// ReportCommitted says how far a host has come, for the leader on another one.
func (l *Ledger) ReportCommitted(ctx context.Context, host string, c Committed) error {
	panic("unwritten")
}

// SaveCommitted raises committed_through. It needs a leadership.
func (l *Ledger) SaveCommitted(ctx context.Context, through uint64) error { panic("unwritten") }

// Retain keeps the newest records, those whose savepoint is not yet stored, and
// all savepoints; it drops the others and then deletes from storage what only
// they named. It needs a leadership.
func (l *Ledger) Retain(ctx context.Context, st *storage.Storage, keep int) error {
	panic("unwritten")
}

// Collect deletes objects that older epochs, or former uids, left in storage and
// that no record names. It needs a leadership.
func (l *Ledger) Collect(ctx context.Context, st *storage.Storage) error { panic("unwritten") }

// StoreSavepoint keeps record n under a name, without its committables, which
// are published. It needs a leadership.
func (l *Ledger) StoreSavepoint(ctx context.Context, st *storage.Storage, name string, n uint64) error {
	panic("unwritten")
}

// MarkFinished turns the record n from finishing into finished. It needs a
// leadership.
func (l *Ledger) MarkFinished(ctx context.Context, n uint64) error { panic("unwritten") }
