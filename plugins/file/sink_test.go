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
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// outFolder returns a folder path, with a slash, that does not exist.
func outFolder(t *testing.T) string { return filepath.Join(t.TempDir(), "out") + "/" }

// visible returns the lines of all files of a folder that are not hidden, in the
// order of their names.
func visible(t *testing.T, folder string) []string {
	t.Helper()
	var all []string
	for _, name := range namesIn(t, folder) {
		if isHidden(name) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		text, err := unpack(name, data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")...)
	}
	return all
}

func namesIn(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error %v does not say %q", err, part)
		}
	}
}

func TestOutputAppearsWhenItsCheckpointIsCommitted(t *testing.T) {
	for _, compression := range []string{"none", "gzip", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			out := outFolder(t)
			s := sdktest.NewSink(t, Sink(), map[string]any{"path": out, "compression": compression, "extension": "log"})
			s.Write(sdktest.Values("a", "", "c\r")...)
			first, _ := s.Checkpoint()
			s.Commit(first)
			want(t, visible(t, out)) // 128 MiB are far
			s.Write(sdktest.Values("d")...)
			second, _ := s.Roll()
			want(t, visible(t, out))
			s.Commit(second)
			s.Commit(second)
			want(t, visible(t, out), "a", "", "c\r", "d")
			names := namesIn(t, out)
			name := names[len(names)-1]
			if pattern := `^node-89abcdef-000001-000000002-0000-000000\.log(\.gz|\.zst)?$`; !regexp.MustCompile(pattern).MatchString(name) {
				t.Errorf("the published file is %q", name)
			}
		})
	}
}

func TestAnEndedSinkLeavesNothingHidden(t *testing.T) {
	out := outFolder(t)
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": out, "roll": map[string]any{"size": 1}})
	s.Write(sdktest.Values("a")...)
	c, _ := s.Checkpoint()
	s.Commit(c)
	s = s.Restart(c)
	s.Write(sdktest.Values("b")...)
	c, _ = s.Checkpoint()
	s.Commit(c)
	c, _ = s.End()
	s.Commit(c)
	want(t, visible(t, out), "a", "b")
	if n := namesIn(t, out); len(n) != 2 {
		t.Errorf("left behind: %q", n)
	}
}

func TestUnpublishedOutputOfAnOldEpochIsCopiedNotTouched(t *testing.T) {
	out := outFolder(t)
	old := sdktest.NewSink(t, Sink(), map[string]any{"path": out})
	old.Write(sdktest.Values("a", "b")...)
	c, _ := old.Checkpoint()
	next := old.Overtake(c)
	old.Write(sdktest.Values("zombie")...)
	late, _ := old.Roll()
	next.Write(sdktest.Values("c")...)
	c, _ = next.Roll()
	next.Commit(c)
	if err := old.CommitError(late); err == nil {
		t.Error("a commit of an old epoch was taken")
	}
	want(t, visible(t, out), "a", "b", "c")
}

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

func TestWhatALineCannotHoldIsAFailedRecord(t *testing.T) {
	out := outFolder(t)
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": out})
	failed := s.Write(append(sdktest.Values("a", "b\nc", "d"), sdktest.Record{}, sdktest.Record{Value: []byte{}})...)
	if len(failed) != 2 || failed[0].Err != errNewline.Error() || string(failed[0].Value) != "b\nc" || failed[1].Err != errNull.Error() {
		t.Errorf("failed: %v", failed)
	}
	if failed := s.Write(append(sdktest.Values("e"), sdktest.Record{})...); len(failed) != 1 {
		t.Errorf("%d failed of a value and a null", len(failed))
	}
	if failed := s.Write(sdktest.Record{}, sdktest.Record{}); len(failed) != 2 {
		t.Errorf("%d of two nulls failed", len(failed))
	}
	c, _ := s.End()
	s.Commit(c)
	want(t, visible(t, out), "a", "d", "", "e")
}

