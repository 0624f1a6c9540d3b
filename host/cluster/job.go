package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/engine"
)

const (
	// statusInterval is the least time between two writes of a status that changes
	// steadily.
	statusInterval = 2 * time.Second
	// placeInterval is how often a pipeline that has no place is tried again where
	// nothing that the leader sees has changed: what hosts lack they may have by then.
	placeInterval = 5 * time.Minute
	// keptFailures is how many failures of a pipeline are kept.
	keptFailures = 20
)

// job is one pipeline in the care of the leader: it brings what is to what is
// desired.
type job struct {
	lead   *leadership
	name   string
	log    *slog.Logger
	desire chan struct{} // holds one token when desired or spec have changed

	mu      sync.Mutex
	desired Desired
	spec    Spec
	known   bool // both have been read
	status  Status
	leader  *engine.Leader // while one runs
	link    *link

	unable   unable
	wished   broadcast // what is desired has changed
	failures chan Failure
}

func newJob(l *leadership, name string) *job {
	return &job{
		lead: l, name: name, log: l.log.With("pipeline", name),
		desire: make(chan struct{}, 1), failures: make(chan Failure, 100),
	}
}

// run looks after the pipeline until ctx ends or it is deleted.
func (j *job) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	err := persist(ctx, func(ctx context.Context) (err error) {
		j.status, _, _, err = read[Status](ctx, j.lead.store, statusPath(j.name))
		return err
	})
	if err != nil {
		return err
	}
	group.Go(func() { j.follow(ctx) })
	group.Go(func() { j.keepFailures(ctx) })
	for {
		d, s, known := j.wish()
		switch {
		case !known:
		case j.status.ended(d):
			j.rest(ctx, d, s)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		default:
			j.moves(ctx, d, s, false) // what came too late
			if err := j.pursue(ctx, d, s); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-j.desire:
		}
	}
}

func (j *job) wish() (Desired, Spec, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.desired, j.spec, j.known
}

// follow keeps up with what is desired.
func (j *job) follow(ctx context.Context) {
	desired, specs := j.lead.store.Watch(ctx, desiredPath(j.name)), j.lead.store.Watch(ctx, specPath(j.name))
	var haveDesired, haveSpec bool
	for {
		var c coordination.Change
		var ok bool
		select {
		case c, ok = <-desired:
		case c, ok = <-specs:
		}
		if !ok || c.Err != nil {
			return
		}
		j.mu.Lock()
		var err error
		var found bool
		// What is there may be in use: it is replaced and not written over.
		if c.Record.Path == desiredPath(j.name) {
			var d Desired
			found, err = decode(c.Record, &d)
			j.desired, haveDesired = d, found && c.Found
		} else {
			var s Spec
			found, err = decode(c.Record, &s)
			j.spec, haveSpec = s, found && c.Found
		}
		j.known = haveDesired && haveSpec && j.desired.Spec == j.spec.Revision
		leader, d, known, anew := j.leader, j.desired, j.known, j.link != nil && j.link.spec.Revision != j.spec.Revision
		j.mu.Unlock()
		if err != nil {
			j.log.Error("what is desired cannot be read", "error", err)
			continue
		}
		if leader != nil && known && (d.Goal == GoalStop || anew) {
			j.stop(ctx, leader, d)
		}
		j.unable.forget() // whoever asks again may have given a host what it lacked
		j.wished.announce()
		select {
		case j.desire <- struct{}{}:
		default:
		}
	}
}

