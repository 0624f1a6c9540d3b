package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/flock"
	"github.com/weirstream/weir/host/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a pipeline's state folder until the test ends.
func open(t *testing.T, stateDir, name string) *local.Home {
	t.Helper()
	h, err := local.Open(t.Context(), stateDir, name, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func TestAStateFolderIsOpenOnceAtATime(t *testing.T) {
	dir := t.TempDir()
	h, err := local.Open(t.Context(), dir, "p", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, err = local.Open(t.Context(), dir, "p", slog.New(slog.DiscardHandler))
	var held *flock.HeldError
	if !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Fatalf("%v", err)
	}
	if want := fmt.Sprintf("pipeline p is being run by process %d already", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
	open(t, dir, "q") // another pipeline's is another one
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, "p")
}

// TestEachStartLeadsWithAHigherEpoch, so that what an earlier one left cannot write.
func TestEachStartLeadsWithAHigherEpoch(t *testing.T) {
	dir := t.TempDir()
	var last uint64
	for range 3 {
		h, err := local.Open(t.Context(), dir, "p", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if e := h.Leadership().Epoch(); e <= last {
			t.Errorf("leader epoch %d after %d", e, last)
		} else {
			last = e
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLeftoversAreWaitedForAndSaidSo while only the plugins' lock is held.
func TestLeftoversAreWaitedForAndSaidSo(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, "p")
	if err := os.MkdirAll(filepath.Join(dir, "q"), 0o700); err != nil {
		t.Fatal(err)
	}
	leftover, err := flock.Take(filepath.Join(dir, "q", "plugins.lock"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	h, err := local.Open(t.Context(), dir, "q", slog.New(slog.NewTextHandler(closer{&log, leftover}, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "waiting for plugin processes of a run that was killed") {
		t.Errorf("%q", log.String())
	}
}

// closer lets go of a lock when something is logged.
type closer struct {
	*bytes.Buffer
	lock *os.File
}

func (c closer) Write(p []byte) (int, error) {
	_ = c.lock.Close()
	return c.Buffer.Write(p)
}

func TestSocketsThatAKilledRunLeftAreRemoved(t *testing.T) {
	// Not t.TempDir, whose path may be too long for a socket.
	short, err := os.MkdirTemp("", "wl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	long := filepath.Join(short, strings.Repeat("x", 90))
	for _, dir := range []string{short, long} {
		t.Setenv("TMPDIR", filepath.Join(short, "tmp"))
		if err := os.MkdirAll(os.Getenv("TMPDIR"), 0o700); err != nil {
			t.Fatal(err)
		}
		h, err := local.Open(t.Context(), dir, "p", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		sockets, _, err := h.Sockets()
		if err != nil {
			t.Fatal(err)
		}
		if own := sockets == filepath.Join(dir, "p", "run"); own != (dir == short) {
			t.Errorf("sockets are in %s", sockets)
		}
		left := filepath.Join(sockets, "plugin-dir1", "socket")
		if err := os.MkdirAll(filepath.Dir(left), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(left, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.Close(); err != nil { // as a killed process does, which removes nothing
			t.Fatal(err)
		}
		h, err = local.Open(t.Context(), dir, "p", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(left); !os.IsNotExist(err) {
			t.Errorf("%s is there: %v", left, err)
		}
		_, remove, err := h.Sockets()
		if err != nil {
			t.Fatal(err)
		}
		if err := remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(filepath.Join(dir, "p", "run")); !os.IsNotExist(err) {
			t.Errorf("run/ is there: %v", err)
		}
		if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
			t.Errorf("temporary files left: %v, %v", left, err)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestALinkToSomethingElseIsNotFollowed when sockets are removed.
func TestALinkToSomethingElseIsNotFollowed(t *testing.T) {
	dir, precious := t.TempDir(), filepath.Join(t.TempDir(), "precious")
	for _, d := range []string{precious, filepath.Join(dir, "p")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(precious, filepath.Join(dir, "p", "run")); err != nil {
		t.Fatal(err)
	}
	open(t, dir, "p")
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestANameBelongsToOneFileUnlessItIsAdopted(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, "p")
	ctx := t.Context()
	mine := local.Spec{File: filepath.Join(dir, "mine.yaml"), Source: "secret: ${PASSWORD}", Storage: "file:///x"}
	if err := h.Claim(ctx, "p", mine, false); err != nil {
		t.Fatal(err)
	}
	mine.Source = "changed"
	if err := h.Claim(ctx, "p", mine, false); err != nil {
		t.Fatal(err)
	}
	other := local.Spec{File: filepath.Join(dir, "other.yaml")}
	var refused *local.OtherFileError
	if err := h.Claim(ctx, "p", other, false); !errors.As(err, &refused) || !strings.Contains(err.Error(), mine.File) || !strings.Contains(err.Error(), "--adopt") {
		t.Errorf("%v", err)
	}
	if got, err := local.ReadSpec(ctx, h.Store(), "p"); err != nil || got != mine {
		t.Errorf("%+v, %v", got, err)
	}
	if err := h.Claim(ctx, "p", other, true); err != nil {
		t.Fatal(err)
	}
	if got, err := local.ReadSpec(ctx, h.Store(), "p"); err != nil || got != other {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := local.ReadSpec(ctx, h.Store(), "q"); !errors.Is(err, coordination.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestAClaimKeepsTheAbsolutePath, whatever folder the command was given in.
func TestAClaimKeepsTheAbsolutePath(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, "p")
	t.Chdir(dir)
	if err := h.Claim(t.Context(), "p", local.Spec{File: "./sub/../a.yaml"}, false); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := local.ReadSpec(t.Context(), h.Store(), "p"); err != nil || got.File != filepath.Join(here, "a.yaml") {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestAPictureCanBeTakenBesideARun, and nothing can be written to it.
func TestAPictureCanBeTakenBesideARun(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, "p")
	ctx := t.Context()
	if err := coordination.Put(ctx, h.Store(), "a/b", []byte("1")); err != nil {
		t.Fatal(err)
	}
	p, err := local.Peek(ctx, dir, "p")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := coordination.Put(ctx, h.Store(), "a/b", []byte("2")); err != nil {
		t.Fatal(err)
	}
	if r, err := p.Get(ctx, "a/b"); err != nil || string(r.Data) != "1" {
		t.Errorf("%q, %v", r.Data, err)
	}
	if err := p.Commit(ctx, coordination.Create("c", nil)); err == nil {
		t.Error("a picture was written to")
	}
	if c := <-p.Watch(ctx, "a"); c.Err == nil {
		t.Error("a picture can be watched")
	}
	if c := <-p.WatchChildren(ctx, "a"); c.Err == nil {
		t.Error("a picture can be watched")
	}
	if _, ok := <-p.WatchSession(ctx); ok {
		t.Error("a picture has a session")
	}
}

func TestAnUnknownNameListsThoseThereAre(t *testing.T) {
	dir := t.TempDir()
	if names, err := local.Names(filepath.Join(dir, "nowhere")); err != nil || len(names) > 0 {
		t.Errorf("%q, %v", names, err)
	}
	open(t, dir, "q")
	open(t, dir, "p")
	if err := os.Mkdir(filepath.Join(dir, "no pipeline"), 0o700); err != nil {
		t.Fatal(err)
	}
	if names, err := local.Names(dir); err != nil || !slices.Equal(names, []string{"p", "q"}) {
		t.Errorf("%q, %v", names, err)
	}
	_, err := local.Peek(t.Context(), dir, "r")
	if err == nil || !strings.Contains(err.Error(), `no pipeline "r" has state in `+dir) || !strings.Contains(err.Error(), "there are: p, q") {
		t.Errorf("%v", err)
	}
}

// TestCheckpointsAreInTheStateFolderUnlessTheFileSaysOtherwise, also where the path
// has characters that mean something in a URL.
func TestCheckpointsAreInTheStateFolderUnlessTheFileSaysOtherwise(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b#c%20?d")
	ctx := context.Background()
	for url, want := range map[string]string{
		"":                               filepath.Join(dir, "p", "checkpoints"),
		"file://" + t.TempDir() + "/x/y": "",
	} {
		s, err := local.OpenStorage(ctx, dir, "p", url)
		if err != nil {
			t.Fatal(err)
		}
		o, err := s.Put(ctx, "uid/name", []byte("state"))
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = strings.TrimPrefix(url, "file://")
		}
		if got, err := os.ReadFile(filepath.Join(want, o.Name)); err != nil || string(got) != "state" {
			t.Errorf("%q, %v", got, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPluginsGetTheirLock, and dumps a folder of the pipeline's own.
func TestPluginsGetTheirLock(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, "p")
	if f := h.Inherit(); f == nil || filepath.Base(f.Name()) != "plugins.lock" {
		t.Errorf("%v", f)
	}
	if !strings.HasPrefix(h.DumpDir(), filepath.Join(dir, "p")) {
		t.Errorf("dumps go to %s", h.DumpDir())
	}
}
