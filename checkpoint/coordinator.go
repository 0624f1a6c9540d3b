package checkpoint

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/weirstream/weir/coordination"
)

// Errors of a checkpoint, to be found with errors.Is.
var (
	// ErrFenced: another leader, or another epoch of the pipeline, is in charge.
	// Nothing was written.
	ErrFenced = errors.New("fenced by a newer leader or epoch")
	// ErrTimeout: the checkpoint did not complete within its time.
	ErrTimeout = errors.New("checkpoint timed out")
	// ErrStopped: the epoch ended before the savepoint was complete.
	ErrStopped = errors.New("the pipeline stopped")
)

// Pauses before something that failed is tried again.
const (
	recordRetry = 200 * time.Millisecond // a write to coordination
	failedRetry = time.Second            // a checkpoint that somebody waits for
)

// Coordinator decides about the checkpoints of one epoch of a pipeline, as its
// leader. It is a pure state machine: see the package documentation. It is not
// safe for concurrent use.
type Coordinator struct {
	cfg   Config
	start Start

	now     time.Time
	out     []Action
	started bool
	done    bool

	// What the pipeline has told.
	exhausted map[string]map[int]bool // source tasks
	ended     map[string]bool         // nodes that a barrier has told so
	changed   bool
	after     uint64          // newest checkpoint after which something changed
	pool      map[string]bool // hosts that wait for commits

	// What people want.
	want       bool
	savepoints []string // not begun
	halt       bool
	haltName   string

	// The checkpoint under way, and when the next may begin.
	current  *attempt
	attempts int
	periodic time.Time // next one by the interval
	pause    time.Time // none by the interval before
	retry    time.Time // none at all before
	failures int
	failure  error
	aborted  map[uint64]bool

	settling
}

// NewCoordinator returns the coordinator of an epoch. Step it with a Tick first.
func NewCoordinator(cfg Config, s Start) *Coordinator {
	c := &Coordinator{
		cfg: cfg, start: s,
		exhausted: map[string]map[int]bool{},
		ended:     map[string]bool{},
		pool:      map[string]bool{},
		aborted:   map[uint64]bool{},
	}
	c.settling = newSettling(s)
	if s.Newest != nil {
		for _, n := range s.Newest.Ended {
			c.ended[n] = true
		}
	}
	if s.Sequence.Epoch == s.Epoch {
		for _, n := range s.Sequence.Ended {
			c.ended[n] = true
		}
		c.halt = s.Sequence.Halted
	}
	if s.Running { // the tasks have told the earlier leader what they changed
		c.changed, c.after = true, max(c.newestN(), s.Sequence.Last)
	}
	return c
}

// Step takes one event and returns what is to be done, in order.
func (c *Coordinator) Step(now time.Time, ev Event) []Action {
	if c.done {
		return nil
	}
	c.now, c.out = now, nil
	if !c.started {
		c.begin()
	}
	if !c.done {
		c.take(ev)
	}
	c.check()
	return c.out
}

func (c *Coordinator) do(a Action) { c.out = append(c.out, a) }

// begin picks up what an earlier leader or epoch left.
func (c *Coordinator) begin() {
	c.started = true
	c.periodic = c.now.Add(c.cfg.Interval)
	if r := c.newest; r != nil {
		c.do(AnnounceCompleted{*r})
		if r.State == Finishing || r.State == Finished || r.Halt && r.Epoch == c.start.Epoch {
			c.endsAt(*r)
		}
	}
	if p := c.start.Pending; p != nil {
		c.resume(*p, c.start.Acks)
	}
}

func (c *Coordinator) take(ev Event) {
	switch ev := ev.(type) {
	case Tick:
	case Changed:
		c.changed, c.after = true, max(c.after, ev.After)
	case Exhausted:
		if c.exhausted[ev.Node] == nil {
			c.exhausted[ev.Node] = map[int]bool{}
		}
		c.exhausted[ev.Node][ev.Task] = true
	case WantCheckpoint:
		c.want = true
	case WantSavepoint:
		if c.free(ev.Name) {
			c.savepoints = append(c.savepoints, ev.Name)
		}
	case WantHalt:
		c.halt = true
		if ev.Savepoint != "" && c.free(ev.Savepoint) {
			c.haltName = ev.Savepoint
		}
	case PoolWaiting:
		c.poolWaiting(ev)
	case PendingOpened:
		c.opened(ev)
	case Acked:
		c.acked(ev.Ack)
	case Declined:
		c.declined(ev)
	case ManifestWritten:
		c.manifestWritten(ev)
	case RecordWritten:
		c.recordWritten(ev)
	case PendingClosed:
		c.closed(ev)
	case CommitsAnswered:
		c.answer(ev.Host, ev.Through)
	case CommitFailed:
		c.fail(ev.Err)
	case CommittedSaved:
		c.committedSaved(ev)
	case SavepointStored:
		c.savepointStored(ev)
	case MarkedFinished:
		c.markedFinished(ev)
	case Retained:
		c.retained(ev)
	case Ended:
		c.finish(nil)
	}
}

// free says that nobody waits for a savepoint of this name yet, and refuses it
// otherwise.
func (c *Coordinator) free(name string) bool {
	if !slices.Contains(c.unanswered(), name) {
		return true
	}
	c.do(SavepointDone{Name: name, Err: ErrSavepointExists})
	return false
}

// unanswered are the names of all savepoints that somebody waits for.
func (c *Coordinator) unanswered() []string {
	names := slices.Clone(c.savepoints)
	if p := c.current; p != nil && p.Savepoint != "" && p.Savepoint != c.haltName {
		names = append(names, p.Savepoint)
	}
	if c.haltName != "" {
		names = append(names, c.haltName)
	}
	return append(names, slices.Sorted(maps.Keys(c.unstored))...)
}

