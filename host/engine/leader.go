package engine

import (
	"context"
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
			post(checkpoint.PendingOpened{N: p.N, Err: err})
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
			post(checkpoint.RecordWritten{N: a.Record.N, Err: err})
		})
	case checkpoint.ConfirmRecord:
		l.ledger.put(func(ctx context.Context) {
			// Write, called again, finds out what became of the first.
			post(checkpoint.RecordWritten{N: a.Record.N, Err: ledger.Write(ctx, a.Record)})
		})
	case checkpoint.ClosePending:
		l.ledger.put(func(ctx context.Context) {
			post(checkpoint.PendingClosed{N: a.N, Err: ledger.ClosePending(ctx, a.N)})
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
			post(checkpoint.CommittedSaved{Through: a.Through, Err: err})
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
			post(checkpoint.SavepointStored{Name: a.Name, Err: ledger.StoreSavepoint(ctx, g.storage, a.Name, a.N)})
		})
	case checkpoint.SavepointDone:
		g.log.Info("savepoint", "name", a.Name, "checkpoint", a.N, "error", a.Err)
	case checkpoint.MarkFinished:
		l.ledger.put(func(ctx context.Context) {
			g.step(StepMarkingFinish)
			err := ledger.MarkFinished(ctx, a.N)
			g.step(StepMarkedFinished)
			post(checkpoint.MarkedFinished{Err: err})
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
