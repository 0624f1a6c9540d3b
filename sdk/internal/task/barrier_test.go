package task

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

func TestWhatComesBeforeABarrierLeavesBeforeIt(t *testing.T) {
	rng := seeded(t)
	inside := fork(rng)
	f := mapped(strings.ToUpper)
	held := []string{}
	inner := f.process
	f.process = func(ctx context.Context, port int, in *wire.Batch, out *Output) error {
		if inside.IntN(2) == 0 {
			return inner(ctx, port, in, out)
		}
		for i := range in.Len() {
			held = append(held, strings.ToUpper(string(in.Value(i))))
		}
		return nil
	}
	f.flush = func(_ context.Context, _ bool, out *Output) error {
		for _, v := range held {
			out.Append(nil, []byte(v), wire.NoTime, nil, 0)
		}
		held = nil
		return nil
	}
	task := openOp(newHost(t, opOnly(f)))
	const rounds = 50
	fed := make([]int, rounds+1)
	total := 0
	for n := 1; n <= rounds; n++ {
		for range rng.IntN(5) {
			task.feed(fmt.Sprint("v", total), fmt.Sprint("w", total))
			total += 2
		}
		fed[n] = total
		task.barrier(uint64(n))
	}
	task.passed(rounds)
	left, next := 0, 1
	for _, f := range task.received() {
		left += len(f.records)
		if b := f.message.GetBarrier(); b != nil {
			if int(b.Checkpoint) != next || left != fed[next] {
				t.Fatalf("barrier %d behind %d records, want barrier %d behind %d", b.Checkpoint, left, next, fed[next])
			}
			next++
		}
	}
	task.close()
}

// TestASinkFlushesPreparesAndThenTheBarrierPasses also covers roll, halt and end,
// and that a sink of an at-least-once pipeline prepares as well.
func TestASinkFlushesPreparesAndThenTheBarrierPasses(t *testing.T) {
	for _, guarantee := range []pluginv1.Guarantee{pluginv1.Guarantee_GUARANTEE_AT_LEAST_ONCE, pluginv1.Guarantee_GUARANTEE_EXACTLY_ONCE} {
		t.Run(guarantee.String(), func(t *testing.T) {
			sink := &fakeSink{twoPhase: true}
			h := newHost(t, []*Component{sinkNamed("sink", sink)})
			o := openOf(fed(memberOf("sink")))
			o.Chain[0].Guarantee = guarantee
			task := h.open(o)
			task.feed("a", "b")
			task.barrier(1)
			task.feed("c")
			task.barrier(2, rolling)
			task.barrier(3, atEnd)
			task.barrier(4, atEnd, halting)
			task.passed(4)
			committables := map[uint64]string{}
			for n := uint64(1); n <= 4; n++ {
				for _, e := range task.snapshot(n) {
					if e.Kind == pluginv1.Entry_KIND_COMMITTABLE {
						committables[n] += string(e.GetPayload())
					}
				}
			}
			if fmt.Sprint(committables) != `map[1:["a","b"] 2:["c"]]` {
				t.Errorf("%v", committables)
			}
			want := []string{
				"flush", "prepare(1,roll=false,final=false)", "snapshot",
				"flush", "prepare(2,roll=true,final=false)", "snapshot",
				"flush", "prepare(3,roll=false,final=true)", "snapshot",
				"flush", "prepare(4,roll=true,final=true)", "snapshot",
			}
			if !slices.Equal(sink.calls, want) {
				t.Errorf("%v", sink.calls)
			}
			task.close()
		})
	}
}

// TestABarrierTakesAChainInItsOrder flushes each member before the next, so that
// what the flush puts out is part of the next one's checkpoint.
func TestABarrierTakesAChainInItsOrder(t *testing.T) {
	var order []string
	count := 0
	op := &fakeOperator{
		process: func(_ context.Context, _ int, in *wire.Batch, _ *Output) error { count += in.Len(); return nil },
		flush: func(_ context.Context, final bool, out *Output) error {
			order = append(order, "op")
			out.Append(nil, fmt.Appendf(nil, "count=%d", count), wire.NoTime, nil, 0)
			return nil
		},
		snapshot: func() ([]*pluginv1.Entry, error) {
			return []*pluginv1.Entry{{Kind: pluginv1.Entry_KIND_LIST, Id: "count", Content: payload(fmt.Append(nil, count))}}, nil
		},
	}
	sink := &fakeSink{twoPhase: true}
	sink.flush = func() error { order = append(order, "sink"); return nil }
	h := newHost(t, []*Component{operatorNamed("op", op), sinkNamed("sink", sink)})
	task := h.open(openOf(fed(memberOf("op", toNext("out"))), fed(memberOf("sink"))))
	task.feed("a", "b", "c")
	task.barrier(1)
	task.passed(1)
	if !slices.Equal(order, []string{"op", "sink"}) {
		t.Errorf("%v", order)
	}
	var got []string
	for _, e := range task.snapshot(1) {
		got = append(got, fmt.Sprintf("%d %s %s", e.Component, e.Kind, e.GetPayload()))
	}
	want := []string{`1 KIND_COMMITTABLE ["count=3"]`, "0 KIND_LIST 3", "1 KIND_WRITER null"}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if n := strings.Count(task.shape(), "barrier"); n != 1 {
		t.Errorf("%d barriers for all outputs together", n)
	}
	task.close()
}

