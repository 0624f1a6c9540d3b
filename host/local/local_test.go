package local

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/flock"
)

var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, stateDir, name string) *Home {
	t.Helper()
	h, err := Open(t.Context(), stateDir, name, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestASecondRunIsRefusedAndNamesTheFirst(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, "p")
	_, err := Open(t.Context(), dir, "p", quiet)
	var running *RunningError
	var held *flock.HeldError
	if !errors.As(err, &running) || !errors.As(err, &held) || running.Pipeline != "p" || held.PID != os.Getpid() {
		t.Fatalf("got %v", err)
	}
	if want := "stop that one first, or give this one another name"; !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not say %q", err, want)
	}
	running.Held.PID = 0
	if !strings.Contains(running.Error(), "by another process already") {
		t.Errorf("without a pid: %v", running)
	}
	// Another pipeline is another folder, and a closed one may be opened again.
	other := open(t, dir, "q")
	for _, h := range []*Home{other, h} {
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(t, dir, "p").Close(); err != nil {
		t.Fatal(err)
	}
}

func TestANameBelongsToOneFile(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, "p")
	defer h.Close()
	first, second := Spec{File: filepath.Join(dir, "a.yaml"), Source: "name: p"}, Spec{File: filepath.Join(dir, "b.yaml")}
	for _, c := range []struct {
		spec    Spec
		adopt   bool
		refused bool
	}{
		{spec: first}, {spec: first}, {spec: second, refused: true}, {spec: first},
		{spec: second, adopt: true}, {spec: second}, {spec: first, refused: true},
	} {
		err := h.Claim(t.Context(), "p", c.spec, c.adopt)
		if errors.Is(err, ErrOtherFile) != c.refused || err != nil && !c.refused {
			t.Errorf("%s (adopt %v): %v", c.spec.File, c.adopt, err)
		}
		if c.refused && !strings.Contains(err.Error(), "--adopt") {
			t.Errorf("%q does not say what to do", err)
		}
	}
	if s, err := ReadSpec(t.Context(), h.Store(), "p"); err != nil || s.File != second.File {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := ReadSpec(t.Context(), h.Store(), "q"); !errors.Is(err, coordination.ErrNotFound) {
		t.Errorf("a pipeline that never ran: %v", err)
	}
}

// Commands that read need nobody's cooperation, and cannot write.
func TestAPictureIsTakenBesideARun(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, "p")
	defer h.Close()
	if err := h.Claim(t.Context(), "p", Spec{File: filepath.Join(dir, "p.yaml")}, false); err != nil {
		t.Fatal(err)
	}
	p, err := Peek(t.Context(), dir, "p")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if s, err := ReadSpec(t.Context(), p, "p"); err != nil || s.File != filepath.Join(dir, "p.yaml") {
		t.Errorf("got %+v, %v", s, err)
	}
	if err := p.Commit(t.Context(), coordination.Create("x", nil)); !errors.Is(err, errReadOnly) {
		t.Errorf("a write: %v", err)
	}
	if c := <-p.Watch(t.Context(), "x"); !errors.Is(c.Err, errReadOnly) {
		t.Errorf("a watch: %v", c.Err)
	}
	if l := <-p.WatchChildren(t.Context(), "x"); !errors.Is(l.Err, errReadOnly) {
		t.Errorf("a watch of children: %v", l.Err)
	}
	if _, more := <-p.WatchSession(t.Context()); more {
		t.Error("a session")
	}
}

func TestNamesAreThoseThatHaveState(t *testing.T) {
	dir := t.TempDir()
	if names, err := Names(filepath.Join(dir, "nowhere")); err != nil || names != nil {
		t.Errorf("got %v, %v", names, err)
	}
	if _, err := Peek(t.Context(), dir, "p"); err == nil || !strings.Contains(err.Error(), "no pipeline has been run with state in "+dir) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"b", "a"} {
		if err := open(t, dir, name).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if names, err := Names(dir); err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("got %v, %v", names, err)
	}
	if _, err := Peek(t.Context(), dir, "p"); err == nil || !strings.HasSuffix(err.Error(), "there are: a, b") {
		t.Errorf("got %v", err)
	}
}

func TestCheckpointsLieInTheStateFolderUnlessTheFileSaysOtherwise(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir, "p").Close(); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"": "file://" + filepath.ToSlash(filepath.Join(dir, "p", "checkpoints")), "mem://": "mem:",
		"file://" + filepath.ToSlash(filepath.Join(dir, "else")): "file://" + filepath.ToSlash(filepath.Join(dir, "else")),
	} {
		st, err := OpenStorage(t.Context(), dir, "p", url)
		if err != nil {
			t.Errorf("%q: %v", url, err)
			continue
		}
		if !strings.HasPrefix(st.String(), want) {
			t.Errorf("%q leads to %s, not %s", url, st, want)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAStateFolderThatCannotBeMadeIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), file, "p", quiet); err == nil || !strings.HasPrefix(err.Error(), "state folder: ") {
		t.Errorf("got %v", err)
	}
}
