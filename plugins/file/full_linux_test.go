package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// smallDisk mounts a disk of that size, where this process may.
func smallDisk(t *testing.T, bytes int) (dir string, err error) {
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		return "", err
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir, nil
}

// A full disk fails the task and says so; with room again, the next one goes on
// from the checkpoint. Where no disk can be mounted, a limit on the size of files
// stands in for it, in a process of its own.
func TestAFullDiskFailsClearlyAndResumes(t *testing.T) {
	if os.Getenv("WEIR_FILE_LIMIT") != "" {
		fillLimited(t)
		return
	}
	for _, path := range []string{"out/", "out.txt"} {
		t.Run(path, func(t *testing.T) {
			dir, err := smallDisk(t, 1<<20)
			if err != nil {
				t.Logf("no small disk here (%v): a limit on the size of files stands in", err)
				runLimited(t)
				return
			}
			out := dir + "/" + path
			fill(t, dir, out)
		})
	}
}

func fill(t *testing.T, dir, out string) {
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": out})
	line := strings.Repeat("x", 1000)
	s.Write(sdktest.Values(slices.Repeat([]string{line}, 100)...)...)
	c, _ := s.Checkpoint()
	s.Commit(c)
	ballast := filepath.Join(dir, "ballast")
	putFile(t, ballast, strings.Repeat("b", 800<<10))
	err := s.WriteError(sdktest.Values(slices.Repeat([]string{line}, 400)...)...)
	wantError(t, err, "the disk is full", "no space left on device", "make room")
	var marked *sdktest.Error
	if !errors.As(err, &marked) || marked.Fatal {
		t.Errorf("%v does not let the task restart", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s = s.Restart(c)
	s.Write(sdktest.Values(slices.Repeat([]string{line}, 200)...)...)
	c, _ = s.End()
	s.Commit(c)
	got := strings.Count(textOf(t, firstVisible(t, out)), "\n")
	if got != 300 {
		t.Errorf("%d lines, not 300", got)
	}
}

// firstVisible returns the one file that a sink has written.
func firstVisible(t *testing.T, out string) string {
	t.Helper()
	if !strings.HasSuffix(out, "/") {
		return out
	}
	names := slices.DeleteFunc(namesIn(t, out), isHidden)
	if len(names) != 1 {
		t.Fatalf("the folder has %q", names)
	}
	return filepath.Join(out, names[0])
}

func runLimited(t *testing.T) {
	c := exec.Command(os.Args[0], "-test.run=^TestAFullDiskFailsClearlyAndResumes$", "-test.v")
	c.Env = append(os.Environ(), "WEIR_FILE_LIMIT=1")
	if text, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

// fillLimited writes until the system lets it write no more.
func fillLimited(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	ctx := context.Background()
	out := outFolder(t)
	s := openSink(t, osDisk{}, &SinkConfig{Path: out, Compression: packNone, Extension: "txt"})
	writeValues(t, s, strings.Repeat("x", 1000))
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	state, err := s.WriterState(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 5000, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	writeValues(t, s, strings.Repeat("y", 10000))
	if err := s.Flush(ctx); err == nil {
		t.Fatal("more was written than the limit allows")
	}
	if _, err := s.Prepare(ctx, sdk.Checkpoint{Number: 2}); err == nil {
		t.Fatal("output was prepared after a failure")
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	next, err := openFolderSink(osDisk{}, filepath.Clean(out), &SinkConfig{Path: out, Compression: packNone, Extension: "txt"},
		newSinkTask(func(t *sdk.Task) { t.Epoch, t.RestoredCheckpoint = 2, 1 }), state)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Close() }()
	writeValues(t, next, "z")
	prepared, err := next.Prepare(ctx, sdk.Checkpoint{Number: 3, Roll: true})
	if err == nil {
		err = commits(t, osDisk{}, &SinkConfig{Path: out}, testOwner(2)).Commit(ctx, prepared)
	}
	if err != nil {
		t.Fatal(err)
	}
	want(t, visible(t, out), strings.Repeat("x", 1000), "z")
}
