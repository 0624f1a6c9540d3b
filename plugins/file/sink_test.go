package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
