package checkpoint_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
)

// leader is one term of office. It dies with the proc that it runs on; where only
// its session ends it goes on until somebody refuses it.
type leader struct {
	actor
	w      *world
	p      *proc
	lead   testLead
	ledger *checkpoint.Ledger
	core   *checkpoint.Coordinator
	run    *run
	over   bool
	start  int // counts starts of an epoch, so that an older one gives up
	acks   []checkpoint.Ack
	tick   time.Duration // when the next one is planned; 0 for none

	epoch   uint64
	history checkpoint.History
	choice  checkpoint.Choice
	hosts   []*proc
	tasks   [2]int // sources, sinks
}

// elect puts a new leader into office, on any proc that lives.
func (w *world) elect() {
	var alive []*proc
	for _, p := range w.procs {
		if !p.dead {
			alive = append(alive, p)
		}
	}
	if len(alive) == 0 || w.finished || w.refused {
		return
	}
	p := pick(w, alive)
	l := &leader{w: w, p: p, lead: w.tree.lead()}
	l.name = fmt.Sprintf("leader %d", l.lead.epoch)
	l.ledger = checkpoint.NewLedger(w.leaderSession(&l.actor, l.lead), l.lead, "p")
	w.leader = l
	w.logf("%s on %s", l.name, p.name)
	w.soon(&l.actor, "take office", l.takeOffice)
}

// expire ends a leader's session. It may learn of it, or not.
func (w *world) expire(l *leader) {
	w.endSession(l)
	if w.chance(0.5) {
		w.soon(&l.actor, "learn that it is over", func() { l.retire() })
	}
}

func (w *world) endSession(l *leader) {
	w.logf("%s: its session ends", l.name)
	w.tree.depose(l.lead)
	if w.leader == l {
		w.leader = nil
		w.after(time.Duration(w.rng.IntN(500))*time.Millisecond, w.self, "elect", w.electIfNone)
	}
}

func (w *world) electIfNone() {
	if w.leader == nil {
		w.elect()
	}
}

// retire ends a term on the leader's own side.
func (l *leader) retire() {
	if l.over {
		return
	}
	l.over = true
	if l.core != nil {
		l.core.Step(l.w.clock(), checkpoint.Ended{Reason: "retired"})
	}
	if l.w.leader == l {
		l.w.expire(l)
	}
}

// takeOffice goes on with the running epoch if it is sound, or begins another.
func (l *leader) takeOffice() {
	r := l.w.run
	sound := r != nil && !r.failed
	if sound {
		for _, h := range r.hosts {
			sound = sound && !h.p.dead && !h.stopped
		}
	}
	if !sound || l.w.chance(0.3) {
		l.begin()
		return
	}
	hist, err := l.ledger.Load(background)
	if err != nil || hist.Lineage.Epoch != r.epoch {
		l.begin()
		return
	}
	l.w.logf("%s resumes epoch %d", l.name, r.epoch)
	l.serve(r, hist.Resume(l.lead.epoch))
	for _, name := range slices.Sorted(maps.Keys(hist.Hosts)) {
		if c := hist.Hosts[name]; c.Epoch == r.epoch {
			l.step(r, checkpoint.CommitsAnswered{Host: name, Through: c.Through})
		}
	}
}

// begin starts a new epoch, step by step.
func (l *leader) begin() {
	w := l.w
	if l.over || w.finished || w.refused {
		return
	}
	if l.run != nil {
		l.run.failed = true
	}
	if l.core != nil {
		l.core.Step(w.clock(), checkpoint.Ended{Reason: "rollback"})
	}
	l.core, l.run = nil, nil
	l.start++
	l.hosts = nil
	for _, p := range w.procs {
		if !p.dead && (len(l.hosts) == 0 || w.chance(0.7)) {
			l.hosts = append(l.hosts, p)
		}
	}
	l.tasks = [2]int{1 + w.rng.IntN(3), 1 + w.rng.IntN(3)}
	l.steps([]func() error{l.beginEpoch, l.choose, l.commitRestored, l.saveCommitted, l.sweep, l.swept, l.openTasks})
}

