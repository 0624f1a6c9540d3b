package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Summary is a checkpoint as a listing shows it.
type Summary struct {
	N           uint64        `json:"n"`
	Savepoint   string        `json:"savepoint,omitempty"`
	State       State         `json:"state"`
	Reason      string        `json:"reason,omitempty"`
	Epoch       uint64        `json:"epoch"`
	CompletedAt time.Time     `json:"completed_at"`
	Took        time.Duration `json:"took_ns"`
	Bytes       int64         `json:"bytes"`
	// Committables that the checkpoint lists, and whether all are known to be
	// published.
	Committables int  `json:"committables"`
	Committed    bool `json:"committed"`
}

// Summaries lists the checkpoints, newest first, then the savepoints by name.
func (h History) Summaries() []Summary {
	var all []Summary
	for _, r := range h.Records {
		all = append(all, r.summary(h.Committed))
	}
	for _, r := range h.Savepoints {
		all = append(all, r.summary(h.Committed))
	}
	return all
}

func (r Record) summary(committed uint64) Summary {
	return Summary{
		N: r.N, Savepoint: r.Savepoint, State: r.State, Reason: r.Reason, Epoch: r.Epoch,
		CompletedAt: r.CompletedAt, Took: r.CompletedAt.Sub(r.OpenedAt), Bytes: r.Bytes,
		Committables: r.Committables, Committed: r.Committables == 0 || r.N <= committed,
	}
}

// Description is a checkpoint with all that is in it, for a person to read.
type Description struct {
	Record Record            `json:"record"`
	Nodes  []NodeDescription `json:"nodes"`
}

// NodeDescription is one node of a checkpoint.
type NodeDescription struct {
	Name        string            `json:"name"`
	Component   string            `json:"component"`
	Version     string            `json:"version,omitempty"`
	Parallelism int               `json:"parallelism"`
	Ended       bool              `json:"ended,omitempty"`
	Tasks       []TaskDescription `json:"tasks"`
}

// TaskDescription is one task of a node.
type TaskDescription struct {
	Task string `json:"task"` // index, or "enumerator"
	// Bytes is the size of its state, Splits and KeyGroups count entries of that kind.
	Bytes     int64 `json:"bytes"`
	Splits    int   `json:"splits,omitempty"`
	KeyGroups int   `json:"key_groups,omitempty"`
	// Files are those of keyed state on disk; Shared is the size of those which an
	// earlier checkpoint stored.
	Files  []File `json:"files,omitempty"`
	Shared int64  `json:"shared_bytes,omitempty"`
	// Timing is how long its part took.
	Timing  Timing             `json:"timing,omitzero"`
	Objects []Object           `json:"objects,omitempty"`
	Entries []EntryDescription `json:"entries,omitempty"`
}

// EntryDescription is one entry. Value is its payload where that is JSON, or a
// string where it is text; other payloads show by their size alone.
type EntryDescription struct {
	Kind       string          `json:"kind"`
	ID         string          `json:"id,omitempty"`
	Group      uint32          `json:"group,omitempty"`
	Checkpoint uint64          `json:"checkpoint,omitempty"`
	Bytes      int             `json:"bytes"`
	Value      json.RawMessage `json:"value,omitempty"`
}

// Describe reads a checkpoint with all its entries.
func Describe(ctx context.Context, st *storage.Storage, r Record) (Description, error) {
	return describeAll(ctx, st, r, func(string, TaskState, Entries) ([]EntryDescription, error) { return nil, nil })
}

// decoder describes the state that a task of a node has in files; where it returns nil
// the files themselves are described.
type decoder func(node string, t TaskState, entries Entries) ([]EntryDescription, error)

func describeAll(ctx context.Context, st *storage.Storage, r Record, decode decoder) (Description, error) {
	m, err := ReadManifest(ctx, st, r)
	if err != nil {
		return Description{}, err
	}
	d := Description{Record: r}
	for _, n := range m.Nodes {
		nd := NodeDescription{Name: n.Name, Component: n.Component, Version: n.Version, Parallelism: n.Parallelism, Ended: n.Ended}
		if n.Enumerator != nil {
			td, err := describeTask(ctx, st, m, n.Name, "enumerator", *n.Enumerator, decode)
			if err != nil {
				return Description{}, err
			}
			nd.Tasks = append(nd.Tasks, td)
		}
		for _, t := range n.Tasks {
			td, err := describeTask(ctx, st, m, n.Name, strconv.Itoa(t.Index), t, decode)
			if err != nil {
				return Description{}, fmt.Errorf("node %s, task %d: %w", n.Name, t.Index, err)
			}
			nd.Tasks = append(nd.Tasks, td)
		}
		d.Nodes = append(d.Nodes, nd)
	}
	return d, nil
}

