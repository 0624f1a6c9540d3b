package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/checkpoint/storage"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

func openMem(t *testing.T) *storage.Storage {
	t.Helper()
	st, err := storage.Open(t.Context(), "mem://")
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func split(id, payload string) *pluginv1.Entry {
	return entryOf(pluginv1.Entry_KIND_SPLIT, id, payload)
}

func entryOf(kind pluginv1.Entry_Kind, id, payload string) *pluginv1.Entry {
	return &pluginv1.Entry{Kind: kind, Id: id, Content: &pluginv1.Entry_Payload{Payload: []byte(payload)}}
}

func readAll(t *testing.T, st *storage.Storage, s TaskState) Entries {
	t.Helper()
	var all Entries
	for e, err := range ReadEntries(t.Context(), st, s) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func same(a, b Entries) bool {
	return slices.EqualFunc(a, b, func(a, b *pluginv1.Entry) bool { return proto.Equal(a, b) })
}

func TestEntriesComeBackByteForByte(t *testing.T) {
	es := Entries{
		split("s", `{"b": 1,  "a": 2.50}`),
		split("html", `"<&>\u2028"`),
		entryOf(pluginv1.Entry_KIND_KEY_GROUP, "state", "\x00\xff\xfe"),
		entryOf(pluginv1.Entry_KIND_ENUMERATOR, "", ""),
		{Kind: pluginv1.Entry_KIND_KEY_GROUP, Id: "x", KeyGroup: 127, More: true, Content: &pluginv1.Entry_Payload{Payload: []byte("part")}},
		{Kind: pluginv1.Entry_KIND_LIST, Id: "y", Union: true, Content: &pluginv1.Entry_Payload{Payload: []byte("é")}},
		{Kind: pluginv1.Entry_KIND_COMMITTABLE, Id: "z", Checkpoint: 1<<63 + 1, Content: &pluginv1.Entry_Payload{Payload: []byte("c")}},
	}
	data, err := json.Marshal(es)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(`"kind":"split","id":"s","text":"{\"b\": 1,  \"a\": 2.50}"`)) {
		t.Errorf("not readable: %s", data)
	}
	var back Entries
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if !same(es, back) {
		t.Errorf("got %v", back)
	}
	if err := json.Unmarshal([]byte(`[{"kind":"spilt"}]`), &back); err == nil || !strings.Contains(err.Error(), `"spilt"`) {
		t.Errorf("an unknown kind: %v", err)
	}
}

func TestSmallStateIsInlineAndLargeStateInObjects(t *testing.T) {
	large := strings.Repeat("x", objectLimit/2+1)
	for name, c := range map[string]struct {
		entries Entries
		objects int
	}{
		"nothing": {nil, 0},
		"small":   {Entries{split("a", "1"), split("b", "2")}, 0},
		"medium":  {Entries{split("a", large[:inlineLimit])}, 1},
		"large":   {Entries{split("a", large), split("b", large), split("c", large), split("d", "4")}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			st := openMem(t)
			w := NewSnapshotWriter(st, TaskName{"uid", 7, 3, "node", "2"}, nil)
			writer := entryOf(pluginv1.Entry_KIND_WRITER, "w", "unfinished")
			if err := w.Add(t.Context(), append(slices.Clone(c.entries), writer)...); err != nil {
				t.Fatal(err)
			}
			s, err := w.Finish(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Objects) != c.objects || len(s.Writer) != 1 {
				t.Fatalf("%d objects, %d writer entries", len(s.Objects), len(s.Writer))
			}
			for _, o := range s.Objects {
				if !strings.HasPrefix(o.Name, "uid/7/3/node/2/") {
					t.Errorf("object %s", o.Name)
				}
			}
			if got := readAll(t, st, s); !same(got, append(slices.Clone(c.entries), writer)) {
				t.Errorf("%d entries came back", len(got))
			}
			if err := w.Discard(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left, _ := st.List(t.Context(), ""); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestAnEntryMayReferToTheNewestCompletedCheckpointAlone(t *testing.T) {
	st := openMem(t)
	old := Entries{
		{Kind: pluginv1.Entry_KIND_KEY_GROUP, Id: "n", KeyGroup: 4, More: true, Content: &pluginv1.Entry_Payload{Payload: []byte("a")}},
		{Kind: pluginv1.Entry_KIND_KEY_GROUP, Id: "n", KeyGroup: 4, Content: &pluginv1.Entry_Payload{Payload: []byte("b")}},
		{Kind: pluginv1.Entry_KIND_KEY_GROUP, Id: "n", KeyGroup: 5, Content: &pluginv1.Entry_Payload{Payload: []byte("c")}},
	}
	earlier := &Earlier{N: 6, State: TaskState{Entries: old}}
	ref := func(group uint32, n uint64) *pluginv1.Entry {
		return &pluginv1.Entry{Kind: pluginv1.Entry_KIND_KEY_GROUP, Id: "n", KeyGroup: group,
			Content: &pluginv1.Entry_SameAs{SameAs: &pluginv1.EntryRef{Checkpoint: n}}}
	}
	w := NewSnapshotWriter(st, TaskName{}, earlier)
	if err := w.Add(t.Context(), ref(4, 6)); err != nil {
		t.Fatal(err)
	}
	s, err := w.Finish(t.Context())
	if err != nil || !same(readAll(t, st, s), old[:2]) {
		t.Errorf("got %v, %v", s, err)
	}
	for want, e := range map[string]*pluginv1.Entry{
		"refers to checkpoint 5, which is not the newest completed one": ref(4, 5),
		`checkpoint 6 has no entry key_group "n" (group 9)`:             ref(9, 6),
	} {
		if err := NewSnapshotWriter(st, TaskName{}, earlier).Add(t.Context(), e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := NewSnapshotWriter(st, TaskName{}, nil).Add(t.Context(), ref(4, 6)); err == nil {
		t.Error("without an earlier checkpoint it is accepted")
	}
}

func TestOutputIsNoState(t *testing.T) {
	w := NewSnapshotWriter(openMem(t), TaskName{Node: "out"}, nil)
	err := w.Add(t.Context(), entryOf(pluginv1.Entry_KIND_COMMITTABLE, "c", ""))
	if err == nil || !strings.Contains(err.Error(), "committable is no state") {
		t.Errorf("got %v", err)
	}
}

func TestABrokenObjectNamesItself(t *testing.T) {
	st := openMem(t)
	o, err := st.Put(t.Context(), "uid/1/1/n/0/x", []byte("\xff\xff\xff"))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range ReadEntries(t.Context(), st, TaskState{Objects: []Object{o}}) {
		if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), o.Name) {
			t.Errorf("got %v", err)
		}
	}
}

// node is a part of a node's state with these tasks.
func nodePart(name string, parallelism int, tasks ...int) NodeState {
	n := NodeState{Name: name, Component: "c", Parallelism: parallelism, MaxParallelism: 8}
	for _, i := range tasks {
		n.Tasks = append(n.Tasks, TaskState{Index: i})
	}
	return n
}

func TestAManifestHoldsEveryTaskOnce(t *testing.T) {
	other := nodePart("x", 3, 2)
	other.Component = "d"
	enumerated := nodePart("x", 1, 0)
	enumerated.Enumerator = &TaskState{}
	for _, c := range []struct {
		parts []NodeState
		want  string
	}{
		{[]NodeState{nodePart("x", 3, 2, 0), nodePart("y", 1, 0), nodePart("x", 3, 1)}, ""},
		{[]NodeState{nodePart("x", 3, 2, 0)}, "node x: the state of task 1 is missing or there twice"},
		{[]NodeState{nodePart("x", 3, 0, 1)}, "node x: 2 of 3 tasks reported their state"},
		{[]NodeState{nodePart("x", 3, 0, 1, 2), nodePart("x", 3, 1)}, "node x: the state of task 1 is missing or there twice"},
		{[]NodeState{nodePart("x", 3, 0, 1), other}, "node x: hosts report it differently"},
		{[]NodeState{enumerated, enumerated}, "node x: its enumerator was reported twice"},
	} {
		nodes, err := merge(c.parts)
		if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		if err == nil && (len(nodes) != 2 || nodes[0].Tasks[2].Index != 2) {
			t.Errorf("got %+v", nodes)
		}
	}
}

func TestALargeAckGoesThroughStorage(t *testing.T) {
	st := openMem(t)
	small := Ack{Host: "a", N: 4, Nodes: []NodeState{nodePart("x", 2, 0)}}
	large := Ack{Host: "b", N: 4, Nodes: []NodeState{nodePart("x", 2, 1)}}
	for i := range 1000 {
		e := entryOf(pluginv1.Entry_KIND_COMMITTABLE, fmt.Sprint(i), strings.Repeat("c", 100))
		large.Nodes[0].Tasks[0].Committables = append(large.Nodes[0].Tasks[0].Committables, e)
	}
	var acks []Ack
	for _, a := range []Ack{small, large} {
		sealed, err := SealAck(t.Context(), st, "uid", 2, a)
		if err != nil {
			t.Fatal(err)
		}
		acks = append(acks, sealed)
	}
	if acks[0].Part != nil || acks[1].Part == nil || len(encode(acks[1])) > 1000 {
		t.Fatalf("sealed as %+v", acks)
	}
	ev := StoreManifest(t.Context(), st, Manifest{UID: "uid", N: 4, Epoch: 2}, acks)
	if ev.Err != nil || ev.Committables != 1000 || ev.N != 4 {
		t.Fatalf("got %+v", ev)
	}
	r := Record{N: 4, UID: "uid", Epoch: 2, Manifest: ev.Manifest, Committables: 1000}
	m, err := Verify(t.Context(), st, r)
	if err != nil || len(m.Nodes) != 1 || len(m.Nodes[0].Tasks) != 2 {
		t.Fatalf("got %+v, %v", m, err)
	}
	if err := acks[1].Discard(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	if left, _ := st.List(t.Context(), "uid/4/"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAManifestOfAnotherCheckpointOrFormatIsRefused(t *testing.T) {
	st := openMem(t)
	o, _, err := putManifest(t.Context(), st, Manifest{UID: "uid", N: 4, Epoch: 2}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadManifest(t.Context(), st, Record{N: 5, UID: "uid", Epoch: 2, Manifest: o}); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("of another: %v", err)
	}
	future, err := st.Put(t.Context(), "uid/manifest/4-2-x", []byte(`{"format": 3, "n": 4}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = ReadManifest(t.Context(), st, Record{N: 4, Manifest: future})
	if err == nil || !strings.Contains(err.Error(), "format 3, this version reads up to 2: use a weir that is as new") || errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("of the future: %v", err)
	}
}

func TestWhatIsCommittedAlreadyIsSkipped(t *testing.T) {
	c := func(id string, n uint64) *pluginv1.Entry {
		e := entryOf(pluginv1.Entry_KIND_COMMITTABLE, id, "")
		e.Checkpoint = n
		return e
	}
	m := Manifest{Nodes: []NodeState{
		{Name: "x", Tasks: []TaskState{{Committables: Entries{c("a", 2), c("b", 4)}}, {Index: 1, Committables: Entries{c("c", 3)}}}},
		{Name: "y", Tasks: []TaskState{{Committables: Entries{c("d", 2)}}}},
	}}
	due := m.Committables(2)
	if es := due["x"]; len(due) != 1 || len(es) != 2 || es[0].GetId() != "c" || es[1].GetId() != "b" {
		t.Errorf("due: %v", due)
	}
}

func TestEntriesAreKeptByNodeNotByTheirPlaceInAChain(t *testing.T) {
	w := NewSnapshotWriter(openMem(t), TaskName{}, nil)
	e := split("s", "")
	e.Component = 3
	if err := w.Add(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if s, err := w.Finish(t.Context()); err != nil || s.Entries[0].GetComponent() != 0 {
		t.Errorf("got %v, %v", s, err)
	}
	var u Uncommitted
	c := entryOf(pluginv1.Entry_KIND_COMMITTABLE, "c", "")
	c.Component = 3
	u.Prepared(0, 1, Entries{c})
	if got := u.Due(1)[0].GetComponent(); got != 0 {
		t.Errorf("output of component %d", got)
	}
}

func TestUncommittedOutputIsInEverySnapshotUntilItIsAnswered(t *testing.T) {
	var u Uncommitted
	c := func(id string) Entries { return Entries{entryOf(pluginv1.Entry_KIND_COMMITTABLE, id, "")} }
	ids := func(es Entries) string {
		var all []string
		for _, e := range es {
			all = append(all, fmt.Sprintf("%s@%d", e.GetId(), e.GetCheckpoint()))
		}
		return strings.Join(all, " ")
	}
	u.Prepared(0, 1, c("a"))
	u.Prepared(1, 1, c("b"))
	u.Prepared(0, 2, c("c")) // checkpoint 1 gets no record
	u.Prepared(1, 3, c("d")) // task 1 is ahead of task 0
	u.Prepared(1, 2, c("e"))
	for _, s := range []struct{ what, got, want string }{
		{"snapshot of task 0", ids(u.Snapshot(0, 2)), "a@1 c@2"},
		{"snapshot of task 1", ids(u.Snapshot(1, 2)), "b@1 e@2"},
		{"due", ids(u.Due(2)), "a@1 b@1 c@2 e@2"},
		{"due later", ids(u.Due(3)), "a@1 b@1 c@2 e@2 d@3"},
	} {
		if s.got != s.want {
			t.Errorf("%s: %s, want %s", s.what, s.got, s.want)
		}
	}
	u.Answered(2)
	if got := ids(u.Due(9)); got != "d@3" || u.Len() != 1 {
		t.Errorf("after the answer: %s", got)
	}
}
