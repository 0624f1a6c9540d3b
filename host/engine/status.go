package engine

import (
	"math"
	"sync"
	"time"

	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// State is what a pipeline is doing.
type State string

// The states of a pipeline.
const (
	StateRestoring State = "restoring" // commits and sweeps, then opens its tasks
	StateRunning   State = "running"
	StateStopping  State = "stopping"  // a final checkpoint is under way
	StateFinishing State = "finishing" // input has ended, commits are awaited
	StateFinished  State = "finished"
	StateStopped   State = "stopped"
	StateWaiting   State = "waiting" // for the backoff before a restart
	StateFailed    State = "failed"
	StatePending   State = "pending" // in a cluster: for a host, or for its leader
)

// Status is a picture of a pipeline at one moment.
type Status struct {
	Name     string         `json:"name"`
	State    State          `json:"state"`
	Epoch    uint64         `json:"epoch"`
	Started  time.Time      `json:"started"`
	Nodes    []NodeStatus   `json:"nodes"`
	Restarts RestartStatus  `json:"restarts"`
	Last     *CheckpointEnd `json:"last_checkpoint,omitempty"`
	InFlight *CheckpointNow `json:"checkpoint_in_flight,omitempty"`
	// SlowestCheckpoint is the longest that a checkpoint of this run took, from
	// its barrier to its record.
	SlowestCheckpoint time.Duration `json:"slowest_checkpoint_ns"`
	// Completed and Failed count the checkpoints of this run.
	Completed int `json:"checkpoints_completed"`
	Failed    int `json:"checkpoints_failed"`
	// BytesInFlight is what waits in the host's channels now; PeakBytesInFlight
	// the most that did when a checkpoint began.
	BytesInFlight     int `json:"bytes_in_flight"`
	PeakBytesInFlight int `json:"peak_bytes_in_flight"`
	// Uncommitted says which sinks hold output whose commit does not answer.
	Uncommitted []UncommittedStatus      `json:"uncommitted,omitempty"`
	Guarantees  []pipeline.SinkGuarantee `json:"guarantees"`
}

// NodeStatus sums over a node's tasks. Counters begin with the run and include
// what was read again after a rollback.
type NodeStatus struct {
	Name         string  `json:"name"`
	Kind         string  `json:"kind"`
	Component    string  `json:"component"`
	Parallelism  int     `json:"parallelism"`
	RecordsIn    uint64  `json:"records_in"`
	RecordsOut   uint64  `json:"records_out"`
	BytesIn      uint64  `json:"bytes_in"`
	BytesOut     uint64  `json:"bytes_out"`
	Skipped      uint64  `json:"failed_skipped"`
	DeadLettered uint64  `json:"failed_dead_lettered"`
	Retries      uint64  `json:"retries"`
	Busy         float64 `json:"busy"`    // share of the last seconds spent in calls, 0 to 1
	Blocked      float64 `json:"blocked"` // share spent waiting for receivers
	RateIn       float64 `json:"records_in_per_second,omitempty"`
	RateOut      float64 `json:"records_out_per_second,omitempty"`
	// Progress is nil where the source does not say.
	Progress  *Progress  `json:"progress,omitempty"`
	Watermark *time.Time `json:"watermark,omitempty"`
	// HeldBy is the task that holds the watermark back, and HeldBySplit the split,
	// where the plugin says.
	HeldBy      int                       `json:"watermark_held_by,omitempty"`
	HeldBySplit string                    `json:"watermark_held_by_split,omitempty"`
	Samples     []*pluginv1.FailureSample `json:"failure_samples,omitempty"`
	// Metrics are those that the component's author registered.
	Metrics []Metric `json:"metrics,omitempty"`
}

// Progress is how far a source node has come.
type Progress struct {
	Done  float64 `json:"done"`
	Total float64 `json:"total,omitempty"` // 0 where it is not known
	Unit  string  `json:"unit"`
	Lag   int64   `json:"lag"` // records behind the end, or -1
}

// RestartStatus says how much of the restart policy is used.
type RestartStatus struct {
	Used    int    `json:"used"` // within the window
	Allowed int    `json:"allowed"`
	Total   int    `json:"total"`
	Cause   string `json:"cause,omitempty"` // of the newest
}

// CheckpointEnd is a completed checkpoint.
type CheckpointEnd struct {
	Number   uint64        `json:"number"`
	At       time.Time     `json:"at"`
	Duration time.Duration `json:"duration_ns"`
	Bytes    int64         `json:"bytes"`
}

// CheckpointNow is a checkpoint under way.
type CheckpointNow struct {
	Number uint64    `json:"number"`
	Phase  string    `json:"phase"`
	Since  time.Time `json:"since"`
	// Awaited are the tasks that have not delivered their snapshot or, in the status
	// of a leader, the hosts.
	Awaited []string `json:"awaited"`
	// Tasks says more of those tasks, where it is known.
	Tasks []AwaitedTask `json:"tasks,omitempty"`
}

// UncommittedStatus says why a sink's output is not yet published.
type UncommittedStatus struct {
	Sink  string `json:"sink"`
	Error string `json:"error"`
	// Committables are the prepared pieces that wait, Since the first attempt that
	// failed.
	Committables int        `json:"committables,omitempty"`
	Since        *time.Time `json:"since,omitempty"`
	// TakesNoData: the sink has too much that is not committed, and waits.
	TakesNoData bool `json:"takes_no_data,omitempty"`
}

// meter keeps the newest report of each task and what earlier generations did.
type meter struct {
	mu    sync.Mutex
	nodes map[string]*nodeMeter
}

type nodeMeter struct {
	base  counts // of generations that have ended
	tasks map[int]*taskMeter
}

type taskMeter struct {
	counters              counts
	samples               []*pluginv1.FailureSample
	metrics               []*pluginv1.Metric
	progress              *pluginv1.Progress
	limited               bool // it has read as many records as it may
	watermark             *int64
	split                 string // that holds the watermark back
	at                    time.Time
	busyTime, blockedTime time.Duration // as of the newest report
	shares
}

type counts struct {
	in, out, bytesIn, bytesOut, skipped, deadLettered, retries uint64
}

func (c *counts) add(d counts) {
	c.in += d.in
	c.out += d.out
	c.bytesIn += d.bytesIn
	c.bytesOut += d.bytesOut
	c.skipped += d.skipped
	c.deadLettered += d.deadLettered
	c.retries += d.retries
}

func newMeter() *meter { return &meter{nodes: map[string]*nodeMeter{}} }

func (m *meter) node(name string) *nodeMeter {
	n := m.nodes[name]
	if n == nil {
		n = &nodeMeter{tasks: map[int]*taskMeter{}}
		m.nodes[name] = n
	}
	return n
}

// report takes a task's report; members are the nodes of its chain.
func (m *meter) report(id task.ID, members []*pipeline.Node, r *pluginv1.Report, now time.Time) {
	if id.Role == pluginv1.Role_ROLE_ENUMERATOR {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range r.GetComponents() {
		if int(c.Component) >= len(members) {
			continue
		}
		n := m.node(members[c.Component].Name)
		t := n.tasks[id.Index]
		if t == nil {
			t = &taskMeter{}
			n.tasks[id.Index] = t
		}
		before := t.counters
		t.counters = counts{
			in: c.RecordsIn, out: c.RecordsOut, bytesIn: c.BytesIn, bytesOut: c.BytesOut,
			skipped: c.FailedSkipped, deadLettered: c.FailedDeadLettered, retries: c.Retries,
		}
		if len(c.Samples) > 0 {
			t.samples = c.Samples
		}
		if len(c.Metrics) > 0 {
			t.metrics = c.Metrics
		}
		// One that is idle or whose event time has ended holds nobody.
		t.watermark, t.split = nil, ""
		if w := c.Watermark; c.HasWatermark && w != math.MaxInt64 {
			t.watermark, t.split = &w, c.WatermarkSplit
		}
		busy, blocked := r.Busy.AsDuration(), r.Blocked.AsDuration()
		if !t.at.IsZero() && now.After(t.at) {
			span := now.Sub(t.at)
			t.shares = shares{
				busy: share(float64(busy-t.busyTime) / float64(span)), blocked: share(float64(blocked-t.blockedTime) / float64(span)),
				in: perSecond(before.in, t.counters.in, span), out: perSecond(before.out, t.counters.out, span),
			}
		}
		t.at, t.busyTime, t.blockedTime = now, busy, blocked
		if c.Component == 0 && r.Progress != nil {
			t.progress = r.Progress
		}
		t.limited = c.Component == 0 && r.GetLimitReached()
	}
}

func share(f float64) float64 { return min(max(f, 0), 1) }

// rollover adds what the tasks of an ended generation did to the base.
func (m *meter) rollover() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.nodes {
		for _, t := range n.tasks {
			n.base.add(t.counters)
		}
		n.tasks = map[int]*taskMeter{}
	}
}

// status pictures every node of the pipeline.
func (m *meter) status(p *pipeline.Pipeline, at time.Time) []NodeStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]NodeStatus, 0, len(p.Nodes))
	for _, node := range p.Nodes {
		s := NodeStatus{
			Name: node.Name, Kind: pipeline.KindName(node.Kind), Component: node.Component, Parallelism: node.Parallelism,
		}
		n := m.node(node.Name)
		total := n.base
		metrics := metricSum{}
		for index, t := range n.tasks {
			total.add(t.counters)
			now := t.now(at)
			s.Busy += now.busy / float64(node.Parallelism)
			s.Blocked += now.blocked / float64(node.Parallelism)
			s.RateIn += now.in
			s.RateOut += now.out
			s.Samples = append(s.Samples, t.samples...)
			metrics.add(t.metrics)
			s.Progress = s.Progress.plus(t.progress)
			if t.watermark != nil {
				if at := time.Unix(0, *t.watermark); s.Watermark == nil || at.Before(*s.Watermark) {
					s.Watermark, s.HeldBy, s.HeldBySplit = &at, index, t.split
				}
			}
		}
		s.RecordsIn, s.RecordsOut, s.BytesIn, s.BytesOut = total.in, total.out, total.bytesIn, total.bytesOut
		s.Skipped, s.DeadLettered, s.Retries = total.skipped, total.deadLettered, total.retries
		s.Metrics = metrics.list()
		out = append(out, s)
	}
	return out
}

