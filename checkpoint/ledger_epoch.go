package checkpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/coordination"
)

// newUID is a random name that stands in paths, file names and transactional ids.
func newUID() string { return strings.ToLower(rand.Text()[:20]) }

// Begin starts a new epoch with this generation (its Epoch is filled in): it
// creates the pipeline where there is none, closes the pending checkpoint, and
// only then reads the history. It needs a leadership. Called again it starts yet
// another epoch.
func (l *Ledger) Begin(ctx context.Context, g Generation) (History, error) {
	var lineage Lineage
	err := l.decide(ctx, "begin epoch", true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		lineage = Lineage{UID: newUID()}
		version, found, err := l.find(ctx, l.epochPath(), &lineage)
		if err != nil {
			return nil, false, err
		}
		lineage.Epoch++
		g.Epoch = lineage.Epoch
		lineage.Generations = append(lineage.Generations, g)
		ops, err := l.closeAll(ctx)
		return append(ops, write(l.epochPath(), lineage, version, found)), false, err
	})
	if err != nil {
		return History{}, err
	}
	h, err := l.Load(ctx)
	if err == nil && (h.Lineage.UID != lineage.UID || h.Lineage.Epoch != lineage.Epoch) {
		// What was read is another's epoch already: it must not be taken for ours.
		return History{}, fmt.Errorf("pipeline %s: begin epoch %d: %w", l.name, lineage.Epoch, ErrFenced)
	}
	return h, err
}

// closeAll removes every pending record and the acks below.
func (l *Ledger) closeAll(ctx context.Context) ([]coordination.Op, error) {
	return l.clear(ctx, l.pendingDir())
}

// clear removes what lies two levels below a path, and below that one.
func (l *Ledger) clear(ctx context.Context, dir string) (ops []coordination.Op, err error) {
	names, err := l.store.Children(ctx, dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		path := dir + "/" + name
		below, err := l.store.Children(ctx, path)
		if err != nil {
			return nil, err
		}
		for _, b := range below {
			ops = append(ops, coordination.Delete(path+"/"+b, coordination.AnyVersion))
		}
		ops = append(ops, coordination.Delete(path, coordination.AnyVersion))
	}
	return ops, nil
}

// Fresh gives the pipeline a new uid without any checkpoint, to begin with the
// savepoint called from, after whose number checkpoints are numbered then, or with
// nothing where that is empty. Stored savepoints stay. It returns what was there
// before. The next Begin starts its first epoch. It needs a leadership.
func (l *Ledger) Fresh(ctx context.Context, from string) (History, error) {
	before, err := l.Load(ctx)
	if err != nil {
		return History{}, err
	}
	start, ok := before.savepoint(from)
	if from != "" && !ok {
		return History{}, fmt.Errorf("pipeline %s: start afresh: savepoint %s: %w", l.name, from, coordination.ErrNotFound)
	}
	uid := newUID()
	err = l.decide(ctx, "start afresh", true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		var lineage Lineage
		version, err := l.get(ctx, l.epochPath(), &lineage)
		if err != nil || lineage.UID == uid {
			return nil, err == nil, err
		}
		ops := []coordination.Op{write(l.epochPath(),
			Lineage{UID: uid, From: from, Former: append(lineage.Former, lineage.UID)}, version, true)}
		for _, dir := range []string{l.recordsDir(), l.pendingDir(), l.committedPath()} {
			below, err := l.clear(ctx, dir)
			if err != nil {
				return nil, false, err
			}
			ops = append(ops, below...)
		}
		for _, path := range []string{l.sequencePath(), l.committedPath()} {
			switch _, err := l.store.Get(ctx, path); {
			case err == nil:
				ops = append(ops, coordination.Delete(path, coordination.AnyVersion))
			case !errors.Is(err, coordination.ErrNotFound):
				return nil, false, err
			}
		}
		if from != "" {
			ops = append(ops, coordination.Create(l.sequencePath(), encode(Sequence{Last: start.N})))
		}
		return ops, false, nil
	})
	if err != nil {
		return History{}, err
	}
	return before, nil
}

// InCharge returns nil if this leadership and this epoch still hold, and ErrFenced
// if they do not. Who was replaced may find that a checkpoint cannot be restored
// only because its successor has dropped it: ask before failing a pipeline for it.
func (l *Ledger) InCharge(ctx context.Context, epoch uint64) error {
	return l.decide(ctx, "ask who is in charge", true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		check, err := l.current(ctx, "", epoch)
		return []coordination.Op{check}, false, err
	})
}

