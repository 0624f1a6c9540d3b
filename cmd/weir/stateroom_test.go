package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// stateRoom is a folder with a pipeline that has every first-party operator with state
// by key, of one input. What it holds depends on nothing but how much was read; the
// state of once is that of the first 300 records. The input is slower than any machine,
// so that no barrier waits behind queues.
type stateRoom struct {
	t        *testing.T
	dir, tmp string
}

func newStateRoom(t *testing.T) *stateRoom {
	t.Helper()
	r := &stateRoom{t: t, dir: t.TempDir()}
	var err error
	// Sockets need a short path.
	if r.tmp, err = os.MkdirTemp("", "w"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(r.tmp) })
	return r
}

// pipeline writes the file p.yaml; the newest retain checkpoints are kept.
func (r *stateRoom) pipeline(backend string, parallelism, retain int) {
	r.t.Helper()
	text := fmt.Sprintf(`name: p
checkpoint: {interval: 1h, retain: %[3]d}
max_parallelism: 16
nodes:
  in:     {source: generator, config: {keys: 40, rate: 1000}, event_time: {from: record}}
  totals: {operator: aggregate, input: in, parallelism: %[2]d, state: %[1]s, config: {aggregates: {n: count(), d: distinct(json.seq %% 9)}}}
  first:  {operator: dedup, input: in, parallelism: %[2]d, state: %[1]s, config: {within: 1h, time: event}}
  panes:  {operator: window, input: in, parallelism: %[2]d, state: %[1]s, config: {size: 10s, aggregates: {n: count(), max: max(json.seq)}}}
  early:  {operator: expr, input: in, config: {filter: json.seq < 300}}
  once:   {operator: aggregate, input: early, parallelism: %[2]d, state: %[1]s, config: {aggregates: {n: count()}}}
  out:    {sink: file, input: [totals, first, panes, once], config: {path: out/}}
`, backend, parallelism, retain)
	if err := os.WriteFile(filepath.Join(r.dir, "p.yaml"), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *stateRoom) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(r.t.Context(), "weir", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "TMPDIR="+r.tmp, "XDG_STATE_HOME="+filepath.Join(r.dir, "state"))
	return cmd
}

// weir runs a command, which succeeds.
func (r *stateRoom) weir(args ...string) string {
	r.t.Helper()
	cmd := r.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("weir %s: %v\n%s%s", strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}

// run reads so many records more, and makes a checkpoint.
func (r *stateRoom) run(records int, flags ...string) {
	r.t.Helper()
	r.weir(append([]string{"run", "p.yaml", "--limit", strconv.Itoa(records), "--progress", "none"}, flags...)...)
}

// export is the state of a checkpoint, by default the newest.
func (r *stateRoom) export(of ...string) string {
	r.t.Helper()
	return r.weir(append([]string{"checkpoint", "export", "p", "--node", "totals,first,panes,once"}, of...)...)
}

// same compares exports, and tells the first line that differs.
func (r *stateRoom) same(got, want, format string, args ...any) {
	r.t.Helper()
	a, b := strings.SplitAfter(got, "\n"), strings.SplitAfter(want, "\n")
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			r.t.Errorf("%s differ in line %d of %d and %d:\n%s%s", fmt.Sprintf(format, args...), i+1, len(a), len(b), x, y)
			return
		}
	}
}
