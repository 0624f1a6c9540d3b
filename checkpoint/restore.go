package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weirstream/weir/checkpoint/storage"
)

// Choice is the checkpoint that an epoch starts from.
type Choice struct {
	// Record and Manifest are nil for a start from nothing. A finished record has no
	// Manifest either: nothing of it is read.
	Record   *Record
	Manifest *Manifest
	// FromSavepoint: it is a savepoint, and no checkpoint that is still kept.
	FromSavepoint bool
	// Passed are records that can no longer be restored: newer ones that were passed
	// over, and older ones that are damaged.
	Passed []Passed
	// Keep are the writer entries, by node, of every record that stays: what they
	// name is spared by Sweep.
	Keep map[string]Entries
	// Retract: output that was published after Record is to be withdrawn in Sweep, by
	// every sink that can.
	Retract bool
	// AcceptedDuplicates: what the others have published may come twice, as a person
	// allowed.
	AcceptedDuplicates bool
}

// N is the number of the restored checkpoint, as plugins are told it; 0 for a start
// from nothing.
func (c Choice) N() uint64 {
	if c.Record == nil {
		return 0
	}
	return c.Record.N
}

// Passed is a record that was passed over, and why.
type Passed struct {
	Record Record
	Err    error
}

// RestoreOptions allow what would otherwise be refused.
type RestoreOptions struct {
	// Retract: every sink of the pipeline withdraws output when told to.
	Retract bool
	// AcceptDuplicates: a person prefers doubled output to none.
	AcceptDuplicates bool
	// From is the number of a checkpoint or the name of a savepoint that a person
	// chose; empty for the newest. Where it is older and later output may be published
	// it needs Withdraw, which a person has to ask for, or AcceptDuplicates.
	From     string
	Withdraw bool
}

// RestoreError says which checkpoint cannot be restored, and why no older one may
// take its place.
type RestoreError struct {
	N      uint64
	Err    error  // what is wrong with it
	Reason string // why nothing takes its place
}

// Error names the checkpoint.
func (e *RestoreError) Error() string {
	return fmt.Sprintf("checkpoint %d cannot be restored: %v; %s", e.N, e.Err, e.Reason)
}

// Unwrap returns what is wrong with it.
func (e *RestoreError) Unwrap() error { return e.Err }

// CodeDamaged is the stable code of a RestoreError.
const CodeDamaged = "restore.damaged"

// ErrorCode is the stable code that says what the error means.
func (e *RestoreError) ErrorCode() string { return CodeDamaged }

// Choose picks the checkpoint to restore, and finds out which records stay. It
// picks the newest, read and verified with all its objects. Where that one is
// damaged it falls back to the one before it, but only if nothing of the damaged
// one can have been published, or Retract or AcceptDuplicates allow it. Otherwise
// it fails with a *RestoreError that names the checkpoint; see Ledger.InCharge. A
// storage that cannot be read at present is an error of its own and never makes it
// fall back. A choice of a person's that is refused is a *FromError.
func Choose(ctx context.Context, st *storage.Storage, h History, o RestoreOptions) (Choice, error) {
	c, err := h.choose(ctx, st, o)
	if err != nil {
		return Choice{}, err
	}
	return c, c.keep(ctx, st, h)
}

// keep reads the writer entries of every record that stays, and notes those that
// turn out to be damaged as passed.
func (c *Choice) keep(ctx context.Context, st *storage.Storage, h History) error {
	c.Keep = map[string]Entries{}
	for _, r := range h.Records {
		if r.State == Abandoned || c.passed(r.N) {
			continue
		}
		m, err := c.Manifest, error(nil)
		if m == nil || m.N != r.N {
			m, err = ReadManifest(ctx, st, r)
		}
		switch {
		case err == nil:
			for _, n := range m.Nodes {
				c.Keep[n.Name] = append(c.Keep[n.Name], m.Writer(n.Name)...)
			}
		case damaged(err) && r.State != Finished:
			c.Passed = append(c.Passed, Passed{r, err})
		case damaged(err):
		default:
			return fmt.Errorf("checkpoint %d: %w", r.N, err)
		}
	}
	return nil
}

