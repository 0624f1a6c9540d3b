package sdk

import (
	"iter"

	"github.com/weirstream/weir/proto/wire"
	"github.com/weirstream/weir/sdk/internal/task"
)

// Batch is a run of records in the order of their channel, stored as columns. It
// never changes. It and what is taken from it are dead when the call returns that
// it was given to, unless held; any number of goroutines may read it meanwhile.
type Batch struct {
	wire  *wire.Batch
	input string
	held  *task.Held
}

// Len is the number of records; it is never 0.
func (b *Batch) Len() int { return b.wire.Len() }

// All yields the records in order. It does not allocate.
func (b *Batch) All() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for i := range b.wire.Len() {
			if !yield(Record{b.wire, i}) {
				return
			}
		}
	}
}

// At returns record i, counted from 0.
func (b *Batch) At(i int) Record { return Record{b.wire, i} }

// Input is the name of the input port that the batch came in by.
func (b *Batch) Input() string { return b.input }

// Size is the number of bytes that the batch takes, roughly.
func (b *Batch) Size() int { return b.wire.Size() }

// Keys returns the key column; see [Column].
func (b *Batch) Keys() Column { return columnOf(b.wire.Keys()) }

// Values returns the value column; see [Column].
func (b *Batch) Values() Column { return columnOf(b.wire.Values()) }

// Hold keeps the batch past the call, for a sink that writes asynchronously or an
// operator that collects. Each Hold needs one Release, from any goroutine. When a
// task holds more than its memory (64 MiB) its components are flushed before more
// comes in; a component that then still holds too much fails the task.
func (b *Batch) Hold() { b.held.Hold(b.wire) }

// Release gives up what Hold kept.
func (b *Batch) Release() { b.held.Release(b.wire) }

// Column is a whole column, for code that works on columns rather than records.
// It is read-only and lives as long as its batch.
type Column struct {
	// Data holds the bytes of all records, one after the other; those of record i
	// begin where those of record i-1 end.
	Data []byte
	// Ends holds where each record's bytes end. It is nil where the column is the
	// same for every record: all have Data, or are null where Data is nil too.
	Ends []uint32
	// Nulls has bit i%8 of byte i/8 set where record i is null; nil where none is.
	Nulls []byte
}

func columnOf(c wire.Column) Column {
	switch c.Encoding {
	case wire.PerRecord:
		return Column{c.Data, c.Ends, c.Nulls}
	case wire.Constant:
		return Column{Data: c.Data}
	}
	return Column{}
}
