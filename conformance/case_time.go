package conformance

import (
	"time"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/conformance/spec"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

var byEventTime = claims("by_event_time", (*pluginv1.Capabilities).GetByEventTime)

var timeCases = []Case{
	{
		ID: "WC-STA-020", Title: "how far event time leaps makes no difference", Kinds: operators, Needs: all(keepsByKey, byEventTime, repeatable),
		Demands: "Of records that come in time comes the same whether the watermark follows them closely or leaps to the end of time behind the last.",
		Why:     "How fast event time goes on depends on load: a replay leaps, and must give what came the first time.",
		Fix:     "A timer's own time says what it is about, not the watermark that made it fire. Fire all that are due, in the order of their times, those too that are set by one that fires.",
		run: func(t *T) {
			line := t.timeline(t.ordinary(), false)
			slow := t.undisturbed(line)
			leap := make([]moment, len(line))
			for i, m := range line {
				leap[i] = moment{m.in, wire.NoTime}
			}
			t.compareBags("with one leap to the end of time", slow, t.undisturbed(leap))
		},
	},
	{
		ID: "WC-STA-021", Title: "what comes in time leaves in time", Kinds: operators, Needs: all(keepsByKey, byEventTime),
		Demands: "Where no record comes behind the watermark, none leaves on `out` with a time before a watermark that has left, whatever was held back or fires by a timer. Each watermark leaves, and none goes back.",
		Why:     "Behind the operator such a record is late: the next window drops it, although nothing was late to begin with.",
		Fix:     "Give a result a time that the watermark had not reached when the timer was set for it, such as that of the timer less one. Let nothing be sent behind the watermark that made it due.",
		run: func(t *T) {
			line := t.timeline(t.ordinary(), false)
			s := t.Start().Stage(t.Open(1, 1, nil))
			sendMoments(s, line)
			endOf(s)
			out := uint32(s.Output(pipeline.OutputMain))
			last, marks := int64(wire.NoTime), 0
			for _, e := range s.Tasks[0].Events() {
				if e.Port != out {
					continue
				}
				switch e.Kind {
				case wire.KindBatch:
					for _, r := range e.Records {
						if r.Time != wire.NoTime && r.Time < last {
							t.Fatalf("on %q a record with time %d came behind the watermark %d, and all input was in time: %s", pipeline.OutputMain, r.Time, last, r.Record)
						}
					}
				case wire.KindWatermark:
					w := e.Message.GetWatermark().GetTime()
					if w < last {
						t.Fatalf("on %q the watermark went back from %d to %d", pipeline.OutputMain, last, w)
					}
					last = w
					marks++
				}
			}
			if marks < 2 {
				t.Fatalf("on %q %d watermarks came, and more went in", pipeline.OutputMain, marks)
			}
			s.Close()
		},
	},
	{
		ID: "WC-STA-022", Title: "what is due by the clock comes once", Kinds: operators,
		Needs: func(t *Target) Missing {
			if !t.Entry.ByClock {
				return notConfigured("`by_clock`, which says that what comes of `input` comes by the clock")
			}
			return ""
		},
		Demands: "What `expect` says of `input` comes when its time has come, without an end of the input. After a checkpoint with everything behind it nothing comes again; after a checkpoint, SIGKILL and a restart before its time it comes still, and once.",
		Why:     "A timer that a restart forgets never fires where no further record comes; one that it fires again sends a result twice.",
		Fix:     "Put timers into the snapshot until they have fired, and look at all of them when it is restored: one whose time has passed meanwhile is due at once.",
		run: func(t *T) {
			o := t.Open(1, 1, nil)
			o.UID += "ref"
			p := t.Start()
			s := p.Stage(o)
			t.sendInput(s)
			t.awaitExpected(s, nil)
			cut := s.Checkpoint()
			t.expected("by the clock", t.outcomeOf(cut, 0))
			p.SIGKILL()
			o = t.Open(2, 1, cut)
			o.UID += "ref"
			s = t.Start().Stage(o)
			for name, more := range t.outcomeOf(endOf(s), 0) {
				if len(more) > 0 && t.entry.Expect[name] != nil {
					t.Fatalf("on %q everything had come before the checkpoint, and restored from it there came again %s", name, list(more))
				}
			}
			s.Close()

			p = t.Start()
			s = p.Stage(t.Open(1, 1, nil))
			t.sendInput(s)
			cut = s.Checkpoint()
			got := t.outcomeOf(cut, 0)
			p.SIGKILL()
			s = t.Start().Stage(t.Open(2, 1, cut))
			t.awaitExpected(s, got)
			got.add(t.outcomeOf(endOf(s), 0))
			t.expected("with a restart before it was due", got)
			s.Close()
		},
	},
	{
		ID: "WC-STA-023", Title: "what is over is forgotten", Kinds: operators,
		Needs: all(keepsByKey, func(t *Target) Missing {
			if t.Entry.Forgets == spec.NotSaid {
				return notConfigured("`forgets`, which says when the component forgets a key")
			}
			return ""
		}),
		Demands: "When event time has gone on by ten years, or with `forgets: clock` after a while, the snapshot of a task that had state for 2,000 keys is about as small as that of one that never saw a record.",
		Why:     "State that is never removed grows with every key that there ever was, until memory or the checkpoint's time is not enough.",
		Fix:     "Clear all of a key's state in the timer that ends what it was kept for, or give it a TTL, and leave out of a snapshot what has expired.",
		run: func(t *T) {
			const keys, tenYears = 2_000, 10 * 365 * 24 * time.Hour
			records := t.distinct(keys)
			latest := int64(0)
			for _, r := range records {
				latest = max(latest, r.Time)
			}
			measure := func(uid string, in []exchange.Record) (full int, s *rig.Stage) {
				o := t.Open(1, 1, nil)
				o.UID += uid
				s = t.Start().Stage(o)
				s.Send(0, 0, in...)
				full = sizeOfState(s.Checkpoint())
				if t.entry.Forgets == spec.ByEventTime {
					s.Watermark(latest + int64(tenYears))
				}
				return full, s
			}
			_, empty := measure("ref", nil)
			least := sizeOfState(empty.Checkpoint())
			empty.Close()
			full, s := measure("", records)
			if full <= least+keys && t.entry.Forgets == spec.ByEventTime {
				t.Fatalf("the snapshot with %d keys has %d bytes of state by key, and that of a task without records %d: nothing is kept that could be forgotten; leave `forgets` out, or say in `records` how to make records that are kept", keys, full, least)
			}
			// By the clock some of it, or all, may be over by now. A key takes more than
			// this in the end.
			full = max(full, least+50*keys)
			left := sizeOfState(s.Checkpoint())
			for left > least+(full-least)/10 {
				if t.entry.Forgets == spec.ByEventTime || t.ctx.Err() != nil {
					t.Fatalf("with %d keys there were %d bytes of state by key, and when all of it is over there are still %d; a task without records has %d", keys, full, left, least)
				}
				t.pause(50 * time.Millisecond)
				// What expires by the clock may wait for a next record.
				s.Send(0, 0, t.distinct(1)...)
				left = sizeOfState(s.Checkpoint())
			}
			s.Close()
		},
	},
}

// sendInput sends the input of conformance.yaml.
func (t *T) sendInput(s *rig.Stage) {
	for i, port := range t.Ports() {
		list := t.entry.Input[port]
		if i == 0 {
			list = append(append([]exchange.Record{}, t.entry.Input[""]...), list...)
		}
		if len(list) > 0 {
			s.Send(0, i, list...)
		}
	}
}

// awaitExpected waits until as many records have come as are expected, beside those
// that came before.
func (t *T) awaitExpected(s *rig.Stage, before outcome) {
	for name, want := range t.entry.Expect {
		if n := len(want) - len(before[name]); n > 0 {
			s.AwaitRecords(name, n)
		}
	}
}

// expected fails the case where something else came than `expect` says.
func (t *T) expected(when string, got outcome) {
	for name, want := range t.entry.Expect {
		if d := unexpected(want, got[name], false); d != "" {
			t.Fatalf("%s, on %q: %s", when, name, d)
		}
	}
}
