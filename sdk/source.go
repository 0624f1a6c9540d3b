package sdk

import (
	"context"
	"time"
)

// Split is a part of a source's input that one reader reads in order: a file, a
// byte range, a partition. S is the author's own description of it, as JSON.
type Split[S any] struct {
	// ID names the split for ever: within a pipeline's life no other split ever
	// has it, whatever became of this one.
	ID   string
	Data S
	// After holds ids of splits that must have ended before this one is read.
	After []string
}

// Source finds splits and opens them. S describes a split, P is a position in
// one.
//
// A source runs in two roles, each with an instance of its own: one task of the
// pipeline calls Splits, once or again and again; the others call Open, each split
// on the goroutine that then reads it. So Open runs concurrently with itself and
// with the Readers of other splits.
type Source[S, P any] interface {
	// Splits returns all splits that exist now, in the order in which they should
	// be read; the SDK knows which of them are new. With more it is called again
	// later. A split begins and, where the source is bounded, ends at a fixed
	// place: "latest" is resolved here, once.
	Splits(ctx context.Context) (all []Split[S], more bool, err error)

	// Open opens a split for reading from a position that a Reader of it has
	// returned, or from its beginning where from is nil.
	Open(ctx context.Context, s Split[S], from *P) (Reader[P], error)

	// Close releases what the source holds. All of its Readers are closed before.
	Close() error
}

// Reader reads one split. One goroutine calls it; Readers of a task run
// concurrently with each other.
type Reader[P any] interface {
	// Read appends records to out and returns the position after the last of
	// them. It returns when it has some, at the latest when [Collector.Full] says
	// so: a call that appends more than four batches' worth fails the task. It may
	// block until there is input; a barrier does not wait for it, but takes the
	// position last returned. A position must not change once it is returned.
	//
	// Read is all or nothing: after an error what it appended is dropped. Only
	// with [io.EOF], which ends the split, do the records and the position count.
	// After [Retry] it is called again.
	Read(ctx context.Context, out *Collector) (next P, err error)

	// Close releases what the reader holds. It is called once, also while a Read
	// that was told to stop has not been followed by another.
	Close() error
}

// SplitsAfter is an optional interface of a [Source] with too many splits to
// list anew each time. It is called in place of Splits.
type SplitsAfter[S any] interface {
	// SplitsAfter returns the splits that come after cursor, and the cursor behind
	// them. The first cursor is nil; the others are what an earlier call returned
	// as next, in this process or one before it.
	SplitsAfter(ctx context.Context, cursor []byte) (fresh []Split[S], next []byte, more bool, err error)
}

// SplitPoller is an optional interface of a [Source] that says how often to look
// for splits.
type SplitPoller interface {
	// SplitInterval is the time between two calls of Splits, as long as those say
	// that there will be more; without it, a second.
	SplitInterval() time.Duration
}

// PositionObserver is an optional interface of a [Source] that tells the outside
// how far it has come: the offsets of a consumer group, the acknowledged position
// of a log.
type PositionObserver[P any] interface {
	// CheckpointCompleted gets the positions of a checkpoint whose record is
	// durable, by split id. It may be skipped and repeated; an error is logged and
	// does not fail the task. It may run concurrently with Open and Read.
	CheckpointCompleted(ctx context.Context, at map[string]P) error
}

// Progresser is an optional interface of a [Source] that knows how much there is
// to read. Progress may be called concurrently with every other method.
type Progresser interface{ Progress() Progress }

// Progress is how far a source task has come.
type Progress struct {
	// Done and Total are in Unit, such as "bytes" or "records"; Total is 0 where
	// it is not known.
	Done, Total float64
	Unit        string
	// Lag is the number of records behind the end of the input, or -1.
	Lag int64
}