// pursue runs the pipeline, or what is left of it, until something ends.
func (j *job) pursue(ctx context.Context, d Desired, s Spec) error {
	l := j.lead
	st, release, err := l.storage(ctx, s)
	if err != nil {
		return j.finish(ctx, d, s, engine.Outcome{}, err)
	}
	defer release()
	k := &link{
		store: l.store, guard: l.lead.Guard(), registry: l.registry, name: j.name, spec: s,
		ledger: checkpoint.NewLedger(l.store, nil, j.name), log: j.log,
		failed: func(f Failure, instances map[string]string) {
			l.rifts.note(j.name, f, instances)
			if f.Unable {
				j.unable.note(f, instances[f.Host], s.Revision)
			}
			select {
			case j.failures <- f:
			default: // more than anybody reads
			}
		},
	}
	if err := persist(ctx, k.load); err != nil {
		return j.finish(ctx, d, s, engine.Outcome{}, err)
	}
	k.place = func(ctx context.Context, before engine.Placement) (engine.Placement, error) {
		return j.place(ctx, s, before)
	}
	if d.Goal == GoalStop && (k.a.UID == "" || k.a.Phase == engine.PhaseClose) {
		return j.finish(ctx, d, s, engine.Outcome{}, nil) // nothing runs
	}
	var restarts []time.Time
	if j.status.Desired == d.Revision {
		restarts = j.status.Restarts
	}
	leader := engine.NewLeader(engine.LeaderConfig{
		Topology: s.Topology, Store: l.store, Leadership: l.lead, Storage: st, Hosts: k, Log: j.log, Service: true,
		AcceptDuplicates: d.AcceptDuplicates, Restarts: restarts, OnState: func(engine.LeaderStatus) { j.touch() },
		OnCheckpoint: l.trace,
	})
	j.mu.Lock()
	j.leader, j.link = leader, k
	stop := j.desired.Goal == GoalStop
	j.mu.Unlock()
	if stop {
		leader.Stop()
	}
	running, halt := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { j.report(running, d, s, leader) })
	group.Go(func() { j.savepoints(running, leader) })
	out, err := leader.Run(ctx)
	halt()
	group.Wait()
	j.mu.Lock()
	j.leader, j.link = nil, nil
	j.mu.Unlock()
	if errors.Is(err, engine.ErrDeposed) || ctx.Err() != nil {
		return fmt.Errorf("lead pipeline %s: %w", j.name, err)
	}
	l.board.set(j.name, nil)
	j.status.LeaderStatus = leader.Status()
	return j.finish(ctx, d, s, out, err)
}

// stop stops the pipeline, with a savepoint where one is wanted and can be made.
func (j *job) stop(ctx context.Context, leader *engine.Leader, d Desired) {
	if d.Savepoint == "" {
		leader.Stop()
		return
	}
	go func() { // ends with the leader's Run
		if err := leader.StopWithSavepoint(ctx, d.Savepoint); err != nil {
			j.log.Warn("the final checkpoint is not kept as a savepoint", "name", d.Savepoint, "cause", err)
			leader.Stop()
		}
	}()
}

// savepoints makes the savepoints that are wanted, and says how that went.
func (j *job) savepoints(ctx context.Context, leader *engine.Leader) {
	var group sync.WaitGroup
	defer group.Wait()
	begun := map[string]bool{}
	for l := range j.lead.store.WatchChildren(ctx, wantedDir(j.name)) {
		for _, name := range l.Names {
			if begun[name] {
				continue
			}
			begun[name] = true
			group.Go(func() { j.savepoint(ctx, leader, name) })
		}
	}
}

func (j *job) savepoint(ctx context.Context, leader *engine.Leader, name string) {
	w, _, found, err := read[Wanted](ctx, j.lead.store, wantedPath(j.name, name))
	if err != nil || !found || w.Done {
		return
	}
	err = leader.Savepoint(ctx, name)
	for errors.Is(err, engine.ErrNotRunning) && ctx.Err() == nil { // between two epochs
		pause(ctx, retryPause)
		err = leader.Savepoint(ctx, name)
	}
	if errors.Is(err, checkpoint.ErrSavepointExists) && j.stored(ctx, name, w) {
		err = nil // an earlier leader has made it
	}
	if ctx.Err() != nil {
		return // the next leader does it
	}
	w.Done = true
	if err != nil {
		w.Error = err.Error()
	}
	err = persist(ctx, func(ctx context.Context) error {
		return j.lead.store.Commit(ctx, j.lead.lead.Guard(), coordination.Set(wantedPath(j.name, name), encode(w), coordination.AnyVersion))
	})
	if err != nil && ctx.Err() == nil {
		j.log.Warn("nobody can be told how a savepoint went", "name", name, "cause", err)
	}
}

// stored says whether a savepoint of this name was made after it was wanted.
func (j *job) stored(ctx context.Context, name string, w Wanted) bool {
	h, err := checkpoint.NewLedger(j.lead.store, nil, j.name).Load(ctx)
	if err != nil {
		return false
	}
	for _, s := range h.Savepoints {
		if s.Savepoint == name {
			return !s.CompletedAt.Before(w.At)
		}
	}
	return false
}

