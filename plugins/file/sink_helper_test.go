package file

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk"
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
