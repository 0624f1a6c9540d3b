package cluster

import (
	"context"
	"errors"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/engine"
)

// Offsets implements [api.Cluster].
func (a *API) Offsets(ctx context.Context, name, node, which string) ([]api.Offset, error) {
	c, p, err := a.pipeline(ctx, name)
	if err != nil {
		return nil, err
	}
	h, err := checkpoint.NewLedger(c.store, nil, name).Load(ctx)
	if err != nil && !errors.Is(err, coordination.ErrNotFound) {
		return nil, a.problem(ctx, c, name, err)
	}
	var r checkpoint.Record
	switch newest := h.Newest(); {
	case which != "":
		if r, _, err = h.Find(which); err != nil {
			return nil, api.Problemf(api.CodeOffsetsRefused, "pipeline %s: %v", name, err)
		}
	case newest == nil:
		return nil, api.Problemf(api.CodeOffsetsRefused, "pipeline %s has no checkpoint yet", name)
	default:
		r = *newest
	}
	st, release, err := a.Library.OpenStorage(ctx, p.Spec)
	if err != nil {
		return nil, err
	}
	defer release()
	all, err := checkpoint.Positions(ctx, st, r, stateID(p.Spec.Topology, node))
	if err != nil {
		return nil, positionProblem(err)
	}
	var out []api.Offset
	for _, p := range all {
		out = append(out, api.Offset(p))
	}
	return out, nil
}

// SetOffsets implements [api.Cluster].
func (a *API) SetOffsets(ctx context.Context, name, node string, r api.OffsetsRequest) (out api.OffsetsChanged, err error) {
	c, p, err := a.pipeline(ctx, name)
	if err != nil {
		return out, err
	}
	m := Moving{Node: stateID(p.Spec.Topology, node), Positions: r.Positions}
	if r.Undo {
		h, err := checkpoint.NewLedger(c.store, nil, name).Load(ctx)
		if err != nil && !errors.Is(err, coordination.ErrNotFound) {
			return out, a.problem(ctx, c, name, err)
		}
		newest := h.Newest()
		if newest == nil {
			return out, api.Problemf(api.CodeOffsetsRefused, "pipeline %s has no checkpoint: there is nothing to undo", name)
		}
		m.Undo = newest.N
	}
	if m, err = c.Move(ctx, name, m); err != nil {
		return out, positionProblem(a.problem(ctx, c, name, err))
	}
	return api.OffsetsChanged{Checkpoint: m.Checkpoint, Before: m.Before, At: m.MadeAt}, nil
}

// stateID is the id of a node by its name; what names none is taken for an id.
func stateID(t engine.Topology, node string) string {
	for _, n := range t.Nodes {
		if n.Name == node {
			return n.ID
		}
	}
	return node
}

func positionProblem(err error) error {
	var refused *checkpoint.PositionError
	if errors.As(err, &refused) {
		return api.Problemf(api.CodeOffsetsRefused, "%v", refused)
	}
	return err
}
