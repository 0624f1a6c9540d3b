package conformance

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/proto/wire"
)

// sourceRun plays a pipeline that begins with the source under test, and knows what
// it must read.
type sourceRun struct {
	t *T
	// want is all that there is to read.
	want []exchange.Record
	// place is the place of each value in the order in which it was fed, by piece;
	// nil where the source makes its own.
	place map[string][2]int
}

// newSourceRun puts n records of about the size outside, in pieces; where the
// source makes its own, a first complete read says what there is.
func (t *T) newSourceRun(n, size, pieces int) *sourceRun {
	r := &sourceRun{t: t}
	if t.entry.Feed == nil {
		p := t.Start()
		o := t.Open(1, 1, nil)
		o.UID += "ref"
		s := p.Stage(o)
		s.AwaitExhausted()
		r.want = plain(s.Checkpoint(rig.End).ReceivedAll(pipeline.OutputMain))
		s.Close()
		t.Logf("a first read gave %d records: %s", len(r.want), list(r.want))
		return r
	}
	r.place = make(map[string][2]int)
	for i := range pieces {
		r.feed(t.Sized(n*(i+1)/pieces-n*i/pieces, size))
	}
	return r
}

// feed puts one more piece outside.
func (r *sourceRun) feed(records []exchange.Record) {
	if r.place == nil {
		r.place = make(map[string][2]int)
	}
	r.t.Feed(records)
	for i, f := range records {
		r.place[string(f.Value)] = [2]int{r.t.feeds, i}
	}
	r.want = append(r.want, records...)
}

// rest reads from a cut to the end, or to the last record that there is, and returns
// what came behind the cut.
func (r *sourceRun) rest(p *rig.Plugin, epoch uint64, parallelism int, from *rig.Cut, before int) []rig.Received {
	s := p.Stage(r.t.Open(epoch, parallelism, from))
	r.all(s, len(r.want)-before)
	cut := r.t.settled(p, s, r.endOf()...)
	s.Close()
	return cut.ReceivedAll(pipeline.OutputMain)
}

// all waits until everything has been read: the end of bounded input, or so many
// records and a moment for what may be too much.
func (r *sourceRun) all(s *rig.Stage, n int) {
	if r.t.Left.GetBounded() {
		s.AwaitExhausted()
		return
	}
	s.AwaitRecords(pipeline.OutputMain, n)
	r.t.pause(100 * time.Millisecond)
}

// endOf is the flag of a last barrier.
func (r *sourceRun) endOf() []rig.BarrierOption {
	if r.t.Left.GetBounded() {
		return []rig.BarrierOption{rig.End}
	}
	return nil
}

// exactly checks that what came is what there is to read.
func (r *sourceRun) exactly(when string, got []rig.Received) {
	if d := difference(r.want, plain(got), r.t.fields()); d != "" {
		r.t.Fatalf("%s, of %d records: %s", when, len(r.want), d)
	}
}

// ordered checks that the records of each split come in the order in which they
// were fed.
func (r *sourceRun) ordered(got []rig.Received) {
	if r.place == nil {
		return
	}
	type last struct {
		place  [2]int
		record exchange.Record
	}
	seen := make(map[string]last)
	for _, g := range got {
		at, ok := r.place[string(g.Value)]
		if !ok {
			continue
		}
		if before, ok := seen[g.Split]; ok && before.place[0] == at[0] && at[1] < before.place[1] {
			r.t.Fatalf("in split %q record %d of piece %d came behind record %d: %s behind %s", g.Split, at[1], at[0], before.place[1], g.Record, before.record)
		}
		seen[g.Split] = last{at, g.Record}
	}
}

// step is a checkpoint on the way through the input, and what had come before it.
type step struct {
	cut    *rig.Cut
	before []rig.Received
}

// openStalled opens tasks whose output is held up behind each barrier, until Flow.
func openStalled(p *rig.Plugin, o rig.Open) *rig.Stage {
	s := p.Prepare(o)
	s.StallAtBarriers()
	s.TryOpen()
	return s
}

// steps reads everything and takes as many checkpoints on the way as it can: after
// each the output is held up, so that the next comes a little later.
func (r *sourceRun) steps(p *rig.Plugin, parallelism, most int) []step {
	t := r.t
	o := t.Open(1, parallelism, nil)
	o.BatchBytes = 8 << 10
	s := openStalled(p, o)
	var out []step
	// The first comes before anything was assigned.
	for range most {
		cut := s.Checkpoint()
		cut.Complete()
		before := cut.ReceivedAll(pipeline.OutputMain)
		out = append(out, step{cut, before})
		if len(before) >= len(r.want) {
			break
		}
		s.Flow()
		t.pause(time.Duration(t.Rand.IntN(3)) * time.Millisecond)
	}
	s.Flow()
	s.FlowAtBarriers()
	r.all(s, len(r.want))
	cut := t.settled(p, s, r.endOf()...)
	r.exactly("read with checkpoints on the way", cut.ReceivedAll(pipeline.OutputMain))
	s.Close()
	t.Logf("checkpoints were taken behind %v records", places(out))
	return out
}

// places are how many records had come before each step.
func places(all []step) []int {
	out := make([]int, len(all))
	for i, s := range all {
		out[i] = len(s.before)
	}
	return out
}

// resume reads on from a step and checks that both parts are everything.
func (r *sourceRun) resume(p *rig.Plugin, epoch uint64, parallelism int, from step) {
	got := slices.Concat(from.before, r.rest(p, epoch, parallelism, from.cut, len(from.before)))
	r.exactly(fmt.Sprintf("resumed from checkpoint %d, behind %d records, with %d tasks", from.cut.Checkpoint, len(from.before), parallelism), got)
	r.ordered(got)
}

// marks are the splits that were opened and ended, in order, of all tasks.
func marks(s *rig.Stage) (opened, ended []string) {
	for _, t := range s.Tasks {
		for _, e := range t.Events() {
			switch e.Kind {
			case wire.KindSplitOpened:
				opened = append(opened, e.Message.GetSplitOpened().GetId())
			case wire.KindSplitEnded:
				ended = append(ended, e.Message.GetSplitEnded().GetId())
			}
		}
	}
	return opened, ended
}
