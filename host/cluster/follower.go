package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/journal"
)

// Loaded is a pipeline that this host can run.
type Loaded struct {
	Topology engine.Topology
	Storage  *storage.Storage
	// Worker makes its worker. The configuration lacks what the follower knows:
	// host, peers and lease.
	Worker func(engine.WorkerConfig) *engine.Worker
	// Close lets go of what was loaded, after the worker was closed.
	Close func()
}

// Loader makes a pipeline of what was submitted.
type Loader func(ctx context.Context, name string, s Spec) (*Loaded, error)

// follower runs one pipeline's tasks on this host: it follows the assignment, takes
// the phases, and then follows the checkpoints.
type follower struct {
	agent *agent
	name  string
	log   *slog.Logger

	ledger *checkpoint.Ledger
	// loaded is of the submission with this revision.
	loaded   *Loaded
	revision uint64
	worker   *engine.Worker
	run      *hostRun // nil while this host has no part in the pipeline
}

// hostRun is one epoch on this host.
type hostRun struct {
	a        Assignment
	reporter *reporter
	ctx      context.Context
	cancel   context.CancelFunc
	group    sync.WaitGroup
	begun    bool
	lapses   int // of the session, when it began

	taking chan error   // the phase under way; nil for none
	phase  engine.Phase // that is under way, or the last that was done
	stop   context.CancelFunc

	// While data flows.
	restored         *checkpoint.Record
	pending, records <-chan coordination.Listing
	committed        <-chan coordination.Change
	again            <-chan time.Time // reads that failed are repeated
	seen             map[uint64]bool  // pending checkpoints whose end is not known
	newest           uint64           // record
	barrier          uint64
	failed           bool
}

// follow is the follower's goroutine. It ends every task when ctx ends.
func (f *follower) follow(ctx context.Context) {
	assigned, levels := f.agent.store.Watch(ctx, assignmentPath(f.name)), f.agent.store.Watch(ctx, levelsPath(f.name))
	// They are known before the first task opens.
	c, ok := <-levels
	if !ok || c.Err != nil {
		return
	}
	f.leveled(c)
	defer f.agent.leveled(f.name, journal.Levels{})
	defer f.leave(true)
	for {
		var taken chan error
		var pending, records <-chan coordination.Listing
		var committed <-chan coordination.Change
		var again <-chan time.Time
		lapsed := f.agent.lapses.changed.wait()
		if r := f.run; r != nil {
			if !r.failed && r.lapses != f.agent.lapses.count() {
				f.lapse()
			}
			taken, pending, records, committed, again = r.taking, r.pending, r.records, r.committed, r.again
		}
		select {
		case <-ctx.Done():
			return
		case c, ok := <-assigned:
			if !ok || c.Err != nil {
				return
			}
			f.assigned(ctx, c)
		case c, ok := <-levels:
			if !ok || c.Err != nil {
				return
			}
			f.leveled(c)
		case err := <-taken:
			f.taken(err)
		case _, ok := <-pending:
			f.sync(ok)
		case _, ok := <-records:
			f.sync(ok)
		case <-again:
			f.sync(true)
		case c, ok := <-committed:
			f.settled(c, ok)
		case <-lapsed:
		}
	}
}

// leveled takes what is to be logged.
func (f *follower) leveled(c coordination.Change) {
	var l journal.Levels
	if _, err := decode(c.Record, &l); err != nil {
		f.log.Error("the log levels cannot be read", "error", err)
		return
	}
	f.agent.leveled(f.name, l)
}

// assigned takes a new assignment, or the next phase of the present one.
func (f *follower) assigned(ctx context.Context, c coordination.Change) {
	var a Assignment
	found, err := decode(c.Record, &a)
	if err != nil {
		f.log.Error("the assignment cannot be read", "error", err)
		return
	}
	if !c.Found || !found { // deleted
		f.leave(false)
		return
	}
	mine := a.Hosts[f.agent.id.Host] == f.agent.id.Instance
	if r := f.run; r != nil && (r.a.Epoch != a.Epoch || r.a.UID != a.UID) {
		f.end(false)
	}
	switch {
	case mine && f.run == nil && a.Phase == engine.PhasePrepare:
		f.begin(ctx, a)
	case mine && f.run == nil && a.Phase == engine.PhaseClose:
		f.closed(ctx, a)
	case mine && f.run != nil:
		f.run.a = a
		f.advance()
	case !mine && a.Leaving[f.agent.id.Host] == f.agent.id.Instance:
		f.leave(false)
		f.closed(ctx, a)
	case !mine:
		f.leave(false)
	}
}

