package checkpoint

import (
	"strings"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

func localFile(id string) *pluginv1.Entry {
	return &pluginv1.Entry{Kind: pluginv1.Entry_KIND_FILE, Id: id, Content: &pluginv1.Entry_File{File: &pluginv1.LocalFile{Path: id}}}
}

func sameFile(id string, n uint64) *pluginv1.Entry {
	return &pluginv1.Entry{Kind: pluginv1.Entry_KIND_FILE, Id: id, Content: &pluginv1.Entry_SameAs{SameAs: &pluginv1.EntryRef{Checkpoint: n}}}
}

func fileWriter(t *testing.T, n uint64, earlier *Earlier) *SnapshotWriter {
	t.Helper()
	w := NewSnapshotWriter(openMem(t), TaskName{"uid", n, 3, "node", "0"}, earlier)
	w.ReadFile = func(f *pluginv1.LocalFile) ([]byte, error) { return []byte("content of " + f.GetPath()), nil }
	return w
}

func finish(t *testing.T, w *SnapshotWriter) TaskState {
	t.Helper()
	s, err := w.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A file is stored once, and belongs to the checkpoint that stored it: giving up one
// that shares it leaves it there.
func TestAFileIsStoredOnceAndSharedByName(t *testing.T) {
	first := fileWriter(t, 6, nil)
	if err := first.Add(t.Context(), localFile("a"), localFile("b"), entryOf(pluginv1.Entry_KIND_FILE, "small", "x")); err != nil {
		t.Fatal(err)
	}
	six := finish(t, first)
	if len(six.Files) != 2 || len(six.Entries) != 1 {
		t.Fatalf("%d files, %d entries", len(six.Files), len(six.Entries))
	}
	next := fileWriter(t, 8, &Earlier{N: 7, State: six})
	next.st = first.st
	// The word of checkpoint 7 may not have reached the task.
	if err := next.Add(t.Context(), sameFile("a", 6), sameFile("b", 7), localFile("c")); err != nil {
		t.Fatal(err)
	}
	eight := finish(t, next)
	if eight.Files[0] != six.Files[0] || eight.Files[1] != six.Files[1] || !strings.HasPrefix(eight.Files[2].Object.Name, "uid/8/") {
		t.Errorf("files %v after %v", eight.Files, six.Files)
	}
	m := Manifest{UID: "uid", N: 8, Nodes: []NodeState{{Tasks: []TaskState{eight}}}}
	if got := m.Shared(); len(got) != 2 {
		t.Errorf("shared: %v", got)
	}
	for name, discard := range map[string]func() error{
		"the writer": func() error { return next.Discard(t.Context()) },
		"the ack":    func() error { return Ack{N: 8, Nodes: m.Nodes}.Discard(t.Context(), next.st) },
	} {
		if err := discard(); err != nil {
			t.Fatal(err)
		}
		left, err := next.st.List(t.Context(), "")
		if err != nil || len(left) != 2 {
			t.Errorf("%s leaves %v, %v", name, left, err)
		}
	}
}

func TestAFileOfNoCompletedCheckpointIsRefused(t *testing.T) {
	earlier := &Earlier{N: 6, State: TaskState{Files: []File{{ID: "a"}}}}
	for name, e := range map[string]*pluginv1.Entry{
		"one that is not there":        sameFile("b", 6),
		"one of a checkpoint to come":  sameFile("a", 7),
		"one of a task without folder": localFile("c"),
	} {
		w := fileWriter(t, 8, earlier)
		w.ReadFile = nil
		if err := w.Add(t.Context(), e); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if err := fileWriter(t, 8, nil).Add(t.Context(), sameFile("a", 6)); err == nil {
		t.Error("a reference without an earlier checkpoint was taken")
	}
}

// A version that knows no files must not take a checkpoint without them for whole.
func TestAManifestWithFilesHasAFormatOfItsOwn(t *testing.T) {
	st := openMem(t)
	for want, task := range map[int]TaskState{1: {}, 2: {Files: []File{{ID: "a"}}}} {
		m := Manifest{UID: "uid", N: 1, Nodes: []NodeState{{Name: "n", Tasks: []TaskState{task}}}}
		o, _, err := putManifest(t.Context(), st, m, 1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadManifest(t.Context(), st, Record{N: 1, UID: "uid", Manifest: o})
		if err != nil || got.Format != want {
			t.Errorf("format %d, %v; want %d", got.Format, err, want)
		}
	}
}

func TestFilesGoToWhomeverTakesOverTheirGroups(t *testing.T) {
	for _, c := range []struct {
		old, new, task int
		want           []int
	}{{1, 3, 0, []int{0, 1, 2}}, {3, 1, 2, []int{0}}, {2, 2, 1, []int{1}}, {2, 3, 0, []int{0, 1}}, {2, 3, 1, []int{1, 2}}} {
		got := NewRouter(c.old, c.new, 128, nil).Route(c.task, localFile("a"))
		if len(got) != len(c.want) || got[0] != c.want[0] || got[len(got)-1] != c.want[len(c.want)-1] {
			t.Errorf("task %d of %d to %d: %v, not %v", c.task, c.old, c.new, got, c.want)
		}
	}
}
