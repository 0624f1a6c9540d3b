package state

import (
	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Key is a record's key and its hash ([keygroup.Hash]).
type Key struct {
	Bytes []byte
	Hash  uint32
	// Turn is not 0 and equal for calls about the same key at hand, so that a table
	// need not look for it again; 0 says nothing.
	Turn uint64
}

// Shape says what a table keeps for a key.
type Shape uint8

// The shapes.
const (
	Value Shape = iota
	List
	Map
)

// Spec describes one state.
type Spec struct {
	Name  string
	Shape Shape
	// TTL says that each value begins with its deadline, 8 bytes little endian:
	// milliseconds since the Unix epoch.
	TTL bool
}

// Groups are the key groups of a task, both ends included, of so many.
type Groups struct{ First, Last, Of int }

// Backend keeps the states of one task. All calls come from the task's loop, save
// those of what Capture returns.
type Backend interface {
	// Table opens a state; each is opened once, before any is used. The header says
	// how its values are to be understood. kept says that the table holds already what
	// the back end was opened with under that name.
	Table(s Spec, h keygroup.Header) (t Table, kept bool, err error)
	// Capture is the synchronous part of the snapshot of a checkpoint. now is in
	// milliseconds: what has a deadline before it need not be kept.
	Capture(checkpoint uint64, now int64) (Capture, error)
	// Concluded says what became of a checkpoint. It may be skipped or repeated;
	// numbers rise.
	Concluded(checkpoint uint64, completed bool)
	// Err is the first error of the back end or of a table of it. The task then
	// fails: their methods return none.
	Err() error
	Close() error
}

// Table keeps one state. Slices that it returns are read-only and valid until the
// next call to its back end. sub is the key within a map, and nil for other shapes.
type Table interface {
	// Get returns the value, nil where there is none; a value that is empty is not nil.
	Get(k Key, sub []byte) []byte
	Put(k Key, sub, value []byte)
	// Append adds to the end of the value, which it makes where there is none.
	Append(k Key, tail []byte)
	Delete(k Key, sub []byte)
	// Each calls f for each entry of a map, in any order, until f returns false. f
	// must not write to the table.
	Each(k Key, f func(sub, value []byte) bool)
	// Expire drops values whose deadline has passed, of a part of the table: called
	// again and again it comes by all of it.
	Expire(now int64)
}

// Warmer is an optional interface of a Table that gains from knowing which keys will
// be asked for soon, by their hashes.
type Warmer interface{ Warm(hashes []uint32) }

// Walker is a Table of [Memory]. All calls f for all that it holds, until f returns
// false; it may run beside calls that only read.
type Walker interface {
	Table
	All(f func(k Key, sub, value []byte) bool)
}

// Capture is a snapshot on its way. It may be used from another goroutine.
type Capture interface {
	// Entries yields the states' entries until yield returns false.
	Entries(yield func(*pluginv1.Entry) bool) error
	// Release gives up what the snapshot holds. It may come while Entries runs, which
	// then returns an error.
	Release()
}

// Disk opens what keeps state in files.
type Disk interface {
	// Open opens a back end in a folder of its own. What it goes on with as it is of
	// the restored files it has; the rest is to be put into it from what it returns,
	// which is nil where there is none.
	Open(c DiskConfig) (Backend, Stored, error)
	// Read opens restored files for a back end of another kind.
	Read(c DiskConfig) (Stored, error)
}

// DiskConfig says where a task's files are.
type DiskConfig struct {
	// Root is the task's folder, to which the paths in entries are relative; Dir is
	// one below it that need not exist and is nobody else's.
	Root, Dir string
	Groups    Groups
	// Checkpoint is the restored one, and Restored its entries of kind FILE.
	Checkpoint uint64
	Restored   []*pluginv1.Entry
}

// Stored is state by key that lies in restored files. It belongs to the task's loop.
type Stored interface {
	// Names are those of the states that no Drop was called for.
	Names() []string
	// Rows calls f for each row of a state that belongs to the task, with the header
	// that it was stored under, until f returns an error. The row is dead then.
	Rows(name string, f func(keygroup.Header, keygroup.Row) error) error
	// Drop says that what is stored under a name is not needed any more.
	Drop(name string) error
	Close() error
}

// Later makes entries of a snapshot, beside the loop.
type Later struct {
	// Walk yields them until yield returns false.
	Walk func(yield func(*pluginv1.Entry) bool) error
	// Release is called once, after Walk or instead of it.
	Release func()
}
