package checkpoint_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weirstream/weir/checkpoint"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// rawEntry is an entry with a payload as it is.
func rawEntry(kind pluginv1.Entry_Kind, id, payload string) *pluginv1.Entry {
	return &pluginv1.Entry{Kind: kind, Id: id, Content: &pluginv1.Entry_Payload{Payload: []byte(payload)}}
}

// standing completes a checkpoint in which source src reads two splits in two tasks, one
// of them with much state, and op holds something.
func (d *desk) standing(state checkpoint.State, committables int) checkpoint.Record {
	d.Helper()
	p := d.open()
	task := func(index int, es ...*pluginv1.Entry) checkpoint.TaskState {
		w := checkpoint.NewSnapshotWriter(d.st, checkpoint.TaskName{
			UID: d.history.Lineage.UID, N: p.N, Epoch: p.Epoch, Node: "src", Task: fmt.Sprint(index)}, nil)
		d.must(w.Add(d.Context(), es...))
		s, err := w.Finish(d.Context())
		d.must(err)
		s.Index = index
		return s
	}
	src := checkpoint.NodeState{
		Name: "src", Parallelism: 2,
		Enumerator: &checkpoint.TaskState{Entries: checkpoint.Entries{rawEntry(pluginv1.Entry_KIND_ENUMERATOR, "", `{"listed":true,"unassigned":[{"id":"c","ordinal":2,"split":{"file":"c"}}]}`)}},
		Tasks: []checkpoint.TaskState{
			task(0, rawEntry(pluginv1.Entry_KIND_SPLIT, "a=1", `{"ordinal":0,"split":{"file":"a"},"position":{"offset":10,"epoch":3}}`),
				rawEntry(pluginv1.Entry_KIND_SPLIT_TIME, "a=1", `"late"`), rawEntry(pluginv1.Entry_KIND_LIST, "l", strings.Repeat("x", 9000))),
			task(1, rawEntry(pluginv1.Entry_KIND_SPLIT, "b", `{"ordinal":1,"split":{"file":"b"}}`), rawEntry(pluginv1.Entry_KIND_SPLIT_TIME, "b", `"early"`)),
		},
	}
	op := checkpoint.NodeState{Name: "op", Parallelism: 1, Tasks: []checkpoint.TaskState{task(0, rawEntry(pluginv1.Entry_KIND_KEY_GROUP, "g", "state"))}}
	for i := range committables {
		e := rawEntry(pluginv1.Entry_KIND_COMMITTABLE, fmt.Sprint(i), "file")
		e.Checkpoint = p.N
		op.Tasks[0].Committables = append(op.Tasks[0].Committables, e)
	}
	ev := checkpoint.StoreManifest(d.Context(), d.st, checkpoint.Manifest{Pipeline: "p", UID: d.history.Lineage.UID, N: p.N, Epoch: p.Epoch},
		[]checkpoint.Ack{{Host: "a", N: p.N, Nodes: []checkpoint.NodeState{src, op}}})
	d.must(ev.Err)
	r := checkpoint.Record{N: p.N, UID: d.history.Lineage.UID, Epoch: p.Epoch, Manifest: ev.Manifest, State: state,
		Committables: ev.Committables, Bytes: ev.Bytes, OpenedAt: p.OpenedAt, CompletedAt: p.OpenedAt}
	d.must(d.Write(d.Context(), r))
	return r
}

func (d *desk) positions(r checkpoint.Record) string {
	d.Helper()
	all, err := checkpoint.Positions(d.Context(), d.st, r, "src")
	d.must(err)
	var out []string
	for _, p := range all {
		out = append(out, fmt.Sprintf("%s@%s%s=%s", p.Split, p.Task, p.Data, p.Position))
	}
	return strings.Join(out, " ")
}

func moves(pairs ...string) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return all
}

// Other positions are a new checkpoint with all other state of the one before, which
// stays and can be started from.
func TestAPositionIsChangedByANewCheckpoint(t *testing.T) {
	d := newDesk(t)
	before := d.standing(checkpoint.Running, 1)
	d.must(d.SaveCommitted(d.Context(), before.N))
	if got := d.positions(before); got != `a=1@0{"file":"a"}={"offset":10,"epoch":3} b@1{"file":"b"}= c@enumerator{"file":"c"}=` {
		t.Errorf("before: %s", got)
	}
	after, err := d.Reposition(d.Context(), d.st, rand.Text(), "src", moves("a=1", `{"offset":4}`))
	d.must(err)
	if got := d.positions(after); got != `a=1@0{"file":"a"}={"epoch":3,"offset":4} b@1{"file":"b"}= c@enumerator{"file":"c"}=` {
		t.Errorf("after: %s", got)
	}
	m, err := checkpoint.Verify(d.Context(), d.st, after)
	d.must(err)
	kinds := map[string]string{}
	for _, n := range m.Nodes {
		for _, task := range n.Tasks {
			for e, err := range checkpoint.ReadEntries(d.Context(), d.st, task) {
				d.must(err)
				kinds[n.Name] += fmt.Sprintf(" %s:%s(%d)", checkpoint.KindName(e.GetKind()), e.GetId(), task.Index)
			}
		}
	}
	if kinds["src"] != " split:a=1(0) list:l(0) split:b(1) split_time:b(1)" || kinds["op"] != " key_group:g(0)" {
		t.Errorf("state after: %v", kinds)
	}
	if r := d.load().Newest(); r.N != after.N || r.Prev != before.N || after.Committables != 0 {
		t.Errorf("newest: %+v", r)
	}

	// What only the new one names is its own: both are whole, and the old one is
	// where a start can go back to.
	d.begin()
	c, err := d.choose(checkpoint.RestoreOptions{})
	d.must(err)
	if c.Record.N != after.N {
		t.Errorf("restored: %d", c.Record.N)
	}
	if c, err = d.choose(checkpoint.RestoreOptions{From: fmt.Sprint(before.N)}); err != nil || c.Record.N != before.N || c.Retract {
		t.Errorf("undone: %+v, %v", c.Record, err)
	}

	again, err := d.Reposition(d.Context(), d.st, rand.Text(), "src", moves("a=1", "null", "b", `{"offset":1}`))
	d.must(err)
	if got := d.positions(again); got != `a=1@0{"file":"a"}= b@1{"file":"b"}={"offset":1} c@enumerator{"file":"c"}=` {
		t.Errorf("again: %s", got)
	}
	reset, err := d.Reposition(d.Context(), d.st, rand.Text(), "src", nil)
	d.must(err)
	if got := d.positions(reset); got != "" {
		t.Errorf("reset: %s", got)
	}
}

