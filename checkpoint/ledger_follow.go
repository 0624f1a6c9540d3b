package checkpoint

import (
	"context"
	"fmt"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
)

// The methods of this file serve hosts that follow what their leader writes, and a
// leader that waits for their acks. None needs a leadership.

// WatchPending follows the numbers of pending checkpoints.
func (l *Ledger) WatchPending(ctx context.Context) <-chan coordination.Listing {
	return l.store.WatchChildren(ctx, l.pendingDir())
}

// WatchRecords follows the numbers of completed checkpoints.
func (l *Ledger) WatchRecords(ctx context.Context) <-chan coordination.Listing {
	return l.store.WatchChildren(ctx, l.recordsDir())
}

// WatchAcks follows the names of the hosts that have acked a pending checkpoint.
func (l *Ledger) WatchAcks(ctx context.Context, n uint64) <-chan coordination.Listing {
	return l.store.WatchChildren(ctx, l.pendingPath(n))
}

// WatchCommitted follows committed_through; a value that cannot be read says so by
// its own Err.
func (l *Ledger) WatchCommitted(ctx context.Context) <-chan coordination.Change {
	return l.store.Watch(ctx, l.committedPath())
}

// Followed is what a host reads of a running epoch's checkpoints: the pending ones,
// and the records that are there. What is no longer pending and has no record was
// aborted, or has been dropped since.
type Followed struct {
	Pending []Pending
	Records []Record // oldest first
}

// Follow reads what the checkpoints of an epoch are up to. The records are read
// after the pending ones: since a record takes its pending one's place in one
// commit, what has left the one is in the other.
func (l *Ledger) Follow(ctx context.Context, uid string, epoch uint64) (f Followed, err error) {
	pending, err := list[Pending](ctx, l, l.pendingDir())
	if err != nil {
		return f, fmt.Errorf("pipeline %s: follow: %w", l.name, err)
	}
	for _, p := range pending {
		if p.Epoch == epoch {
			f.Pending = append(f.Pending, p)
		}
	}
	records, _, err := l.records(ctx)
	if err != nil {
		return f, fmt.Errorf("pipeline %s: follow: %w", l.name, err)
	}
	for i := len(records) - 1; i >= 0; i-- {
		if r := records[i]; r.UID == uid && r.Epoch == epoch {
			f.Records = append(f.Records, r)
		}
	}
	return f, nil
}

// ReadAck reads a host's ack to a pending checkpoint. It fails with
// coordination.ErrNotFound where there is none.
func (l *Ledger) ReadAck(ctx context.Context, n uint64, host string) (a Ack, err error) {
	if _, err := l.get(ctx, l.pendingPath(n)+"/"+host, &a); err != nil {
		return a, fmt.Errorf("pipeline %s: ack of host %s to checkpoint %d: %w", l.name, host, n, err)
	}
	return a, nil
}

// Adopted is the choice that the current epoch has adopted, as a host finds it
// again that was not there when it was made: see Ledger.Adopt. Where that needs to
// read a manifest it has been verified before.
func (h History) Adopted(ctx context.Context, st *storage.Storage) (Choice, error) {
	generations := h.Lineage.Generations
	if len(generations) == 0 {
		return Choice{}, fmt.Errorf("no epoch has begun")
	}
	g := generations[len(generations)-1]
	c := Choice{Retract: h.Lineage.Retract}
	switch {
	case g.Savepoint != "":
		s, ok := h.savepoint(g.Savepoint)
		if !ok {
			return Choice{}, fmt.Errorf("savepoint %s, which epoch %d begins with, does not exist", g.Savepoint, g.Epoch)
		}
		c.Record, c.FromSavepoint = &s, true
	case g.Restored != 0:
		if c.Record = h.record(g.Restored); c.Record == nil {
			return Choice{}, fmt.Errorf("checkpoint %d, which epoch %d begins with, does not exist", g.Restored, g.Epoch)
		}
	}
	if c.Record != nil && c.Record.State != Finished {
		m, err := ReadManifest(ctx, st, *c.Record)
		if err != nil {
			return Choice{}, fmt.Errorf("checkpoint %d: %w", c.Record.N, err)
		}
		c.Manifest = m
	}
	return c, c.keep(ctx, st, h)
}
