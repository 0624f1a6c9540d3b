//go:build linux

package faulttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/local"
)

// command is a run of the weir binary.
type command struct {
	l      *lab
	cmd    *exec.Cmd
	out    lockedBuffer
	errOut lockedBuffer
	done   chan struct{}
}

// lockedBuffer is written by a process and read by the test meanwhile.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// weir starts `weir run` on the pipeline.
func (l *lab) weir(args ...string) *command {
	l.t.Helper()
	c := &command{l: l, done: make(chan struct{})}
	c.cmd = exec.Command(binaries.weir, append([]string{"run", l.path("p.yaml"), "--state-dir", l.path("state"), "--progress", "none"}, args...)...)
	c.cmd.Env = append(os.Environ(), "TMPDIR="+l.tmp)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.errOut
	if err := c.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		_ = c.cmd.Wait()
	}()
	l.t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.done
	})
	return c
}

// wait waits for the end, checks the exit code, and that nothing is left.
func (c *command) wait(code int) {
	t := c.l.t
	t.Helper()
	c.exit(code)
	if left := names(t, c.l.stateDir("run")); len(left) > 0 {
		t.Errorf("left in run/: %q", left)
	}
	if left := names(t, c.l.tmp); len(left) > 0 {
		t.Errorf("temporary files left: %q", left)
	}
}

// exit waits for the end and checks the exit code.
func (c *command) exit(code int) {
	t := c.l.t
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(hostTimeout):
		_ = c.cmd.Process.Signal(syscall.SIGQUIT)
		<-c.done
		t.Fatalf("weir has not ended after %v:\n%s", hostTimeout, tail(c.errOut.String(), 400))
	}
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("exit code %d, want %d:\n%s\n%s", got, code, tail(c.out.String(), 20), tail(c.errOut.String(), 40))
	}
}

func (c *command) signal(s os.Signal) {
	c.l.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.l.t.Fatal(err)
	}
}

// children are the processes that a process has started.
func children(t *testing.T, pid int) []int {
	t.Helper()
	all, err := childrenOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func childrenOf(pid int) (all []int, err error) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, thread := range threads {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, thread.Name()))
		if err != nil {
			continue // the thread has ended
		}
		for _, s := range strings.Fields(string(b)) {
			child, err := strconv.Atoi(s)
			if err != nil {
				return nil, err
			}
			all = append(all, child)
		}
	}
	return all, err
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// history reads the pipeline's records, also beside a running host.
func (l *lab) history() checkpoint.History {
	l.t.Helper()
	ctx := context.Background()
	peeked, err := local.Peek(ctx, l.path("state"), l.name)
	if err != nil {
		l.t.Fatal(err)
	}
	defer peeked.Close()
	h, err := checkpoint.NewLedger(peeked, nil, l.name).Load(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	return h
}

// checkpoints waits until there are records of n checkpoints or a higher number.
func (l *lab) checkpoints(n uint64) {
	l.t.Helper()
	eventually(l.t, "a checkpoint", func() bool {
		if _, err := os.Stat(l.stateDir("weir.db")); err != nil {
			return false
		}
		peeked, err := local.Peek(context.Background(), l.path("state"), l.name)
		if err != nil {
			return false
		}
		defer peeked.Close()
		h, err := checkpoint.NewLedger(peeked, nil, l.name).Load(context.Background())
		return err == nil && len(h.Records) > 0 && h.Records[0].N >= n
	})
}

// objects are the files of the checkpoint storage.
func (l *lab) objects() []string {
	l.t.Helper()
	var out []string
	err := filepath.WalkDir(l.stateDir("checkpoints"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// objectsAreNamed checks that the checkpoint storage holds what retained records
// name and nothing else.
func (l *lab) objectsAreNamed() {
	l.t.Helper()
	if _, err := os.Stat(l.stateDir("checkpoints")); err != nil {
		return // the pipeline has another storage
	}
	st, err := local.OpenStorage(context.Background(), l.path("state"), l.name, "")
	if err != nil {
		l.t.Fatal(err)
	}
	defer st.Close()
	named := map[string]bool{}
	for _, r := range l.history().Records {
		if r.State == checkpoint.Abandoned {
			return // what it names may not be readable
		}
		m, err := checkpoint.ReadManifest(context.Background(), st, r)
		if err != nil {
			l.t.Errorf("checkpoint %d is retained: %v", r.N, err)
			return
		}
		named[r.Manifest.Name] = true
		for _, o := range m.Objects() {
			named[o.Name] = true
		}
	}
	for _, path := range l.objects() {
		if name, err := filepath.Rel(l.stateDir("checkpoints"), path); err != nil || !named[name] {
			l.t.Errorf("no record names the object %s", name)
		}
	}
}

// summary is the JSON that weir prints at the end.
func (c *command) summary() (s struct {
	Finished    bool     `json:"finished"`
	Uncommitted []string `json:"uncommitted_hosts"`
}) {
	c.l.t.Helper()
	if err := json.Unmarshal([]byte(c.out.String()), &s); err != nil {
		c.l.t.Fatalf("%q: %v", c.out.String(), err)
	}
	return s
}

// contains checks that a text has all parts.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in\n%s", p, text)
		}
	}
}
