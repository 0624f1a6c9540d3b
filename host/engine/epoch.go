package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
)

// epoch is one epoch of a pipeline as its leader sees it: from the ledger's Begin,
// or from the day that it took the leadership over, until the tasks are closed
// again.
type epoch struct {
	l      *Leader
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelCauseFunc
	group  sync.WaitGroup
	driver *driver
	// settled is closed when what was restored is published, and flowing when data
	// flows.
	settled, flowing chan struct{}

	mu    sync.Mutex
	early []checkpoint.Event // came before there was a coordinator
}

// errStopped: the pipeline was told to stop before data has flowed, so that there
// is nothing to checkpoint.
var errStopped = errors.New("stopped before data flowed")

// epoch runs one epoch and returns how it stopped, or why it failed. The first one
// of a leader may be one that runs already.
func (l *Leader) epoch(parent context.Context, first bool) (checkpoint.Stop, error) {
	e := &epoch{l: l, log: l.Log, settled: make(chan struct{}), flowing: make(chan struct{})}
	e.ctx, e.cancel = context.WithCancelCause(parent)
	defer func() {
		e.cancel(errEnded)
		e.group.Wait()
	}()
	stop, err := e.live(first)
	hurry := parent.Err() != nil || errors.Is(err, ErrDeposed)
	uncommitted := l.Hosts.Uncommitted()
	l.Hosts.End(hurry)
	if err != nil && errors.Is(context.Cause(e.ctx), errStopped) {
		return checkpoint.Stop{Uncommitted: len(uncommitted) > 0, Waiting: uncommitted}, nil
	}
	return stop, err
}

// up is how the hosts answer.
func (e *epoch) up() Upward {
	return Upward{
		Report: func(ev checkpoint.Event) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.driver == nil {
				e.early = append(e.early, ev)
				return
			}
			e.driver.events.put(ev)
		},
		Fail: func(err error) { e.cancel(err) },
	}
}

// live takes the steps of the epoch.
func (e *epoch) live(first bool) (checkpoint.Stop, error) {
	l := e.l
	if first {
		if stop, resumed, err := e.resume(); resumed || err != nil {
			return stop, err
		}
	}
	l.setState(StateRestoring)
	e.group.Go(e.stopBeforeData)
	if err := l.Hosts.Ready(e.ctx); err != nil {
		return checkpoint.Stop{}, err
	}
	l.step(StepBeginning)
	r, err := e.begin()
	if err != nil {
		return checkpoint.Stop{}, inCharge(err)
	}
	l.step(StepAdopted)
	hosts, err := l.Hosts.Begin(e.ctx, r, e.up())
	if err != nil {
		return checkpoint.Stop{}, err
	}
	if err := l.Hosts.Take(e.ctx, PhasePrepare); err != nil {
		return checkpoint.Stop{}, err
	}
	if err := e.settle(r); err != nil {
		return checkpoint.Stop{}, inCharge(err)
	}
	if r.Finishing() {
		l.step(StepMarkingFinish)
		if err := l.ledger.MarkFinished(e.ctx, r.Choice.Record.N); err != nil {
			return checkpoint.Stop{}, inCharge(fmt.Errorf("note that the pipeline has finished: %w", err))
		}
		l.step(StepMarkedFinished)
		return checkpoint.Stop{N: r.Choice.Record.N, Finished: true}, nil
	}
	close(e.settled)
	d := newDriver(l, r, hosts, &e.group, e.log)
	d.core = checkpoint.NewCoordinator(l.Topology.coordinator(hosts), r.History.Start(l.Leadership.Epoch(), r.Choice))
	for _, p := range []Phase{PhaseOpen, PhaseRun} {
		if err := l.Hosts.Take(e.ctx, p); err != nil {
			return checkpoint.Stop{}, err
		}
	}
	return e.drive(d)
}

// resume goes on with the epoch that runs already, where there is one: no task
// notices that its leader is another.
func (e *epoch) resume() (stop checkpoint.Stop, resumed bool, err error) {
	l := e.l
	h, err := l.ledger.Load(e.ctx)
	if err != nil {
		return stop, false, nil // there is none, or Begin will say why
	}
	hosts, ok, err := l.Hosts.Resume(e.ctx, h, e.up())
	if err != nil || !ok {
		return stop, false, inCharge(err)
	}
	r := Restore{History: h}
	e.named(r)
	close(e.settled)
	d := newDriver(l, r, hosts, &e.group, e.log)
	d.core = checkpoint.NewCoordinator(l.Topology.coordinator(hosts), h.Resume(l.Leadership.Epoch()))
	e.log.Info("took over a running epoch")
	stop, err = e.drive(d)
	return stop, true, err
}