// plus adds a task's progress. What one task cannot say, the node cannot.
func (p *Progress) plus(t *pluginv1.Progress) *Progress {
	if t == nil {
		return p
	}
	if p == nil {
		return &Progress{Done: t.Done, Total: t.Total, Unit: t.Unit, Lag: t.Lag}
	}
	sum := &Progress{Done: p.Done + t.Done, Total: p.Total + t.Total, Unit: p.Unit, Lag: p.Lag + t.Lag}
	if p.Total == 0 || t.Total == 0 {
		sum.Total = 0
	}
	if p.Lag < 0 || t.Lag < 0 {
		sum.Lag = -1
	}
	return sum
}

// Plus adds what another host knows of the same node.
func (s NodeStatus) Plus(o NodeStatus) NodeStatus {
	s.RecordsIn += o.RecordsIn
	s.RecordsOut += o.RecordsOut
	s.BytesIn += o.BytesIn
	s.BytesOut += o.BytesOut
	s.Skipped += o.Skipped
	s.DeadLettered += o.DeadLettered
	s.Retries += o.Retries
	s.RateIn += o.RateIn
	s.RateOut += o.RateOut
	s.Busy += o.Busy // both are shares of all the node's tasks
	s.Blocked += o.Blocked
	if p := o.Progress; p != nil {
		s.Progress = s.Progress.plus(&pluginv1.Progress{Done: p.Done, Total: p.Total, Unit: p.Unit, Lag: p.Lag})
	}
	if o.Watermark != nil && (s.Watermark == nil || o.Watermark.Before(*s.Watermark)) {
		s.Watermark, s.HeldBy, s.HeldBySplit = o.Watermark, o.HeldBy, o.HeldBySplit
	}
	s.Samples = append(s.Samples, o.Samples...)
	s.Metrics = append(s.Metrics, o.Metrics...)
	return s
}
