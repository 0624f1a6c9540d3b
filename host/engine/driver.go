package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
)

// driver drives the checkpoint coordinator of one epoch: it feeds events and
// carries actions out. One goroutine steps the coordinator; a second one does
// the ledger's writes, one at a time, so that a slow one holds no event up.
type driver struct {
	l      *Leader
	hosts  []string
	log    *slog.Logger
	head   checkpoint.Manifest // what every manifest of the epoch begins with
	core   *checkpoint.Coordinator
	events *mailbox[checkpoint.Event]
	ledger *mailbox[func(context.Context)]
	group  *sync.WaitGroup
	stop   checkpoint.Stop      // set when run has returned nil
	begun  map[uint64]time.Time // barriers that have no outcome yet, and when they were sent
	traces *traces

	told time.Time // when it was last said that the ledger cannot be written; its goroutine's own
}

// errEpochEnded is why the trace of a checkpoint ends early.
var errEpochEnded = errors.New("the epoch ended before its output was known to be published")

// ledgerNotice is how often that is said again.
const ledgerNotice = 10 * time.Second

// wrote says, now and then, that the ledger cannot be written, and once that it
// can again. The coordinator tries for as long as it takes: no output is published
// meanwhile, and somebody must learn why.
func (d *driver) wrote(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil, errors.Is(err, checkpoint.ErrSavepointExists):
	case err != nil && time.Since(d.told) > ledgerNotice:
		d.told = time.Now()
		d.log.Warn("the pipeline's records cannot be written, trying again; until then no output is published", "error", err)
	case err == nil && !d.told.IsZero():
		d.told = time.Time{}
		d.log.Info("the pipeline's records can be written again")
	}
	return err
}

func newDriver(l *Leader, r Restore, hosts []string, group *sync.WaitGroup, log *slog.Logger) *driver {
	head := checkpoint.Manifest{Pipeline: l.Topology.Name, UID: r.UID(), Epoch: r.Epoch()}
	return &driver{
		l:      l,
		hosts:  hosts,
		log:    log,
		head:   head,
		traces: newTraces(l.OnCheckpoint, head),
		events: newMailbox[checkpoint.Event](),
		ledger: newMailbox[func(context.Context)](),
		group:  group,
		begun:  map[uint64]time.Time{},
	}
}

// run steps the coordinator until it stops, fails, or ctx ends.
func (d *driver) run(ctx context.Context) error {
	d.group.Go(func() { d.writeLedger(ctx) })
	defer d.traces.endAll(errEpochEnded)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var batch []checkpoint.Event
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-d.events.ready:
			batch = d.events.take()
		case <-timer.C:
			batch = []checkpoint.Event{checkpoint.Tick{}}
		}
		for _, ev := range batch {
			for _, a := range d.core.Step(time.Now(), ev) {
				if done, err := d.do(ctx, a); done {
					return err
				}
			}
		}
		d.l.note(d.core.Status())
		if at, ok := d.core.Deadline(); ok {
			timer.Reset(time.Until(at))
		} else {
			timer.Stop()
		}
	}
}

func (d *driver) writeLedger(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.ledger.ready:
			for _, write := range d.ledger.take() {
				write(ctx)
			}
		}
	}
}

