package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weirstream/weir/checkpoint/storage"
)

// ErrStartedFrom is why newer records are passed over when a person chooses an older
// one.
var ErrStartedFrom = errors.New("a person started from an older one")

// FromError says why the pipeline cannot be started from the checkpoint or savepoint
// that a person chose.
type FromError struct {
	From   string
	Reason string
	// Published: output of later checkpoints would come twice. Whoever knows the
	// sinks can say more.
	Published bool
}

// Error names what was chosen.
func (e *FromError) Error() string {
	return fmt.Sprintf("the pipeline cannot be started from %s: %s", e.From, e.Reason)
}

// CodeFrom is the stable code of a FromError.
const CodeFrom = "restore.from"

// ErrorCode implements explain.Coded.
func (e *FromError) ErrorCode() string { return CodeFrom }

// Find returns the savepoint of that name, or the checkpoint of that number.
func (h History) Find(which string) (r Record, savepoint bool, err error) {
	if s, ok := h.savepoint(which); ok {
		return s, true, nil
	}
	var known []string
	for _, r := range h.Records {
		if r.State == Abandoned {
			continue
		}
		if format(r.N) == which {
			return r, false, nil
		}
		known = append(known, format(r.N))
	}
	for _, s := range h.Savepoints {
		known = append(known, s.Savepoint)
	}
	if n, ok := h.Unstored()[which]; ok {
		return Record{}, false, fmt.Errorf("savepoint %s is not complete: some output up to its checkpoint %d is still to be published", which, n)
	}
	if len(known) == 0 {
		return Record{}, false, fmt.Errorf("there is no %s, and no other checkpoint or savepoint either", describeChoice(which))
	}
	return Record{}, false, fmt.Errorf("there is no %s; there are: %s", describeChoice(which), strings.Join(known, ", "))
}

func describeChoice(which string) string {
	if _, err := strconv.ParseUint(which, 10, 64); err == nil {
		return "checkpoint " + which
	}
	return "savepoint " + strconv.Quote(which)
}

// from chooses what a person named. Newer records are passed over, and what they may
// have published is withdrawn or, where a person allows it, comes twice.
func (h History) from(ctx context.Context, st *storage.Storage, o RestoreOptions) (Choice, error) {
	fail := func(published bool, format string, args ...any) (Choice, error) {
		return Choice{}, &FromError{From: o.From, Reason: fmt.Sprintf(format, args...), Published: published}
	}
	r, stored, err := h.Find(o.From)
	if err != nil {
		return fail(false, "%v", err)
	}
	if own := h.record(r.N); stored && own != nil && own.UID == r.UID {
		r, stored = *own, false // its checkpoint is still there
	}
	if r.State == Finished {
		return fail(false, "the pipeline had finished there, so that there is nothing to do")
	}
	m, err := Verify(ctx, st, r)
	if err != nil {
		if !damaged(err) {
			return Choice{}, fmt.Errorf("%s: %w", o.From, err)
		}
		return fail(false, "%v", err)
	}
	c := Choice{Record: &r, Manifest: m, Retract: h.Lineage.Retract, FromSavepoint: stored}
	for _, newer := range h.Records {
		if newer.N > r.N && newer.State != Abandoned {
			c.Passed = append(c.Passed, Passed{newer, ErrStartedFrom})
		}
	}
	if r.UID != h.Lineage.UID || h.publishedAfter(r.N) || h.Lineage.Retract {
		switch {
		case r.UID != h.Lineage.UID && !o.AcceptDuplicates:
			return fail(true, "it was made before the pipeline was started over; what was published since under another identity cannot be told apart and would come twice")
		case o.Retract && o.Withdraw && r.UID == h.Lineage.UID:
			c.Retract = true
		case o.AcceptDuplicates:
			c.Retract, c.AcceptedDuplicates = r.UID == h.Lineage.UID, true
		default:
			return fail(true, "output of later checkpoints is published and would come twice")
		}
	}
	return c, nil
}

// publishedAfter says whether anything may have been published because of a
// checkpoint after n: one that lists output, or one that is not kept any more.
func (h History) publishedAfter(n uint64) bool {
	newest := h.Newest()
	for r := newest; r != nil && r.N > n; {
		if r.Committables > 0 {
			return true
		}
		prev := h.record(r.Prev)
		if prev == nil && r.Prev > n {
			return true // not kept any more
		}
		r = prev
	}
	return slices.ContainsFunc(h.Records, func(r Record) bool { return r.State == Abandoned && r.N > n && r.Committables > 0 })
}
