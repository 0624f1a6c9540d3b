package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// The tests of this file are about what happens when something fails: what is tried
// again, how often, and what the error says.

// TestTheRestartPolicyBoundsRestarts, and the error is the last cause.
func TestTheRestartPolicyBoundsRestarts(t *testing.T) {
	w := newWorld(t)
	w.script("mid").frame = func(tk *simTask) bool {
		tk.fail(&pluginv1.Error{Message: fmt.Sprintf("epoch %d is unlucky", tk.epoch)})
		return false
	}
	w.feed("in", 0, "a")
	r := w.start(line)
	_, err := r.wait()
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "task mid[0] (plugin weir): epoch 4 is unlucky", "the restart policy allows 3 restarts within 1h0m0s, and all are used")
	if s := r.engine.Status(); s.Restarts.Total != 3 || s.Restarts.Used != 3 || s.State != engine.StateFailed {
		t.Errorf("%+v, state %s", s.Restarts, s.State)
	}
}

// TestRestartsOutsideTheWindowDoNotCount.
func TestRestartsOutsideTheWindowDoNotCount(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	failures := 0
	w.script("mid").frame = func(tk *simTask) bool {
		mu.Lock()
		defer mu.Unlock()
		if failures++; failures > 5 {
			return true
		}
		time.Sleep(30 * time.Millisecond)
		tk.fail(&pluginv1.Error{Message: "unlucky"})
		return false
	}
	w.feed("in", 0, "a")
	w.end("in", 0)
	w.edit = func(c *engine.Config) { c.Pipeline.Restart.Attempts, c.Pipeline.Restart.Window = 1, time.Millisecond }
	r := w.start(line)
	r.finish()
	w.expectOut("out", "a")
	if s := r.engine.Status(); s.Restarts.Total != 5 {
		t.Errorf("%+v", s.Restarts)
	}
}

// TestTheWaitBeforeARestartDoubles, with a jitter of a quarter, up to its bound, and
// is no shorter than what the plugin asks for.
func TestTheWaitBeforeARestartDoubles(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		least []time.Duration
	}{
		"doubling":           {0, []time.Duration{75, 150, 150, 150}},
		"as the plugin says": {300, []time.Duration{300, 300, 300, 300}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var mu sync.Mutex
			var failed, opened []time.Time
			w.script("mid").open = func(tk *simTask) *pluginv1.Error {
				mu.Lock()
				defer mu.Unlock()
				if len(failed) > 0 {
					opened = append(opened, time.Now())
				}
				if len(failed) == len(c.least) {
					return nil
				}
				failed = append(failed, time.Now())
				return &pluginv1.Error{Message: "unlucky", RetryAfter: durationpb.New(c.after * time.Millisecond)}
			}
			w.feed("in", 0, "a")
			w.end("in", 0)
			w.start(strings.Replace(line, "attempts: 3, window: 1h, backoff: 1ms..1ms", "attempts: 9, window: 1h, backoff: 100ms..200ms", 1)).finish()
			for i, least := range c.least {
				if waited := opened[i].Sub(failed[i]); waited < least*time.Millisecond {
					t.Errorf("restart %d came after %v, want at least %v", i+1, waited, least*time.Millisecond)
				}
			}
		})
	}
}

// TestAFatalErrorIsNotTriedAgain.
func TestAFatalErrorIsNotTriedAgain(t *testing.T) {
	for name, do := range map[string]func(w *world){
		"at open": func(w *world) {
			w.script("mid").open = func(*simTask) *pluginv1.Error {
				return &pluginv1.Error{Class: pluginv1.Error_CLASS_FATAL, Message: "wrong password"}
			}
		},
		"while it runs": func(w *world) {
			w.script("mid").frame = func(tk *simTask) bool {
				tk.fail(&pluginv1.Error{Class: pluginv1.Error_CLASS_FATAL, Message: "wrong password"})
				return false
			}
		},
		"when asked": func(w *world) {
			w.script("mid").probe = func() []*pluginv1.Fault {
				return []*pluginv1.Fault{{Path: "password", Message: "wrong password"}, {Message: "not this", Warning: true}}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			do(w)
			w.feed("in", 0, "a")
			r := w.start(line)
			_, err := r.wait()
			if err == nil || r.engine.Status().Restarts.Total != 0 {
				t.Fatalf("%v after %d restarts", err, r.engine.Status().Restarts.Total)
			}
			contains(t, err.Error(), "mid", "wrong password")
		})
	}
}

