package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

func TestPublishedFilesOfLaterCheckpointsAreWithdrawn(t *testing.T) {
	out := outFolder(t)
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": out})
	s.Write(sdktest.Values("a")...)
	c1, _ := s.Roll()
	s.Commit(c1)
	s.Write(sdktest.Values("b")...)
	c2, _ := s.Checkpoint() // b is unfinished
	s.Commit(c2)
	s.Write(sdktest.Values("c")...)
	c3, _ := s.Roll()
	s.Commit(c3)
	want(t, visible(t, out), "a", "b", "c")
	s = s.Retract(c2)
	want(t, visible(t, out), "a")
	s.Write(sdktest.Values("d")...)
	c, _ := s.End()
	s.Commit(c)
	want(t, visible(t, out), "a", "b", "d")
}

func TestPublishingReplacesNothing(t *testing.T) {
	out := outFolder(t)
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": out})
	s.Write(sdktest.Values("a")...)
	c, _ := s.Roll()
	taken := filepath.Join(out, "node-89abcdef-000001-000000001-0000-000000.txt")
	if err := os.WriteFile(taken, []byte("foreign\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.CommitError(c)
	wantError(t, err, "a file of that name is there", taken[:len(out)-1])
	var marked *sdktest.Error
	if !errors.As(err, &marked) || !marked.Fatal {
		t.Errorf("%v is not fatal", err)
	}
	want(t, visible(t, out), "foreign")
}

func TestOutputThatIsGoneBeforeItWasPublishedIsALoss(t *testing.T) {
	out := outFolder(t)
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": out})
	s.Write(sdktest.Values("a")...)
	c, _ := s.Roll()
	for _, name := range namesIn(t, out) {
		if err := os.Remove(filepath.Join(out, name)); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, s.CommitError(c), "never published and is gone", "2 bytes are lost")
}

func TestAFileThatAConsumerMovedAwayIsNotPublishedAgain(t *testing.T) {
	out := outFolder(t)
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": out})
	s.Write(sdktest.Values("a")...)
	c, _ := s.Roll()
	s.Commit(c)
	for _, name := range namesIn(t, out) {
		if !isHidden(name) {
			if err := os.Rename(filepath.Join(out, name), filepath.Join(t.TempDir(), name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s = s.Restart(c) // commits c once more
	want(t, visible(t, out))
	c, _ = s.Roll()
	s.Commit(c)
	want(t, visible(t, out))
}

func TestSweepTouchesOnlyWhatEarlierEpochsOfItsNodeLeft(t *testing.T) {
	out := outFolder(t)
	owner := sdk.Owner{UID: "k3j5h2g4f6d7s8a9q2w3", Node: "out", Epoch: 5}
	n := newNamer(owner)
	other := newNamer(sdk.Owner{UID: owner.UID, Node: "out-2"})
	foreign := newNamer(sdk.Owner{UID: "another", Node: "out"})
	stay := []string{
		n.part(partKey{5, 0, 0}), n.part(partKey{3, 1, 4}), markerName(n.part(partKey{5, 0, 1})), n.kept(partKey{2, 0, 0}, 3),
		other.part(partKey{1, 0, 0}), foreign.part(partKey{1, 0, 0}), markerName(foreign.part(partKey{1, 0, 0})),
		n.publishedName(partKey{1, 0, 0}, 1, "txt"), ".weir.unknown", ".hidden", "x.txt", n.part(partKey{1, 0, 0}) + ".bak",
	}
	gone := []string{
		n.part(partKey{4, 0, 0}), n.part(partKey{4, 99, 0}), n.part(partKey{1, 0, 0}), markerName(n.part(partKey{4, 0, 1})),
		markerName(n.part(partKey{3, 1, 4})), n.kept(partKey{2, 0, 1}, 3),
	}
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(stay, gone...) {
		if err := os.WriteFile(filepath.Join(out, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := commits(t, osDisk{}, &SinkConfig{Path: out}, owner)
	keep := fmt.Appendf(nil, `{"folder": %q, "part": %q, "size": 1}`, out, n.part(partKey{3, 1, 4}))
	kept := fmt.Appendf(nil, `{"folder": %q, "part": %q, "size": 1}`, out, n.part(partKey{2, 0, 0}))
	for range 2 {
		err := c.Sweep(context.Background(), sdk.Sweep{RestoredCheckpoint: 7, Keep: []json.RawMessage{keep, kept}})
		if err != nil {
			t.Fatal(err)
		}
	}
	left := namesIn(t, out)
	slices.Sort(stay)
	want(t, left, stay...)
}

// Two hosts commit parts of the same checkpoint: what one tidies up is not the
// other's.
func TestTheEndOfOneTaskLeavesOutputOfOthersAlone(t *testing.T) {
	out := outFolder(t)
	cfg := &SinkConfig{Path: out, Compression: packNone, Extension: "txt"}
	ctx := context.Background()
	var prepared [2][]committable
	for i := range prepared {
		s := openSink(t, osDisk{}, cfg, func(t *sdk.Task) { t.Index, t.Parallelism = i, 2 })
		writeValues(t, s, fmt.Sprint("task ", i))
		var err error
		if prepared[i], err = s.Prepare(ctx, sdk.Checkpoint{Number: 1, Final: true}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range prepared {
		if err := commits(t, osDisk{}, cfg, testOwner(2)).Commit(ctx, prepared[i]); err != nil {
			t.Fatal(err)
		}
	}
	want(t, visible(t, out), "task 0", "task 1")
	if n := namesIn(t, out); len(n) != 2 {
		t.Errorf("left behind: %q", n)
	}
}

// A marker stays until a later commit of the same task does not list its part.
func TestMarkersOfOtherTasksStay(t *testing.T) {
	out := outFolder(t)
	cfg := &SinkConfig{Path: out, Compression: packNone, Extension: "txt"}
	ctx := context.Background()
	c := commits(t, osDisk{}, cfg, testOwner(1))
	var tasks [2]*folderSink
	for i := range tasks {
		tasks[i] = openSink(t, osDisk{}, cfg, func(t *sdk.Task) { t.Index, t.Parallelism = i, 2 })
	}
	commit := func(task int, checkpoint uint64) {
		writeValues(t, tasks[task], "x")
		prepared, err := tasks[task].Prepare(ctx, sdk.Checkpoint{Number: checkpoint, Roll: true})
		if err == nil {
			err = c.Commit(ctx, prepared)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	markers := func() (n int) {
		for _, name := range namesIn(t, out) {
			if strings.HasSuffix(name, string(markerKind)) {
				n++
			}
		}
		return n
	}
	commit(0, 1)
	commit(1, 1)
	commit(1, 2)
	if n := markers(); n != 2 {
		t.Errorf("%d markers: task 0's first and task 1's second", n)
	}
	commit(0, 2)
	if n := markers(); n != 2 {
		t.Errorf("%d markers: the second of each task", n)
	}
}

// Where a file system cannot rename without replacing, two steps do: whoever
// repeats them goes on where a crash was.
func TestLinkAndRemoveGoesOnAfterACrash(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("part"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("taken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := linkAndRemove(at("part"), at("taken")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name that is taken: %v", err)
	}
	if err := os.Link(at("part"), at("done")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(at("done"), at("consumed")); err != nil {
		t.Fatal(err)
	}
	if err := linkAndRemove(at("part"), at("done")); err != nil {
		t.Error(err)
	}
	want(t, namesIn(t, dir), "consumed", "taken")
	if err := linkAndRemove(at("part"), at("done")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a part that is gone: %v", err)
	}
}

// A folder that goes while a Commit looks into it is what is missing, not the part in
// it: put back, nothing is lost. The last Commit does not take the part as published.
func TestAFolderThatGoesUnderACommitIsWhatIsMissing(t *testing.T) {
	for _, last := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "out")
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		dir, err := osDisk{}.folder(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = dir.close() })
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		p := publication{committer: &committer{disk: osDisk{}, log: slog.New(slog.DiscardHandler)}, dir: dir, path: path, last: last}
		_, err = p.waits(committable{Part: ".weir.x.part", Name: "a", Size: 1})
		wantError(t, err, "the folder "+path+" is gone", "put it back as it was")
	}
}
