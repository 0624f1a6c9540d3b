package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Position is where a source stands in one split.
type Position struct {
	Split string `json:"split"`
	// Task that reads it; "enumerator" where none does yet.
	Task string `json:"task"`
	// Data is what the source says of the split, Position where it stands in it; null
	// where it has not begun. Both are the source's own, as JSON.
	Data     json.RawMessage `json:"data,omitempty"`
	Position json.RawMessage `json:"position"`
}

// heldSplit is the payload of a split's entry, and of the splits in an enumerator's.
type heldSplit struct {
	Ordinal  uint64          `json:"ordinal"`
	Split    json.RawMessage `json:"split,omitempty"`
	Position json.RawMessage `json:"position,omitempty"`
}

// PositionError says why positions cannot be shown or changed.
type PositionError struct{ Reason string }

func (e *PositionError) Error() string { return e.Reason }

// CodePosition is the stable code of a PositionError.
const CodePosition = "offsets.refused"

// ErrorCode implements explain.Coded.
func (e *PositionError) ErrorCode() string { return CodePosition }

func positionErrorf(format string, args ...any) error {
	return &PositionError{fmt.Sprintf(format, args...)}
}

// sourceState returns a source node of a manifest.
func (m *Manifest) sourceState(node string) (*NodeState, error) {
	var sources []string
	for i := range m.Nodes {
		n := &m.Nodes[i]
		if n.Enumerator == nil {
			continue
		}
		if n.Name == node {
			return n, nil
		}
		sources = append(sources, n.Name)
	}
	return nil, positionErrorf("checkpoint %d of %s has no source %q; it has: %s", m.N, m.Pipeline, node, strings.Join(sources, ", "))
}

// Positions lists where a source node stands in a checkpoint, by split.
func Positions(ctx context.Context, st *storage.Storage, r Record, node string) ([]Position, error) {
	m, err := ReadManifest(ctx, st, r)
	if err != nil {
		return nil, err
	}
	n, err := m.sourceState(node)
	if err != nil {
		return nil, err
	}
	all := []Position{}
	for i := range n.Tasks {
		entries, err := whole(ctx, st, n.Tasks[i])
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.GetKind() != pluginv1.Entry_KIND_SPLIT {
				continue
			}
			p := Position{Split: e.GetId(), Task: fmt.Sprint(n.Tasks[i].Index)}
			var s heldSplit
			if json.Unmarshal(e.GetPayload(), &s) == nil {
				p.Data, p.Position = s.Split, s.Position
			}
			all = append(all, p)
		}
	}
	entries, err := whole(ctx, st, *n.Enumerator)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		var waiting struct {
			Unassigned []struct {
				ID    string          `json:"id"`
				Split json.RawMessage `json:"split"`
			} `json:"unassigned"`
		}
		if e.GetKind() != pluginv1.Entry_KIND_ENUMERATOR || json.Unmarshal(e.GetPayload(), &waiting) != nil {
			continue
		}
		for _, s := range waiting.Unassigned {
			all = append(all, Position{Split: s.ID, Task: "enumerator", Data: s.Split})
		}
	}
	slices.SortStableFunc(all, func(a, b Position) int { return strings.Compare(a.Split, b.Split) })
	return all, nil
}

// whole reads the entries of a task, those in parts joined.
func whole(ctx context.Context, st *storage.Storage, t TaskState) (Entries, error) {
	var all Entries
	open := false
	for e, err := range ReadEntries(ctx, st, t) {
		switch {
		case err != nil:
			return nil, err
		case open:
			last := all[len(all)-1]
			last.Content = &pluginv1.Entry_Payload{Payload: append(last.GetPayload(), e.GetPayload()...)}
			last.More = e.GetMore()
		default:
			all = append(all, e)
		}
		open = e.GetMore()
	}
	return all, nil
}

