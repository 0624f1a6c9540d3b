package kafka

import (
	"strconv"
	"sync"

	"github.com/weirstream/weir/sdk"
)

// progress is how far a task's partitions have come.
type progress struct {
	mu         sync.Mutex
	partitions map[*lag]struct{}
	// Of bounded partitions: records read, and records of those that are closed.
	done, total float64
}

// lag is one partition's.
type lag struct {
	gauge    *sdk.Gauge
	from, to int64
	at, end  int64 // end is -1 while it is not known
}

func (p *progress) open(t *sdk.Task, s split, at int64) *lag {
	l := &lag{
		gauge: t.Metrics.Gauge("kafka_lag", "Records of the partition that are not read yet.", "records",
			"topic", s.Topic, "partition", strconv.Itoa(int(s.Partition))),
		from: s.From, to: s.To, at: at, end: -1,
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.partitions == nil {
		p.partitions = map[*lag]struct{}{}
	}
	p.partitions[l] = struct{}{}
	return l
}

// moved notes what was read; end is the partition's, -1 where it is not known.
func (p *progress) moved(l *lag, end, from, to int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += float64(to - from)
	l.at, l.end = to, end
	if n := l.left(); n >= 0 {
		l.gauge.Set(float64(n))
	}
}

// left is how many records are still to be read, -1 where that is not known. Gaps
// count as records.
func (l *lag) left() int64 {
	end := l.end
	if l.to >= 0 {
		end = l.to
	}
	if end < 0 {
		return -1
	}
	return max(end-l.at, 0)
}

func (p *progress) close(l *lag) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.partitions, l)
	if l.to >= 0 {
		p.total += float64(l.at - l.from)
	}
	l.gauge.Set(0)
}

// Progress implements [sdk.Progresser].
func (s *source) Progress() sdk.Progress {
	p := &s.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	r := sdk.Progress{Done: p.done, Total: p.total, Unit: "records"}
	bounded := s.cfg.bounded()
	for l := range p.partitions {
		left := l.left()
		if left < 0 {
			r.Lag = -1
		} else if r.Lag >= 0 {
			r.Lag += left
		}
		r.Total += float64(max(l.to-l.from, 0))
	}
	if bounded {
		// What an earlier run has read counts as done.
		r.Done = r.Total - float64(max(r.Lag, 0))
	} else {
		r.Total = 0
	}
	return r
}

// skipped counts records that were passed over since they are gone.
func (s *source) skipped(d split) *sdk.Counter {
	return s.task.Metrics.Counter("kafka_skipped", "Offsets that were passed over since they were not in the log any more.", "records",
		"topic", d.Topic, "partition", strconv.Itoa(int(d.Partition)))
}
