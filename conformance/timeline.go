package conformance

import (
	"math"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/proto/wire"
)

// moment is a piece of the input of an operator with state: records, and how far
// event time has come behind them.
type moment struct {
	in        []piece
	watermark int64 // wire.NoTime: none
}

// timeline makes input of about n records with watermarks in between. Where late is
// set some records come behind the watermark, else none does.
func (t *T) timeline(n int, late bool) []moment {
	var out []moment
	for _, p := range t.mixedPorts(n) {
		if len(out) == 0 || t.Rand.IntN(2) == 0 {
			out = append(out, moment{watermark: wire.NoTime})
		}
		m := &out[len(out)-1]
		m.in = append(m.in, p)
	}
	// The least time that is still to come, moment by moment.
	least := make([]int64, len(out))
	next := int64(math.MaxInt64)
	for i := len(out) - 1; i >= 0; i-- {
		least[i] = next
		for _, r := range out[i].records() {
			if r.Time != wire.NoTime {
				next = min(next, r.Time)
			}
		}
	}
	last := int64(wire.NoTime)
	for i := range out {
		if t.Rand.IntN(3) == 0 || least[i] == math.MaxInt64 {
			continue
		}
		w := least[i]
		if late {
			w += int64(t.Rand.IntN(8_000_000)) // nanoseconds; records are a millisecond apart
		}
		if w > last {
			out[i].watermark, last = w, w
		}
	}
	return out
}

func (m *moment) records() (all []exchange.Record) {
	for _, p := range m.in {
		all = append(all, p.records...)
	}
	return all
}

// mixedPorts makes input in small pieces that go into the ports by turns, so that
// their records are of about the same time.
func (t *T) mixedPorts(n int) []piece {
	if t.entry.Input != nil && t.entry.Records.Value == nil {
		return t.cutUp(t.input(n))
	}
	var out []piece
	for made := 0; made < n; {
		for port := range t.Ports() {
			p := piece{port, t.Records(1 + t.Rand.IntN(6))}
			t.Rand.Shuffle(len(p.records), func(i, j int) { p.records[i], p.records[j] = p.records[j], p.records[i] })
			made += len(p.records)
			out = append(out, p)
		}
	}
	return out
}

// sendMoment gives each task its records, and all of them the watermark.
func sendMoment(s *rig.Stage, m moment) {
	for _, p := range m.in {
		s.SendByKey(p.port, p.records...)
	}
	if m.watermark != wire.NoTime {
		s.Watermark(m.watermark)
	}
}

func sendMoments(s *rig.Stage, all []moment) {
	for _, m := range all {
		sendMoment(s, m)
	}
}

// undisturbed is what one task gives of everything, up to the end of the input.
func (t *T) undisturbed(all []moment) outcome {
	o := t.Open(1, 1, nil)
	o.UID += "ref"
	s := t.Start().Stage(o)
	sendMoments(s, all)
	out := t.outcomeOf(endOf(s), 0)
	s.Close()
	n := 0
	for _, m := range all {
		n += len(m.records())
	}
	t.Logf("of %d records in %d pieces with watermarks in between came %s", n, len(all), out)
	return out
}

// outcomeOfAll is what all tasks have sent before a cut.
func (t *T) outcomeOfAll(c *rig.Cut) outcome {
	out := make(outcome)
	for i := range c.Tasks {
		out.add(t.outcomeOf(c, i))
	}
	return out
}

func (o outcome) add(more outcome) {
	for name, records := range more {
		o[name] = append(o[name], records...)
	}
}

// compareBags fails the case where two outcomes differ, in whatever order they come.
func (t *T) compareBags(when string, want, got outcome) {
	for _, name := range t.outputs() {
		if d := difference(want[name], got[name], exchange.AllFields); d != "" {
			t.Fatalf("%s, on %q: %s", when, name, d)
		}
	}
}

// size is the number of bytes of state by key in a cut.
func sizeOfState(c *rig.Cut) (n int) {
	for _, e := range c.Entries(keyGroup) {
		n += len(e.GetPayload())
	}
	return n
}