// A column whose value is the same for all records has no ends.
func TestAConstantColumnIsALineARecord(t *testing.T) {
	out := outFolder(t)
	cfg := &SinkConfig{Path: out, Compression: packNone, Extension: "txt"}
	s := openSink(t, osDisk{}, cfg)
	failed := 0
	for _, c := range []sdk.Column{{Data: []byte("same")}, {Data: []byte{}}, {}, {Data: []byte("not\nclean")}} {
		if err := s.add(c, 2, func(int, error) { failed++ }); err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	prepared, err := s.Prepare(ctx, sdk.Checkpoint{Number: 1, Final: true})
	if err == nil {
		err = commits(t, osDisk{}, cfg, testOwner(1)).Commit(ctx, prepared)
	}
	if err != nil {
		t.Fatal(err)
	}
	want(t, visible(t, out), "same", "same", "", "")
	if failed != 4 {
		t.Errorf("%d failed, not the two nulls and the two with a newline", failed)
	}
}

func TestLinesLargerThanTheBufferAreWhole(t *testing.T) {
	out := outFolder(t)
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": out})
	var lines []string
	for _, n := range []int{1, bufferSize - 1, bufferSize, bufferSize + 1, 3 * bufferSize, 10} {
		lines = append(lines, strings.Repeat("x", n))
		s.Write(sdktest.Values(lines[len(lines)-1])...)
	}
	s.Write(sdktest.Values(lines...)...)
	c, _ := s.End()
	s.Commit(c)
	if !slices.Equal(visible(t, out), append(lines, lines...)) {
		t.Error("the lines are not those that were written")
	}
}

func TestFilesRollBySizeIntervalAndInactivity(t *testing.T) {
	at := time.Unix(1e9, 0)
	for _, c := range []struct {
		name string
		roll Roll
		late time.Duration
		due  bool
	}{
		{"size", Roll{Size: 10}, 0, false},
		{"interval", Roll{Size: 1 << 30, Interval: time.Minute}, time.Minute, true},
		{"inactivity", Roll{Size: 1 << 30, Inactivity: time.Second}, time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := at
			s := openSink(t, osDisk{}, &SinkConfig{Path: outFolder(t), Roll: &c.roll, Compression: packNone, Extension: "txt"})
			s.now = func() time.Time { return now }
			ctx := context.Background()
			if s.Due() {
				t.Error("due before anything was written")
			}
			writeValues(t, s, "12345678")
			if got, err := s.Prepare(ctx, sdk.Checkpoint{Number: 1}); err != nil || len(got) != 0 {
				t.Errorf("prepared %v too early, %v", got, err)
			}
			now = now.Add(c.late)
			if s.Due() != c.due {
				t.Errorf("due is %v", !c.due)
			}
			if c.late == 0 {
				writeValues(t, s, "9")
			}
			if got, err := s.Prepare(ctx, sdk.Checkpoint{Number: 2}); err != nil || len(got) != 1 {
				t.Errorf("prepared %v, %v", got, err)
			}
			if now = now.Add(time.Hour); s.Due() {
				t.Error("due with nothing left")
			}
		})
	}
}

// A task that writes more than roll.size between two checkpoints fills several
// files, each in order.
func TestSeveralFilesFillWithinOneCheckpoint(t *testing.T) {
	out := outFolder(t)
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": out, "roll": map[string]any{"size": 4}})
	var lines []string
	for i := range 20 {
		lines = append(lines, fmt.Sprintf("%02d", i))
		s.Write(sdktest.Values(lines[i])...)
	}
	c, _ := s.Checkpoint()
	s.Commit(c)
	want(t, visible(t, out), lines...)
	if n := len(c.Committables); n != 10 {
		t.Errorf("%d files", n)
	}
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

func TestARemovedFolderIsAFailureAndNotMadeAnew(t *testing.T) {
	out := outFolder(t)
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": out})
	s.Write(sdktest.Values("a")...)
	c, _ := s.Checkpoint()
	if err := os.RemoveAll(out); err != nil {
		t.Fatal(err)
	}
	err := s.WriteError(sdktest.Values("b")...)
	wantError(t, err, "the folder", "is gone", "--fresh")
	// Another one of that name is not it.
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = openWriter(osDisk{}, &SinkConfig{Path: out}, newSinkTask(func(t *sdk.Task) { t.RestoredCheckpoint = c.Number }),
		[]unfinished{{Folder: strings.TrimSuffix(out, "/"), Part: newNamer(testOwner(1)).part(partKey{1, 0, 0}), Size: 2}})
	wantError(t, err, "2 bytes of unpublished output", "is gone")
	if err := os.Remove(out); err != nil {
		t.Fatal(err)
	}
	_, err = openWriter(osDisk{}, &SinkConfig{Path: out}, newSinkTask(func(t *sdk.Task) { t.RestoredCheckpoint = c.Number }), nil)
	wantError(t, err, "is gone")
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the folder was made anew")
	}
}

func TestAFolderInPlaceOfTheOneThatWasThereIsAFailure(t *testing.T) {
	out := outFolder(t)
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": out})
	if err := os.Rename(out, strings.TrimSuffix(out, "/")+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.WriteError(sdktest.Values("a")...), "is gone", "another folder has taken its place")
}

func TestUnpublishedOutputThatSomeoneChangesIsAFailure(t *testing.T) {
	out := outFolder(t)
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": out})
	s.Write(sdktest.Values("a")...)
	s.Checkpoint()
	for _, name := range namesIn(t, out) {
		if err := os.Remove(filepath.Join(out, name)); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, s.WriteError(sdktest.Values("b")...), "was changed by someone else")
}