func (c Choice) passed(n uint64) bool {
	return slices.ContainsFunc(c.Passed, func(p Passed) bool { return p.Record.N == n })
}

func (h History) choose(ctx context.Context, st *storage.Storage, o RestoreOptions) (Choice, error) {
	r := h.Newest()
	if o.From != "" && (r == nil || format(r.N) != o.From || r.State == Finished) {
		return h.from(ctx, st, o)
	}
	c := Choice{Retract: h.Lineage.Retract}
	if h.Lineage.Retract && !o.Retract {
		if !o.AcceptDuplicates {
			return Choice{}, errors.New("an earlier start fell back to an older checkpoint and has still to withdraw output, but not every sink can any more")
		}
		c.AcceptedDuplicates = true
	}
	if r != nil && r.State == Finished { // nothing of it is needed any more
		c.Record = r
		return c, nil
	}
	for r != nil {
		m, err := Verify(ctx, st, *r)
		if err == nil {
			c.Record, c.Manifest = r, m
			return c, nil
		}
		if !damaged(err) {
			return Choice{}, fmt.Errorf("checkpoint %d: %w", r.N, err)
		}
		if r.Committables > 0 {
			// Also where duplicates are accepted: what a sink that goes on with its
			// unfinished output has published of it since must be unfinished again.
			c.Retract, c.AcceptedDuplicates = true, !o.Retract
			if !o.Retract && !o.AcceptDuplicates {
				return Choice{}, &RestoreError{N: r.N, Err: err,
					Reason: "no older one can take its place, since its output may be published and would come twice"}
			}
		}
		c.Passed = append(c.Passed, Passed{*r, err})
		prev := h.record(r.Prev)
		if prev == nil && r.Prev != 0 {
			return Choice{}, &RestoreError{N: r.N, Err: err,
				Reason: fmt.Sprintf("checkpoint %d before it is not kept any more", r.Prev)}
		}
		r = prev
	}
	return h.beginning(ctx, st, c)
}

// beginning is the start without a checkpoint of this uid: with a savepoint, or
// with nothing.
func (h History) beginning(ctx context.Context, st *storage.Storage, c Choice) (Choice, error) {
	if h.Lineage.From == "" {
		return c, nil
	}
	s, ok := h.savepoint(h.Lineage.From)
	if !ok {
		return Choice{}, fmt.Errorf("savepoint %s, which the pipeline begins with, does not exist", h.Lineage.From)
	}
	m, err := Verify(ctx, st, s)
	if err != nil {
		return Choice{}, fmt.Errorf("savepoint %s: %w", h.Lineage.From, err)
	}
	c.Record, c.Manifest, c.FromSavepoint = &s, m, true
	return c, nil
}

// damaged says that what was stored is not there, or not as it was: a storage that
// cannot be reached proves nothing.
func damaged(err error) bool {
	return errors.Is(err, storage.ErrCorrupt) || errors.Is(err, storage.ErrNotFound)
}

// Verify reads everything that a record stands for: its manifest, which it
// returns, and every object, entry by entry.
func Verify(ctx context.Context, st *storage.Storage, r Record) (*Manifest, error) {
	m, err := ReadManifest(ctx, st, r)
	if err != nil {
		return nil, err
	}
	if n := m.committables(); n != r.Committables {
		return nil, fmt.Errorf("%s: %w: it lists %d committables, its record %d", r.Manifest.Name, storage.ErrCorrupt, n, r.Committables)
	}
	read := map[string]bool{}
	for t := range m.tasks() {
		for _, o := range t.Objects {
			for _, err := range readObject(ctx, st, o) {
				if err != nil {
					return nil, err
				}
			}
		}
		for _, f := range t.Files {
			if read[f.Object.Name] {
				continue
			}
			read[f.Object.Name] = true
			if _, err := st.Get(ctx, f.Object); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}
