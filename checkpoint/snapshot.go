package checkpoint

import (
	"context"
	"iter"

	"github.com/weirstream/weir/checkpoint/storage"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// TaskName says whose state an object holds.
type TaskName struct {
	UID   string
	N     uint64
	Epoch uint64
	Node  string
	// Task is the index, or "enumerator".
	Task string
}

// SnapshotWriter stores the entries of one task as they come. Small state stays
// inline; larger state goes into objects, each put as soon as it is full.
type SnapshotWriter struct{}

// NewSnapshotWriter begins the snapshot of a task. Earlier is the task's state in
// the newest completed checkpoint, to which entries may refer; nil for none.
func NewSnapshotWriter(st *storage.Storage, name TaskName, earlier *TaskState) *SnapshotWriter {
	panic("unwritten")
}

// Add takes the next entries, committables excepted, which go through
// Uncommitted into TaskState.Committables.
func (w *SnapshotWriter) Add(ctx context.Context, es ...*pluginv1.Entry) error { panic("unwritten") }

// Finish stores the rest and returns the state, without index and committables.
func (w *SnapshotWriter) Finish(ctx context.Context) (TaskState, error) { panic("unwritten") }

// Discard deletes the objects that were put.
func (w *SnapshotWriter) Discard(ctx context.Context) error { panic("unwritten") }

// ReadEntries reads the entries of a task's state, inline ones and those in
// objects, in order, writer entries last. It stops at the first error.
func ReadEntries(ctx context.Context, st *storage.Storage, t TaskState) iter.Seq2[*pluginv1.Entry, error] {
	panic("unwritten")
}

// SealAck puts the nodes of an ack into storage where they are too large for a
// record in coordination.
func SealAck(ctx context.Context, st *storage.Storage, uid string, epoch uint64, a Ack) (Ack, error) {
	panic("unwritten")
}

// StoreManifest puts together what all hosts acked and stores it. The result is
// the coordinator's ManifestWritten event, Err included. Of head the nodes are
// ignored.
func StoreManifest(ctx context.Context, st *storage.Storage, head Manifest, acks []Ack) ManifestWritten {
	panic("unwritten")
}

// ReadManifest reads and checks a manifest.
func ReadManifest(ctx context.Context, st *storage.Storage, o Object) (*Manifest, error) {
	panic("unwritten")
}
