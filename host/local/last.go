package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/api"
)

func lastPath(name string) string { return "pipelines/" + name + "/last" }

// NoteEnd keeps the last picture of a run, for whoever asks when nothing runs any
// more. Samples of records are left out.
func (h *Home) NoteEnd(ctx context.Context, r *Running) error {
	s := r.status()
	for i := range s.Nodes {
		s.Nodes[i].Failed.Samples = nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return coordination.Put(ctx, h.store, lastPath(s.Name), data)
}

// lastStatus is what is known of a pipeline that nothing runs.
func lastStatus(ctx context.Context, r coordination.Reader, name string, h checkpoint.History) (api.Status, error) {
	s := api.Status{Name: name, State: api.StateStopped}
	record, err := r.Get(ctx, lastPath(name))
	switch {
	case err == nil:
		if err := json.Unmarshal(record.Data, &s); err != nil {
			return s, fmt.Errorf("state of pipeline %s: %w", name, err)
		}
	case !errors.Is(err, coordination.ErrNotFound):
		return s, err
	}
	if spec, err := ReadSpec(ctx, r, name); err == nil {
		s.File = spec.File
	}
	newest := h.Newest()
	if s.Epoch < h.Lineage.Epoch || s.UID != h.Lineage.UID || !s.State.Ended() {
		// A run since then has left no picture.
		s = api.Status{Name: name, File: s.File, UID: h.Lineage.UID, State: api.StateStopped, Epoch: h.Lineage.Epoch}
		if newest != nil {
			s.Since = newest.CompletedAt
		}
		if h.Lineage.Epoch > 0 {
			s.Reason = "the last run ended without a word, as one does that is killed; run it again to resume"
		}
	}
	if newest != nil {
		s.Checkpoints.Last = &api.CheckpointDone{
			Number: newest.N, At: newest.CompletedAt, Duration: newest.CompletedAt.Sub(newest.OpenedAt).Seconds(), Bytes: newest.Bytes,
		}
		s.Checkpoints.Committed = h.Committed
		if newest.State == checkpoint.Finished {
			s.State, s.Since, s.Reason = api.StateFinished, newest.CompletedAt, ""
		}
	}
	s.Checkpoints.InFlight, s.Bottleneck = nil, nil
	return s, nil
}
