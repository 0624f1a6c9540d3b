//go:build linux

package faulttest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/engine"
)

// damage is what can happen to a file of the checkpoint storage.
var damage = map[string]func(path string) error{
	"flipped": func(path string) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 0x10
		return os.WriteFile(path, b, 0o600)
	},
	"cut short": func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, info.Size()*2/3)
	},
	"emptied": func(path string) error { return os.Truncate(path, 0) },
	"removed": os.Remove,
}

// damagedCase has an enumerator with so many splits that its state is an object of
// its own, beside the manifest.
var damagedCase = func() pipelineCase {
	c := copyCase
	c.input.splitSize = 500
	return c
}()

// damagedAfterACommit returns a lab whose newest checkpoint is published and then
// damaged in the given way.
func damagedAfterACommit(t *testing.T, c pipelineCase, which, how string) (*lab, *checkpoint.Record) {
	t.Helper()
	l := c.open(t)
	c.set(l, unhurried(c))
	if r := l.run(fault{Step: engine.StepSavedThrough, Nth: 4, Do: killHost}); !r.killed {
		t.Fatal("the host was not killed")
	}
	newest := l.history().Newest()
	if newest.Committables == 0 {
		t.Fatal("the newest checkpoint has published nothing")
	}
	var path string
	switch which {
	case "manifest":
		path = l.stateDir("checkpoints", newest.Manifest.Name)
	case "state":
		at := filepath.Join(newest.UID, format(newest.N), format(newest.Epoch), "in", "enumerator")
		for _, o := range l.objects() {
			if strings.Contains(o, at) {
				path = o
			}
		}
		if path == "" {
			t.Fatalf("no object %s among %q", at, l.objects())
		}
	}
	if err := damage[how](path); err != nil {
		t.Fatal(err)
	}
	c.set(l, c.defaults())
	return l, newest
}

// TestADamagedNewestCheckpointIsPassedOverAndWhatItPublishedIsWithdrawn: the sink
// claims that it can withdraw, so the one before takes its place.
func TestADamagedNewestCheckpointIsPassedOverAndWhatItPublishedIsWithdrawn(t *testing.T) {
	for _, which := range []string{"manifest", "state"} {
		for how := range damage {
			t.Run(which+" "+how, func(t *testing.T) {
				t.Parallel()
				l, newest := damagedAfterACommit(t, damagedCase, which, how)
				r := l.finish()
				contains(t, r.stderr, "a damaged checkpoint was passed over", "checkpoint="+format(newest.N))
				damagedCase.check(l, false)
				for _, again := range l.history().Records {
					if again.N == newest.N && again.State != checkpoint.Abandoned {
						t.Errorf("checkpoint %d is %s", again.N, again.State)
					}
				}
			})
		}
	}
}

// withStdout has a second sink, which cannot withdraw what it has printed.
var withStdout = func() pipelineCase {
	c := damagedCase
	c.nodes += "  seen: {sink: stdout, input: slow}\n"
	c.parallelism = []int{1}
	return c
}()

// TestADamagedCheckpointIsRefusedWhereASinkCannotWithdraw names the checkpoint;
// --accept-duplicates overrides, and then nothing is missing.
func TestADamagedCheckpointIsRefusedWhereASinkCannotWithdraw(t *testing.T) {
	t.Parallel()
	c := withStdout
	l, newest := damagedAfterACommit(t, c, "manifest", "cut short")
	for range 2 { // it is refused again
		w := l.weir()
		w.wait(1)
		contains(t, w.errOut.String(), "checkpoint "+format(newest.N)+" cannot be restored", "would come twice")
	}
	w := l.weir("--accept-duplicates")
	w.wait(0)
	contains(t, w.errOut.String(), "checkpoint="+format(newest.N))
	seen := map[string]int{}
	for _, f := range published(t, l.path("out")) {
		for _, line := range f.lines {
			seen[line]++
		}
	}
	for line := range copied(c.input) {
		if seen[line] == 0 {
			t.Fatalf("missing: %.60s", line)
		}
	}
}

// TestADamagedCheckpointThatPublishedNothingIsPassedOverByAnySink: nothing can
// come twice.
func TestADamagedCheckpointThatPublishedNothingIsPassedOverByAnySink(t *testing.T) {
	t.Parallel()
	c := withStdout
	c.nodes = strings.Replace(c.nodes, "roll: {size: 4KiB}", "roll: {size: 1GiB, interval: 1h}", 1)
	l := c.open(t)
	c.set(l, unhurried(c))
	if r := l.run(fault{Step: engine.StepRetained, Nth: 4, Do: killHost}); !r.killed {
		t.Fatal("the host was not killed")
	}
	newest := l.history().Newest()
	if newest.Committables > 0 {
		t.Fatal("something is published")
	}
	if err := damage["flipped"](l.stateDir("checkpoints", newest.Manifest.Name)); err != nil {
		t.Fatal(err)
	}
	c.set(l, c.defaults())
	l.finish()
	c.check(l, false)
}

// TestAllCheckpointsDamaged: what the sink has published cannot be told from what
// it has not.
func TestAllCheckpointsDamaged(t *testing.T) {
	t.Parallel()
	l, _ := damagedAfterACommit(t, damagedCase, "manifest", "flipped")
	for _, o := range l.objects() {
		if err := damage["removed"](o); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	r := l.run()
	if r.Finished {
		t.Fatal("finished")
	}
	contains(t, r.Error, "cannot be restored", "is not kept any more")
}