// current reads the lineage and refuses if it is not of this uid and epoch. The
// operation checks in a commit that it still is.
func (l *Ledger) current(ctx context.Context, uid string, epoch uint64) (coordination.Op, error) {
	var lineage Lineage
	version, found, err := l.find(ctx, l.epochPath(), &lineage)
	if err != nil {
		return coordination.Op{}, err
	}
	if !found || lineage.Epoch != epoch || uid != "" && lineage.UID != uid {
		return coordination.Op{}, ErrFenced
	}
	return coordination.Check(l.epochPath(), version), nil
}

// Adopt notes in the current generation which checkpoint it restores, and marks
// the records that were passed over as abandoned. It needs a leadership, and
// comes after Choose and before anything of the restored checkpoint is used.
func (l *Ledger) Adopt(ctx context.Context, epoch uint64, c Choice) error {
	return l.decide(ctx, "note restored checkpoint", true, func(ctx context.Context) (ops []coordination.Op, done bool, err error) {
		var lineage Lineage
		version, err := l.get(ctx, l.epochPath(), &lineage)
		if err != nil {
			return nil, false, err
		}
		if lineage.Epoch != epoch || len(lineage.Generations) == 0 {
			return nil, false, ErrFenced
		}
		if lineage.adopt(c) {
			ops = append(ops, write(l.epochPath(), lineage, version, true))
		}
		for _, p := range c.Passed {
			var r Record
			version, found, err := l.find(ctx, l.recordPath(p.Record.N), &r)
			if err != nil {
				return nil, false, err
			}
			if found && r.State != Abandoned {
				r.State, r.Reason = Abandoned, shorten(p.Err.Error())
				ops = append(ops, write(l.recordPath(r.N), r, version, true))
			}
		}
		return ops, len(ops) == 0, nil
	})
}

// adopt notes a choice and says whether that changes anything.
func (l *Lineage) adopt(c Choice) bool {
	g := &l.Generations[len(l.Generations)-1]
	was, from, retract, accepted := *g, l.From, l.Retract, len(l.AcceptedDuplicates)
	if r := c.Record; r != nil {
		g.Restored = r.N
		if c.FromSavepoint {
			g.Savepoint = r.Savepoint
			// A start before the first checkpoint begins with it again.
			l.From = r.Savepoint
		}
	}
	l.Retract = c.Retract
	if c.AcceptedDuplicates && !slices.Contains(l.AcceptedDuplicates, l.Epoch) {
		l.AcceptedDuplicates = append(l.AcceptedDuplicates, l.Epoch)
	}
	return g.Restored != was.Restored || g.Savepoint != was.Savepoint || l.From != from || l.Retract != retract ||
		len(l.AcceptedDuplicates) != accepted
}

// shorten keeps a reason small enough for a record.
func shorten(s string) string {
	const limit = 1 << 10
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return s
}

// Swept drops the earlier generations that no retained record is of, and notes that
// nothing is left to retract. It needs a leadership and comes after every sink node
// was swept. It relies on writers that
// take over, before their first snapshot, what an earlier epoch left unfinished:
// so a record names unfinished output of its own epoch alone.
func (l *Ledger) Swept(ctx context.Context, epoch uint64) error {
	return l.decide(ctx, "drop swept generations", true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		var lineage Lineage
		version, err := l.get(ctx, l.epochPath(), &lineage)
		if err != nil {
			return nil, false, err
		}
		if lineage.Epoch != epoch {
			return nil, false, ErrFenced
		}
		records, _, err := l.records(ctx)
		if err != nil {
			return nil, false, err
		}
		before, retract := len(lineage.Generations), lineage.Retract
		lineage.Retract = false
		lineage.Generations = slices.DeleteFunc(lineage.Generations, func(g Generation) bool {
			return g.Epoch < epoch && !slices.ContainsFunc(records, func(r Record) bool {
				return r.Epoch == g.Epoch && r.State != Abandoned
			})
		})
		return []coordination.Op{write(l.epochPath(), lineage, version, true)},
			len(lineage.Generations) == before && !retract, nil
	})
}
