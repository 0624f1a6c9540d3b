package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weirstream/weir/coordination"
)

// Open allocates the next number and writes the pending record, in one commit.
// It needs a leadership. Called again with the same ID it returns the same.
func (l *Ledger) Open(ctx context.Context, p Pending) (Pending, error) {
	err := l.decide(ctx, "open checkpoint", true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		open, err := list[Pending](ctx, l, l.pendingDir())
		if err != nil {
			return nil, false, err
		}
		for _, o := range open {
			if o.ID == p.ID {
				p = o
				return nil, true, nil
			}
		}
		check, err := l.current(ctx, "", p.Epoch)
		if err != nil {
			return nil, false, err
		}
		var seq Sequence
		version, found, err := l.find(ctx, l.sequencePath(), &seq)
		if err != nil {
			return nil, false, err
		}
		ops, err := l.closeAll(ctx) // an attempt that nobody follows any more
		if err != nil {
			return nil, false, err
		}
		p.N = seq.Last + 1
		seq = Sequence{Last: p.N, Epoch: p.Epoch, Ended: p.Ended, Halted: p.Halt}
		return append(ops, check, write(l.sequencePath(), seq, version, found),
			coordination.Create(l.pendingPath(p.N), encode(p))), false, nil
	})
	return p, err
}

// Ack writes a host's ack below the pending record. It fails with ErrLate where
// the checkpoint is decided; an ack that is there already is no error.
func (l *Ledger) Ack(ctx context.Context, a Ack) error {
	path := l.pendingPath(a.N) + "/" + a.Host
	return l.decide(ctx, fmt.Sprintf("ack checkpoint %d", a.N), false, func(ctx context.Context) ([]coordination.Op, bool, error) {
		if _, err := l.store.Get(ctx, path); !errors.Is(err, coordination.ErrNotFound) {
			return nil, err == nil, err
		}
		pending, err := l.store.Get(ctx, l.pendingPath(a.N))
		if errors.Is(err, coordination.ErrNotFound) {
			return nil, false, ErrLate
		}
		return []coordination.Op{
			coordination.Check(l.pendingPath(a.N), pending.Version),
			coordination.Create(path, encode(a)),
		}, false, err
	})
}

// consume is the operations that remove a pending record and its acks; none where
// it is gone.
func (l *Ledger) consume(ctx context.Context, n uint64) ([]coordination.Op, error) {
	pending, err := l.store.Get(ctx, l.pendingPath(n))
	if errors.Is(err, coordination.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	hosts, err := l.store.Children(ctx, l.pendingPath(n))
	if err != nil {
		return nil, err
	}
	var ops []coordination.Op
	for _, h := range hosts {
		ops = append(ops, coordination.Delete(l.pendingPath(n)+"/"+h, coordination.AnyVersion))
	}
	return append(ops, coordination.Delete(l.pendingPath(n), pending.Version)), nil
}

// Write makes the checkpoint exist: it checks leader epoch and pipeline epoch,
// consumes the pending record and creates the record. It needs a leadership.
func (l *Ledger) Write(ctx context.Context, r Record) error {
	what := fmt.Sprintf("record checkpoint %d", r.N)
	data := encode(r)
	if len(data) > maxRecord {
		return fmt.Errorf("pipeline %s: %s: record of %d bytes, at most %d are allowed", l.name, what, len(data), maxRecord)
	}
	return l.decide(ctx, what, true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		there, err := l.store.Get(ctx, l.recordPath(r.N))
		switch {
		case err == nil && bytes.Equal(there.Data, data):
			return nil, true, nil
		case err == nil:
			return nil, false, ErrFenced // somebody else's
		case !errors.Is(err, coordination.ErrNotFound):
			return nil, false, err
		}
		check, err := l.current(ctx, r.UID, r.Epoch)
		if err != nil {
			return nil, false, err
		}
		ops, err := l.consume(ctx, r.N)
		if err != nil {
			return nil, false, err
		}
		if len(ops) == 0 {
			return nil, false, ErrFenced // closed by somebody else
		}
		return append(slices.Clip(ops), check, coordination.Create(l.recordPath(r.N), data)), false, nil
	})
}

// Confirm finds out what became of a Write with unknown outcome, and writes the
// record where it did not happen. It needs a leadership.
func (l *Ledger) Confirm(ctx context.Context, r Record) error { return l.Write(ctx, r) }

// ClosePending removes the pending record without making a checkpoint of it. It
// needs a leadership.
func (l *Ledger) ClosePending(ctx context.Context, n uint64) error {
	return l.decide(ctx, fmt.Sprintf("close checkpoint %d", n), true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		switch _, err := l.store.Get(ctx, l.recordPath(n)); {
		case err == nil:
			return nil, false, ErrFenced // somebody completed it
		case !errors.Is(err, coordination.ErrNotFound):
			return nil, false, err
		}
		ops, err := l.consume(ctx, n)
		if len(ops) == 0 {
			// It is gone. Only who still leads knows that no record came of it.
			ops = []coordination.Op{coordination.CheckAbsent(l.pendingPath(n)), coordination.CheckAbsent(l.recordPath(n))}
		}
		return ops, false, err
	})
}

// ReportCommitted says how far a host has come, for a leader on another one.
func (l *Ledger) ReportCommitted(ctx context.Context, host string, c Committed) error {
	if err := coordination.Put(ctx, l.store, l.committedPath()+"/"+host, encode(c)); err != nil {
		return fmt.Errorf("pipeline %s: report commits of host %s: %w", l.name, host, err)
	}
	return nil
}

// SaveCommitted raises committed_through. It needs a leadership.
func (l *Ledger) SaveCommitted(ctx context.Context, through uint64) error {
	return l.decide(ctx, "save committed_through", true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		var saved Committed
		version, found, err := l.find(ctx, l.committedPath(), &saved)
		if err != nil || saved.Through >= through && found {
			return nil, err == nil, err
		}
		return []coordination.Op{write(l.committedPath(), Committed{Through: through}, version, found)}, false, nil
	})
}

// MarkFinished turns the record n from finishing into finished. It needs a
// leadership.
func (l *Ledger) MarkFinished(ctx context.Context, n uint64) error {
	return l.decide(ctx, fmt.Sprintf("mark checkpoint %d finished", n), true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		var r Record
		version, err := l.get(ctx, l.recordPath(n), &r)
		if err != nil || r.State == Finished {
			return nil, err == nil, err
		}
		if r.State != Finishing {
			return nil, false, fmt.Errorf("it is %s", r.State)
		}
		r.State = Finished
		return []coordination.Op{write(l.recordPath(n), r, version, true)}, false, nil
	})
}
