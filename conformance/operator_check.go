package conformance

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// unexpected says how what came differs from what conformance.yaml expects.
func unexpected(want []exchange.Expected, got []exchange.Record, ordered bool) string {
	left := slices.Clone(got)
	for i, w := range want {
		at := slices.IndexFunc(left, func(g exchange.Record) bool { return exchange.Equal(w.Record, g, w.Has) })
		if ordered && at > 0 {
			at = -1
		}
		if at < 0 {
			instead := "nothing"
			if ordered && len(left) > 0 {
				instead = left[0].String()
			} else if len(left) > 0 {
				instead = list(left)
			}
			return fmt.Sprintf("record %d of `expect`, %s, did not come; there came %s", i, w.Select(w.Has), instead)
		}
		left = slices.Delete(left, at, at+1)
	}
	if len(left) > 0 {
		return fmt.Sprintf("%d records came that `expect` does not have: %s", len(left), list(left))
	}
	return ""
}

// watermarksAreSound looks at the watermarks that have come on each output.
func (t *T) watermarksAreSound(s *rig.Stage, highest int64) {
	for i, name := range t.outputs() {
		last, idle, behind := int64(wire.NoTime), false, 0
		for _, e := range s.Tasks[0].Events() {
			if int(e.Port) != i {
				continue
			}
			switch e.Kind {
			case wire.KindBatch:
				behind += len(e.Records)
			case wire.KindIdle:
				idle = true
			case wire.KindWatermark:
				w := e.Message.GetWatermark().GetTime()
				if w < last {
					t.Fatalf("on %q the watermark went back from %d to %d", name, last, w)
				}
				last, behind = w, 0
			}
		}
		if last != highest {
			t.Fatalf("on %q the watermark %d should have come last, and there came %d", name, highest, last)
		}
		if behind > 0 {
			t.Fatalf("on %q %d records came behind the last watermark, and all input was before it", name, behind)
		}
		if !idle {
			t.Fatalf("on %q Idle did not come", name)
		}
	}
}

func (t *T) chained() {
	in := t.input(t.ordinary())
	first := t.alone(in)
	want := t.alone([]piece{{0, first[pipeline.OutputMain]}})
	head := t.Member()
	tail := proto.CloneOf(head)
	tail.Node = Node + "2"
	head.Outputs = []*pluginv1.Outlet{
		{Output: pipeline.OutputMain, Chained: true, Exclusive: true, ChainedPort: t.Ports()[0], Origin: true},
		{Output: pipeline.OutputErrors, Origin: true},
	}
	o := t.Open(1, 1, nil)
	o.Chain = []*member{head, tail}
	s := t.Start().Stage(o)
	for _, x := range t.cutUp(in) {
		s.Send(0, x.port, x.records...)
	}
	got := t.outcomeOf(endOf(s), 0)
	want[pipeline.OutputErrors], got[pipeline.OutputErrors] = nil, nil // they name the node
	t.compare("in a chain of two", want, got)
	s.Close()
}

// swallowed is what a task may take while its output is held up: its streams'
// windows in both directions, and some batches.
const swallowed = 12 << 20

func (t *T) backPressure() {
	var in []piece
	if t.entry.Records.Value == nil && t.entry.Input == nil {
		in = []piece{{0, t.Sized(400, 64<<10)}}
	} else {
		in = t.input(100_000)
	}
	p := t.StartNarrow()
	s := p.Stage(t.Open(1, 1, nil))
	s.Stall()
	for _, x := range in {
		s.Send(0, x.port, x.records...)
	}
	size := 0
	for _, x := range in {
		for _, r := range x.records {
			size += r.Size()
		}
	}
	// It is quiet when nothing was taken for a while.
	last, quiet := -1, 0
	for quiet < 5 {
		t.pause(100 * time.Millisecond)
		if n := s.Sent(0); n == last {
			quiet++
		} else {
			last, quiet = n, 0
		}
		if last > swallowed {
			t.Fatalf("with its output held up the task took %d of %d bytes, more than the %d of its streams and a few batches", last, size, swallowed)
		}
		if t.ctx.Err() != nil {
			t.Fatalf("the task took input all the time while its output was held up")
		}
	}
	s.Flow()
	s.Checkpoint(rig.End)
	s.Close()
}
