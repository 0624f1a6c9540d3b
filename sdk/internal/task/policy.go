package task

import (
	"fmt"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// policy is a node's FailurePolicy.
type policy struct {
	action              pluginv1.FailurePolicy_Action
	retries             int
	backoff, maxBackoff time.Duration
	bound               time.Duration // of all waits for one record
	limit               window
}

func newPolicy(p *pluginv1.FailurePolicy, checkpointTimeout time.Duration) (policy, error) {
	out := policy{
		action:     p.GetAction(),
		retries:    int(p.GetRetries()),
		backoff:    orDefault(p.GetBackoff().AsDuration(), 100*time.Millisecond),
		maxBackoff: orDefault(p.GetMaxBackoff().AsDuration(), 10*time.Second),
		// A barrier waits behind the record, so the record must not take all of
		// the time that the barrier has.
		bound: checkpointTimeout / 2,
		limit: window{limit: p.GetLimit(), span: p.GetLimitWindow().AsDuration()},
	}
	if _, known := pluginv1.FailurePolicy_Action_name[int32(out.action)]; !known {
		return out, fmt.Errorf("on_failure: action %d is not known", out.action)
	}
	return out, nil
}

// wait is the time before a record's next try.
func (p *policy) wait(try int, err error) time.Duration {
	d := p.backoff
	for range try {
		if d *= 2; d >= p.maxBackoff {
			break
		}
	}
	d = min(d, p.maxBackoff)
	if again, ok := asRetry(err); ok {
		d = max(d, again.After)
	}
	return d
}

// window counts failures within a sliding span of time, in steps of a 64th of it.
type window struct {
	limit uint64
	span  time.Duration
	steps [64]struct {
		at    int64
		count uint64
	}
	total uint64 // where there is no span
}

// over counts one failure and says whether they are now too many.
func (w *window) over(now time.Time) bool {
	if w.limit == 0 {
		return false
	}
	if w.span <= 0 {
		w.total++
		return w.total > w.limit
	}
	at := now.UnixNano() / max(1, int64(w.span)/int64(len(w.steps)))
	s := &w.steps[at%int64(len(w.steps))]
	if s.at != at {
		s.at, s.count = at, 0
	}
	s.count++
	var sum uint64
	for i := range w.steps {
		if at-w.steps[i].at < int64(len(w.steps)) {
			sum += w.steps[i].count
		}
	}
	return sum > w.limit
}