// steps runs the first of the steps and plans the others.
func (l *leader) steps(todo []func() error) {
	if len(todo) == 0 || l.over || l.w.finished || l.w.refused {
		return
	}
	start := l.start
	if len(todo) == 3 && l.choice.Retract && l.w.shape.retract {
		l.oversleep("sweep")
	}
	l.w.soon(&l.actor, "start", func() {
		if l.over || l.start != start {
			return
		}
		err := todo[0]()
		var refused *checkpoint.RestoreError
		switch {
		case err == nil:
			l.steps(todo[1:])
		case errors.Is(err, checkpoint.ErrFenced):
			l.w.logf("%s: %v", l.name, err)
			l.retire()
		case errors.As(err, &refused):
			l.w.god.refuses(refused)
		case len(todo) == 1 || l.w.chance(0.3): // every start of tasks is a new epoch
			l.begin()
		default:
			l.steps(todo)
		}
	})
}

// oversleep makes a leader miss the end of its term before it does what comes next,
// in schedules that are about that.
func (l *leader) oversleep(before string) {
	if l.w.oversleep == before && l.w.faulty(0.5) {
		l.w.logf("%s oversleeps", l.name)
		l.w.endSession(l)
		l.paused = l.w.now + time.Duration(1000+l.w.rng.IntN(6000))*time.Millisecond
	}
}

func (l *leader) beginEpoch() (err error) {
	g := checkpoint.Generation{Parallelism: map[string]int{"src": l.tasks[0], "sink": l.tasks[1]}}
	if l.history, err = l.ledger.Begin(background, g); err == nil {
		l.epoch = l.history.Lineage.Epoch
		l.w.logf("%s begins epoch %d", l.name, l.epoch)
		l.stopOthers()
	}
	return err
}

// stopOthers ends the tasks of earlier epochs, of those that can be reached.
func (l *leader) stopOthers() {
	for _, r := range l.w.runs {
		for _, h := range r.hosts {
			if r.epoch < l.epoch && !l.w.faulty(0.3) {
				h.stopped = true
			}
		}
	}
}

func (l *leader) choose() (err error) {
	o := checkpoint.RestoreOptions{Retract: l.w.shape.retract, AcceptDuplicates: l.w.accept || l.w.flaw == restoreBelowPublished}
	h := l.history
	if l.w.flaw == restoreOlder && len(h.Records) > 1 {
		h.Records = h.Records[1:]
	}
	if l.choice, err = checkpoint.Choose(background, l.w.storage(&l.actor), h, o); err != nil {
		return errors.Join(l.ledger.InCharge(background, l.epoch), err)
	}
	if l.w.flaw == restoreBelowPublished {
		l.choice.AcceptedDuplicates = false
	}
	if err := l.ledger.Adopt(background, l.epoch, l.choice); err != nil {
		return err
	}
	l.w.logf("%s restores checkpoint %d, passes over %d", l.name, l.choice.N(), len(l.choice.Passed))
	l.w.god.restores(l.choice)
	return nil
}

// commitRestored publishes everything that the restored checkpoint lists.
func (l *leader) commitRestored() error {
	if l.choice.Manifest == nil || l.w.flaw == sweepBeforeCommit {
		return nil
	}
	for _, es := range l.choice.Manifest.Committables(l.history.Committed) {
		for _, e := range es {
			l.w.others(&l.actor)
			l.w.mayCrash(&l.actor)
			l.w.out.publish(decode[string](e), l.name)
		}
	}
	return nil
}

func (l *leader) saveCommitted() error {
	if l.choice.Record == nil || l.w.flaw == sweepBeforeCommit {
		return nil
	}
	return l.ledger.SaveCommitted(background, l.choice.N())
}

func (l *leader) sweep() error {
	w := l.w
	keep := map[string]bool{}
	for _, e := range l.choice.Keep["sink"] {
		keep[decode[writerState](e).File] = l.w.flaw != sweepWithoutKeep
	}
	w.others(&l.actor)
	w.mayCrash(&l.actor)
	w.out.sweep(l.history.Lineage.Generations, l.epoch, keep, l.choice.Retract && w.shape.retract, l.choice.N())
	return nil
}

