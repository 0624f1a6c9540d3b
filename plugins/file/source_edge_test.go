package file

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk/sdktest"
)

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What is read is what was there when the file was found, and the rest of its last
// line: a line is not torn because it was just being written.
func TestTheLastLineOfAGrowingFileIsNotTorn(t *testing.T) {
	for _, step := range []string{"64MiB", "3", "1"} {
		path := filepath.Join(t.TempDir(), "in.txt")
		write(t, path, "one\ntwo\nthr")
		s := sdktest.NewSource(t, Source(), map[string]any{"path": path, "split_size": step})
		splits := s.Splits()
		appendTo(t, path, "ee\nfour\n")
		var got []string
		for _, split := range splits {
			got = append(got, sdktest.ValuesOf(s.Read(split))...)
		}
		want(t, got, "one", "two", "three")

		// One that ended with a line has no more than that.
		s = sdktest.NewSource(t, Source(), map[string]any{"path": path, "split_size": step})
		splits = s.Splits()
		appendTo(t, path, "five")
		got = nil
		for _, split := range splits {
			got = append(got, sdktest.ValuesOf(s.Read(split))...)
		}
		want(t, got, "one", "two", "three", "four")
	}
}

// A line that had begun before a followed file was found is not the beginning of
// what is read from its end.
func TestStartAtTheEndBeginsWithAWholeLine(t *testing.T) {
	for before, lines := range map[string][]string{
		"old\n":     {"more", "new"},
		"old\nhalf": {"new"},
	} {
		path := filepath.Join(t.TempDir(), "app.log")
		write(t, path, before)
		s := sdktest.NewSource(t, Source(), map[string]any{"path": path, "follow": true, "start": "end", "poll": "1ms"})
		split := s.Splits()[0]
		r := s.Open(split)
		time.Sleep(5 * time.Millisecond) // it may look before there is more, or after
		appendTo(t, path, "more\nnew\n")
		want(t, sdktest.ValuesOf(r.Next(len(lines))), lines...)
		position, _ := r.Position()
		r.Close()
		appendTo(t, path, "newer\n")
		r = s.OpenAt(split, position)
		want(t, sdktest.ValuesOf(r.Next(1)), "newer")
		r.Close()
	}
}

func TestAFolderThatDoesNotExistIsAnErrorAlsoForWhatFollows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	for _, path := range []string{dir + "/app.log", dir + "/*.log", dir + "/a/**/x"} {
		for _, follow := range []bool{false, true} {
			cfg := &SourceConfig{Path: path, Follow: follow}
			_, _, _, err := (&source{cfg: cfg, task: testTask(1)}).SplitsAfter(context.Background(), nil)
			wantError(t, err, "the folder "+dir, "does not exist: make it, or correct the path")
		}
	}
}

// A file that is followed and not there yet is waited for.
func TestAFollowedFileMayComeLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	f := newFollower(t, path)
	if splits := f.s.Splits(); len(splits) != 0 || !f.s.More() {
		t.Errorf("found %v", splits)
	}
	appendTo(t, path, "one\n")
	f.catchUp([]string{"one"})
	f.stop()
}

// Many files may be followed and few grow at a time: those that wait hold no
// buffer.
func TestAFollowedFileThatWaitsHoldsNoBuffer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\nhalf")
	s := &source{cfg: &SourceConfig{Path: path, Follow: true, Poll: time.Millisecond}, task: testTask(1000)}
	opened, err := s.Open(t.Context(), splitOf(t, s), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := opened.(*reader)
	defer r.Close()
	if err := r.fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.take(len("one\n"))
	if _, err := r.wait(t.Context()); err != nil || r.buf == nil {
		t.Errorf("half a line was dropped, %v", err)
	}
	r.take(len("half"))
	if _, err := r.wait(t.Context()); err != nil || r.buf != nil {
		t.Errorf("an empty buffer of %d bytes is held, %v", len(r.buf), err)
	}
}

func TestSourceConfigurationFaults(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		config  string
		field   string
		message string
		warning bool
	}{
		{`{}`, "path", "", false},
		{`{"path": "a", "start": "end"}`, "start", "without follow: true", false},
		{`{"path": "a/[b"}`, "path", "no valid glob", false},
		{`{"path": "` + dir + `/x.txt"}`, "path", "x.txt", true},
		{`{"path": "` + dir + `/*.csv"}`, "path", "leads to no file", true},
		{`{"path": "` + dir + `/none/x.txt"}`, "path", "does not exist", true},
		{`{"path": "/dev/null"}`, "path", "neither a file nor a folder", false},
	} {
		faults := sdktest.Check(t, Source(), c.config).Faults
		if len(faults) == 0 {
			faults = sdktest.Probe(context.Background(), t, Source(), c.config)
		}
		if len(faults) != 1 || faults[0].Field != c.field || !strings.Contains(faults[0].Message, c.message) || faults[0].Warning != c.warning {
			t.Errorf("%s: %+v", c.config, faults)
		}
	}
}

// A rotated file to which its writer still adds now and then is not given up
// between two lines: the patience with it begins anew with each.
func TestARotatedFileThatStillGrowsIsReadOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\n")
	s := &source{cfg: &SourceConfig{Path: path, Follow: true, Poll: time.Millisecond}, task: testTask(1000)}
	opened, err := s.Open(t.Context(), splitOf(t, s), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := opened.(*reader)
	defer r.Close()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, path, "of the next file\n")
	r.displaced = time.Now().Add(-time.Hour)
	if err := r.fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if since := time.Since(r.displaced); since > time.Minute {
		t.Errorf("it has grown just now, and has been waited for since %v", since)
	}
}