// TestAWarningOfAProbeStopsNothing, and a plugin that has no probe neither.
func TestAWarningOfAProbeStopsNothing(t *testing.T) {
	w := newWorld(t)
	w.script("mid").probe = func() []*pluginv1.Fault { return []*pluginv1.Fault{{Message: "slow disk", Warning: true}} }
	w.feed("in", 0, "a")
	w.end("in", 0)
	w.start(line).finish()
}

// TestAProcessMayDieAtAnyStep: the pipeline rolls back, whatever it was doing.
func TestAProcessMayDieAtAnyStep(t *testing.T) {
	for _, step := range engine.Steps() {
		for _, node := range []string{"in", "out"} {
			t.Run(fmt.Sprintf("%s of %s", step, node), func(t *testing.T) {
				w := newWorld(t)
				w.feed("in", 0, "a")
				w.start(line).awaitAndCrash("out", 1)
				w.atStep(step, 1, func() {
					w.mu.Lock()
					var p *proc
					for _, other := range w.procs {
						// Of the second run: the sink's is the one that is asked to commit.
						if other.number > 3 && (p == nil || node == "out") {
							p = other
						}
					}
					w.mu.Unlock()
					if p != nil {
						p.die()
					}
				})
				w.feed("in", 0, "b")
				w.end("in", 0)
				r := w.start(line)
				r.finish()
				w.expectOut("out", "a", "b")
			})
		}
	}
}

// TestAPluginThatDoesNotStartIsTriedAgain.
func TestAPluginThatDoesNotStartIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	tries := 0
	w.edit = func(c *engine.Config) {
		start := c.Start
		c.Start = func(ctx context.Context, p pipeline.Plugin) (engine.Process, error) {
			mu.Lock()
			tries++
			n := tries
			mu.Unlock()
			if n == 2 {
				return nil, errors.New("out of memory")
			}
			return start(ctx, p)
		}
	}
	w.feed("in", 0, "a")
	w.end("in", 0)
	r := w.start(line)
	r.finish()
	if s := r.engine.Status(); s.Restarts.Total != 1 || !strings.Contains(s.Restarts.Cause, "out of memory") {
		t.Errorf("%+v", s.Restarts)
	}
}

// TestASweepIsRepeatedUntilItIsAnswered, and nothing opens before.
func TestASweepIsRepeatedUntilItIsAnswered(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	w.start(line).awaitAndCrash("out", 1)
	var mu sync.Mutex
	deaf := 2
	w.script("out").sweep = func(*pluginv1.SweepRequest) (*pluginv1.Error, error) {
		mu.Lock()
		defer mu.Unlock()
		if deaf--; deaf >= 0 {
			return nil, status.Error(codes.Unavailable, "closed")
		}
		return nil, nil
	}
	w.end("in", 0)
	w.start(line).finish()
	if n := len(w.happened("sweep out fails")); n != 2 {
		t.Errorf("%d sweeps failed", n)
	}
	w.before("sweep out fails", "open in[0] e2")
}

// TestACommitterOfAnOlderEpochHasNothingMoreToSay: a newer one has been there.
func TestACommitterOfAnOlderEpochHasNothingMoreToSay(t *testing.T) {
	w := newWorld(t)
	w.script("out").commit = func(*pluginv1.CommitRequest) (*pluginv1.Error, error) {
		return nil, status.Error(codes.FailedPrecondition, "epoch 1 is over: epoch 2 has begun")
	}
	w.feed("in", 0, "a")
	r := w.start(line)
	_, err := r.wait()
	if err == nil || r.engine.Status().Restarts.Total != 0 {
		t.Fatalf("%v after %d restarts", err, r.engine.Status().Restarts.Total)
	}
	contains(t, err.Error(), "node out: commit refused", "epoch 2 has begun")
}
