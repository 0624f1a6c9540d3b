package sdktest

import (
	"slices"
	"sync"
	"time"
)

// clock is processing time that passes when a test says so. It implements
// task.Clock.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	alarms []*alarmAt
}

type alarmAt struct {
	at      time.Time
	reached chan time.Time
}

func newClock() *clock { return &clock{now: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) After(d time.Duration) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &alarmAt{c.now.Add(d), make(chan time.Time, 1)}
	if d <= 0 {
		a.reached <- c.now
		return a.reached, func() {}
	}
	c.alarms = append(c.alarms, a)
	return a.reached, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.alarms = slices.DeleteFunc(c.alarms, func(b *alarmAt) bool { return a == b })
	}
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.alarms = slices.DeleteFunc(c.alarms, func(a *alarmAt) bool {
		if a.at.After(c.now) {
			return false
		}
		a.reached <- c.now
		return true
	})
}