func TestAPositionThatCannotBeMeantIsRefused(t *testing.T) {
	d := newDesk(t)
	refused := func(want, node string, positions map[string]json.RawMessage) {
		t.Helper()
		objects, numbers := d.objects(), d.numbers()
		_, err := d.Reposition(d.Context(), d.st, rand.Text(), node, positions)
		var p *checkpoint.PositionError
		if !errors.As(err, &p) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if d.objects() != objects || d.numbers() != numbers {
			t.Errorf("%s: something is left: %d objects were %d, checkpoints %s were %s", want, d.objects(), objects, d.numbers(), numbers)
		}
	}
	refused("pipeline p has no checkpoint", "src", nil)
	r := d.standing(checkpoint.Running, 1)
	refused("output of checkpoint 1 is not published yet", "src", nil)
	d.must(d.SaveCommitted(d.Context(), r.N))
	refused(`has no source "nowhere"; it has: src`, "nowhere", nil)
	refused(`has no source "op"`, "op", nil)
	refused("source src reads no split c, x; it reads: a=1, b", "src", moves("a=1", `{"offset":1}`, "x", "1", "c", "1"))
	for position, want := range map[string]string{
		`5`:                 `position is an object; it is now {"offset":10,"epoch":3}`,
		`{"offse":5}`:       `position has no field "offse"`,
		`{"offset":"5"}`:    "position.offset is a number",
		`{"offset":5.5}`:    "position.offset is a whole number",
		`{"epoch":{"a":1}}`: "position.epoch is a number",
	} {
		refused(want, "src", moves("a=1", position))
	}
	d.standing(checkpoint.Finishing, 0)
	refused("has read all its input", "src", nil)
}

// A change that is undone leaves the checkpoint before it the newest, once more or once
// for all, until something has run.
func TestAChangeOfPositionsIsUndone(t *testing.T) {
	d := newDesk(t)
	first := d.standing(checkpoint.Running, 1)
	d.must(d.SaveCommitted(d.Context(), first.N))
	second, err := d.Reposition(d.Context(), d.st, "x", "src", moves("a=1", `{"offset":4}`))
	d.must(err)
	if again, err := d.Reposition(d.Context(), d.st, "x", "src", moves("a=1", `{"offset":4}`)); err != nil || again.N != second.N {
		t.Errorf("the same once more: checkpoint %d, %v", again.N, err)
	}
	third, err := d.Reposition(d.Context(), d.st, "y", "src", nil)
	d.must(err)
	refused := func(want, node string, n uint64) {
		t.Helper()
		_, err := d.Undo(d.Context(), node, n)
		var p *checkpoint.PositionError
		if !errors.As(err, &p) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	refused("gone on since checkpoint 2", "src", second.N)
	refused("checkpoint 1 of p is no change of where src goes on", "src", first.N)
	refused("checkpoint 3 of p is no change of where op goes on", "op", third.N)
	refused("checkpoint 9 of p is no change", "src", 9)
	for _, n := range []checkpoint.Record{third, third, second} {
		before, err := d.Undo(d.Context(), "src", n.N)
		d.must(err)
		if newest := d.load().Newest(); before.N != n.Prev || newest.N != n.Prev || !d.load().Undone(n.N) {
			t.Errorf("undone %d: before it was %d, the newest is %d", n.N, before.N, newest.N)
		}
	}
	d.begin()
	if c, err := d.choose(checkpoint.RestoreOptions{}); err != nil || c.Record.N != first.N || c.Retract {
		t.Errorf("restored: %+v, %v", c.Record, err)
	}
	fourth, err := d.Reposition(d.Context(), d.st, "z", "src", nil)
	d.must(err)
	if fourth.N != 4 || fourth.Prev != first.N {
		t.Errorf("the next is %d after %d", fourth.N, fourth.Prev)
	}
	d.standing(checkpoint.Running, 0)
	refused("gone on since checkpoint 4", "src", fourth.N)
}