// TestTheEndOfInputIsToldOnce has the flag on every later barrier, and on a node
// that had ended in the restored checkpoint.
func TestTheEndOfInputIsToldOnce(t *testing.T) {
	for name, ended := range map[string]bool{"running": false, "ended in the checkpoint": true} {
		t.Run(name, func(t *testing.T) {
			var finals []bool
			f := &fakeOperator{flush: func(_ context.Context, final bool, _ *Output) error { finals = append(finals, final); return nil }}
			h := newHost(t, opOnly(f))
			o := openOf(fed(memberOf("op", toHost("out"))))
			o.Chain[0].Ended = ended
			task := h.open(o)
			if !ended {
				task.barrier(1)
			}
			task.barrier(2, atEnd)
			task.barrier(3, atEnd)
			task.passed(3)
			want := []bool{false, true, false}
			if ended {
				want = []bool{false, false}
			}
			if !slices.Equal(finals, want) {
				t.Errorf("%v, want %v", finals, want)
			}
			task.close()
		})
	}
}

func TestTheBarrierThatIsPassedOnHasTheFlagsItCameWith(t *testing.T) {
	task := openOp(newHost(t, opOnly(&fakeOperator{})))
	task.barrier(7, atEnd, rolling, halting)
	task.passed(7)
	frames := task.received()
	b := frames[len(frames)-1].message.GetBarrier()
	if !b.End || !b.Roll || !b.Halt {
		t.Errorf("%v", b)
	}
	task.close()
}

func TestASnapshotTravelsInPartsAndEndsWithDone(t *testing.T) {
	big := make([]byte, 5*partBytes/2)
	for i := range big {
		big[i] = byte(i * 7)
	}
	f := &fakeOperator{snapshot: func() ([]*pluginv1.Entry, error) {
		out := []*pluginv1.Entry{{Kind: pluginv1.Entry_KIND_LIST, Id: "big", Union: true, Content: payload(big)}}
		for i := range 100 {
			out = append(out, &pluginv1.Entry{Kind: pluginv1.Entry_KIND_LIST, Id: fmt.Sprint(i), Content: payload(make([]byte, 50_000))})
		}
		return out, nil
	}}
	task := openOp(newHost(t, opOnly(f)))
	task.barrier(1)
	task.barrier(2)
	task.passed(2)
	task.hear("the end of the second", func(m *pluginv1.ControlResponse) bool { return m.GetSnapshotDone().GetCheckpoint() == 2 })
	current := uint64(1)
	for _, m := range task.heard(func(*pluginv1.ControlResponse) bool { return true }) {
		if p := m.GetSnapshotPart(); p != nil {
			if p.Checkpoint != current {
				t.Errorf("a part of %d before %d is done", p.Checkpoint, current)
			}
			size := 0
			for _, e := range p.Entries {
				size += len(e.GetPayload())
			}
			if size > partBytes+1000 {
				t.Errorf("a part of %d bytes", size)
			}
		}
		if d := m.GetSnapshotDone(); d != nil {
			if d.Synchronous == nil {
				t.Error("it does not say how long the task stood still")
			}
			current = d.Checkpoint + 1
		}
	}
	for n := uint64(1); n <= 2; n++ {
		entries := task.snapshot(n)
		if len(entries) != 101 || !slices.Equal(entries[0].GetPayload(), big) || !entries[0].Union || entries[0].More {
			t.Errorf("checkpoint %d: %d entries", n, len(entries))
		}
	}
	task.close()
}

