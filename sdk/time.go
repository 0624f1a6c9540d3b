package sdk

import (
	"cmp"
	"math"
	"time"
)

// Time is a record's time in nanoseconds since the Unix epoch. The zero Time is
// no time: what a record has whose source gave none. Times compare with ==.
type Time struct {
	// The wire's nanoseconds with the highest bit flipped, so that the wire's "no
	// time", the smallest int64, is the zero value.
	flipped int64
}

// UnixNano returns the time of ns nanoseconds since the Unix epoch. The smallest
// int64 is no time.
func UnixNano(ns int64) Time { return Time{ns ^ math.MinInt64} }

// UnixMilli returns the time of ms milliseconds since the Unix epoch.
func UnixMilli(ms int64) Time { return UnixNano(ms * int64(time.Millisecond)) }

// TimeOf returns t as a Time; the zero time.Time becomes the zero Time. Years
// outside 1678 to 2262 cannot be told in nanoseconds and are undefined.
func TimeOf(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return UnixNano(t.UnixNano())
}

// EndOfTime is the watermark that ends event time: no record follows it.
func EndOfTime() Time { return UnixNano(math.MaxInt64) }

// IsZero reports whether t is no time.
func (t Time) IsZero() bool { return t.flipped == 0 }

// UnixNano returns t in nanoseconds since the Unix epoch, and the smallest int64
// for no time.
func (t Time) UnixNano() int64 { return t.flipped ^ math.MinInt64 }

// UnixMilli returns t in milliseconds since the Unix epoch, rounded down.
func (t Time) UnixMilli() int64 {
	ns, milli := t.UnixNano(), int64(time.Millisecond)
	ms := ns / milli
	if ns%milli < 0 {
		ms--
	}
	return ms
}

// Time returns t in UTC, and the zero time.Time for no time.
func (t Time) Time() time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.Unix(0, t.UnixNano()).UTC()
}

// Compare returns -1, 0 or 1 as t is before, at or after u. No time is before
// every time.
func (t Time) Compare(u Time) int { return cmp.Compare(t.UnixNano(), u.UnixNano()) }

// Before reports whether t is before u.
func (t Time) Before(u Time) bool { return t.UnixNano() < u.UnixNano() }

// After reports whether t is after u.
func (t Time) After(u Time) bool { return t.UnixNano() > u.UnixNano() }

// Add returns t+d. No time stays no time.
func (t Time) Add(d time.Duration) Time {
	if t.IsZero() {
		return t
	}
	return UnixNano(t.UnixNano() + int64(d))
}

// Sub returns the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t.UnixNano() - u.UnixNano()) }

// String returns t as RFC 3339 with nanoseconds, in UTC.
func (t Time) String() string {
	switch {
	case t.IsZero():
		return "no time"
	case t == EndOfTime():
		return "end of time"
	}
	return t.Time().Format(time.RFC3339Nano)
}

// MarshalText returns t as RFC 3339 with nanoseconds, so that times in positions
// and writer state stay readable; nothing for no time.
func (t Time) MarshalText() ([]byte, error) {
	if t.IsZero() {
		return []byte{}, nil
	}
	return t.Time().AppendFormat(nil, time.RFC3339Nano), nil
}

// UnmarshalText reads what MarshalText returns.
func (t *Time) UnmarshalText(text []byte) error {
	*t = Time{}
	if len(text) == 0 {
		return nil
	}
	at, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return err
	}
	*t = TimeOf(at)
	return nil
}