// named notes which epoch it is.
func (e *epoch) named(r Restore) {
	e.log = e.log.With("epoch", r.Epoch())
	e.l.setEpoch(r.Epoch())
}

// begin makes the new epoch and picks the checkpoint that it starts from.
func (e *epoch) begin() (r Restore, err error) {
	l := e.l
	if r.History, err = l.ledger.Begin(e.ctx, l.Topology.generation()); err != nil {
		return r, fmt.Errorf("begin an epoch of pipeline %s: %w", l.Topology.Name, err)
	}
	e.named(r)
	l.step(StepBegun)

	r.Choice, err = checkpoint.Choose(e.ctx, l.Storage, r.History, checkpoint.RestoreOptions{
		Retract:          l.Topology.retracts(),
		AcceptDuplicates: l.AcceptDuplicates,
		From:             l.From, Withdraw: l.Withdraw,
	})
	if err != nil {
		// A successor may have dropped what cannot be read.
		if over := l.ledger.InCharge(e.ctx, r.Epoch()); errors.Is(over, checkpoint.ErrFenced) {
			return r, over
		}
		return r, l.advise(err)
	}
	for _, p := range r.Choice.Passed {
		if errors.Is(p.Err, checkpoint.ErrStartedFrom) {
			e.log.Info("a newer checkpoint is left behind", "checkpoint", p.Record.N)
			continue
		}
		e.log.Error("a damaged checkpoint was passed over", "checkpoint", p.Record.N, "error", p.Err)
	}
	dropped, err := compatible(l.Topology, r.Choice.Manifest, l.AllowDropped)
	if err != nil {
		return r, err
	}
	r.Choice.Manifest = e.without(r.Choice.Manifest, dropped)
	if err := l.ledger.Adopt(e.ctx, r.Epoch(), r.Choice); err != nil {
		return r, fmt.Errorf("note the restored checkpoint: %w", err)
	}
	l.From = "" // what follows goes on from here
	if c := r.Choice.Record; c != nil {
		e.log.Info("restoring", "checkpoint", c.N, "of", c.CompletedAt.Local().Format(time.DateTime))
	}
	return r, nil
}

// settle has published what the restored checkpoint lists, and then removed what
// earlier epochs left, sink by sink. Nothing is swept before every commit has been
// answered and that is durable.
func (e *epoch) settle(r Restore) error {
	l := e.l
	if r.Choice.Manifest != nil {
		if err := l.Hosts.Take(e.ctx, PhaseCommit); err != nil {
			return err
		}
		if err := l.ledger.SaveCommitted(e.ctx, r.Choice.Record.N); err != nil {
			return fmt.Errorf("note what is committed: %w", err)
		}
	}
	if len(r.History.Lineage.Generations) <= 1 {
		return nil // the first epoch: nobody was here before
	}
	if err := l.Hosts.Take(e.ctx, PhaseSweep); err != nil {
		return err
	}
	if err := l.ledger.Swept(e.ctx, r.Epoch()); err != nil {
		return fmt.Errorf("note what is swept: %w", err)
	}
	return nil
}

// drive carries the coordinator's actions out until it stops or anything fails.
func (e *epoch) drive(d *driver) (checkpoint.Stop, error) {
	l := e.l
	close(e.flowing)
	e.mu.Lock()
	for _, ev := range e.early {
		d.events.put(ev)
	}
	e.driver, e.early = d, nil
	e.mu.Unlock()
	l.setDriver(d)
	defer l.setDriver(nil)
	e.group.Go(func() {
		select {
		case <-e.ctx.Done():
		case <-l.stopping:
			l.setState(StateStopping)
			d.events.put(checkpoint.WantHalt{Savepoint: l.haltName()})
		}
	})
	d.ledger.put(func(ctx context.Context) {
		if err := l.ledger.Collect(ctx, l.Storage); err != nil && ctx.Err() == nil {
			e.log.Warn("state that earlier epochs left in storage stays", "error", err)
		}
	})
	err := d.run(e.ctx)
	return d.stop, err
}

// stopBeforeData ends the epoch if the pipeline is told to stop before data flows:
// everything up to the restored checkpoint is safe. Only what that one lists has
// the drain timeout to be published.
func (e *epoch) stopBeforeData() {
	select {
	case <-e.ctx.Done():
		return
	case <-e.flowing:
		return
	case <-e.l.stopping:
	}
	e.l.setState(StateStopping)
	select {
	case <-e.ctx.Done():
	case <-e.settled:
	case <-time.After(e.l.Topology.Checkpoint.DrainTimeout):
	}
	select {
	case <-e.flowing: // it is drive that stops it
	default:
		e.cancel(errStopped)
	}
}