// Reposition makes a new checkpoint of the newest one, in which a source node stands
// elsewhere: in the splits that positions names or, where it is nil, nowhere at all, as
// before its first start. The former checkpoint stays, and the pipeline can be started
// from it, or the change be undone: see Undo. Called again with the same id it returns
// the same. It needs a leadership of a pipeline that nothing runs.
func (l *Ledger) Reposition(ctx context.Context, st *storage.Storage, id, node string, positions map[string]json.RawMessage) (Record, error) {
	l.objects.Lock()
	defer l.objects.Unlock()
	h, err := l.Load(ctx)
	if err != nil {
		return Record{}, err
	}
	if r, ok := h.Moved(id); ok {
		return r, nil
	}
	before, m, err := h.movable(ctx, st, l.name)
	if err != nil {
		return Record{}, err
	}
	n, err := m.sourceState(node)
	if err != nil {
		return Record{}, err
	}
	if slices.Contains(before.Ended, node) {
		return Record{}, positionErrorf("source %s has read all its input and is told no more of it; %s", node, startOver)
	}
	tasks, err := n.edited(ctx, st, positions)
	if err != nil {
		return Record{}, err
	}
	opened := time.Now()
	p, err := l.Open(ctx, Pending{ID: id, Epoch: h.Lineage.Epoch, OpenedAt: opened, Barrier: Barrier{Ended: before.Ended}})
	if err != nil {
		return Record{}, err
	}
	after := Record{
		N: p.N, UID: before.UID, Epoch: h.Lineage.Epoch, Prev: before.N, State: Running, Ended: before.Ended, Halt: before.Halt,
		OpenedAt: opened, CompletedAt: time.Now(), Moved: &Moved{ID: id, Node: node},
	}
	m.N, m.Epoch = after.N, after.Epoch
	if positions == nil {
		n.Enumerator = &TaskState{}
		for i := range n.Tasks {
			n.Tasks[i] = TaskState{Index: n.Tasks[i].Index}
		}
	}
	for t := range m.tasks() {
		t.Committables = nil // all of them are published
	}
	// What is stored before an error, of a full disk, say, belongs to no record: the
	// next start collects it.
	err = n.store(ctx, st, TaskName{UID: m.UID, N: m.N, Epoch: m.Epoch, Node: node}, tasks)
	if err == nil {
		after.Manifest, after.Bytes, err = putManifest(ctx, st, *m, after.Epoch)
	}
	if err == nil {
		err = l.Write(ctx, after)
	}
	if err != nil {
		return Record{}, errors.Join(err, l.ClosePending(ctx, p.N))
	}
	return after, nil
}

// Moved finds the checkpoint that a change of positions has made, also where that was
// undone.
func (h History) Moved(id string) (Record, bool) {
	for _, r := range h.Records {
		if r.Moved != nil && r.Moved.ID == id {
			return r, true
		}
	}
	return Record{}, false
}

// undone is why a checkpoint was abandoned that a change of positions had made.
const undone = "the change of positions was undone"

// Undone says whether the change of positions that has made checkpoint n was undone.
func (h History) Undone(n uint64) bool {
	return slices.ContainsFunc(h.Records, func(r Record) bool { return r.N == n && r.Moved != nil && r.State == Abandoned })
}

// Undo takes back the change of positions of a source that has made checkpoint n: the
// pipeline goes on from the one before it, as if nothing had been changed, which it may
// as long as nothing has run in between. It returns that one. Where it is done already
// that is no error. It needs a leadership of a pipeline that nothing runs.
func (l *Ledger) Undo(ctx context.Context, node string, n uint64) (before Record, err error) {
	var refused error
	err = l.decide(ctx, fmt.Sprintf("undo checkpoint %d", n), true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		h, err := l.load(ctx)
		if err != nil {
			return nil, false, err
		}
		var r Record
		version, found, err := l.find(ctx, l.recordPath(n), &r)
		if err != nil {
			return nil, false, err
		}
		prev, newest := h.record(r.Prev), h.Newest()
		switch {
		case !found || r.Moved == nil || r.Moved.Node != node:
			refused = positionErrorf("checkpoint %d of %s is no change of where %s goes on: there is nothing to undo", n, l.name, node)
		case r.State == Abandoned && prev != nil:
			before = *prev
			return nil, true, nil
		case newest == nil || newest.N != n:
			refused = positionErrorf("pipeline %s has gone on since checkpoint %d, which cannot be undone any more", l.name, n)
		case prev == nil:
			refused = positionErrorf("checkpoint %d of %s, before the change, is not kept any more", r.Prev, l.name)
		}
		if refused != nil {
			return nil, false, refused
		}
		before = *prev
		check, err := l.current(ctx, r.UID, h.Lineage.Epoch)
		r.State, r.Reason = Abandoned, undone
		return []coordination.Op{check, write(l.recordPath(n), r, version, true)}, false, err
	})
	if refused != nil {
		return Record{}, refused
	}
	return before, err
}

const startOver = "weir run --fresh starts it over, in a cluster weir delete and weir submit do"

// movable returns the newest checkpoint, if positions in it can be changed.
func (h History) movable(ctx context.Context, st *storage.Storage, pipeline string) (Record, *Manifest, error) {
	r := h.Newest()
	switch {
	case r == nil:
		return Record{}, nil, positionErrorf("pipeline %s has no checkpoint, so that it begins at the beginning", pipeline)
	case r.State != Running:
		return Record{}, nil, positionErrorf("pipeline %s has read all its input (checkpoint %d is %s); %s", pipeline, r.N, r.State, startOver)
	case r.Committables > 0 && h.Committed < r.N:
		return Record{}, nil, positionErrorf("output of checkpoint %d is not published yet; the next run of pipeline %s does that: stop it then, and change positions after", r.N, pipeline)
	}
	m, err := Verify(ctx, st, *r)
	if err != nil {
		return Record{}, nil, fmt.Errorf("checkpoint %d: %w", r.N, err)
	}
	return *r, m, nil
}

