package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
)

// Retain keeps the newest records, those whose savepoint is not yet stored, and
// all savepoints; it drops the others and then deletes from storage what only
// they named. It needs a leadership.
func (l *Ledger) Retain(ctx context.Context, st *storage.Storage, keep int) error {
	l.objects.Lock()
	defer l.objects.Unlock()
	var dropped []Record
	err := l.decide(ctx, "drop old checkpoints", true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		records, savepoints, err := l.records(ctx)
		if err != nil {
			return nil, false, err
		}
		dropped = expired(records, savepoints, max(keep, 1))
		var ops []coordination.Op
		for _, r := range dropped {
			ops = append(ops, coordination.Delete(l.recordPath(r.N), coordination.AnyVersion))
		}
		return ops, len(ops) == 0, nil
	})
	if err != nil || len(dropped) == 0 {
		return err
	}
	return l.release(ctx, st, dropped, true)
}

// expired are the records, given newest first, that retention lets go. Abandoned
// ones go with the checkpoints beside them.
func expired(records, savepoints []Record, keep int) []Record {
	unstored := History{Records: records, Savepoints: savepoints}.Unstored()
	var gone []Record
	kept := 0
	for _, r := range records {
		switch _, wanted := unstored[r.Savepoint]; {
		case kept >= keep && !wanted:
			gone = append(gone, r)
		case r.State != Abandoned:
			kept++
		}
	}
	return gone
}

// release deletes what dropped records named and no retained one names, with files or
// without. It deletes nothing unless it knows all that is named.
func (l *Ledger) release(ctx context.Context, st *storage.Storage, dropped []Record, files bool) error {
	var candidates []string
	for _, r := range dropped {
		candidates = append(candidates, r.Manifest.Name)
		n, err := l.namedBy(ctx, st, r)
		if err == nil { // else Collect finds them, once their epoch is over
			candidates = append(candidates, n.objects...)
			if files {
				candidates = append(candidates, n.files...)
			}
		}
	}
	named, err := l.allNamed(ctx, st)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range candidates {
		if !named[name] {
			errs = append(errs, st.Delete(ctx, name))
		}
	}
	for _, r := range dropped {
		delete(l.named, r.Manifest.Name)
	}
	return errors.Join(errs...)
}

// names are the objects that a manifest names.
type names struct{ objects, files []string }

// namedBy returns the objects that a record's manifest names.
func (l *Ledger) namedBy(ctx context.Context, st *storage.Storage, r Record) (names, error) {
	if n, ok := l.named[r.Manifest.Name]; ok {
		return n, nil
	}
	m, err := ReadManifest(ctx, st, r)
	if err != nil {
		return names{}, err
	}
	var n names
	for t := range m.tasks() {
		for _, o := range t.Objects {
			n.objects = append(n.objects, o.Name)
		}
		for _, f := range t.Files {
			n.files = append(n.files, f.Object.Name)
		}
	}
	l.named[r.Manifest.Name] = n
	return n, nil
}

// allNamed is every object that a retained record or savepoint names, its
// manifest included.
func (l *Ledger) allNamed(ctx context.Context, st *storage.Storage) (map[string]bool, error) {
	records, savepoints, err := l.records(ctx)
	if err != nil {
		return nil, fmt.Errorf("pipeline %s: %w", l.name, err)
	}
	named := map[string]bool{}
	for _, r := range slices.Concat(records, savepoints) {
		named[r.Manifest.Name] = true
		n, err := l.namedBy(ctx, st, r)
		if err != nil && r.State == Abandoned {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("pipeline %s: nothing is deleted, since checkpoint %d cannot be read: %w", l.name, r.N, err)
		}
		for _, name := range slices.Concat(n.objects, n.files) {
			named[name] = true
		}
	}
	return named, nil
}

// Collect deletes objects that older epochs, or former uids, left in storage and
// that no record names. It needs a leadership, and comes once an epoch, after its
// Begin.
func (l *Ledger) Collect(ctx context.Context, st *storage.Storage) error {
	l.objects.Lock()
	defer l.objects.Unlock()
	var lineage Lineage
	if _, err := l.get(ctx, l.epochPath(), &lineage); err != nil {
		return fmt.Errorf("pipeline %s: collect: %w", l.name, err)
	}
	named, err := l.allNamed(ctx, st)
	if err != nil {
		return err
	}
	if _, err := l.collect(ctx, st, lineage.UID, lineage.Epoch, named); err != nil {
		return err
	}
	var empty []string
	for _, uid := range lineage.Former {
		left, err := l.collect(ctx, st, uid, 1<<63, named)
		if err != nil {
			return err
		}
		if left == 0 {
			empty = append(empty, uid)
		}
	}
	return l.forget(ctx, empty)
}

// collect deletes a uid's unnamed objects of epochs below the given one, and says
// how many objects are left.
func (l *Ledger) collect(ctx context.Context, st *storage.Storage, uid string, below uint64, named map[string]bool) (left int, err error) {
	infos, err := st.List(ctx, uid+"/")
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, i := range infos {
		epoch, ok := objectEpoch(i.Name)
		if !ok || epoch >= below || named[i.Name] {
			left++
			continue
		}
		errs = append(errs, st.Delete(ctx, i.Name))
	}
	return left, errors.Join(errs...)
}

// objectEpoch reads the epoch from a name that this package has made, or from
// what is left of writing one.
func objectEpoch(name string) (uint64, bool) {
	part := strings.Split(name, "/")
	if len(part) < 3 {
		return 0, false
	}
	text := part[2]
	if part[1] == "manifest" {
		if _, text, _ = strings.Cut(part[2], "-"); text == "" {
			return 0, false
		}
		text, _, _ = strings.Cut(text, "-")
	}
	epoch, err := strconv.ParseUint(text, 10, 64)
	return epoch, err == nil
}

// forget removes former uids of which nothing is left.
func (l *Ledger) forget(ctx context.Context, uids []string) error {
	if len(uids) == 0 {
		return nil
	}
	return l.decide(ctx, "forget former uids", true, func(ctx context.Context) ([]coordination.Op, bool, error) {
		var lineage Lineage
		version, err := l.get(ctx, l.epochPath(), &lineage)
		if err != nil {
			return nil, false, err
		}
		before := len(lineage.Former)
		lineage.Former = slices.DeleteFunc(lineage.Former, func(uid string) bool { return slices.Contains(uids, uid) })
		return []coordination.Op{write(l.epochPath(), lineage, version, true)}, len(lineage.Former) == before, nil
	})
}
