package task

import (
	"math"
	"time"
)

// alarm wakes the loop when the first timer in processing time is due.
type alarm struct {
	at      int64
	reached <-chan time.Time
	stop    func() // nil: off
}

func (a *alarm) off() {
	if a.stop != nil {
		a.stop()
		*a = alarm{}
	}
}

// setAlarm sets the alarm to the first timer of all members. After the end of
// input no timer is left.
func (t *task) setAlarm() {
	first := int64(math.MaxInt64)
	for _, m := range t.members {
		if m.stateful == nil {
			continue
		}
		if at, ok := m.stateful.NextTimer(); ok {
			first = min(first, at)
		}
	}
	switch {
	case first == math.MaxInt64 || t.halted || t.ended:
		t.alarm.off()
	case t.alarm.stop == nil || first != t.alarm.at:
		t.alarm.off()
		t.alarm.at = first
		t.alarm.reached, t.alarm.stop = t.server.opts.Clock.After(time.Unix(0, first).Sub(t.server.opts.Clock.Now()))
	}
}

// onTime fires what is due in processing time.
func (t *task) onTime() error {
	if t.halted || t.ended {
		return nil
	}
	for _, m := range t.members {
		if m.stateful == nil {
			continue
		}
		if at, ok := m.stateful.NextTimer(); ok && at <= t.server.opts.Clock.Now().UnixNano() {
			t.change()
		}
		if err := m.call("OnTimer", m.stateful.OnTime); err != nil {
			return err
		}
		if err := m.settleFailures(); err != nil {
			return err
		}
	}
	return nil
}