func (l *leader) swept() error {
	if err := l.ledger.Swept(background, l.epoch); err != nil {
		return err
	}
	_ = l.ledger.Collect(background, l.w.storage(&l.actor)) // the next epoch tries again
	if l.w.flaw == sweepBeforeCommit {
		l.w.flaw = noFlaw
		defer func() { l.w.flaw = sweepBeforeCommit }()
		if err := l.commitRestored(); err != nil {
			return err
		}
		return l.saveCommitted()
	}
	return nil
}

func (l *leader) openTasks() error {
	if len(l.hosts) == 0 || slices.ContainsFunc(l.hosts, func(p *proc) bool { return p.dead }) {
		return coordination.ErrUnavailable
	}
	if r := l.choice.Record; r != nil && (r.State == checkpoint.Finishing || r.State == checkpoint.Finished) {
		l.serve(&run{epoch: l.epoch, uid: l.history.Lineage.UID}, l.history.Start(l.lead.epoch, l.choice))
		return nil
	}
	r, err := l.w.open(l.history.Lineage.UID, l.epoch, l.hosts, l.tasks[0], l.tasks[1], l.choice)
	if err != nil {
		return err
	}
	if l.w.run == nil || l.w.run.epoch < r.epoch {
		l.w.run = r
	}
	l.serve(r, l.history.Start(l.lead.epoch, l.choice))
	return nil
}

// serve drives the coordinator of a run.
func (l *leader) serve(r *run, s checkpoint.Start) {
	cfg := checkpoint.Config{
		Interval: l.w.shape.interval, Timeout: 3 * time.Second, Tolerated: 2, DrainTimeout: 10 * time.Second,
		Nodes: []checkpoint.Node{
			{Name: "src", Parallelism: len(r.sources)},
			{Name: "sink", Inputs: []string{"src"}, Parallelism: len(r.sinks)},
		},
	}
	for _, h := range r.hosts {
		cfg.Hosts = append(cfg.Hosts, h.name)
	}
	l.run = r
	if r.leader == nil || r.leader.lead.epoch < l.lead.epoch { // hosts follow the newest
		r.leader = l
	}
	l.core, l.tick = checkpoint.NewCoordinator(cfg, s), 0
	l.step(r, checkpoint.Tick{})
}

// step gives the coordinator an event, if it still is that of the run.
func (l *leader) step(r *run, ev checkpoint.Event) {
	if l.over || l.run != r || l.core == nil || l.core.Done() {
		return
	}
	core := l.core
	ev = l.spoil(r, ev)
	for _, a := range core.Step(l.w.clock(), ev) {
		l.do(r, a)
	}
	at, ok := core.Deadline()
	if d := at.Sub(l.w.start); ok && (l.tick <= l.w.now || d < l.tick) {
		l.tick = max(d, l.w.now+1)
		l.w.after(l.tick-l.w.now, &l.actor, "tick", func() {
			if l.core == core {
				l.step(r, checkpoint.Tick{})
			}
		})
	}
}

// later carries an action out after a while and reports its outcome.
func (l *leader) later(r *run, what string, do func() checkpoint.Event) {
	l.w.soon(&l.actor, what, func() {
		ev := do()
		l.w.soon(&l.actor, what+" done", func() { l.step(r, ev) })
	})
}