// edited are the entries, by task, of the tasks of a source in which positions change.
// What was known of the event time of a split that moves is left out.
func (n *NodeState) edited(ctx context.Context, st *storage.Storage, positions map[string]json.RawMessage) (map[int]Entries, error) {
	tasks := map[int]Entries{}
	left := maps.Clone(positions)
	var known []string
	for _, t := range n.Tasks {
		entries, err := whole(ctx, st, t)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.GetKind() != pluginv1.Entry_KIND_SPLIT {
				continue
			}
			known = append(known, e.GetId())
			to, ok := left[e.GetId()]
			if !ok {
				continue
			}
			delete(left, e.GetId())
			if e.Content, err = moved(e, to); err != nil {
				return nil, err
			}
			tasks[t.Index] = entries
		}
	}
	if len(left) > 0 {
		slices.Sort(known)
		return nil, positionErrorf("source %s reads no split %s; it reads: %s", n.Name, strings.Join(slices.Sorted(maps.Keys(left)), ", "), strings.Join(known, ", "))
	}
	for index, entries := range tasks {
		tasks[index] = slices.DeleteFunc(entries, func(e *pluginv1.Entry) bool {
			_, moves := positions[e.GetId()]
			return moves && e.GetKind() == pluginv1.Entry_KIND_SPLIT_TIME
		})
	}
	return tasks, nil
}

// store stores the entries of tasks in place of those that they had.
func (n *NodeState) store(ctx context.Context, st *storage.Storage, name TaskName, tasks map[int]Entries) error {
	for i := range n.Tasks {
		entries, ok := tasks[n.Tasks[i].Index]
		if !ok {
			continue
		}
		name.Task = fmt.Sprint(n.Tasks[i].Index)
		w := NewSnapshotWriter(st, name, nil)
		err := w.Add(ctx, entries...)
		if err != nil {
			return errors.Join(err, w.Discard(ctx))
		}
		state, err := w.Finish(ctx)
		if err != nil {
			return errors.Join(err, w.Discard(ctx))
		}
		state.Index = n.Tasks[i].Index
		n.Tasks[i] = state
	}
	return nil
}

// moved is a split's payload with another position. Fields that are given take the
// place of those that are there, which have the same form; what they mean the source
// alone knows.
func moved(e *pluginv1.Entry, to json.RawMessage) (*pluginv1.Entry_Payload, error) {
	var s heldSplit
	var fields map[string]json.RawMessage
	if json.Unmarshal(e.GetPayload(), &s) != nil || json.Unmarshal(e.GetPayload(), &fields) != nil || len(s.Split) == 0 {
		return nil, positionErrorf("split %s: its plugin keeps its position in a form that is not known here", e.GetId())
	}
	position, why := changed("position", s.Position, to)
	if why != "" {
		return nil, positionErrorf("split %s: %s; it is now %s", e.GetId(), why, s.Position)
	}
	if fields["position"] = position; position == nil {
		delete(fields, "position") // from its beginning
	}
	data, err := json.Marshal(fields)
	return &pluginv1.Entry_Payload{Payload: data}, err
}

// changed is a value with another one laid over it, or why that has not its form: an
// object gets no new fields, whole numbers stay whole. Null is no value.
func changed(at string, now, to json.RawMessage) (json.RawMessage, string) {
	was, is := decoded(now), decoded(to)
	if is == nil {
		return nil, ""
	}
	if was == nil {
		return to, ""
	}
	switch was := was.(type) {
	case map[string]any:
		fields, ok := is.(map[string]any)
		if !ok {
			return nil, at + " is an object"
		}
		var out, given map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal(now, &out), json.Unmarshal(to, &given)); err != nil {
			return nil, err.Error()
		}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if _, ok := was[name]; !ok {
				return nil, fmt.Sprintf("%s has no field %q", at, name)
			}
			value, why := changed(at+"."+name, out[name], given[name])
			if why != "" {
				return nil, why
			}
			if out[name] = value; value == nil {
				out[name] = json.RawMessage("null")
			}
		}
		return encode(out), ""
	case json.Number:
		n, ok := is.(json.Number)
		if !ok {
			return nil, at + " is a number"
		}
		if _, err := was.Int64(); err == nil {
			if _, err := n.Int64(); err != nil {
				return nil, at + " is a whole number"
			}
		}
	case string:
		if _, ok := is.(string); !ok {
			return nil, at + " is a string"
		}
	case bool:
		if _, ok := is.(bool); !ok {
			return nil, at + " is true or false"
		}
	case []any:
		if _, ok := is.([]any); !ok {
			return nil, at + " is a list"
		}
	}
	return to, ""
}

func decoded(data json.RawMessage) any {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil
	}
	return v
}
