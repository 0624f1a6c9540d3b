//go:build linux || darwin

package flock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Tests that need other processes start this binary again with a role.
const (
	envRole = "WEIR_TEST_ROLE"
	envDir  = "WEIR_TEST_DIR"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(envRole) {
	case "":
		os.Exit(m.Run())
	case "host":
		err = beHost(os.Getenv(envDir))
	case "plugin":
		_, err = io.Copy(io.Discard, os.Stdin) // lives until its input ends
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// beHost takes the locks, starts a plugin that inherits the one that is meant to
// be inherited, prints the plugin's pid and waits to be killed.
func beHost(dir string) error {
	run, err := TakeRun(context.Background(), dir, RunOptions{})
	if err != nil {
		return err
	}
	plugin := role("plugin", dir)
	plugin.Stdin = os.Stdin
	plugin.ExtraFiles = []*os.File{run.Inherit()}
	if err := plugin.Start(); err != nil {
		return err
	}
	fmt.Println(plugin.Process.Pid)
	return plugin.Wait()
}

func role(name, dir string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envRole+"="+name, envDir+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// host is a started host with its plugin.
type host struct {
	cmd    *exec.Cmd
	plugin int       // pid
	input  io.Closer // the plugin ends when it is closed
}

func startHost(t *testing.T, dir string) *host {
	t.Helper()
	h := &host{cmd: role("host", dir)}
	// A pipe of our own, so that it outlives the host.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	h.cmd.Stdin, h.input = r, w
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(h.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if h.plugin, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *host) kill() {
	h.cmd.Process.Kill()
	h.cmd.Wait()
}

func TestALockIsTakenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	for range 2 {
		f, err := Take(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Take(path)
		var held *HeldError
		if !errors.As(err, &held) || held.PID != os.Getpid() || held.Path != path {
			t.Fatalf("second take: %v, want it held by this process", err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFormerPidIsReplacedWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	if err := os.WriteFile(path, []byte("99999999999\nand more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := os.ReadFile(path); err != nil || string(b) != fmt.Sprintln(os.Getpid()) {
		t.Fatalf("the file holds %q, %v", b, err)
	}
}

func TestALockFileWithoutAPidIsHeldBySomebody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	f, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, content := range []string{"", "-5\n", "no pid"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = Take(path)
		if err == nil || !strings.HasSuffix(err.Error(), "is held by another process") {
			t.Errorf("with %q in the file: %v", content, err)
		}
	}
}

func TestAMissingFolderIsNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	if _, err := TakeRun(context.Background(), dir, RunOptions{}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Fatal(err)
	}
}

func TestASecondRunIsRefusedAtOnceNamingTheFirst(t *testing.T) {
	dir := t.TempDir()
	h := startHost(t, dir)
	_, err := TakeRun(context.Background(), dir, RunOptions{
		Wait:    time.Hour,
		Waiting: func([]int) { t.Error("it waits") },
	})
	var held *HeldError
	if !errors.As(err, &held) || held.PID != h.cmd.Process.Pid {
		t.Fatalf("second run: %v, want it to name %d", err, h.cmd.Process.Pid)
	}
}

func TestLeftoversOfAKilledHostAreWaitedFor(t *testing.T) {
	dir := t.TempDir()
	h := startHost(t, dir)
	h.kill()
	run, err := TakeRun(context.Background(), dir, RunOptions{
		Wait: 30 * time.Second,
		Waiting: func(pids []int) {
			if runtime.GOOS == "linux" && !slices.Equal(pids, []int{h.plugin}) {
				t.Errorf("leftovers are %d, want %d", pids, h.plugin)
			}
			h.input.Close()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestLeftoversThatDoNotEndAreNamed(t *testing.T) {
	dir := t.TempDir()
	h := startHost(t, dir)
	h.kill()
	said := 0
	_, err := TakeRun(context.Background(), dir, RunOptions{
		Wait:    5 * waitPause,
		Waiting: func([]int) { said++ },
	})
	var left *LeftoversError
	if !errors.As(err, &left) || !strings.Contains(err.Error(), "after 100ms") {
		t.Fatalf("run beside leftovers: %v", err)
	}
	if said != 1 {
		t.Errorf("it said %d times that it waits, want once", said)
	}
	if runtime.GOOS == "linux" && !strings.Contains(err.Error(), fmt.Sprintf("[%d]", h.plugin)) {
		t.Errorf("%v, want it to name %d", err, h.plugin)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := TakeRun(ctx, dir, RunOptions{Waiting: func([]int) { cancel() }}); !errors.Is(err, context.Canceled) {
		t.Fatalf("run beside leftovers: %v, want %v", err, context.Canceled)
	}
	// It gave the host's lock back each time.
	f, err := Take(filepath.Join(dir, hostFile))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestPluginsKeepTheirLockWhenTheHostReleasesIt(t *testing.T) {
	dir := t.TempDir()
	run, err := TakeRun(context.Background(), dir, RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	plugin := role("plugin", dir)
	plugin.ExtraFiles = []*os.File{run.Inherit()}
	input, err := plugin.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	if err := run.Release(); err != nil {
		t.Fatal(err)
	}
	_, err = TakeRun(context.Background(), dir, RunOptions{Wait: time.Millisecond})
	var left *LeftoversError
	if !errors.As(err, &left) {
		t.Errorf("run beside a plugin: %v", err)
	}
	input.Close()
	if err := plugin.Wait(); err != nil {
		t.Fatal(err)
	}
	run, err = TakeRun(context.Background(), dir, RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	run.Release()
}
