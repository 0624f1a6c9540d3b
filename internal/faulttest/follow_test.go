//go:build linux

package faulttest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/host/engine"
)

// TestAFollowedLogSurvivesKillsAndRotation appends to a log and rotates it, while
// the pipeline that follows it dies again and again.
func TestAFollowedLogSurvivesKillsAndRotation(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	l := newLab(t)
	l.pipeline(`
name: p
checkpoint: {interval: 40ms, retain: 2}
restart: {attempts: 1000, window: 1h, backoff: 5ms..20ms}
batch: {size: 4KiB, linger: 2ms}
nodes:
  in:  {source: file, config: {path: '$DIR/in/app.log*', follow: true, poll: 20ms}}
  out: {sink: file, input: in, config: {path: $DIR/out/, roll: {interval: 100ms}}}
`)
	e := expectation{}
	written := make(chan error, 1)
	writer := rand.New(rand.NewPCG(rng.Uint64(), 0))
	go func() { written <- appendLines(l.path("in"), e, 12, 250, writer) }()
	for i := range 4 {
		f := fault{Step: engine.StepRecorded, Nth: 3 + rng.IntN(4), Do: killHost}
		if i%2 == 0 {
			f = fault{Step: engine.StepCommitting, Nth: 3, Do: killHost}
		}
		plugin := fault{After: time.Duration(rng.IntN(300)) * time.Millisecond, Do: killPlugin}
		// Where nothing is written there is no checkpoint to die in.
		late := fault{After: time.Second, Do: killHost}
		if r := l.run(f, plugin, late); !r.killed {
			t.Fatalf("not killed: %s", r.Error)
		}
	}
	last := l.start()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	eventually(t, "every line is published", func() bool {
		if trace, err := os.ReadFile(last.trace); err != nil || !strings.Contains(string(trace), "step 1 running") {
			return false
		}
		n := 0
		for _, f := range published(t, l.path("out")) {
			n += len(f.lines)
		}
		return n >= len(e)
	})
	last.signal()
	if r := last.wait(); r.Error != "" || r.Finished {
		t.Errorf("finished %v, %s", r.Finished, r.Error)
	}
	e.check(t, published(t, l.path("out")), byName)
}

// appendLines writes a log, some lines at a time, and rotates it now and then. The
// order of all lines, across the files, is what a reader must keep.
func appendLines(dir string, e expectation, rotations, lines int, rng *rand.Rand) error {
	n := 0
	for r := range rotations {
		f, err := os.Create(dir + "/app.log")
		if err != nil {
			return err
		}
		for range lines {
			line := fmt.Sprintf("%06d %s", n, filling[:rng.IntN(80)])
			e[line] = place{"log", n}
			n++
			if _, err := f.WriteString(line + "\n"); err != nil {
				return err
			}
			if rng.IntN(20) == 0 {
				time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
		if r < rotations-1 {
			if err := os.Rename(dir+"/app.log", fmt.Sprintf("%s/app.log.%d", dir, r)); err != nil {
				return err
			}
		}
	}
	return nil
}
