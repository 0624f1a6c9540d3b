//go:build linux

package faulttest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirstream/weir/host/engine"
)

// TestRandomFaults lets anything die at any time, over and over, and changes the
// parallelism and the isolation in between.
func TestRandomFaults(t *testing.T) {
	rng := seeded(t)
	for i := range rounds(t, 3*len(allCases)) {
		c := allCases[i%len(allCases)]
		rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
		t.Run(fmt.Sprintf("%d %s", i, c.name), func(t *testing.T) {
			t.Parallel()
			randomRound(t, c, rng)
		})
	}
}

func randomRound(t *testing.T, c pipelineCase, rng *rand.Rand) {
	if rng.IntN(2) == 0 {
		c.isolation = c.isolation[:1]
	} else {
		// Nothing is chained with what slows it down.
		c.input = long
	}
	l := c.open(t)
	c.check(l, changing(l, c, 500*time.Millisecond, time.Second, rng))
}

// draw draws settings for a run that takes from least to most.
func (c pipelineCase) draw(least, most time.Duration, rng *rand.Rand) settings {
	return settings{
		parallelism: c.parallelism[rng.IntN(len(c.parallelism))],
		isolation:   c.isolation[rng.IntN(len(c.isolation))],
		took:        least + time.Duration(rng.Int64N(int64(most-least))),
	}
}

// changing runs a pipeline to its end although anything dies at any time, with other
// settings in between, and says whether the parallelism was another at any time. A run
// that nothing happens to takes from least to most.
func changing(l *lab, c pipelineCase, least, most time.Duration, rng *rand.Rand) (rescaled bool) {
	l.t.Helper()
	l.healthTimeout = time.Second
	s := c.draw(least, most, rng)
	for range 1 + rng.IntN(4) {
		c.set(l, s)
		var faults []fault
		for range 1 + rng.IntN(3) {
			faults = append(faults, randomFault(rng))
		}
		r := l.run(faults...)
		if r.Error != "" {
			l.t.Fatalf("%v %v: %s\n%s", s, faults, r.Error, tail(r.stderr, 40))
		}
		if rng.IntN(3) == 0 {
			was := s.parallelism
			s = c.draw(least, most, rng)
			rescaled = rescaled || s.parallelism != was
		}
	}
	c.set(l, s)
	l.finish()
	return rescaled
}

// randomFault is a fault at a step, or at a moment.
func randomFault(rng *rand.Rand) fault {
	f := fault{
		Do:     []action{killHost, killHost, killPlugin, killPlugin, killPlugin, stopPlugin, askToStop}[rng.IntN(7)],
		Plugin: rng.IntN(20),
		Wait:   time.Duration(rng.IntN(3)) * 10 * time.Millisecond,
	}
	if rng.IntN(3) == 0 {
		f.After = time.Duration(rng.IntN(800)) * time.Millisecond
		return f
	}
	f.Step, f.Nth = engine.Steps()[rng.IntN(len(engine.Steps()))], 1
	if rng.IntN(2) == 0 {
		f.Nth += rng.IntN(6)
	}
	return f
}
