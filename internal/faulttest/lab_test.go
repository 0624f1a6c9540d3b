//go:build linux

package faulttest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirstream/weir/host/engine"
)

// lab is one pipeline with its input, its output and its state, in a folder of its
// own.
type lab struct {
	t    *testing.T
	dir  string
	tmp  string // for temporary files
	name string
	runs int
	// healthTimeout is when a plugin that does not answer is given up.
	healthTimeout time.Duration
	log           []string
}

// newLab returns an empty one. When the test ends nothing may be left running.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, dir: shortTempDir(t), name: "p", healthTimeout: 5 * time.Second}
	l.tmp = l.path("tmp")
	for _, d := range []string{l.tmp, l.path("in")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, line := range l.log {
				t.Log(line)
			}
		}
	})
	return l
}

// shortTempDir is short enough for sockets below it.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("WEIR_FAULT_KEEP") != "" {
			t.Logf("kept %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func (l *lab) path(elem ...string) string { return filepath.Join(append([]string{l.dir}, elem...)...) }

// stateDir is the folder of this pipeline's state.
func (l *lab) stateDir(elem ...string) string {
	return l.path(append([]string{"state", l.name}, elem...)...)
}

// pipeline writes the pipeline file. $DIR stands for the lab's folder, $PLUGIN for
// the program that serves as a plugin.
func (l *lab) pipeline(yaml string) {
	l.t.Helper()
	yaml = strings.NewReplacer("$DIR", l.dir, "$PLUGIN", binaries.self).Replace(yaml)
	if err := os.WriteFile(l.path("p.yaml"), []byte(yaml), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// amend changes the pipeline's file in one place.
func (l *lab) amend(from, to string) {
	l.t.Helper()
	text, err := os.ReadFile(l.path("p.yaml"))
	if err != nil {
		l.t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		l.t.Fatalf("%q is not in\n%s", from, text)
	}
	l.pipeline(strings.Replace(string(text), from, to, 1))
}

// fewRestarts lets a pipeline fail soon.
func (l *lab) fewRestarts() {
	l.t.Helper()
	l.amend("attempts: 1000, window: 1h", "attempts: 2, window: 1h")
}

// run is one run of the host that has ended.
type run struct {
	report
	killed    bool // by its own fault
	steps     map[engine.Step]int
	processes []int
	faults    []string // that were committed
	stderr    string
}

// running is a host that runs.
type running struct {
	l      *lab
	cmd    *exec.Cmd
	out    bytes.Buffer
	errOut bytes.Buffer
	trace  string
	done   chan error
}

// hostTimeout is how long a run may take; none is that slow.
const hostTimeout = 2 * time.Minute

// start starts a host.
func (l *lab) start(faults ...fault) *running {
	l.t.Helper()
	l.runs++
	r := &running{l: l, trace: l.path(fmt.Sprintf("trace-%d", l.runs)), done: make(chan error, 1)}
	spec, err := json.Marshal(hostSpec{
		File: l.path("p.yaml"), Name: l.name, StateDir: l.path("state"), Trace: r.trace, Faults: faults,
		HealthTimeout: l.healthTimeout,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	r.cmd = exec.Command(binaries.self, roleHost)
	r.cmd.Env = append(os.Environ(), envHost+"="+string(spec), "TMPDIR="+l.tmp)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.errOut
	// It ends with this process, and so does the host.
	if _, err := r.cmd.StdinPipe(); err != nil {
		l.t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() { r.done <- r.cmd.Wait() }()
	return r
}

// run runs the pipeline once and checks that nothing is left of the run.
func (l *lab) run(faults ...fault) run {
	l.t.Helper()
	return l.start(faults...).wait()
}

// wait waits for the end of the run.
func (r *running) wait() run {
	l := r.l
	l.t.Helper()
	var err error
	select {
	case err = <-r.done:
	case <-time.After(hostTimeout):
		_ = r.cmd.Process.Signal(syscall.SIGQUIT)
		<-r.done
		l.t.Fatalf("the host has not ended after %v:\n%s", hostTimeout, tail(r.errOut.String(), 400))
	}
	out := run{steps: map[engine.Step]int{}, stderr: r.errOut.String()}
	r.readTrace(&out)
	status := r.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		out.killed = true
	case err != nil:
		l.t.Fatalf("the host ended with %v:\n%s", err, around(out.stderr))
	default:
		if err := json.Unmarshal(r.out.Bytes(), &out.report); err != nil {
			l.t.Fatalf("the host's report %q: %v\n%s", r.out.String(), err, tail(out.stderr, 100))
		}
	}
	l.log = append(l.log, fmt.Sprintf("run %d: killed %v, finished %v, error %q, faults %q, steps %v", l.runs, out.killed, out.Finished, out.Error, out.faults, out.steps))
	if out.Leak != "" {
		l.t.Errorf("goroutines left in the host: %s", out.Leak)
	}
	l.nothingRuns(out)
	return out
}

// nothingRuns checks that no plugin outlives its host by more than two seconds,
// and that a host that ended by itself leaves no socket.
func (l *lab) nothingRuns(r run) {
	l.t.Helper()
	deadline := time.Now().Add(2 * time.Second)
	for _, pid := range r.processes {
		for !gone(pid) {
			if time.Now().After(deadline) {
				l.t.Errorf("plugin process %d is there two seconds after its host", pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	if r.killed {
		return
	}
	if left := names(l.t, l.stateDir("run")); len(left) > 0 {
		l.t.Errorf("left in run/: %q", left)
	}
	if left := names(l.t, l.tmp); len(left) > 0 {
		l.t.Errorf("temporary files left: %q", left)
	}
}

// names lists a folder, which need not exist.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// signal asks the host to stop.
func (r *running) signal() {
	r.l.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.l.t.Fatal(err)
	}
}

func (r *running) readTrace(out *run) {
	f, err := os.Open(r.trace)
	if err != nil {
		r.l.t.Fatalf("%v\n%s", err, tail(r.errOut.String(), 50))
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		kind, rest, _ := strings.Cut(s.Text(), " ")
		switch kind {
		case "step":
			n, name, _ := strings.Cut(rest, " ")
			times, err := strconv.Atoi(n)
			if err != nil {
				r.l.t.Fatal(err)
			}
			out.steps[engine.Step(name)] = max(times, out.steps[engine.Step(name)])
		case "process":
			pid, _, _ := strings.Cut(rest, " ")
			n, err := strconv.Atoi(pid)
			if err != nil {
				r.l.t.Fatal(err)
			}
			out.processes = append(out.processes, n)
		case "fault":
			out.faults = append(out.faults, rest)
		case "error":
			r.l.t.Errorf("a fault failed: %s", rest)
		}
	}
}

// finish runs the pipeline without faults until it has finished.
func (l *lab) finish() run {
	l.t.Helper()
	r := l.run()
	if !r.Finished {
		l.t.Fatalf("the pipeline did not finish: %s\n%s", r.Error, tail(r.stderr, 60))
	}
	return r
}

// gone says whether a process has ended; a zombie has.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	return bytes.HasPrefix(bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:]), []byte("Z"))
}

// around is what a Go program says when it panics, or the last lines.
func around(s string) string {
	if i := max(strings.Index(s, "panic: "), strings.Index(s, "fatal error: ")); i >= 0 {
		return s[i:min(len(s), i+4000)]
	}
	return tail(s, 60)
}

// tail is the last lines of a text.
func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func format(n uint64) string { return strconv.FormatUint(n, 10) }
