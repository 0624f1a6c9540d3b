package engine

import (
	"context"
	"errors"
	"time"

	"github.com/weirstream/weir/checkpoint"
)

// leader drives the checkpoint coordinator of one epoch: it feeds events and
// carries actions out. One goroutine steps the coordinator; a second one does
// the ledger's writes, one at a time, so that a slow one holds no event up.
type leader struct {
	g      *generation
	core   *checkpoint.Coordinator
	events *mailbox[checkpoint.Event]
	ledger *mailbox[func(context.Context)]
	stop   checkpoint.Stop // set when run has returned nil

	told time.Time // when it was last said that the ledger cannot be written; its goroutine's own
}

// ledgerNotice is how often that is said again.
const ledgerNotice = 10 * time.Second

// wrote says, now and then, that the ledger cannot be written, and once that it
// can again. The coordinator tries for as long as it takes: no output is published
// meanwhile, and somebody must learn why.
func (l *leader) wrote(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil, errors.Is(err, checkpoint.ErrSavepointExists):
	case err != nil && time.Since(l.told) > ledgerNotice:
		l.told = time.Now()
		l.g.log.Warn("the pipeline's records cannot be written, trying again; until then no output is published", "error", err)
	case err == nil && !l.told.IsZero():
		l.told = time.Time{}
		l.g.log.Info("the pipeline's records can be written again")
	}
	return err
}

func newLeader(g *generation, core *checkpoint.Coordinator) *leader {
	return &leader{
		g:      g,
		core:   core,
		events: newMailbox[checkpoint.Event](),
		ledger: newMailbox[func(context.Context)](),
	}
}

// run steps the coordinator until it stops, fails, or ctx ends.
func (l *leader) run(ctx context.Context) error {
	l.g.spawn(func() { l.writeLedger(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var batch []checkpoint.Event
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-l.events.ready:
			batch = l.events.take()
		case <-timer.C:
			batch = []checkpoint.Event{checkpoint.Tick{}}
		}
		for _, ev := range batch {
			for _, a := range l.core.Step(time.Now(), ev) {
				if done, err := l.do(ctx, a); done {
					return err
				}
			}
		}
		l.g.noteCheckpoint(l.core.Status())
		if at, ok := l.core.Deadline(); ok {
			timer.Reset(time.Until(at))
		} else {
			timer.Stop()
		}
	}
}

func (l *leader) writeLedger(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.ledger.ready:
			for _, write := range l.ledger.take() {
				write(ctx)
			}
		}
	}
}

// do carries one action out, or hands it to whoever does; done says that the
// coordinator has ended.
func (l *leader) do(ctx context.Context, a checkpoint.Action) (done bool, err error) {
	g, ledger, post := l.g, l.g.ledger, l.events.put
	switch a := a.(type) {
	case checkpoint.OpenPending:
		l.ledger.put(func(ctx context.Context) {
			p, err := ledger.Open(ctx, a.Pending)
			g.step(StepPending)
			post(checkpoint.PendingOpened{N: p.N, Err: l.wrote(ctx, err)})
		})
	case checkpoint.SendBarrier:
		g.sendBarrier(a.Barrier)
		g.step(StepBarrier)
	case checkpoint.WriteManifest:
		g.spawn(func() {
			g.step(StepAcked)
			written := g.writeManifest(ctx, a)
			g.step(StepManifest)
			post(written)
		})
	case checkpoint.WriteRecord:
		l.ledger.put(func(ctx context.Context) {
			g.step(StepRecording)
			err := ledger.Write(ctx, a.Record)
			g.step(StepRecorded)
			post(checkpoint.RecordWritten{N: a.Record.N, Err: l.wrote(ctx, err)})
		})
	case checkpoint.ConfirmRecord:
		l.ledger.put(func(ctx context.Context) {
			// Write, called again, finds out what became of the first.
			post(checkpoint.RecordWritten{N: a.Record.N, Err: l.wrote(ctx, ledger.Write(ctx, a.Record))})
		})
	case checkpoint.ClosePending:
		l.ledger.put(func(ctx context.Context) {
			post(checkpoint.PendingClosed{N: a.N, Err: l.wrote(ctx, ledger.ClosePending(ctx, a.N))})
		})
	case checkpoint.AnnounceCompleted:
		g.completed(a.Record)
	case checkpoint.AnnounceAborted:
		g.aborted(a.N, a.Reason)
	case checkpoint.DiscardState:
		g.spawn(func() { g.discarded(a.Ack.Discard(ctx, g.storage)) })
	case checkpoint.DiscardObject:
		g.spawn(func() { g.discarded(g.storage.Delete(ctx, a.Object.Name)) })
	case checkpoint.SaveCommitted:
		l.ledger.put(func(ctx context.Context) {
			g.step(StepSavingThrough)
			err := ledger.SaveCommitted(ctx, a.Through)
			g.step(StepSavedThrough)
			post(checkpoint.CommittedSaved{Through: a.Through, Err: l.wrote(ctx, err)})
		})
	case checkpoint.AnnounceCommitted:
		// Every sink of this host has answered already.
	case checkpoint.Retain:
		l.ledger.put(func(ctx context.Context) {
			err := ledger.Retain(ctx, g.storage, g.pipeline.Checkpoint.Retain)
			g.step(StepRetained)
			post(checkpoint.Retained{Err: err})
		})
	case checkpoint.StoreSavepoint:
		l.ledger.put(func(ctx context.Context) {
			post(checkpoint.SavepointStored{Name: a.Name, Err: l.wrote(ctx, ledger.StoreSavepoint(ctx, g.storage, a.Name, a.N))})
		})
	case checkpoint.SavepointDone:
		g.log.Info("savepoint", "name", a.Name, "checkpoint", a.N, "error", a.Err)
	case checkpoint.MarkFinished:
		l.ledger.put(func(ctx context.Context) {
			g.step(StepMarkingFinish)
			err := ledger.MarkFinished(ctx, a.N)
			g.step(StepMarkedFinished)
			post(checkpoint.MarkedFinished{Err: l.wrote(ctx, err)})
		})
	case checkpoint.Stop:
		l.stop = a
		return true, nil
	case checkpoint.Fail:
		return true, &fatalError{a.Err}
	case checkpoint.StepDown:
		return true, &fatalError{a.Err}
	}
	return false, nil
}