func (l *leader) do(r *run, a checkpoint.Action) {
	w, ledger := l.w, l.ledger
	st := w.storage(&l.actor)
	w.logf("%s, epoch %d: %s", l.name, r.epoch, brief(a))
	switch a := a.(type) {
	case checkpoint.OpenPending:
		l.later(r, "open", func() checkpoint.Event {
			p, err := ledger.Open(background, a.Pending)
			return checkpoint.PendingOpened{N: p.N, Err: err}
		})
	case checkpoint.SendBarrier:
		for _, h := range r.hosts {
			w.send(&h.p.actor, "barrier", func() { h.barrier(a.Barrier) })
		}
	case checkpoint.WriteManifest:
		l.later(r, "manifest", func() checkpoint.Event {
			head := checkpoint.Manifest{Pipeline: "p", UID: r.uid, N: a.N, Epoch: r.epoch}
			return checkpoint.StoreManifest(background, st, head, a.Acks)
		})
	case checkpoint.WriteRecord:
		l.oversleep("record")
		l.later(r, "record", func() checkpoint.Event {
			return checkpoint.RecordWritten{N: a.Record.N, Err: ledger.Write(background, a.Record)}
		})
	case checkpoint.ConfirmRecord:
		l.later(r, "confirm", func() checkpoint.Event {
			return checkpoint.RecordWritten{N: a.Record.N, Err: ledger.Confirm(background, a.Record)}
		})
	case checkpoint.ClosePending:
		if w.flaw == discardBeforeClose {
			l.discardAll(a.N)
		}
		l.later(r, "close", func() checkpoint.Event {
			err := ledger.ClosePending(background, a.N)
			if w.flaw == reuseNumber && err == nil {
				l.forgetNumber()
			}
			return checkpoint.PendingClosed{N: a.N, Err: err}
		})
	case checkpoint.AnnounceCompleted:
		w.god.completes(a.Record.N)
		for _, h := range r.hosts {
			w.send(&h.p.actor, "completed", func() { h.commit(a.Record.N) })
		}
	case checkpoint.AnnounceAborted:
		w.god.aborts(a.N)
		for _, h := range r.hosts {
			w.send(&h.p.actor, "aborted", func() { h.aborted(a.N) })
		}
	case checkpoint.DiscardState:
		w.soon(&l.actor, "discard", func() {
			_ = a.Ack.Discard(background, st)
			if w.flaw == discardShared {
				for _, o := range (&checkpoint.Manifest{Nodes: a.Ack.Nodes}).Objects() {
					_ = st.Delete(background, o.Name)
				}
			}
		})
	case checkpoint.DiscardObject:
		w.soon(&l.actor, "discard", func() { _ = st.Delete(background, a.Object.Name) })
	case checkpoint.SaveCommitted:
		l.later(r, "save committed", func() checkpoint.Event {
			return checkpoint.CommittedSaved{Through: a.Through, Err: ledger.SaveCommitted(background, a.Through)}
		})
	case checkpoint.AnnounceCommitted:
	case checkpoint.Retain:
		l.later(r, "retain", func() checkpoint.Event {
			return checkpoint.Retained{Err: ledger.Retain(background, st, w.shape.keep)}
		})
	case checkpoint.StoreSavepoint:
		l.later(r, "store savepoint", func() checkpoint.Event {
			return checkpoint.SavepointStored{Name: a.Name, Err: ledger.StoreSavepoint(background, st, a.Name, a.N)}
		})
	case checkpoint.SavepointDone:
		if a.Err == nil {
			w.god.savepointDone(a.Name)
		}
	case checkpoint.MarkFinished:
		l.later(r, "mark finished", func() checkpoint.Event {
			return checkpoint.MarkedFinished{Err: ledger.MarkFinished(background, a.N)}
		})
	case checkpoint.Stop:
		if a.Finished {
			w.finished = true
			return
		}
		w.soon(&l.actor, "start again", l.begin)
	case checkpoint.Fail:
		w.soon(&l.actor, "restart", l.begin)
	case checkpoint.StepDown:
		l.retire()
	}
}

func brief(a checkpoint.Action) string {
	switch a := a.(type) {
	case checkpoint.OpenPending:
		return fmt.Sprintf("open %s %+v", a.Pending.ID, a.Pending.Barrier)
	case checkpoint.WriteManifest:
		return fmt.Sprintf("write manifest %d", a.N)
	case checkpoint.WriteRecord:
		return fmt.Sprintf("write record %d, %s, %d committables", a.Record.N, a.Record.State, a.Record.Committables)
	case checkpoint.ConfirmRecord:
		return fmt.Sprintf("confirm record %d", a.Record.N)
	case checkpoint.AnnounceCompleted:
		return fmt.Sprintf("completed %d", a.Record.N)
	case checkpoint.DiscardState:
		return fmt.Sprintf("discard state of %s for %d", a.Ack.Host, a.Ack.N)
	case checkpoint.DiscardObject:
		return "discard object"
	}
	return fmt.Sprintf("%T %+v", a, a)
}
