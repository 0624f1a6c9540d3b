//go:build linux

package faulttest

import (
	"slices"
	"testing"
	"time"

	"github.com/weirstream/weir/host/engine"
)

// Before a step is tried the host is killed where a record is durable that lists
// output which nobody has published. So the next run has something to restore, to
// commit and to sweep, and takes every step.
func killedAfterARecord(t *testing.T, c pipelineCase) *lab {
	t.Helper()
	l := c.open(t)
	slowly := c.defaults()
	slowly.took *= 5
	c.set(l, slowly)
	if r := l.run(fault{Step: engine.StepRecorded, Nth: 4, Do: killHost}); !r.killed {
		t.Fatal("the host was not killed")
	}
	c.set(l, c.defaults())
	return l
}

func TestTheHostDiesAtEachStep(t *testing.T) {
	for _, step := range engine.Steps() {
		t.Run(string(step), func(t *testing.T) {
			t.Parallel()
			l := killedAfterARecord(t, copyCase)
			if r := l.run(fault{Step: step, Nth: 1, Do: killHost}); !r.killed {
				t.Fatalf("the host did not come to step %q: %v", step, r.steps)
			}
			l.finish()
			copyCase.check(l, false)
		})
	}
}

// TestAnotherPipelineDiesAtEachStep takes the pipelines in turn, and goes on with
// another parallelism.
func TestAnotherPipelineDiesAtEachStep(t *testing.T) {
	for i, step := range engine.Steps() {
		c := allCases[1+i%(len(allCases)-1)]
		t.Run(string(step)+" of "+c.name, func(t *testing.T) {
			t.Parallel()
			l := killedAfterARecord(t, c)
			if r := l.run(fault{Step: step, Nth: 1, Do: killHost}); !r.killed {
				t.Fatalf("the host did not come to step %q: %v", step, r.steps)
			}
			s := c.defaults()
			s.parallelism = c.parallelism[len(c.parallelism)-1]
			c.set(l, s)
			l.finish()
			c.check(l, len(c.parallelism) > 1)
		})
	}
}

// unneeded are the steps at which an epoch does without its plugins: it has none
// yet, or what they did is done.
var unneeded = []engine.Step{
	engine.StepBeginning, engine.StepBegun, engine.StepAdopted,
	engine.StepMarkingFinish, engine.StepMarkedFinished, engine.StepClosing,
}

// TestAPluginDiesAtEachStep kills the plugins one after the other, each at a step
// of its own epoch. The host goes on by itself.
func TestAPluginDiesAtEachStep(t *testing.T) {
	for _, step := range engine.Steps() {
		t.Run(string(step), func(t *testing.T) {
			t.Parallel()
			l := killedAfterARecord(t, copyCase)
			var faults []fault
			for i := range 2 {
				faults = append(faults, fault{Step: step, Nth: i + 1, Do: killPlugin, Plugin: i, Wait: 20 * time.Millisecond})
			}
			r := l.run(faults...)
			if !r.Finished || len(r.faults) == 0 {
				t.Fatalf("finished %v: %s; faults %q", r.Finished, r.Error, r.faults)
			}
			if r.Status.Restarts.Total == 0 && !slices.Contains(unneeded, step) {
				t.Error("a plugin died and nothing was rolled back")
			}
			copyCase.check(l, false)
		})
	}
}

// TestAPluginHangsAtEachStep stops a plugin, which then neither answers nor ends.
func TestAPluginHangsAtEachStep(t *testing.T) {
	for i, step := range engine.Steps() {
		t.Run(string(step), func(t *testing.T) {
			t.Parallel()
			l := killedAfterARecord(t, copyCase)
			l.healthTimeout = time.Second
			r := l.run(fault{Step: step, Nth: 1, Do: stopPlugin, Plugin: i})
			if !r.Finished || len(r.faults) == 0 {
				t.Fatalf("finished %v: %s; faults %q", r.Finished, r.Error, r.faults)
			}
			copyCase.check(l, false)
		})
	}
}