func describeTask(ctx context.Context, st *storage.Storage, m *Manifest, node, name string, t TaskState, decode decoder) (TaskDescription, error) {
	d := TaskDescription{Task: name, Objects: t.Objects, Files: t.Files, Timing: t.Timing}
	for _, f := range t.Files {
		if !ownObject(m.N, f.Object) {
			d.Shared += f.Object.Size
		}
	}
	entries, err := whole(ctx, st, t)
	if err != nil {
		return TaskDescription{}, err
	}
	states, err := decode(node, t, entries)
	if err != nil {
		return TaskDescription{}, err
	}
	d.Entries = describe(append(entries, t.Committables...))
	if states != nil {
		d.Entries = inPlaceOfFiles(d.Entries, states)
	} else {
		d.Entries = append(describeObjects(t.Files), d.Entries...)
	}
	groups := map[uint32]bool{}
	for _, e := range d.Entries {
		d.Bytes += int64(e.Bytes)
		switch e.Kind {
		case KindName(pluginv1.Entry_KIND_SPLIT):
			d.Splits++
		case KindName(pluginv1.Entry_KIND_KEY_GROUP):
			groups[e.Group] = true
		}
	}
	d.KeyGroups = len(groups)
	return d, nil
}

var fileKind = KindName(pluginv1.Entry_KIND_FILE)

// describeObjects describes files that are objects of their own.
func describeObjects(files []File) []EntryDescription {
	var out []EntryDescription
	for _, f := range files {
		out = append(out, EntryDescription{Kind: fileKind, ID: f.ID, Bytes: int(f.Object.Size)})
	}
	return out
}

// inPlaceOfFiles puts a task's states where the first of its files is among its
// entries: there those in memory are.
func inPlaceOfFiles(entries, states []EntryDescription) []EntryDescription {
	isFile := func(e EntryDescription) bool { return e.Kind == fileKind }
	at := max(slices.IndexFunc(entries, isFile), 0)
	return slices.Concat(entries[:at], states, slices.DeleteFunc(entries[at:], isFile))
}

// describe joins the parts of each entry.
func describe(es Entries) []EntryDescription {
	var all []EntryDescription
	var payload []byte
	for _, e := range es {
		payload = append(payload, e.GetPayload()...)
		if e.GetMore() {
			continue
		}
		all = append(all, EntryDescription{
			Kind: KindName(e.GetKind()), ID: e.GetId(), Group: e.GetKeyGroup(), Checkpoint: e.GetCheckpoint(),
			Bytes: len(payload), Value: readable(payload),
		})
		payload = nil
	}
	return all
}

// readable shows a payload as JSON, or nil where it is neither JSON nor text.
func readable(payload []byte) json.RawMessage {
	if json.Valid(payload) {
		return payload
	}
	if !utf8.Valid(payload) {
		return nil
	}
	for _, r := range string(payload) {
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return nil
		}
	}
	return encode(string(payload))
}

// Verdict says whether a stored checkpoint is whole.
type Verdict struct {
	N         uint64 `json:"n"`
	Savepoint string `json:"savepoint,omitempty"` // of a stored savepoint
	Objects   int    `json:"objects"`
	Bytes     int64  `json:"bytes"`
	Err       error  `json:"-"`
}

// VerifyAll reads everything that is stored of a pipeline, newest checkpoint first,
// also beside the running pipeline: a checkpoint that retention drops meanwhile is
// left out.
func (l *Ledger) VerifyAll(ctx context.Context, st *storage.Storage) ([]Verdict, error) {
	h, err := l.Load(ctx)
	if err != nil {
		return nil, err
	}
	var all []Verdict
	check := func(r Record, savepoint, path string) error {
		v := Verdict{N: r.N, Savepoint: savepoint, Bytes: r.Bytes, Objects: 1}
		m, err := Verify(ctx, st, r)
		if err != nil {
			if _, gone := l.store.Get(ctx, path); errors.Is(gone, coordination.ErrNotFound) {
				return nil
			}
			v.Err = err
		} else {
			v.Objects += len(m.Objects())
		}
		all = append(all, v)
		return ctx.Err()
	}
	for _, r := range h.Records {
		if err := check(r, "", l.recordPath(r.N)); err != nil {
			return nil, err
		}
	}
	for _, r := range h.Savepoints {
		if err := check(r, r.Savepoint, l.savepointPath(r.Savepoint)); err != nil {
			return nil, err
		}
	}
	return all, nil
}