func TestOnlyEntriesThatBelongThereAreInASnapshot(t *testing.T) {
	f := &fakeOperator{snapshot: func() ([]*pluginv1.Entry, error) {
		return []*pluginv1.Entry{{Kind: pluginv1.Entry_KIND_SPLIT, Id: "mine"}}, nil
	}}
	task := openOp(newHost(t, opOnly(f)))
	task.barrier(1)
	if e := task.failed(); !strings.Contains(e.Message, "KIND_SPLIT") || !strings.Contains(e.Message, `"op"`) {
		t.Errorf("%v", e)
	}
	task.ended()
}

// TestChangedIsToldOnceBetweenBarriers says after which barrier.
func TestChangedIsToldOnceBetweenBarriers(t *testing.T) {
	task := openOp(newHost(t, opOnly(&fakeOperator{})))
	changed := func() []uint64 {
		var out []uint64
		for _, m := range task.heard(func(m *pluginv1.ControlResponse) bool { return m.GetChanged() != nil }) {
			out = append(out, m.GetChanged().GetAfter())
		}
		return out
	}
	task.barrier(1)
	task.passed(1)
	if got := changed(); len(got) > 0 {
		t.Errorf("nothing has changed: %v", got)
	}
	task.feed("a")
	task.feed("b")
	task.barrier(2)
	task.passed(2)
	task.feed("c")
	task.values(3)
	task.barrier(3)
	task.snapshot(3)
	if got := changed(); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("%v", got)
	}
	task.close()
}

func TestOutputDueToBeRolledIsAChange(t *testing.T) {
	sink := &fakeSink{}
	h := newHost(t, []*Component{sinkNamed("sink", sink)})
	task := h.open(openOf(fed(memberOf("sink"))))
	sink.mu.Lock()
	sink.due = true
	sink.mu.Unlock()
	task.hear("Changed", func(m *pluginv1.ControlResponse) bool { return m.GetChanged() != nil })
	task.close()
}

// TestALateAsynchronousFailureStillPrecedesTheBarrier fails a record from another
// goroutine while the sink prepares.
func TestALateAsynchronousFailureStillPrecedesTheBarrier(t *testing.T) {
	var kept *wire.Batch
	var collector *Output
	sink := &fakeSink{write: func(_ context.Context, _ int, in *wire.Batch, failed *Output) error {
		in.Hold()
		kept, collector = in, failed
		return nil
	}}
	c := sinkNamed("sink", sink)
	c.OpenSink = func(_ context.Context, _ []byte, env *Env) (Sink, error) {
		return &lateSink{sink, func() {
			done := make(chan struct{})
			go func() {
				defer close(done)
				collector.Fail(kept, 1, errTest)
				kept.Release()
			}()
			<-done
		}}, nil
	}
	h := newHost(t, []*Component{c})
	o := openOf(fed(memberOf("sink", toHost("errors"))))
	o.Chain[0].OnFailure = &pluginv1.FailurePolicy{Action: pluginv1.FailurePolicy_ACTION_DEAD_LETTER}
	task := h.open(o)
	task.feed("a", "b")
	task.barrier(1)
	task.passed(1)
	if got := task.shape(); got != "b barrier(1)" {
		t.Errorf("%s", got)
	}
	task.close()
}

type lateSink struct {
	*fakeSink
	late func()
}

func (s *lateSink) Prepare(ctx context.Context, b Barrier) ([]*pluginv1.Entry, error) {
	s.late()
	return s.fakeSink.Prepare(ctx, b)
}

func TestStateIsRestoredToTheMemberThatSavedIt(t *testing.T) {
	counter := func() *fakeOperator {
		f, n := &fakeOperator{}, -1
		f.process = func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
			if n < 0 {
				n = 0
				for _, e := range f.env.Restored {
					if err := json.Unmarshal(e.GetPayload(), &n); err != nil {
						return err
					}
				}
			}
			n += in.Len()
			out.ForwardAll(in)
			return nil
		}
		f.snapshot = func() ([]*pluginv1.Entry, error) {
			return []*pluginv1.Entry{{Kind: pluginv1.Entry_KIND_LIST, Id: "n", Content: payload(fmt.Append(nil, n))}}, nil
		}
		return f
	}
	run := func(restore []*pluginv1.Entry, feed ...string) []*pluginv1.Entry {
		h := newHost(t, []*Component{operatorNamed("a", counter()), operatorNamed("b", counter())})
		task := h.open(openOf(fed(memberOf("a", toNext("out"))), fed(memberOf("b", toHost("out")))), restore...)
		task.feed(feed...)
		task.barrier(1)
		defer task.close()
		return task.snapshot(1)
	}
	entries := run(nil, "1", "2", "3")
	for _, e := range run(entries, "4", "5") {
		if string(e.GetPayload()) != "5" {
			t.Errorf("%v", e)
		}
	}
}
