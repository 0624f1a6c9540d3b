package file

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk/sdktest"
)

// TestFollowIsTurnedOff: a source that followed and is restarted without it reads
// what was appended since and the files that are new, and ends. It does not follow
// again.
func TestFollowIsTurnedOff(t *testing.T) {
	dir := t.TempDir()
	add := func(name, text string) {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(text)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	follow := map[string]any{"path": dir, "follow": true, "poll": "1ms"}
	read := map[string]any{"path": dir}

	add("a.log", "1\n2\n")
	s := sdktest.NewSource(t, Source(), follow)
	splits := s.Splits()
	if len(splits) != 1 || !s.More() {
		t.Fatalf("%v, %v", splits, s.More())
	}
	r := s.Open(splits[0])
	r.Next(2)
	position, _ := r.Position()
	r.Close()

	add("a.log", "3\nlast")
	add("b.log", "4\n")
	s = s.Restart(read)
	fresh := s.Splits()
	if len(fresh) != 1 || !strings.Contains(fresh[0].ID, "b.log") || s.More() {
		t.Fatalf("%v, %v", fresh, s.More())
	}
	r = s.OpenAt(splits[0], position)
	got := slices.Concat(sdktest.ValuesOf(r.Rest()), sdktest.ValuesOf(s.Read(fresh[0])))
	r.Close()
	if want := []string{"3", "last", "4"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if again := s.Splits(); len(again) != 0 || s.More() {
		t.Errorf("listed again: %v, %v", again, s.More())
	}
	// Where a.log ended for the one that did not follow is not kept.
	if err := s.Restart(follow).SplitsError(); !strings.Contains(err.Error(), "follow cannot be turned on") {
		t.Error(err)
	}
}

// TestFollowIsNotTurnedOnWhereFilesWereReadWithout: they would be read again.
func TestFollowIsNotTurnedOnWhereFilesWereReadWithout(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.log"), []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := sdktest.NewSource(t, Source(), map[string]any{"path": dir})
	s.Splits()
	if err := s.Restart(map[string]any{"path": dir, "follow": true}).SplitsError(); !strings.Contains(err.Error(), "follow cannot be turned on") {
		t.Error(err)
	}
}
