package checkpoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
)

// StoreSavepoint keeps record n under a name, without its committables, which
// are published. It fails with ErrSavepointExists where another checkpoint has the
// name; called again for the same one it does nothing. It needs a leadership.
func (l *Ledger) StoreSavepoint(ctx context.Context, st *storage.Storage, name string, n uint64) error {
	l.objects.Lock()
	defer l.objects.Unlock()
	if err := l.storeSavepoint(ctx, st, name, n); err != nil {
		return fmt.Errorf("pipeline %s: savepoint %s: %w", l.name, name, err)
	}
	return nil
}

func (l *Ledger) storeSavepoint(ctx context.Context, st *storage.Storage, name string, n uint64) error {
	var lineage Lineage
	if _, err := l.get(ctx, l.epochPath(), &lineage); err != nil {
		return err
	}
	var kept Record
	_, found, err := l.find(ctx, l.savepointPath(name), &kept)
	switch {
	case err != nil:
		return err
	case found && kept.UID == lineage.UID && kept.N == n:
		return nil
	case found:
		return ErrSavepointExists
	}
	var r Record
	if _, err := l.get(ctx, l.recordPath(n), &r); err != nil {
		return err
	}
	if r.State == Abandoned {
		return fmt.Errorf("checkpoint %d was abandoned: %s", n, r.Reason)
	}
	m, err := ReadManifest(ctx, st, r)
	if err != nil {
		return err
	}
	for t := range m.tasks() {
		t.Committables = nil
	}
	r.Savepoint, r.Committables = name, 0
	// The name says who writes it: a leader of an older epoch must not collect it
	// before its record is there.
	if r.Manifest, r.Bytes, err = putManifest(ctx, st, *m, lineage.Epoch); err != nil {
		return err
	}
	kept = Record{}
	err = l.decide(ctx, "store", true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		_, found, err := l.find(ctx, l.savepointPath(name), &kept)
		return []coordination.Op{coordination.Create(l.savepointPath(name), encode(r))}, found, err
	})
	if err == nil && (kept.N == 0 || kept.Manifest == r.Manifest) {
		return nil
	}
	if err == nil { // somebody else's
		err = ErrSavepointExists
	}
	if errors.Is(err, coordination.ErrUnknownOutcome) {
		return err // the manifest may be needed
	}
	return errors.Join(err, st.Delete(ctx, r.Manifest.Name))
}

// DeleteSavepoint removes a savepoint, and then what only it named, files excepted: a
// checkpoint on its way may refer to those where the tasks started from it, so that
// they are collected at the next start. An absent one is no error. It needs a
// leadership.
func (l *Ledger) DeleteSavepoint(ctx context.Context, st *storage.Storage, name string) error {
	l.objects.Lock()
	defer l.objects.Unlock()
	var gone Record
	err := l.decide(ctx, "delete savepoint "+name, true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		h, err := l.load(ctx)
		if err != nil {
			return nil, false, err
		}
		if h.Lineage.From == name && h.Newest() == nil {
			return nil, false, errors.New("the pipeline begins with it and has no checkpoint yet")
		}
		version, found, err := l.find(ctx, l.savepointPath(name), &gone)
		return []coordination.Op{coordination.Delete(l.savepointPath(name), version)}, err == nil && !found, err
	})
	if err != nil || gone.N == 0 {
		return err
	}
	return l.release(ctx, st, []Record{gone}, false)
}
