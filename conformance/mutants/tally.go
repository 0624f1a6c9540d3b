package main

import (
	"context"
	"fmt"
	"time"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/diskstate"
)

// TallyConfig is the keyed operator's configuration.
type TallyConfig struct {
	Size  time.Duration `weir:"size" default:"10ms" doc:"Length of a window by event time."`
	Clock time.Duration `weir:"clock" default:"0s" doc:"Counts by the clock instead, for so long; 0s is off."`
}

// Capabilities implements [sdk.Claimer].
func (c *TallyConfig) Capabilities(caps *sdk.Capabilities) {
	if c.Clock > 0 {
		caps.ByEventTime = false
	}
}

func tallyOperator() sdk.Component {
	return sdk.NewKeyedOperator("tally", "Counts the records of each key in a window.",
		func(_ context.Context, cfg *TallyConfig, t *sdk.Task) (*tally, error) {
			name := "counts"
			if is("tally-renames-its-state") {
				name = "sums"
			}
			return &tally{cfg: cfg, task: t, counts: sdk.Map[int64, int](t, name)}, nil
		},
		sdk.ByEventTime(), sdk.DiskState(diskstate.Pebble()), sdk.Outputs(sdk.Output{Name: "late", Summary: "Records that came too late."}))
}

// tally counts by the end of the window. A record CANCEL takes its window back.
type tally struct {
	cfg    *TallyConfig
	task   *sdk.Task
	counts *sdk.MapState[int64, int]

	// Of broken ones.
	before  int // the count of the record before this one
	due     []sdk.Row
	ready   []sdk.Row
	keys    map[string]bool
	flushes int
}

func (m *tally) ProcessKeyed(_ context.Context, r sdk.Record, out *sdk.Collector) error {
	if m.cfg.Clock > 0 {
		n, known := m.counts.Get(0)
		m.counts.Set(0, n+1)
		if !known {
			m.task.SetTimer(sdk.ProcessingTime, m.task.Now().Add(m.cfg.Clock), 0)
		}
		return nil
	}
	if r.Time().IsZero() {
		out.Fail(r, errBad)
		return nil
	}
	at, size := r.Time().UnixNano(), m.cfg.Size.Nanoseconds()
	end := sdk.UnixNano(at - ((at%size)+size)%size + size)
	if !end.After(m.task.Watermark()) {
		out.To("late").Forward(r)
		return nil
	}
	window := end.UnixNano()
	if string(r.Value()) == "CANCEL" {
		m.counts.Delete(window)
		if !is("tally-fires-what-was-deleted") {
			m.task.DeleteTimer(sdk.EventTime, end, 0)
		}
		return nil
	}
	n, known := m.counts.Get(window)
	if !known && is("tally-goes-on-from-the-key-before") {
		n = m.before % 3
	}
	m.counts.Set(window, n+1)
	m.before = n + 1
	m.task.SetTimer(sdk.EventTime, end, 0)
	if is("tally-is-slow-with-much-state") {
		if m.keys == nil {
			m.keys = map[string]bool{}
		}
		m.keys[string(r.Key())] = true
	}
	return nil
}

func (m *tally) OnTimer(_ context.Context, tm sdk.Timer, out *sdk.Collector) error {
	if m.cfg.Clock > 0 {
		n, _ := m.counts.Get(0)
		if !is("tally-fires-by-the-clock-again") {
			m.counts.Clear()
		} else if tm.Tag == 0 {
			m.task.SetTimer(sdk.ProcessingTime, tm.At.Add(time.Hour), 1)
		}
		out.Append(sdk.Row{Key: m.task.Key(), Value: fmt.Append(nil, n)})
		return nil
	}
	window := tm.At.UnixNano()
	n, _ := m.counts.Get(window)
	if !is("tally-keeps-what-is-over") {
		m.counts.Delete(window)
	}
	row := sdk.Row{Key: append([]byte{}, m.task.Key()...), Value: fmt.Appendf(nil, "%d by %d", n, window), Time: tm.At.Add(-1)}
	switch fault {
	case "tally-goes-by-the-watermark":
		row.Value = fmt.Appendf(nil, "%d by %d", n, m.task.Watermark().UnixNano())
	case "tally-stamps-the-beginning":
		row.Time = tm.At.Add(-2 * m.cfg.Size)
	case "tally-fires-in-any-order", "tally-fires-a-watermark-late":
		m.due = append(m.due, row)
		return nil
	}
	out.Append(row)
	return nil
}

// OnWatermark implements [sdk.WatermarkHandler].
func (m *tally) OnWatermark(_ context.Context, w sdk.Time, out *sdk.Collector) error {
	switch fault {
	case "tally-fires-in-any-order":
		m.send(out)
	case "tally-fires-a-watermark-late":
		// What this watermark has made due waits for the next.
		m.due, m.ready = m.ready, m.due
		if w == sdk.EndOfTime() {
			m.due, m.ready = append(m.due, m.ready...), nil
		}
		m.send(out)
	}
	return nil
}

// send sends what is due, the last first.
func (m *tally) send(out *sdk.Collector) {
	for i := len(m.due) - 1; i >= 0; i-- {
		out.Append(m.due[i])
	}
	m.due = nil
}

// Flush implements [sdk.Flusher].
func (m *tally) Flush(_ context.Context, _ bool, _ *sdk.Collector) error {
	if m.flushes++; is("tally-is-slow-with-much-state") && m.flushes > 1 {
		time.Sleep(time.Duration(len(m.keys)) * 600 * time.Microsecond)
	}
	return nil
}

func (m *tally) Close() error { return nil }
