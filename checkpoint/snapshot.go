package checkpoint

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/checkpoint/storage"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Sizes, in bytes, up to which state stays in the manifest, at which an object
// is put, and up to which an ack fits into a record.
const (
	inlineLimit = 4 << 10
	objectLimit = 8 << 20
	ackLimit    = 64 << 10
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

// object is a new name: <uid>/<n>/<epoch>/<node>/<task>/<random>.
func (t TaskName) object() string {
	return fmt.Sprintf("%s/%d/%d/%s/%s/%s", t.UID, t.N, t.Epoch, t.Node, t.Task, rand.Text())
}

// ownObject says whether an object was stored for a checkpoint, not for an earlier one
// that shares it. The number is enough: those of a pipeline that started from another's
// checkpoint go on behind that one's.
func ownObject(n uint64, o Object) bool {
	_, rest, _ := strings.Cut(o.Name, "/")
	return strings.HasPrefix(rest, fmt.Sprintf("%d/", n))
}

// ownObjects are those of the objects that were stored for a checkpoint. It takes
// objects over.
func ownObjects(n uint64, objects []Object) []Object {
	return slices.DeleteFunc(objects, func(o Object) bool { return !ownObject(n, o) })
}

// Earlier is a task's state in a completed checkpoint.
type Earlier struct {
	N     uint64
	State TaskState
}

// SnapshotWriter stores the entries of one task as they come. Small state stays
// inline; larger state goes into objects, each put as soon as it is full. It is
// not safe for concurrent use.
type SnapshotWriter struct {
	// ReadFile reads a file that an entry names; it is needed where any does.
	ReadFile func(*pluginv1.LocalFile) ([]byte, error)

	st      *storage.Storage
	name    TaskName
	earlier *Earlier
	known   map[entryKey]Entries // of earlier, once it was needed

	entries Entries
	size    int
	state   TaskState
}

// entryKey is what an entry that refers to an earlier one has in common with it.
type entryKey struct {
	kind  pluginv1.Entry_Kind
	id    string
	group uint32
}

func keyOf(e *pluginv1.Entry) entryKey { return entryKey{e.GetKind(), e.GetId(), e.GetKeyGroup()} }

// NewSnapshotWriter begins the snapshot of a task. Earlier is the task's state in
// the newest completed checkpoint, to which entries may refer; nil for none.
func NewSnapshotWriter(st *storage.Storage, name TaskName, earlier *Earlier) *SnapshotWriter {
	return &SnapshotWriter{st: st, name: name, earlier: earlier}
}

// Add takes the next entries, and keeps them. Committables are refused: they go
// through Uncommitted into TaskState.Committables.
func (w *SnapshotWriter) Add(ctx context.Context, es ...*pluginv1.Entry) error {
	for _, e := range es {
		if e.GetKind() == pluginv1.Entry_KIND_FILE {
			if done, err := w.file(ctx, e); done || err != nil {
				if err != nil {
					return fmt.Errorf("snapshot of %s: file %q: %w", w.name.Node, e.GetId(), err)
				}
				continue
			}
		}
		if e.GetSameAs() == nil {
			if err := w.add(ctx, e); err != nil {
				return err
			}
			continue
		}
		same, err := w.resolve(ctx, e)
		if err != nil {
			return err
		}
		for _, s := range same {
			if err := w.add(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *SnapshotWriter) add(ctx context.Context, e *pluginv1.Entry) error {
	e.Component = 0
	switch e.GetKind() {
	case pluginv1.Entry_KIND_UNSPECIFIED, pluginv1.Entry_KIND_COMMITTABLE:
		return fmt.Errorf("snapshot of %s: an entry of kind %s is no state", w.name.Node, KindName(e.GetKind()))
	case pluginv1.Entry_KIND_WRITER:
		w.state.Writer = append(w.state.Writer, e)
		return nil
	}
	w.entries = append(w.entries, e)
	w.size += proto.Size(e)
	if w.size >= objectLimit {
		return w.put(ctx)
	}
	return nil
}

// file takes an entry whose bytes lie in a file: one that is named is stored, one that
// an earlier checkpoint holds is shared. Its id stands for the same bytes in all of a
// task's checkpoints, so that a reference to one before the newest is as good: the word
// of the newest had not reached the task.
func (w *SnapshotWriter) file(ctx context.Context, e *pluginv1.Entry) (done bool, err error) {
	switch c := e.GetContent().(type) {
	case *pluginv1.Entry_File:
		if w.ReadFile == nil {
			return true, errors.New("the task has no folder of its own")
		}
		data, err := w.ReadFile(c.File)
		if err != nil {
			return true, err
		}
		o, err := w.st.Put(ctx, w.name.object(), data)
		if err != nil {
			return true, err
		}
		w.state.Files = append(w.state.Files, File{e.GetId(), o})
		return true, nil
	case *pluginv1.Entry_SameAs:
		if w.earlier == nil || c.SameAs.GetCheckpoint() > w.earlier.N {
			return true, fmt.Errorf("it refers to checkpoint %d, which is not a completed one", c.SameAs.GetCheckpoint())
		}
		i := slices.IndexFunc(w.earlier.State.Files, func(f File) bool { return f.ID == e.GetId() })
		if i < 0 {
			return true, fmt.Errorf("it refers to checkpoint %d, and checkpoint %d has no such file", c.SameAs.GetCheckpoint(), w.earlier.N)
		}
		w.state.Files = append(w.state.Files, w.earlier.State.Files[i])
		return true, nil
	}
	return false, nil
}

// resolve finds what an entry refers to.
func (w *SnapshotWriter) resolve(ctx context.Context, e *pluginv1.Entry) (Entries, error) {
	n := e.GetSameAs().GetCheckpoint()
	if w.earlier == nil || w.earlier.N != n {
		return nil, fmt.Errorf("snapshot of %s: entry %s %q refers to checkpoint %d, which is not the newest completed one",
			w.name.Node, KindName(e.GetKind()), e.GetId(), n)
	}
	if w.known == nil {
		w.known = map[entryKey]Entries{}
		for old, err := range ReadEntries(ctx, w.st, w.earlier.State) {
			if err != nil {
				return nil, fmt.Errorf("snapshot of %s: %w", w.name.Node, err)
			}
			w.known[keyOf(old)] = append(w.known[keyOf(old)], old)
		}
	}
	same, ok := w.known[keyOf(e)]
	if !ok {
		return nil, fmt.Errorf("snapshot of %s: checkpoint %d has no entry %s %q (group %d)",
			w.name.Node, n, KindName(e.GetKind()), e.GetId(), e.GetKeyGroup())
	}
	return same, nil
}

// put stores what has come as one object.
func (w *SnapshotWriter) put(ctx context.Context) error {
	var buf bytes.Buffer
	buf.Grow(w.size + 4*len(w.entries))
	for _, e := range w.entries {
		if _, err := protodelim.MarshalTo(&buf, e); err != nil {
			return fmt.Errorf("snapshot of %s: %w", w.name.Node, err)
		}
	}
	o, err := w.st.Put(ctx, w.name.object(), buf.Bytes())
	if err != nil {
		return err
	}
	w.state.Objects = append(w.state.Objects, o)
	w.entries, w.size = nil, 0
	return nil
}

// Finish stores the rest and returns the state, without index and committables.
func (w *SnapshotWriter) Finish(ctx context.Context) (TaskState, error) {
	switch {
	case len(w.state.Objects) == 0 && w.size <= inlineLimit:
		w.state.Entries = w.entries
	case len(w.entries) > 0:
		if err := w.put(ctx); err != nil {
			return TaskState{}, err
		}
	}
	return w.state, nil
}

// Discard deletes the objects that were put.
func (w *SnapshotWriter) Discard(ctx context.Context) error {
	return deleteAll(ctx, w.st, ownObjects(w.name.N, w.state.objects()))
}

func deleteAll(ctx context.Context, st *storage.Storage, objects []Object) error {
	var errs []error
	for _, o := range objects {
		errs = append(errs, st.Delete(ctx, o.Name))
	}
	return errors.Join(errs...)
}

// ReadEntries reads the entries of a task's state, inline ones and those in
// objects, in order, writer entries last. Files are not among them. It stops at the first error.
func ReadEntries(ctx context.Context, st *storage.Storage, t TaskState) iter.Seq2[*pluginv1.Entry, error] {
	return func(yield func(*pluginv1.Entry, error) bool) {
		for _, e := range t.Entries {
			if !yield(e, nil) {
				return
			}
		}
		for _, o := range t.Objects {
			for e, err := range readObject(ctx, st, o) {
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
		for _, e := range t.Writer {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func readObject(ctx context.Context, st *storage.Storage, o Object) iter.Seq2[*pluginv1.Entry, error] {
	return func(yield func(*pluginv1.Entry, error) bool) {
		data, err := st.Get(ctx, o)
		if err != nil {
			yield(nil, err)
			return
		}
		r := bytes.NewReader(data)
		options := protodelim.UnmarshalOptions{MaxSize: -1}
		for {
			e := &pluginv1.Entry{}
			switch err := options.UnmarshalFrom(r, e); {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(nil, fmt.Errorf("%s: %w: %w", o.Name, storage.ErrCorrupt, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// SealAck puts the nodes of an ack into storage where they are too large for a
// record in coordination.
func SealAck(ctx context.Context, st *storage.Storage, uid string, epoch uint64, a Ack) (Ack, error) {
	data, err := json.Marshal(a.Nodes)
	if err != nil {
		return Ack{}, fmt.Errorf("ack of checkpoint %d: %w", a.N, err)
	}
	if len(data) <= ackLimit {
		return a, nil
	}
	o, err := st.Put(ctx, fmt.Sprintf("%s/%d/%d/ack/%s", uid, a.N, epoch, rand.Text()), data)
	if err != nil {
		return Ack{}, fmt.Errorf("ack of checkpoint %d: %w", a.N, err)
	}
	a.Nodes, a.Part = nil, &o
	return a, nil
}

// nodes returns the nodes of an ack, wherever they are.
func (a Ack) nodes(ctx context.Context, st *storage.Storage) ([]NodeState, error) {
	if a.Part == nil {
		return a.Nodes, nil
	}
	data, err := st.Get(ctx, *a.Part)
	if err != nil {
		return nil, err
	}
	var nodes []NodeState
	if err := json.Unmarshal(data, &nodes); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", a.Part.Name, storage.ErrCorrupt, err)
	}
	return nodes, nil
}

// Discard deletes the objects of an ack that no record will name. What was stored for
// an earlier checkpoint belongs to that one.
func (a Ack) Discard(ctx context.Context, st *storage.Storage) error {
	nodes, err := a.nodes(ctx, st)
	m := Manifest{Nodes: nodes}
	objects := ownObjects(a.N, m.Objects())
	if a.Part != nil {
		objects = append(objects, *a.Part)
	}
	return errors.Join(err, deleteAll(ctx, st, objects))
}

// StoreManifest puts together what all hosts acked and stores it. The result is
// the coordinator's ManifestWritten event, Err included. Of head the nodes and
// the format are filled in.
func StoreManifest(ctx context.Context, st *storage.Storage, head Manifest, acks []Ack) ManifestWritten {
	ev := ManifestWritten{N: head.N}
	var parts []NodeState
	for _, a := range acks {
		nodes, err := a.nodes(ctx, st)
		if err != nil {
			ev.Err = fmt.Errorf("ack of host %s: %w", a.Host, err)
			return ev
		}
		parts = append(parts, nodes...)
	}
	if head.Nodes, ev.Err = merge(parts); ev.Err != nil {
		return ev
	}
	ev.Manifest, ev.Bytes, ev.Err = putManifest(ctx, st, head, head.Epoch)
	ev.Committables = head.committables()
	return ev
}

// putManifest stores a manifest, under the name of the epoch that writes it, and
// returns the size of it and all it names.
func putManifest(ctx context.Context, st *storage.Storage, m Manifest, epoch uint64) (Object, int64, error) {
	m.Format = 1
	if m.hasFiles() {
		m.Format = ManifestFormat
	}
	data, err := json.Marshal(m)
	if err != nil {
		return Object{}, 0, fmt.Errorf("manifest of checkpoint %d: %w", m.N, err)
	}
	o, err := st.Put(ctx, fmt.Sprintf("%s/manifest/%d-%d-%s", m.UID, m.N, epoch, rand.Text()), data)
	if err != nil {
		return Object{}, 0, err
	}
	bytes := o.Size
	for _, p := range m.Objects() {
		bytes += p.Size
	}
	return o, bytes, nil
}

// ReadManifest reads and checks the manifest of a record.
func ReadManifest(ctx context.Context, st *storage.Storage, r Record) (*Manifest, error) {
	data, err := st.Get(ctx, r.Manifest)
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", r.Manifest.Name, storage.ErrCorrupt, err)
	}
	if err := m.check(r); err != nil {
		return nil, fmt.Errorf("%s: %w", r.Manifest.Name, err)
	}
	return m, nil
}