// check does what has become possible or due.
func (c *Coordinator) check() {
	if !c.done {
		c.checkCurrent()
	}
	if !c.done {
		c.settle()
	}
	if !c.done && c.current == nil && !c.last {
		c.trigger()
	}
}

// trigger begins a checkpoint if one is wanted or due.
func (c *Coordinator) trigger() {
	if c.now.Before(c.retry) {
		return
	}
	p := Pending{
		ID: c.nextID(), Epoch: c.start.Epoch, Leader: c.start.Leader,
		Hosts: slices.Sorted(slices.Values(c.cfg.Hosts)), OpenedAt: c.now,
	}
	p.Ended = c.endedNow()
	p.Final = c.allEnded(p.Ended)
	p.Halt = c.halt
	switch {
	case c.halt:
		p.Savepoint = c.haltName
	case len(c.savepoints) > 0:
		p.Savepoint, c.savepoints = c.savepoints[0], c.savepoints[1:]
	case p.Final || c.want:
	case !c.due(len(p.Ended) > len(c.recordedEnds())):
		return
	}
	p.Roll = p.Halt || p.Final || p.Savepoint != ""
	c.open(p)
}

// due says that the interval has passed and there is something to checkpoint.
func (c *Coordinator) due(moreEnded bool) bool {
	if c.cfg.Interval <= 0 || c.now.Before(c.periodic) || c.now.Before(c.pause) {
		return false
	}
	if moreEnded || c.changed && c.after >= c.newestN() {
		return true
	}
	for !c.now.Before(c.periodic) { // skipped
		c.periodic = c.periodic.Add(c.cfg.Interval)
	}
	return false
}

func (c *Coordinator) recordedEnds() []string {
	if c.newest == nil {
		return nil
	}
	return c.newest.Ended
}

// endedNow is which nodes have ended at a barrier that is sent now: those that
// were told so, sources without a task that may read on, and nodes whose inputs
// have all ended.
func (c *Coordinator) endedNow() []string {
	ended := maps.Clone(c.ended)
	for more := true; more; {
		more = false
		for _, n := range c.cfg.Nodes {
			if !ended[n.Name] && c.endsNow(n, ended) {
				ended[n.Name], more = true, true
			}
		}
	}
	return slices.Sorted(maps.Keys(ended))
}

func (c *Coordinator) endsNow(n Node, ended map[string]bool) bool {
	if len(n.Inputs) == 0 {
		return len(c.exhausted[n.Name]) >= n.Parallelism
	}
	for _, in := range n.Inputs {
		if !ended[in] {
			return false
		}
	}
	return true
}

// wanted says that somebody waits for a checkpoint, whatever the interval.
func (c *Coordinator) wanted() bool {
	return c.halt || c.want || len(c.savepoints) > 0 || c.allEnded(c.endedNow())
}

func (c *Coordinator) allEnded(ended []string) bool {
	return len(c.cfg.Nodes) > 0 && len(ended) == len(c.cfg.Nodes)
}

// Deadline is when the next Tick is due, if any.
func (c *Coordinator) Deadline() (time.Time, bool) {
	if c.done {
		return time.Time{}, false
	}
	if !c.started {
		return c.now, true
	}
	var at []time.Time
	switch {
	case c.current != nil:
		at = append(at, c.current.deadlines(len(c.pool) > 0)...)
	case !c.last && c.wanted():
		at = append(at, c.retry)
	case !c.last && c.cfg.Interval > 0:
		at = append(at, latest(c.periodic, c.pause, c.retry))
	}
	at = append(at, c.settling.deadlines()...)
	if len(at) == 0 {
		return time.Time{}, false
	}
	return slices.MinFunc(at, time.Time.Compare), true
}

func latest(ts ...time.Time) time.Time { return slices.MaxFunc(ts, time.Time.Compare) }

// Done says that the coordinator has ended: no event matters any more.
func (c *Coordinator) Done() bool { return c.done }

// fail ends it because the pipeline cannot go on.
func (c *Coordinator) fail(err error) { c.finish(Fail{err}) }

// refused handles what every outcome has in common: it says whether the write is
// to be repeated, and ends the coordinator where it never can be.
func (c *Coordinator) refused(err error) (repeat bool) {
	for _, over := range []error{ErrFenced, coordination.ErrSessionLost, coordination.ErrClosed} {
		if errors.Is(err, over) {
			c.finish(StepDown{err})
			return false
		}
	}
	return err != nil
}

// passing says that a write to coordination is to be repeated, since it may have
// taken effect, or will when the service is back.
func passing(err error) bool {
	return errors.Is(err, coordination.ErrUnknownOutcome) || errors.Is(err, coordination.ErrUnavailable)
}

// finish ends the coordinator, with an action that says why.
func (c *Coordinator) finish(last Action) {
	for _, name := range c.unanswered() {
		c.do(SavepointDone{Name: name, N: c.unstored[name], Err: ErrStopped})
	}
	if last != nil {
		c.do(last)
	}
	c.done, c.current = true, nil
}

// Status says where it stands.
func (c *Coordinator) Status() Status {
	s := Status{
		Pool: slices.Sorted(maps.Keys(c.pool)), Failures: c.failures, LastFailure: c.failure,
		Completed: c.newestN(), Committed: c.committed,
	}
	if c.newest != nil {
		s.Uncommitted = c.waiting(c.newestN())
	}
	if p := c.current; p != nil {
		s.InFlight, s.Phase, s.Since, s.Missing = p.N, p.phase.String(), p.OpenedAt, p.missing()
	}
	return s
}