func TestAnotherCompressionDoesNotGoOnWithAnOldFile(t *testing.T) {
	out := outFolder(t)
	first := openSink(t, osDisk{}, &SinkConfig{Path: out, Compression: packGzip, Extension: "txt"})
	writeValues(t, first, "a")
	ctx := context.Background()
	if err := first.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	state, err := first.WriterState(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &SinkConfig{Path: out, Compression: packNone, Extension: "txt"}
	second, err := openFolderSink(osDisk{}, filepath.Clean(out), cfg, newSinkTask(func(t *sdk.Task) { t.Epoch, t.RestoredCheckpoint = 2, 1 }), state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = second.Close() })
	if !second.Due() {
		t.Error("a file that is complete is not due")
	}
	writeValues(t, second, "b")
	prepared, err := second.Prepare(ctx, sdk.Checkpoint{Number: 2, Final: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := commits(t, osDisk{}, cfg, testOwner(2)).Commit(ctx, prepared); err != nil {
		t.Fatal(err)
	}
	got := visible(t, out)
	slices.Sort(got)
	want(t, got, "a", "b")
}

func TestConfigurationFaults(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config  string
		field   string
		message string
		warning bool
	}{
		{`{}`, "path", "", false},
		{`{"path": "out.txt", "roll": {"size": "1MiB"}}`, "roll", `"out.txt/"`, false},
		{`{"path": "out/", "compression": "lz4"}`, "compression", "zstd", false},
		{`{"path": "out/", "extension": "a/b"}`, "extension", "", false},
		{`{"path": "` + dir + `"}`, "path", "is a folder", false},
		{`{"path": "` + file + `/"}`, "path", "", false},
		{`{"path": "` + dir + `/new/deep/"}`, "path", "made at the first start", true},
		{`{"path": "` + file + `/x/"}`, "path", "", false},
	} {
		faults := sdktest.Check(t, Sink(), c.config).Faults
		if len(faults) == 0 {
			faults = sdktest.Probe(context.Background(), t, Sink(), c.config)
		}
		if len(faults) != 1 || faults[0].Field != c.field || !strings.Contains(faults[0].Message, c.message) || faults[0].Warning != c.warning {
			t.Errorf("%s: %+v", c.config, faults)
		}
	}
	if got := sdktest.Probe(context.Background(), t, Sink(), `{"path": "`+dir+`/"}`); len(got) != 0 {
		t.Errorf("a folder that is there: %v", got)
	}
}

func TestCapabilitiesFollowThePath(t *testing.T) {
	folder := sdktest.Check(t, Sink(), `{"path": "out/"}`).Capabilities
	single := sdktest.Check(t, Sink(), `{"path": "out.txt"}`).Capabilities
	shared := sdktest.Check(t, Sink(), `{"path": "out/", "shared": true}`).Capabilities
	if !folder.ExactlyOnce || !folder.Retract || folder.SingleTask || !folder.Local {
		t.Errorf("folder: %+v", folder)
	}
	if !single.ExactlyOnce || !single.SingleTask || !single.Local {
		t.Errorf("single file: %+v", single)
	}
	if shared.Local {
		t.Error("a shared folder is local")
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

func testOwner(epoch uint64) sdk.Owner {
	return sdk.Owner{UID: "0123456789abcdef", Node: "node", Epoch: epoch}
}

func newSinkTask(options ...func(*sdk.Task)) *sdk.Task {
	task := &sdk.Task{Owner: testOwner(1), Parallelism: 1, MaxRecord: 1 << 20, Log: slog.New(slog.DiscardHandler)}
	for _, o := range options {
		o(task)
	}
	return task
}

// openSink opens a folder sink, for what a harness cannot do.
func openSink(t testing.TB, d disk, cfg *SinkConfig, options ...func(*sdk.Task)) *folderSink {
	t.Helper()
	s, err := openFolderSink(d, filepath.Clean(cfg.Path), cfg, newSinkTask(options...), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func writeValues(t testing.TB, s *folderSink, values ...string) {
	t.Helper()
	var c sdk.Column
	for _, v := range values {
		c.Data = append(c.Data, v...)
		c.Ends = append(c.Ends, uint32(len(c.Data)))
	}
	if err := s.add(c, len(values), func(i int, err error) { t.Errorf("value %d failed: %v", i, err) }); err != nil {
		t.Fatal(err)
	}
}

func commits(t testing.TB, d disk, cfg *SinkConfig, o sdk.Owner) *committer {
	t.Helper()
	c, err := newCommitter(d, cfg, &sdk.Node{Owner: o, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
