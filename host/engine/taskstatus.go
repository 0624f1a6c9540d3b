package engine

import (
	"time"

	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// TaskStatus pictures one task of a node. Counters begin with the epoch.
type TaskStatus struct {
	Node     string     `json:"node"`
	Index    int        `json:"index"`
	Process  string     `json:"process"`
	Reported *time.Time `json:"reported,omitempty"` // nil: it has not said anything yet

	RecordsIn    uint64  `json:"records_in"`
	RecordsOut   uint64  `json:"records_out"`
	BytesIn      uint64  `json:"bytes_in"`
	BytesOut     uint64  `json:"bytes_out"`
	Skipped      uint64  `json:"failed_skipped"`
	DeadLettered uint64  `json:"failed_dead_lettered"`
	Retries      uint64  `json:"retries"`
	Busy         float64 `json:"busy"`
	Blocked      float64 `json:"blocked"`
	RateIn       float64 `json:"records_in_per_second"`
	RateOut      float64 `json:"records_out_per_second"`

	Progress    *Progress                 `json:"progress,omitempty"`
	Watermark   *time.Time                `json:"watermark,omitempty"`
	HeldBySplit string                    `json:"watermark_held_by_split,omitempty"`
	Samples     []*pluginv1.FailureSample `json:"failure_samples,omitempty"`
}

// shares are what a task did between its two newest reports.
type shares struct {
	busy, blocked float64 // 0 to 1
	in, out       float64 // records a second
}

// silence is how long a task may say nothing before it does nothing: it reports
// about once a second while anything changes.
const silence = 3 * time.Second

// now is what the task does at present.
func (t *taskMeter) now(at time.Time) shares {
	if at.Sub(t.at) > silence {
		return shares{}
	}
	return t.shares
}

func perSecond(before, now uint64, span time.Duration) float64 {
	if now < before || span <= 0 {
		return 0
	}
	return float64(now-before) / span.Seconds()
}

// Tasks pictures every task of this host, node by node.
func (w *Worker) Tasks() []TaskStatus {
	return w.meter.tasks(w.Pipeline, time.Now(), func(n *pipeline.Node, index int) (process string, here bool) {
		return keyOf(w.plan.member[n.Name].chain.Members[0], index).String(), w.runs(n, index)
	})
}

// runs says whether this host has a node's task.
func (w *Worker) runs(n *pipeline.Node, index int) bool {
	g := w.generation()
	return g == nil || g.hostOf(w.plan.taskOf(n, index)) == w.Host
}

// tasks pictures those tasks that are here.
func (m *meter) tasks(p *pipeline.Pipeline, at time.Time, where func(*pipeline.Node, int) (string, bool)) []TaskStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []TaskStatus
	for _, node := range p.Nodes {
		for i := range node.Parallelism {
			process, here := where(node, i)
			if !here {
				continue
			}
			s := TaskStatus{Node: node.Name, Index: i, Process: process}
			if t := m.node(node.Name).tasks[i]; t != nil {
				s.fill(t, at)
			}
			out = append(out, s)
		}
	}
	return out
}

func (s *TaskStatus) fill(t *taskMeter, at time.Time) {
	c, now, reported := t.counters, t.now(at), t.at
	s.Reported = &reported
	s.RecordsIn, s.RecordsOut, s.BytesIn, s.BytesOut = c.in, c.out, c.bytesIn, c.bytesOut
	s.Skipped, s.DeadLettered, s.Retries = c.skipped, c.deadLettered, c.retries
	s.Busy, s.Blocked, s.RateIn, s.RateOut = now.busy, now.blocked, now.in, now.out
	s.Progress = s.Progress.plus(t.progress)
	s.Samples, s.HeldBySplit = t.samples, t.split
	if t.watermark != nil {
		w := time.Unix(0, *t.watermark)
		s.Watermark = &w
	}
}
