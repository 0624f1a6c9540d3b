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
	isolations := c.isolation
	if rng.IntN(2) == 0 {
		isolations = isolations[:1]
	} else {
		// Nothing is chained with what slows it down.
		c.input = long
	}
	draw := func() settings {
		return settings{
			parallelism: c.parallelism[rng.IntN(len(c.parallelism))],
			isolation:   isolations[rng.IntN(len(isolations))],
			took:        time.Duration(500+rng.IntN(500)) * time.Millisecond,
		}
	}
	l := c.open(t)
	c.check(l, changing(l, c, draw, rng))
}

// changing runs a pipeline to its end although anything dies at any time, with other
// settings in between, and says whether the parallelism was another at any time.
func changing(l *lab, c pipelineCase, draw func() settings, rng *rand.Rand) (rescaled bool) {
	l.t.Helper()
	l.healthTimeout = time.Second
	s := draw()
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
			s = draw()
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
