// Package dedup is an operator that drops records whose key came before, within a
// time.
package dedup

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/diskstate"
)

// Config is the operator's configuration.
type Config struct {
	Within time.Duration `weir:"within,required" min:"1ms" max:"8760h" doc:"A record is dropped where one of its key has passed less than this before it."`
	Time   string        `weir:"time" default:"processing" enum:"processing,event" doc:"processing: by the clock; a record passes at once. event: by the records' times, in their order: a record waits for the watermark, and what passes does not depend on when it came."`
}

// Capabilities implements [sdk.Claimer].
func (c *Config) Capabilities(caps *sdk.Capabilities) {
	if c.Time == "processing" {
		caps.ByEventTime = false
	}
}

const lateOutput = "late"

// Operator returns the component.
func Operator() sdk.Component {
	return sdk.NewKeyedOperator("dedup", "Drops records whose key came before, within a time.", open,
		sdk.ByEventTime(),
		sdk.DiskState(diskstate.Pebble()),
		sdk.Outputs(sdk.Output{Name: lateOutput, Summary: "With time: event, records behind the watermark, as they were."}),
		sdk.Description(`Records are told apart by their key alone: give them one with expr. Of records of
one key and time, with time: event, the one with the smallest value passes.`),
		sdk.Example("Orders that a client sent again", "within: 1h\n"))
}

func open(_ context.Context, cfg *Config, t *sdk.Task) (*operator, error) {
	o := &operator{task: t, within: cfg.Within.Nanoseconds(), dropped: t.Metrics.Counter("duplicates", "Records that were dropped.", "1")}
	if cfg.Time == "processing" {
		o.seen = sdk.Value[bool](t, "seen", sdk.TTL(cfg.Within))
		return o, nil
	}
	o.late = t.Metrics.Counter("late_records", "Records that came behind the watermark.", "1")
	o.waiting = sdk.Map[string, []byte](t, "waiting")
	o.passed = sdk.Value[int64](t, "passed")
	return o, nil
}

// operator is one task's instance. Either seen is set, or waiting and passed are.
type operator struct {
	task    *sdk.Task
	within  int64
	seen    *sdk.ValueState[bool]
	dropped *sdk.Counter

	// waiting holds records by time and value until the watermark has passed them;
	// passed is the time of the last that was let through.
	waiting *sdk.MapState[string, []byte]
	passed  *sdk.ValueState[int64]
	late    *sdk.Counter
}

// Tags of timers.
const (
	tagDecide = iota
	tagForget
)

var errNoTime = errors.New("the record has no time: its source needs event_time")

// ProcessKeyed implements [sdk.KeyedOperator].
func (o *operator) ProcessKeyed(_ context.Context, r sdk.Record, out *sdk.Collector) error {
	if o.seen != nil {
		if _, again := o.seen.Get(); again {
			o.dropped.Inc()
			return nil
		}
		o.seen.Set(true)
		out.Forward(r)
		return nil
	}
	at := r.Time()
	switch {
	case at.IsZero():
		out.Fail(r, errNoTime)
		return nil
	case at.Before(o.task.Watermark()):
		o.late.Inc()
		out.To(lateOutput).Forward(r)
		return nil
	}
	name := nameOf(at.UnixNano(), r.Value())
	if _, twin := o.waiting.Get(name); twin {
		o.dropped.Inc()
		return nil
	}
	o.waiting.Set(name, r.Headers())
	// Others of the same time may come until the watermark is beyond it.
	o.task.SetTimer(sdk.EventTime, at.Add(1), tagDecide)
	return nil
}

// nameOf sorts by time, a null value before all others.
func nameOf(at int64, value []byte) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(at)^1<<63)
	if value == nil {
		return string(append(b, 0))
	}
	return string(append(append(b, 1), value...))
}

func timeOf(name string) int64 { return int64(binary.BigEndian.Uint64([]byte(name)) ^ 1<<63) }

// OnTimer implements [sdk.TimerHandler].
func (o *operator) OnTimer(_ context.Context, tm sdk.Timer, out *sdk.Collector) error {
	if tm.Tag == tagForget {
		if last, ok := o.passed.Get(); ok && last+o.within <= tm.At.UnixNano() {
			o.passed.Clear()
		}
		return nil
	}
	type record struct {
		name    string
		headers []byte
	}
	var due []record
	// All that the watermark has passed, in order: what is let through sets a timer
	// that may fire before those of the others.
	now := o.task.Watermark().UnixNano()
	for name, headers := range o.waiting.All() {
		if timeOf(name) < now {
			due = append(due, record{name, headers})
		}
	}
	slices.SortFunc(due, func(a, b record) int { return cmp.Compare(a.name, b.name) })
	for _, r := range due {
		o.waiting.Delete(r.name)
		t := timeOf(r.name)
		if last, ok := o.passed.Get(); ok && t < last+o.within {
			o.dropped.Inc()
			continue
		}
		o.passed.Set(t)
		o.task.SetTimer(sdk.EventTime, sdk.UnixNano(t+o.within), tagForget)
		row := sdk.Row{Key: o.task.Key(), Time: sdk.UnixNano(t), Headers: r.headers}
		if r.name[8] == 1 {
			row.Value = append([]byte{}, r.name[9:]...)
		}
		out.Append(row)
	}
	return nil
}

// Close implements [sdk.KeyedOperator].
func (o *operator) Close() error { return nil }
