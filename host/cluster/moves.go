package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
)

// Moving is a change of the positions of a source, which somebody has asked for. The
// leader says how it went, and who has asked removes it.
type Moving struct {
	At time.Time `json:"at"`
	// Desired is the revision of the wish that the pipeline had come to the end of. It
	// holds for none later: that one starts the pipeline, or has.
	Desired uint64 `json:"desired"`
	Node    string `json:"node"` // id
	// Positions by split; nil where the source is to begin anew.
	Positions map[string]json.RawMessage `json:"positions,omitempty"`
	// Undo is the number of the checkpoint that an earlier change has made, which is
	// to be taken back; 0 for none.
	Undo uint64 `json:"undo,omitempty"`

	Done    bool   `json:"done,omitempty"`
	Error   string `json:"error,omitempty"`
	Refused bool   `json:"refused,omitempty"` // as wrong
	Busy    bool   `json:"busy,omitempty"`    // since it runs, or is to
	// Checkpoint is the one that the next start begins with, Before the one that it
	// would have begun with.
	Checkpoint uint64    `json:"checkpoint,omitempty"`
	Before     uint64    `json:"before,omitempty"`
	MadeAt     time.Time `json:"made_at,omitzero"`
}

// rest looks after a pipeline of which nothing is to run, until something is desired
// anew: positions can be changed now. A pipeline is only ever started by the goroutine
// that is in here, so that no change meets a start.
func (j *job) rest(ctx context.Context, d Desired, s Spec) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := j.lead.store.WatchChildren(ctx, movesDir(j.name))
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.desire:
			return
		case _, ok := <-asked:
			if !ok {
				asked = nil
				continue
			}
			j.moves(ctx, d, s, true)
		}
	}
}

// moves answers everybody who has asked for a change of positions, in the order in which
// they have: it is made while the pipeline rests, and otherwise refused, unless it was
// made before.
func (j *job) moves(ctx context.Context, d Desired, s Spec, rests bool) {
	asked := map[string]Moving{}
	err := persist(ctx, func(ctx context.Context) error {
		ids, err := j.lead.store.Children(ctx, movesDir(j.name))
		if err != nil {
			return err
		}
		for _, id := range ids {
			m, _, found, err := read[Moving](ctx, j.lead.store, movePath(j.name, id))
			if err != nil {
				return err
			}
			if found && !m.Done {
				asked[id] = m
			}
		}
		return nil
	})
	if err != nil || len(asked) == 0 {
		return // the session is over, or nobody has asked
	}
	ids := make([]string, 0, len(asked))
	for id := range asked {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return asked[a].At.Compare(asked[b].At) })
	for _, id := range ids {
		m := asked[id]
		err := j.change(ctx, id, &m, s, rests && m.Desired == d.Revision)
		if errors.Is(err, checkpoint.ErrFenced) || ctx.Err() != nil {
			return // the next leader does it
		}
		m.Done = true
		if err != nil {
			var refused *checkpoint.PositionError
			m.Error, m.Refused, m.Busy = err.Error(), errors.As(err, &refused), errors.Is(err, ErrBusy)
		}
		err = persist(ctx, func(ctx context.Context) error {
			return j.lead.store.Commit(ctx, j.lead.lead.Guard(), coordination.Set(movePath(j.name, id), encode(m), coordination.AnyVersion))
		})
		if err != nil && ctx.Err() == nil && !errors.Is(err, coordination.ErrNotFound) {
			j.log.Warn("nobody can be told how a change of positions went", "cause", err)
		}
	}
}

// change makes one change, or finds that it was made.
func (j *job) change(ctx context.Context, id string, m *Moving, s Spec, may bool) error {
	ledger := checkpoint.NewLedger(j.lead.store, j.lead.lead, j.name)
	var h checkpoint.History
	err := persist(ctx, func(ctx context.Context) (err error) {
		h, err = ledger.Load(ctx)
		return err
	})
	if errors.Is(err, coordination.ErrNotFound) {
		return &checkpoint.PositionError{Reason: fmt.Sprintf("pipeline %s has no checkpoint, so that it begins at the beginning", j.name)}
	}
	if err != nil {
		return err
	}
	_, made := h.Moved(id)
	if !may && !made && (m.Undo == 0 || !h.Undone(m.Undo)) {
		return fmt.Errorf("%w: %s was started meanwhile; stop it first", ErrBusy, j.name)
	}
	if m.Undo > 0 {
		r, err := ledger.Undo(ctx, m.Node, m.Undo)
		m.Checkpoint, m.Before, m.MadeAt = r.N, m.Undo, time.Now().UTC()
		return err
	}
	var st *storage.Storage
	if !made {
		var release func()
		if st, release, err = j.lead.storage(ctx, s); err != nil {
			return err
		}
		defer release()
	}
	r, err := ledger.Reposition(ctx, st, id, m.Node, m.Positions)
	if err != nil {
		return err
	}
	m.Checkpoint, m.Before, m.MadeAt = r.N, r.Prev, r.CompletedAt
	j.log.Info("a source goes on elsewhere", "node", m.Node, "checkpoint", r.N)
	return nil
}
