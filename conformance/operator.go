package conformance

import (
	"fmt"
	"strings"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
)

// outcome is what came of some input, by output.
type outcome map[string][]exchange.Record

// outcomeOf is what a task has sent before a cut.
func (t *T) outcomeOf(c *rig.Cut, task int) outcome {
	out := make(outcome)
	for _, name := range t.outputs() {
		out[name] = plain(c.Received(task, name))
	}
	return out
}

// compare fails the case where two outcomes differ: in order where the component
// keeps it, else as bags.
func (t *T) compare(when string, want, got outcome) {
	for _, name := range t.outputs() {
		d := difference(want[name], got[name], exchange.AllFields)
		if d == "" && t.Left.GetPreservesOrder() {
			d = sequence(want[name], got[name], exchange.AllFields)
		}
		if d != "" {
			t.Fatalf("%s, on %q: %s", when, name, d)
		}
	}
}

// alone is what comes of input that one task in a process of its own gets at once.
func (t *T) alone(in []piece) outcome {
	p := t.Start()
	o := t.Open(1, 1, nil)
	o.UID += "ref"
	s := p.Stage(o)
	for _, x := range in {
		s.Send(0, x.port, x.records...)
	}
	cut := endOf(s)
	s.Close()
	out := t.outcomeOf(cut, 0)
	t.Logf("of %s came %s", pieces(in), out)
	return out
}

// endOf ends the input of a stage as a source does: event time first.
func endOf(s *rig.Stage) *rig.Cut {
	s.EndOfTime()
	return s.Checkpoint(rig.End)
}

func pieces(in []piece) string {
	var parts []string
	for _, p := range in {
		parts = append(parts, fmt.Sprintf("%d records into port %d (%s)", len(p.records), p.port, list(p.records)))
	}
	return strings.Join(parts, " and ")
}

func (o outcome) String() string {
	var parts []string
	for name, records := range o {
		if len(records) > 0 {
			parts = append(parts, fmt.Sprintf("%d records on %q (%s)", len(records), name, list(records)))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, " and ")
}

// cutUp divides input into small pieces at random, in its order.
func (t *T) cutUp(in []piece) []piece {
	var out []piece
	for _, p := range in {
		for rest := p.records; len(rest) > 0; {
			n := min(len(rest), 1+t.Rand.IntN(9))
			out = append(out, piece{p.port, rest[:n]})
			rest = rest[n:]
		}
	}
	return out
}