// do carries one action out, or hands it to whoever does; done says that the
// coordinator has ended.
func (d *driver) do(ctx context.Context, a checkpoint.Action) (done bool, err error) {
	l, ledger, post := d.l, d.l.ledger, d.events.put
	switch a := a.(type) {
	case checkpoint.OpenPending:
		d.ledger.put(func(ctx context.Context) {
			p, err := ledger.Open(ctx, a.Pending)
			l.step(StepPending)
			post(checkpoint.PendingOpened{N: p.N, Err: d.wrote(ctx, err)})
		})
	case checkpoint.SendBarrier:
		if _, again := d.begun[a.Barrier.N]; !again {
			d.begun[a.Barrier.N] = time.Now()
			d.traces.begin(a.Barrier.N)
		}
		l.Hosts.Barrier(a.Barrier)
		l.step(StepBarrier)
	case checkpoint.WriteManifest:
		head := d.head
		head.N = a.N
		d.traces.acked(a.N, a.Acks)
		d.group.Go(func() {
			l.step(StepAcked)
			written := checkpoint.StoreManifest(ctx, l.Storage, head, a.Acks)
			l.step(StepManifest)
			post(written)
		})
	case checkpoint.WriteRecord:
		d.traces.recording(a.Record.N)
		d.ledger.put(func(ctx context.Context) {
			l.step(StepRecording)
			err := ledger.Write(ctx, a.Record)
			l.step(StepRecorded)
			post(checkpoint.RecordWritten{N: a.Record.N, Err: d.wrote(ctx, err)})
		})
	case checkpoint.ConfirmRecord:
		d.ledger.put(func(ctx context.Context) {
			// Write, called again, finds out what became of the first.
			post(checkpoint.RecordWritten{N: a.Record.N, Err: d.wrote(ctx, ledger.Write(ctx, a.Record))})
		})
	case checkpoint.ClosePending:
		d.ledger.put(func(ctx context.Context) {
			post(checkpoint.PendingClosed{N: a.N, Err: d.wrote(ctx, ledger.ClosePending(ctx, a.N))})
		})
	case checkpoint.AnnounceCompleted:
		d.completed(a.Record)
	case checkpoint.AnnounceAborted:
		d.aborted(a.N, a.Reason)
	case checkpoint.DiscardState:
		d.group.Go(func() { d.discarded(ctx, a.Ack.Discard(ctx, l.Storage)) })
	case checkpoint.DiscardObject:
		d.group.Go(func() { d.discarded(ctx, l.Storage.Delete(ctx, a.Object.Name)) })
	case checkpoint.SaveCommitted:
		d.ledger.put(func(ctx context.Context) {
			l.step(StepSavingThrough)
			err := ledger.SaveCommitted(ctx, a.Through)
			l.step(StepSavedThrough)
			post(checkpoint.CommittedSaved{Through: a.Through, Err: d.wrote(ctx, err)})
		})
	case checkpoint.AnnounceCommitted:
		d.traces.committed(a.Through)
		l.Hosts.Committed(a.Through)
	case checkpoint.Retain:
		d.ledger.put(func(ctx context.Context) {
			err := ledger.Retain(ctx, l.Storage, l.Topology.Checkpoint.Retain)
			l.step(StepRetained)
			post(checkpoint.Retained{Err: err})
		})
	case checkpoint.StoreSavepoint:
		d.ledger.put(func(ctx context.Context) {
			post(checkpoint.SavepointStored{Name: a.Name, Err: d.wrote(ctx, ledger.StoreSavepoint(ctx, l.Storage, a.Name, a.N))})
		})
	case checkpoint.SavepointDone:
		if a.Err != nil {
			d.log.Warn("savepoint is not complete", "name", a.Name, "error", a.Err)
		} else {
			d.log.Info("savepoint complete", "name", a.Name, "checkpoint", a.N)
		}
		l.savepointDone(a.Name, a.Err)
	case checkpoint.MarkFinished:
		d.ledger.put(func(ctx context.Context) {
			l.step(StepMarkingFinish)
			err := ledger.MarkFinished(ctx, a.N)
			l.step(StepMarkedFinished)
			post(checkpoint.MarkedFinished{Err: d.wrote(ctx, err)})
		})
	case checkpoint.Stop:
		d.stop = a
		return true, nil
	case checkpoint.Fail:
		return true, &fatalError{a.Err}
	case checkpoint.StepDown:
		return true, &deposed{a.Err}
	}
	return false, nil
}

// completed tells the hosts that a record is durable.
func (d *driver) completed(r checkpoint.Record) {
	begun, ok := d.begun[r.N]
	delete(d.begun, r.N)
	d.traces.recorded(r.N)
	end := CheckpointEnd{Number: r.N, At: r.CompletedAt, Bytes: r.Bytes}
	if ok {
		end.At, end.Duration = time.Now(), time.Since(begun)
	}
	d.l.ended(end, r, ok)
	d.log.Debug("checkpoint completed", "checkpoint", r.N, "took", end.Duration, "bytes", r.Bytes)
	d.l.Hosts.Completed(r)
}

// aborted tells the hosts that a record will never be written.
func (d *driver) aborted(n uint64, reason error) {
	delete(d.begun, n)
	d.traces.end(n, reason)
	d.l.lostOne(n, reason)
	d.log.Debug("checkpoint failed", "checkpoint", n, "cause", reason)
	d.l.Hosts.Aborted(n, reason)
}

// discarded notes that state of a failed checkpoint could not be deleted. It is
// collected later.
func (d *driver) discarded(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		d.log.Warn("state of a failed checkpoint stays until the next start", "error", err)
	}
}
