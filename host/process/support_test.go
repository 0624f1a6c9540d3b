//go:build linux

package process

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// role is the command that plays a plugin.
func role(name string) Command {
	return Command{Name: "test", Args: []string{os.Args[0]}, Env: map[string]string{envRole: name, "GORACE": "atexit_sleep_ms=0"}}
}

// options are fit for a test that runs beside others on a busy machine. The
// cleanup checks that nothing is left of any process.
func options(t *testing.T) (Options, *logBuffer) {
	t.Helper()
	dir, remove, err := SocketDir(filepath.Join(t.TempDir(), "sockets"))
	if err != nil {
		t.Fatal(err)
	}
	before := openFiles(t)
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("sockets left in %s: %v (error %v)", dir, left, err)
		}
		if err := remove(); err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t, ignore)
		if left := children(t); len(left) > 0 {
			t.Errorf("processes left: %q", left)
		}
		if after := openFiles(t); !maps.Equal(before, after) {
			t.Errorf("open files before %v, after %v", before, after)
		}
	})
	log := &logBuffer{}
	return Options{
		SocketDir: dir, DumpDir: t.TempDir(), StartTimeout: 30 * time.Second, HealthTimeout: 30 * time.Second,
		HealthInterval: 50 * time.Millisecond, DumpTimeout: 30 * time.Second, StopTimeout: 30 * time.Second,
		Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, log
}

// started is a running process that the cleanup ends if the test has not.
func started(t *testing.T, cmd Command, opts Options) *Process {
	t.Helper()
	p, err := Start(t.Context(), cmd, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill("the test is over")
		<-p.Done()
	})
	return p
}

// do lets the plugin act; the answer is its text.
func do(t *testing.T, p *Process, action string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := p.Client().Validate(ctx, &pluginv1.ValidateRequest{Component: action})
	if err != nil {
		t.Fatalf("%s: %v", action, err)
	}
	return res.GetFaults()[0].GetMessage()
}

// act lets the plugin do what it does not survive.
func act(p *Process, action string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, _ = p.Client().Validate(ctx, &pluginv1.ValidateRequest{Component: action})
}

// ended waits for the process's end and returns its error.
func ended(t *testing.T, p *Process) *ExitError {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		t.Fatal("the process has not ended")
	}
	return p.Err()
}

// eventually waits until cond holds.
func eventually(t *testing.T, within time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// openFiles counts this process's files by what they are, without those that the
// Go runtime opens once.
func openFiles(t *testing.T) map[string]int {
	t.Helper()
	files := make(map[string]int)
	for _, e := range procDir(t, "/proc/self/fd") {
		link, err := os.Readlink("/proc/self/fd/" + e)
		if err != nil || strings.HasPrefix(link, "anon_inode:[event") || strings.HasPrefix(link, "/proc/") {
			continue
		}
		kind, _, _ := strings.Cut(link, ":[")
		files[kind]++
	}
	return files
}

// children are this process's children, zombies included.
func children(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, task := range procDir(t, "/proc/self/task") {
		b, err := os.ReadFile("/proc/self/task/" + task + "/children")
		if err != nil {
			continue // the thread has ended
		}
		for _, pid := range strings.Fields(string(b)) {
			stat, _ := os.ReadFile("/proc/" + pid + "/stat")
			all = append(all, string(stat))
		}
	}
	return all
}

func procDir(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// gone says whether a process has ended; a zombie has.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	return bytes.HasPrefix(bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:]), []byte("Z"))
}

// logBuffer collects the log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
