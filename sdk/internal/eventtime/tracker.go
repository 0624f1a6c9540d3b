// Package eventtime is what is behind event_time in a pipeline file: it finds the
// time of records and makes watermarks of it, split by split, so that a split that
// is ahead makes no record of another late.
package eventtime

import (
	"math"
	"time"
)

// NoTime is no watermark.
const NoTime int64 = math.MinInt64

// End is the watermark that ends event time.
const End int64 = math.MaxInt64

// Tracker keeps how far event time has come in the splits of a task. A split's
// watermark is the greatest time that was seen, less the out-of-orderness; that of
// the task is the least of its open splits that are not idle.
type Tracker struct {
	late   int64 // out-of-orderness
	idle   time.Duration
	splits map[string]*split
	// restored are greatest times of splits that are not open yet.
	restored map[string]int64
	ended    bool
	reached  int64 // the watermark never goes back below it
}

type split struct {
	greatest int64
	quiet    time.Duration
}

// NewTracker returns a tracker without splits. idle is how long a split without
// records holds the watermark; 0 is for ever.
func NewTracker(outOfOrderness, idle time.Duration) *Tracker {
	return &Tracker{
		late: int64(outOfOrderness), idle: idle, splits: map[string]*split{},
		restored: map[string]int64{}, reached: NoTime,
	}
}

// Restore says what had been seen of a split that will be opened.
func (t *Tracker) Restore(id string, greatest int64) { t.restored[id] = greatest }

// Open begins a split: from now on it holds the watermark.
func (t *Tracker) Open(id string) {
	if t.splits[id] != nil {
		return
	}
	s := &split{greatest: NoTime}
	if greatest, ok := t.restored[id]; ok {
		s.greatest = greatest
		delete(t.restored, id)
	}
	t.splits[id] = s
}

// Close ends a split: it leaves the minimum.
func (t *Tracker) Close(id string) { delete(t.splits, id) }

// Empty says that no split is open.
func (t *Tracker) Empty() bool { return len(t.splits) == 0 }

// Finish says that no split comes any more, and those that are open have ended.
func (t *Tracker) Finish() {
	t.ended = true
	clear(t.splits)
}

// Observe says that a split, which it opens if need be, had records up to that
// time.
func (t *Tracker) Observe(id string, greatest int64) {
	s := t.splits[id]
	if s == nil {
		t.Open(id)
		s = t.splits[id]
	}
	s.greatest = max(s.greatest, greatest)
	s.quiet = 0
}

// Pass says that so much time has passed in which records could have come.
func (t *Tracker) Pass(d time.Duration) {
	for _, s := range t.splits {
		s.quiet += d
	}
}

// Watermark is the task's. idle says that there is none to wait for: no split is
// open, or all are idle; then nothing holds it, and it is the greatest of them.
// holder is the split that holds it back.
func (t *Tracker) Watermark() (w int64, holder string, idle bool) {
	if t.ended {
		t.reached = End
		return End, "", false
	}
	low, high, idle := End, NoTime, true
	for id, s := range t.splits {
		w := s.watermark(t.late)
		high = max(high, w)
		if t.idle > 0 && s.quiet >= t.idle {
			continue
		}
		if idle || w < low || w == low && id < holder {
			low, holder = w, id
		}
		idle = false
	}
	if idle {
		low = high
	}
	t.reached = max(t.reached, low)
	return t.reached, holder, idle
}

func (s *split) watermark(late int64) int64 {
	switch w := s.greatest - late; {
	case s.greatest == NoTime:
		return NoTime
	case w > s.greatest, w == NoTime: // below the least
		return NoTime + 1
	default:
		return w
	}
}

// Splits yields the greatest time of each split that had records, open ones and
// those that were restored and are not open yet.
func (t *Tracker) Splits(yield func(id string, greatest int64) bool) {
	for id, s := range t.splits {
		if s.greatest != NoTime && !yield(id, s.greatest) {
			return
		}
	}
	for id, greatest := range t.restored {
		if !yield(id, greatest) {
			return
		}
	}
}