// place finds hosts for the tasks, and waits until there are some.
func (j *job) place(ctx context.Context, s Spec, before engine.Placement) (engine.Placement, error) {
	for {
		changed := j.lead.registry.changed.wait()
		freed, wished := j.lead.board.changed.wait(), j.wished.wait()
		p, wait, err := j.lead.place(j, s, before)
		var unplaceable *Unplaceable
		switch {
		case err == nil && wait <= 0:
			j.pend("")
			return p, nil
		case errors.As(err, &unplaceable):
			j.pend(unplaceable.Reason)
			wait = placeInterval
		case err != nil:
			return nil, err
		default:
			j.pend(fmt.Sprintf("a host that was lost may come back, for %v", wait.Round(time.Millisecond)))
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-freed:
		case <-wished:
		case <-timer.C:
			j.unable.forget() // what a host lacked it may have by now
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// pend notes what the pipeline waits for.
func (j *job) pend(why string) {
	j.mu.Lock()
	changed := j.status.Pending != why
	j.status.Pending = why
	j.mu.Unlock()
	if changed {
		if why != "" {
			j.log.Warn("the pipeline has to wait", "for", why)
		}
		j.touch()
	}
}

// touch asks for the status to be written.
func (j *job) touch() { j.lead.touched(j.name) }

// report writes the status whenever it has changed: at once when the state has,
// else at most every two seconds.
func (j *job) report(ctx context.Context, d Desired, s Spec, leader *engine.Leader) {
	ticker := time.NewTicker(statusInterval)
	defer ticker.Stop()
	touched := j.lead.touches(j.name)
	var written string
	for {
		j.mu.Lock()
		j.status.LeaderStatus = leader.Status()
		j.status.Desired, j.status.Spec, j.status.Leader, j.status.Error = d.Revision, s.Revision, j.lead.host, ""
		status := j.status
		j.mu.Unlock()
		status.At = time.Time{}
		// A checkpoint under way is not worth a record, and failures have their own.
		status.InFlight, status.Failures = nil, nil
		if now := string(encode(status)); now != written {
			status.At = time.Now()
			if err := guarded(ctx, j.lead.store, j.lead.lead.Guard(), statusPath(j.name), encode(status)); err == nil {
				written = now
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-touched:
		case <-ticker.C:
		}
	}
}

// finish writes down how a wish has ended.
func (j *job) finish(ctx context.Context, d Desired, s Spec, out engine.Outcome, cause error) error {
	j.mu.Lock()
	status := &j.status
	status.Desired, status.Spec, status.Leader, status.At = d.Revision, s.Revision, j.lead.host, time.Now()
	status.Pending, status.Error, status.Uncommitted, status.InFlight = "", "", out.Uncommitted, nil
	status.Failures = nil
	switch {
	case cause != nil:
		status.State, status.Error = engine.StateFailed, cause.Error()
	case out.Finished:
		status.State = engine.StateFinished
		at := time.Now()
		if out.Before != nil {
			at = *out.Before
		}
		status.Finished = &at
	case status.State == engine.StateFinished: // told to stop afterwards
	default:
		status.State = engine.StateStopped
		// Told to stop in between: that is another wish, with the same effect.
		if j.desired.Goal == GoalStop {
			status.Desired = j.desired.Revision
		}
	}
	data := encode(*status)
	j.mu.Unlock()
	if cause != nil {
		j.log.Error("the pipeline has failed", "error", cause)
	}
	return guarded(ctx, j.lead.store, j.lead.lead.Guard(), statusPath(j.name), data)
}

// keepFailures adds to the pipeline's bounded history of failures.
func (j *job) keepFailures(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-j.failures:
			_ = persist(ctx, func(ctx context.Context) error {
				kept, _, _, err := read[[]Failure](ctx, j.lead.store, errorsPath(j.name))
				if err != nil {
					return err
				}
				kept = append([]Failure{f}, kept...)
				if len(kept) > keptFailures {
					kept = kept[:keptFailures]
				}
				return guarded(ctx, j.lead.store, j.lead.lead.Guard(), errorsPath(j.name), encode(kept))
			})
		}
	}
}

// move asks the pipeline to place its tasks anew, by a planned hand-over.
func (j *job) move(why string) {
	j.mu.Lock()
	leader := j.leader
	j.mu.Unlock()
	if leader != nil && leader.Move() {
		j.log.Info("moving tasks", "why", why)
	}
}
