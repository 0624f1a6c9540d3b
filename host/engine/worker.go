package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/host/edge"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// WorkerConfig is what a Worker works with. Everything is required unless it says
// otherwise.
type WorkerConfig struct {
	// Host is this host's name.
	Host     string
	Cluster  string // part of the names that sinks make outside; may be empty
	Pipeline *pipeline.Pipeline
	Storage  *storage.Storage
	Start    StartFunc
	Log      *slog.Logger
	// Scratch is a folder on this host's disk, nobody else's, for tasks that keep
	// state there; it need not exist and is removed when it is not used any more.
	Scratch string
	// Peers carries edges between hosts. It may be nil where there is one host.
	Peers Peers
	// ReadRecords is how many records each reader may read; 0 for any number.
	ReadRecords uint64
	// DryRun, as in Config.
	DryRun bool
	// Lease is how long a task goes on without a word from its host; 0 is for ever.
	Lease time.Duration
	// OnStep is called at each step, as in Config.
	OnStep func(Step)
}

// Peers joins this host's tasks to those of other hosts.
type Peers interface {
	// Accept lets the tasks of other hosts send into these channels, and their
	// readers ask for splits, until the returned function is called.
	Accept(r Run, in Inlets) (end func())
	// Send carries what comes out of the input to a channel of another host, until
	// ctx ends, and returns why it cannot. It calls ready once the other side has
	// accepted the channel.
	Send(ctx context.Context, host string, r Run, id edge.ID, from *edge.Input, ready func()) error
	// Split hands a reader's request to an enumerator on another host.
	Split(ctx context.Context, host string, r Run, enumerator task.ID, req *pluginv1.SplitRequest) error
}

// Inlets are what one epoch takes from other hosts. The functions do not block.
type Inlets struct {
	Channels map[edge.ID]*edge.Channel
	Split    func(enumerator task.ID, r *pluginv1.SplitRequest)
	// Broken says that a channel into this host broke.
	Broken func(error)
}

// Run names one epoch of one pipeline.
type Run struct {
	UID   string
	Epoch uint64
}

// Placement says on which host each task runs, by the task's name. The nil
// placement puts all on one host.
type Placement map[string]string

// Worker runs one pipeline's tasks on one host, epoch after epoch. It keeps the
// plugin processes from one to the next. Begin, Take, Barrier, Completed, Aborted,
// Committed and End are called from one goroutine; the other methods by anyone.
type Worker struct {
	WorkerConfig
	plan   *plan
	pool   *pool
	meter  *meter
	probed bool // the outside was asked
	taps   *taps

	mu      sync.Mutex
	current *generation
	peak    int // bytes in flight
}

// NewWorker returns a worker without a process.
func NewWorker(c WorkerConfig) *Worker {
	return &Worker{WorkerConfig: c, plan: newPlan(c.Pipeline, c.ReadRecords), pool: newPool(c.Start), meter: newMeter(), taps: newTaps()}
}

// Begin makes a new epoch. The former one must have been ended.
func (w *Worker) Begin(r Restore, p Placement, up Upward) {
	g := newGeneration(w, r, p, up)
	w.mu.Lock()
	w.current = g
	w.mu.Unlock()
}

// Take takes a phase of the epoch.
func (w *Worker) Take(ctx context.Context, p Phase) error {
	g := w.generation()
	ctx, cancel := g.within(ctx)
	defer cancel()
	var err error
	switch p {
	case PhasePrepare:
		err = g.prepare(ctx)
	case PhaseCommit:
		err = g.commitRestored(ctx)
	case PhaseSweep:
		err = g.sweep(ctx)
	case PhaseOpen:
		err = g.openAll(ctx)
	case PhaseRun:
		err = g.run(ctx)
	case PhaseClose:
		w.End(false)
	}
	if err != nil {
		return g.mask(g.explain(err))
	}
	return nil
}

// Barrier sends a barrier into the graph, at the enumerators of this host.
func (w *Worker) Barrier(b checkpoint.Barrier) { w.generation().barrier(b) }

// Completed tells the tasks that a record is durable and commits what it lists.
func (w *Worker) Completed(r checkpoint.Record) { w.generation().completed(r) }

// Aborted tells the tasks that a record will never be written.
func (w *Worker) Aborted(n uint64, reason error) { w.generation().aborted(n, reason) }

// Committed tells the tasks how far output is published for good.
func (w *Worker) Committed(through uint64) { w.generation().committed(through) }

// End closes every task of the epoch and waits for everything that it has
// started. In a hurry it waits less for tasks that do not answer. Processes stay,
// but those of such tasks.
func (w *Worker) End(hurry bool) {
	if g := w.generation(); g != nil {
		g.end(hurry)
		w.meter.rollover()
	}
}

// Close ends the epoch, if there is one, and every process.
func (w *Worker) Close(hurry bool) {
	w.End(hurry)
	w.pool.close()
}

func (w *Worker) generation() *generation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current
}

// uncommitted says which sinks do not answer, and why.
func (w *Worker) uncommitted() []UncommittedStatus {
	if g := w.generation(); g != nil {
		return g.unpublished()
	}
	return nil
}

// WorkerStatus is a picture of what one host runs of a pipeline.
type WorkerStatus struct {
	Nodes []NodeStatus `json:"nodes"`
	// BytesInFlight is what waits in the host's channels now; PeakBytesInFlight
	// the most that did when a checkpoint began.
	BytesInFlight     int                 `json:"bytes_in_flight"`
	PeakBytesInFlight int                 `json:"peak_bytes_in_flight"`
	Uncommitted       []UncommittedStatus `json:"uncommitted,omitempty"`
}

// Status pictures the worker now.
func (w *Worker) Status() WorkerStatus {
	w.mu.Lock()
	g, s := w.current, WorkerStatus{PeakBytesInFlight: w.peak}
	w.mu.Unlock()
	s.Nodes = w.meter.status(w.Pipeline, time.Now())
	if g != nil {
		s.BytesInFlight = g.queued()
		s.Uncommitted = g.unpublished()
	}
	return s
}

// Epoch is the number of the epoch that was begun last, or 0.
func (w *Worker) Epoch() uint64 {
	if g := w.generation(); g != nil {
		return g.epoch
	}
	return 0
}

// Own keeps of the nodes those that have tasks on this host.
func (w *Worker) Own(nodes []NodeStatus) []NodeStatus {
	g := w.generation()
	return slices.DeleteFunc(nodes, func(n NodeStatus) bool {
		if g == nil {
			return true
		}
		_, here := g.processOf(w.Pipeline.Node(n.Name))
		return !here
	})
}

// Awaited lists this host's tasks that have not delivered checkpoint n.
func (w *Worker) Awaited(n uint64) []AwaitedTask {
	if g := w.generation(); g != nil {
		return g.awaited(n)
	}
	return nil
}

// LevelsChanged tells the tasks what the worker's log lets through of their nodes now.
// Those that are opened later are told so then.
func (w *Worker) LevelsChanged() {
	g := w.generation()
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, t := range g.tasks {
		t.SetLogLevel(g.logLevel(g.plans[id]))
	}
}

// UID is the identity of the pipeline's state in the newest epoch, or empty.
func (w *Worker) UID() string {
	if g := w.generation(); g != nil {
		return g.uid
	}
	return ""
}

// step tells the hook, if there is one.
func (w *Worker) step(s Step) {
	if w.OnStep != nil {
		w.OnStep(s)
	}
}
