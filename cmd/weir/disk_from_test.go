package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// numbers are those of the checkpoints that are kept, newest first.
func (r *stateRoom) numbers() []uint64 {
	r.t.Helper()
	var all []struct {
		N         uint64 `json:"n"`
		Savepoint string `json:"savepoint"`
	}
	if err := json.Unmarshal([]byte(r.weir("checkpoint", "ls", "p", "-o", "json")), &all); err != nil {
		r.t.Fatal(err)
	}
	var out []uint64
	for _, c := range all {
		if c.Savepoint == "" {
			out = append(out, c.N)
		}
	}
	return out
}

// shares checks that a checkpoint has files that an earlier one stored: of once, where
// nothing has come to write others.
func (r *stateRoom) shares(checkpoint string) {
	r.t.Helper()
	if shown := r.weir("checkpoint", "show", "p", checkpoint); !strings.Contains(shown, "of it in files that an earlier checkpoint stored") {
		r.t.Fatalf("checkpoint %s shares no file:\n%s", checkpoint, shown)
	}
}

// wholeAfter checks that the newest checkpoint holds what a pipeline in memory that has
// never stopped has after so many records.
func (r *stateRoom) wholeAfter(records, parallelism int) {
	r.t.Helper()
	memory := newStateRoom(r.t)
	memory.pipeline("memory", parallelism, 1)
	memory.run(records)
	r.same(r.export(), memory.export(), "after %d records on disk, and in memory", records)
	if said := r.weir("checkpoint", "verify", "p"); strings.Contains(said, "damaged") {
		r.t.Error(said)
	}
}

// TestACheckpointOnDiskIsWholeWhenThoseAroundItAreGone: it shares files with two that
// retention has deleted and with newer ones, and a run from it finds all state there.
func TestACheckpointOnDiskIsWholeWhenThoseAroundItAreGone(t *testing.T) {
	r := newStateRoom(t)
	r.pipeline("disk", 1, 3)
	for range 3 {
		r.run(300)
	}
	r.shares("3")
	before := r.export("3")
	r.run(300)
	r.run(300)
	if got := r.numbers(); len(got) != 3 || got[2] != 3 {
		t.Fatalf("checkpoints %v are kept", got)
	}
	r.same(r.export("3"), before, "checkpoint 3 as it is, and as it was")
	r.run(100, "--from", "3", "--retract")
	r.wholeAfter(1000, 1)

	// From there, with other tasks.
	r.pipeline("disk", 2, 1)
	r.run(100)
	r.wholeAfter(1100, 2)
}

// TestASavepointOnDiskKeepsItsFiles: all checkpoints around it are gone.
func TestASavepointOnDiskKeepsItsFiles(t *testing.T) {
	r := newStateRoom(t)
	r.pipeline("disk", 1, 1)
	r.run(300)
	running := r.command("run", "p.yaml", "--progress", "none")
	var said bytes.Buffer
	running.Stderr = &said
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- running.Wait() }()
	t.Cleanup(func() { _ = running.Process.Kill() })
	waitUntil(t, "it runs", func() bool {
		out, err := r.command("savepoint", "p", "kept").CombinedOutput()
		return err == nil || strings.Contains(string(out), "exists")
	})
	r.weir("stop", "p")
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	r.shares("kept")
	before := r.export("kept")
	for range 3 {
		r.run(300)
	}
	if got := r.numbers(); len(got) != 1 {
		t.Fatalf("checkpoints %v are kept", got)
	}
	r.same(r.export("kept"), before, "the savepoint as it is, and as it was")
	r.run(100, "--from", "kept", "--retract")
	r.wholeAfter(r.read("kept")+100, 1)
}

var readPattern = regexp.MustCompile(`"made":(\d+)`)

// read is how many records had been read at a checkpoint.
func (r *stateRoom) read(of string) int {
	r.t.Helper()
	line := r.weir("checkpoint", "export", "p", of, "--node", "in")
	found := readPattern.FindStringSubmatch(line)
	if found == nil {
		r.t.Fatalf("no position in %s", line)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}