// closed reports that no task of an epoch is open here.
func (f *follower) closed(ctx context.Context, a Assignment) {
	data := encode(Report{Instance: f.agent.id.Instance, UID: a.UID, Epoch: a.Epoch, Phase: engine.PhaseClose})
	err := persist(ctx, func(ctx context.Context) error {
		return coordination.Put(ctx, f.agent.store, reportPath(f.name, f.agent.id.Host), data)
	})
	if err != nil && ctx.Err() == nil {
		f.log.Warn("the leader cannot be told", "cause", err)
	}
}

// begin begins a new epoch.
func (f *follower) begin(ctx context.Context, a Assignment) {
	r := &hostRun{a: a, seen: map[uint64]bool{}, lapses: f.agent.lapses.count()}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.reporter = newReporter(r.ctx, f.agent.store, f.ledger, reportPath(f.name, f.agent.id.Host), f.agent.id.Host,
		Report{Instance: f.agent.id.Instance, UID: a.UID, Epoch: a.Epoch}, f.log, &r.group,
		func() *storage.Storage { return f.loaded.Storage })
	f.run = r
	f.agent.taking(a)
	f.agent.occupied(f.name, true)
	f.advance()
}

// advance takes the phase that is assigned, if none is under way.
func (f *follower) advance() {
	r := f.run
	if r.a.Phase == engine.PhaseClose {
		reporter := r.reporter
		f.endTasks(false)
		reporter.change(func(rep *Report) { rep.Phase = engine.PhaseClose })
		return
	}
	if r.taking != nil || r.phase == r.a.Phase || r.failed {
		return
	}
	r.phase = r.a.Phase
	r.taking = make(chan error, 1)
	ctx, stop := context.WithCancel(r.ctx)
	r.stop = stop
	taking, phase := r.taking, r.phase
	r.group.Go(func() { taking <- f.take(ctx, r, phase) })
}

// take takes a phase, on a goroutine of its own.
func (f *follower) take(ctx context.Context, r *hostRun, p engine.Phase) error {
	if p == engine.PhasePrepare {
		if err := f.restore(ctx, r); err != nil {
			return err
		}
	}
	if !r.begun {
		return fmt.Errorf("host %s was told to %s epoch %d, which it has not prepared", f.agent.id.Host, p, r.a.Epoch)
	}
	return f.worker.Take(ctx, p)
}

