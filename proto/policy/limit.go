// Package policy is what hosts and plugins do alike with a node's failure policy.
package policy

import (
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Limit counts failed records within a sliding span of time, in steps of a 64th of
// it. The zero Limit allows any number. It is not safe for concurrent use.
type Limit struct {
	Count uint64        // the most that are allowed; 0 is no limit
	Span  time.Duration // 0 counts from the first

	steps [64]struct {
		at    int64
		count uint64
	}
	total uint64 // where there is no span
}

// NewLimit is the limit of a policy.
func NewLimit(p *pluginv1.FailurePolicy) Limit {
	return Limit{Count: p.GetLimit(), Span: p.GetLimitWindow().AsDuration()}
}

// Over counts one failure and says whether they are now too many.
func (l *Limit) Over(now time.Time) bool {
	if l.Count == 0 {
		return false
	}
	if l.Span <= 0 {
		l.total++
		return l.total > l.Count
	}
	at := now.UnixNano() / max(1, int64(l.Span)/int64(len(l.steps)))
	s := &l.steps[at%int64(len(l.steps))]
	if s.at != at {
		s.at, s.count = at, 0
	}
	s.count++
	var sum uint64
	for i := range l.steps {
		if at-l.steps[i].at < int64(len(l.steps)) {
			sum += l.steps[i].count
		}
	}
	return sum > l.Count
}
