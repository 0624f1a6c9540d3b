//go:build linux

package faulttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination/flock"
	"github.com/weirstream/weir/host/engine"
)

// unhurried makes a case run long enough to be stopped at leisure.
func unhurried(c pipelineCase) settings {
	s := c.defaults()
	s.took = time.Minute
	return s
}

// TestASignalMakesAFinalCheckpointAndItsOutputIsPublished: exit 130 or 143, no
// output is left unpublished, and the next run goes on behind it.
func TestASignalMakesAFinalCheckpointAndItsOutputIsPublished(t *testing.T) {
	for signal, code := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130} {
		t.Run(fmt.Sprint(signal), func(t *testing.T) {
			t.Parallel()
			c := compressedCase
			l := c.open(t)
			c.set(l, unhurried(c))
			w := l.weir("-o", "json")
			l.checkpoints(4)
			w.signal(signal)
			w.wait(code)
			if s := w.summary(); s.Finished || len(s.Uncommitted) > 0 {
				t.Errorf("summary %+v", s)
			}
			h := l.history()
			if last := h.Newest(); !last.Halt || h.Committed < last.N {
				t.Errorf("the last checkpoint is %+v, committed through %d", last, h.Committed)
			}
			for path := range c.sinks {
				if len(published(t, l.path(path))) == 0 {
					t.Errorf("nothing is published in %s", path)
				}
				for _, name := range hidden(t, l.path(path)) {
					if strings.HasSuffix(name, ".part") {
						t.Errorf("%s is not published: %s", path, name)
					}
				}
			}
			c.set(l, c.defaults())
			l.weir().wait(0)
			c.check(l, false)
		})
	}
}

// TestASecondSignalEndsAtOnceWithoutLoss stops while a checkpoint cannot complete,
// since a plugin stands still.
func TestASecondSignalEndsAtOnceWithoutLoss(t *testing.T) {
	t.Parallel()
	c := copyCase
	l := c.open(t)
	c.set(l, unhurried(c))
	w := l.weir()
	l.checkpoints(3)
	stopped := 0
	for _, pid := range children(t, w.cmd.Process.Pid) {
		stopped++
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	if stopped != 2 {
		t.Fatalf("%d plugins", stopped)
	}
	w.signal(syscall.SIGTERM)
	time.Sleep(100 * time.Millisecond)
	w.signal(syscall.SIGTERM)
	w.wait(143)
	c.set(l, c.defaults())
	l.weir().wait(0)
	c.check(l, false)
}

func TestASecondRunIsRefusedAtOnceNamingTheFirst(t *testing.T) {
	t.Parallel()
	c := copyCase
	l := c.open(t)
	c.set(l, unhurried(c))
	first := l.weir()
	l.checkpoints(1)
	second := l.weir()
	second.exit(1)
	contains(t, second.errOut.String(), "pipeline p is being run", fmt.Sprintf("process %d", first.cmd.Process.Pid))
	if strings.Contains(second.errOut.String(), "waiting") {
		t.Errorf("it waited:\n%s", second.errOut.String())
	}
	n := l.history().Records[0].N
	l.checkpoints(n + 2) // the first goes on
	first.signal(syscall.SIGTERM)
	first.wait(143)
}

// TestLeftoversOfAKilledRunAreWaitedFor holds the lock that plugins inherit, as a
// plugin does that has not ended yet.
func TestLeftoversOfAKilledRunAreWaitedFor(t *testing.T) {
	t.Parallel()
	c := copyCase
	l := c.open(t)
	if r := l.run(fault{Step: engine.StepRecorded, Nth: 2, Do: killHost}); !r.killed {
		t.Fatal("the host was not killed")
	}
	// The killed host's own plugins hold it for a moment.
	var leftover *os.File
	eventually(t, "the lock is free", func() (ok bool) {
		var err error
		leftover, err = flock.Take(l.stateDir("plugins.lock"))
		var held *flock.HeldError
		if err != nil && !errors.As(err, &held) {
			t.Fatal(err)
		}
		return err == nil
	})
	w := l.weir()
	eventually(t, "it says that it waits", func() bool {
		return strings.Contains(w.errOut.String(), "waiting for plugin processes of a run that was killed")
	})
	if err := leftover.Close(); err != nil {
		t.Fatal(err)
	}
	w.wait(0)
	contains(t, w.errOut.String(), fmt.Sprint(os.Getpid()))
	c.check(l, false)
}

// TestLeftoversThatDoNotEndAreNamed gives up after some seconds.
func TestLeftoversThatDoNotEndAreNamed(t *testing.T) {
	t.Parallel()
	l := copyCase.open(t)
	if err := os.MkdirAll(l.stateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	leftover, err := flock.Take(l.stateDir("plugins.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer leftover.Close()
	w := l.weir()
	w.wait(1)
	contains(t, w.errOut.String(), fmt.Sprint(os.Getpid()))
}

// TestNoPluginSurvivesItsHost kills a host whose plugins are stopped, so that they
// read no pipe and answer no signal.
func TestNoPluginSurvivesItsHost(t *testing.T) {
	t.Parallel()
	c := diamondCase
	l := c.open(t)
	c.set(l, settings{parallelism: 2, isolation: "task", took: time.Second})
	var faults []fault
	for i := range 4 {
		faults = append(faults, fault{Step: engine.StepRunning, Nth: 1, Do: stopPlugin, Plugin: i * 3})
	}
	r := l.run(append(faults, fault{Step: engine.StepPending, Nth: 2, Do: killHost}, fault{After: 3 * time.Second, Do: killHost})...)
	if !r.killed || len(r.processes) < 10 {
		t.Fatalf("killed %v, processes %d", r.killed, len(r.processes))
	}
	c.set(l, c.defaults())
	l.finish()
	c.check(l, false)
}

// TestAPathThatIsTooLongForSocketsLeavesNothingEither has its sockets in the folder
// for temporary files, and is killed.
func TestAPathThatIsTooLongForSocketsLeavesNothingEither(t *testing.T) {
	t.Parallel()
	c := copyCase
	l := c.open(t)
	l.dir = filepath.Join(l.dir, strings.Repeat("long", 30))
	if err := os.MkdirAll(l.path("in"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.input.write(l)
	c.set(l, c.defaults())
	if r := l.run(fault{Step: engine.StepRecorded, Nth: 2, Do: killHost}); !r.killed {
		t.Fatal("the host was not killed")
	}
	if len(names(t, l.tmp)) == 0 {
		t.Fatal("the sockets were not in the folder for temporary files")
	}
	l.finish()
	c.check(l, false)
}