// restore loads the pipeline where it is new, finds what the epoch begins from, and
// begins it.
func (f *follower) restore(ctx context.Context, r *hostRun) error {
	if err := f.load(ctx, r.a.Spec); err != nil {
		return err
	}
	var h checkpoint.History
	err := persist(ctx, func(ctx context.Context) (err error) {
		h, err = f.ledger.Load(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if h.Lineage.UID != r.a.UID || h.Lineage.Epoch != r.a.Epoch {
		return &engine.Uncounted{Err: fmt.Errorf("epoch %d is over", r.a.Epoch)}
	}
	choice, err := h.Adopted(ctx, f.loaded.Storage)
	if err != nil {
		return fmt.Errorf("pipeline %s: %w", f.name, err)
	}
	r.restored = choice.Record
	if choice.Record != nil {
		r.newest, r.barrier = choice.Record.N, choice.Record.N
	}
	r.begun = true
	f.worker.Begin(engine.Restore{History: h, Choice: choice}, r.a.Tasks, r.reporter.upward())
	return nil
}

// load makes the pipeline of its submission, unless that is what is there already.
func (f *follower) load(ctx context.Context, revision uint64) error {
	if f.loaded != nil && f.revision == revision {
		return nil
	}
	f.unload(false)
	var s Spec
	var found bool
	err := persist(ctx, func(ctx context.Context) (err error) {
		s, _, found, err = read[Spec](ctx, f.agent.store, specPath(f.name))
		return err
	})
	switch {
	case err != nil:
		return err
	case !found || s.Revision != revision:
		return &engine.Uncounted{Err: fmt.Errorf("pipeline %s was submitted anew", f.name)}
	}
	if err := s.newer(); err != nil {
		return unableHere(ctx, err)
	}
	loaded, err := f.agent.load(ctx, f.name, s)
	if err != nil {
		return unableHere(ctx, err)
	}
	if why := s.Topology.Differs(loaded.Topology); why != "" {
		loaded.Close()
		return unableHere(ctx, fmt.Errorf("the file means something else here than where it was submitted: %s", why))
	}
	f.loaded, f.revision = loaded, revision
	f.worker = loaded.Worker(engine.WorkerConfig{
		Host: f.agent.id.Host, Cluster: f.agent.id.Cluster, Peers: f.agent.peers, Lease: f.agent.lease,
		Log: f.log, Storage: loaded.Storage,
	})
	f.agent.running(f.name, f.worker)
	return nil
}

// unableHere says that this host cannot run the pipeline.
func unableHere(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err // it was told to stop trying
	}
	return &unableError{err}
}

// taken handles the end of a phase.
func (f *follower) taken(err error) {
	r := f.run
	r.taking = nil
	r.stop()
	if err != nil {
		f.fail(err)
		return
	}
	if r.phase == engine.PhaseRun {
		f.flow()
	}
	phase := r.phase
	r.reporter.change(func(rep *Report) { rep.Phase = phase })
	f.advance()
}

// fail gives the epoch up on this host. Its tasks stay until the leader says what
// comes, unless nobody may know that they are there.
func (f *follower) fail(err error) {
	f.run.failed = true
	f.run.reporter.fail(err)
}

// flow begins to follow the epoch's checkpoints: the data has begun to.
func (f *follower) flow() {
	r := f.run
	if r.restored != nil {
		f.worker.Completed(*r.restored)
	}
	r.pending, r.records = f.ledger.WatchPending(r.ctx), f.ledger.WatchRecords(r.ctx)
	r.committed = f.ledger.WatchCommitted(r.ctx)
}

// sync does what the leader has decided about checkpoints since the last look:
// barriers that were opened, records that were written, and what has neither any
// more.
func (f *follower) sync(ok bool) {
	r := f.run
	if r == nil || !ok {
		return
	}
	r.again = nil
	now, err := f.ledger.Follow(r.ctx, r.a.UID, r.a.Epoch)
	if err != nil {
		if r.ctx.Err() == nil {
			r.again = time.After(retryPause)
		}
		return
	}
	pending := map[uint64]bool{}
	for _, p := range now.Pending {
		pending[p.N] = true
		if p.N > r.barrier {
			r.barrier = p.N
			r.seen[p.N] = true
			f.worker.Barrier(p.Barrier)
		}
	}
	for _, rec := range now.Records {
		if rec.N > r.newest {
			r.newest = rec.N
			delete(r.seen, rec.N)
			f.worker.Completed(rec)
		}
	}
	for n := range r.seen {
		switch {
		case pending[n]:
		case n > r.newest:
			f.worker.Aborted(n, errors.New("its leader has given it up"))
			fallthrough
		default: // an older one is decided by the newest record
			delete(r.seen, n)
		}
	}
}

// settled tells the tasks how far output is published for good.
func (f *follower) settled(c coordination.Change, ok bool) {
	r := f.run
	if !ok || c.Err != nil || !c.Found {
		return
	}
	var through checkpoint.Committed
	if found, err := decode(c.Record, &through); err == nil && found && r.phase == engine.PhaseRun {
		f.worker.Committed(through.Through)
	}
}

// lapse closes the tasks because it is no longer sure that the session lives: others
// may own them soon.
func (f *follower) lapse() {
	f.log.Warn("no answer from the coordination service for two thirds of the session timeout: closing the tasks")
	f.fail(&engine.Uncounted{Err: fmt.Errorf("host %s has had no answer from the coordination service and closed its tasks", f.agent.id.Host)})
	f.endTasks(true)
}

// endTasks closes the tasks of the current epoch.
func (f *follower) endTasks(hurry bool) {
	r := f.run
	if r.stop != nil {
		r.stop()
	}
	if r.taking != nil {
		<-r.taking
		r.taking = nil
	}
	r.pending, r.records, r.committed, r.again = nil, nil, nil, nil
	if r.begun {
		f.worker.End(hurry)
	}
	f.agent.occupied(f.name, false)
}

// end closes the tasks and forgets the epoch.
func (f *follower) end(hurry bool) {
	if f.run == nil {
		return
	}
	f.endTasks(hurry)
	f.run.cancel()
	f.run.group.Wait()
	f.agent.left(f.run.a)
	f.run = nil
}

// leave ends everything of the pipeline here.
func (f *follower) leave(hurry bool) {
	f.end(hurry)
	f.unload(hurry)
}

func (f *follower) unload(hurry bool) {
	if f.worker != nil {
		f.agent.running(f.name, nil)
		f.worker.Close(hurry)
		f.worker = nil
	}
	if f.loaded != nil {
		f.loaded.Close()
		f.loaded = nil
	}
}
