package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

func textOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := unpack(path, data)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func putFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestASingleFileIsCutBackToTheRestoredCheckpoint(t *testing.T) {
	for _, c := range []struct{ name, compression string }{{"out.txt", "none"}, {"out.gz", "gzip"}, {"out.zst", "zstd"}} {
		t.Run(c.compression, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "new", c.name)
			s := sdktest.NewSink(t, Sink(), map[string]any{"path": path, "compression": c.compression})
			s.Write(sdktest.Values("a", "b")...)
			first, _ := s.Checkpoint()
			s.Commit(first)
			s.Write(sdktest.Values("c")...)
			s.Checkpoint()
			if got := textOf(t, path); got != "a\nb\nc\n" {
				t.Errorf("before: %q", got)
			}
			s = s.Restart(first)
			s.Write(sdktest.Values("d")...)
			c, _ := s.End()
			s.Commit(c)
			if got := textOf(t, path); got != "a\nb\nd\n" {
				t.Errorf("after: %q", got)
			}
			if n := namesIn(t, filepath.Dir(path)); len(n) != 1 {
				t.Errorf("left behind: %q", n)
			}
		})
	}
}

func TestASingleFileGoesOnBehindWhatWasThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.txt")
	putFile(t, path, "old")
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": path})
	s.Write(sdktest.Values("a")...)
	s.Checkpoint() // of which no record is written
	s = s.Restart(nil)
	s.Write(sdktest.Values("b")...)
	s.Checkpoint()
	if got := textOf(t, path); got != "old\nb\n" {
		t.Errorf("got %q", got)
	}
}

func TestASingleFileThatIsShorterThanItsCheckpointIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.txt")
	state := []unfinished{{File: path, Size: 10}}
	restored := newSinkTask(func(t *sdk.Task) { t.RestoredCheckpoint = 3 })
	cfg := &SinkConfig{Path: path, Compression: packNone}
	_, err := openWriter(osDisk{}, cfg, restored, state)
	wantError(t, err, path, "is gone", "--fresh")
	putFile(t, path, "short")
	_, err = openWriter(osDisk{}, cfg, restored, state)
	wantError(t, err, path, "has 5 bytes", "counts on 10", "--fresh")
	if got := textOf(t, path); got != "short" {
		t.Errorf("the file was changed to %q", got)
	}
	_, err = openWriter(osDisk{}, cfg, restored, []unfinished{{File: path + ".old", Size: 10}})
	wantError(t, err, path+".old", "set path back")
	_, err = openWriter(osDisk{}, cfg, newSinkTask(func(t *sdk.Task) { t.Parallelism = 2 }), nil)
	wantError(t, err, "parallelism is 2", path+"/")
	_, err = openWriter(osDisk{}, &SinkConfig{Path: filepath.Dir(path) + "/", Compression: packNone}, restored, state)
	wantError(t, err, "wrote to the file "+path)
}

func TestASingleFileHasOneWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.txt")
	sdktest.NewSink(t, Sink(), map[string]any{"path": path})
	err := sdktest.OpenError(t, Sink(), map[string]any{"path": path})
	wantError(t, err, path, "is being written by another process")
}

func TestASingleFileThatIsMovedOrShortenedMeanwhileIsAFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.txt")
	for _, c := range []struct {
		what    string
		do      func() error
		message string
	}{
		{"removed", func() error { return os.Remove(path) }, "was moved away or removed"},
		{"replaced", func() error {
			if err := os.Rename(path, path+".1"); err != nil {
				return err
			}
			return os.WriteFile(path, nil, 0o600)
		}, "was moved away or removed"},
		{"shortened", func() error { return os.Truncate(path, 1) }, "has shortened it"},
	} {
		t.Run(c.what, func(t *testing.T) {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			s := sdktest.NewSink(t, Sink(), map[string]any{"path": path})
			s.Write(sdktest.Values("a")...)
			s.Checkpoint()
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
			wantError(t, s.WriteError(sdktest.Values(strings.Repeat("b", 10))...), path, c.message)
			for _, name := range namesIn(t, filepath.Dir(path)) {
				if isHidden(name) {
					if err := os.Remove(filepath.Join(filepath.Dir(path), name)); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func TestOnlyARegularFileIsWrittenTo(t *testing.T) {
	dir := t.TempDir()
	_, err := openWriter(osDisk{}, &SinkConfig{Path: dir}, newSinkTask(), nil)
	wantError(t, err, dir)
	device := filepath.Join(dir, "device")
	if err := os.Symlink(os.DevNull, device); err != nil {
		t.Fatal(err)
	}
	_, err = openWriter(osDisk{}, &SinkConfig{Path: device}, newSinkTask(), nil)
	wantError(t, err, device, "is not a regular file")
	want(t, namesIn(t, dir), "device")
}
