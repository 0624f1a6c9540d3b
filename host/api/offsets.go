package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Offset is where a source stands in one split.
type Offset struct {
	Split    string          `json:"split"`
	Task     string          `json:"task" doc:"The task that reads it; enumerator where none does yet."`
	Data     json.RawMessage `json:"data,omitempty" doc:"What the source says of the split, in a form of its own."`
	Position json.RawMessage `json:"position,omitempty" doc:"Where it goes on there, in a form of its own; absent for the beginning."`
}

// OffsetsRequest changes where a source goes on, in one of three ways.
type OffsetsRequest struct {
	_         struct{}                   `additionalProperties:"false"`
	Positions map[string]json.RawMessage `json:"positions,omitempty" doc:"By split, in the source's own form; fields that are not given stay as they are, and null is the beginning of the split."`
	Reset     bool                       `json:"reset,omitempty" doc:"Forget which splits it has found and where it stands in them."`
	Undo      bool                       `json:"undo,omitempty" doc:"Take back the change that has made the newest checkpoint."`
}

// check refuses what says nothing, or too much.
func (r OffsetsRequest) check() error {
	ways := 0
	for _, given := range []bool{len(r.Positions) > 0, r.Reset, r.Undo} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return Problemf(CodeInvalidRequest, "one of positions, reset and undo is needed")
	}
	return nil
}

// OffsetsChanged says where the pipeline goes on now.
type OffsetsChanged struct {
	Checkpoint uint64    `json:"checkpoint" doc:"The checkpoint from which the next start goes on."`
	Before     uint64    `json:"before" doc:"The one from which it would have."`
	At         time.Time `json:"at"`
}

// offsets registers the operations on the positions of a source.
func (o *operations) offsets(c Cluster) {
	const at = "pipelines/{name}/nodes/{node}/offsets"
	type show struct {
		Name       string `path:"name" doc:"The pipeline's name."`
		Node       string `path:"node" doc:"The source's name."`
		Checkpoint string `query:"checkpoint" doc:"Number of a checkpoint or name of a savepoint; by default the newest checkpoint."`
	}
	huma.Register(o.api, o.operation("listOffsets", http.MethodGet, at, "cluster", "Where a source stands", "By split, as of a checkpoint."),
		func(ctx context.Context, in *show) (*answer[[]Offset], error) {
			all, err := list(func(ctx context.Context, _ string) ([]Offset, error) {
				return c.Offsets(ctx, in.Name, in.Node, in.Checkpoint)
			})(ctx, "")
			return &answer[[]Offset]{all}, o.problem(err)
		})
	type change struct {
		Name string `path:"name" doc:"The pipeline's name."`
		Node string `path:"node" doc:"The source's name."`
		Body OffsetsRequest
	}
	patient(o, o.operation("setOffsets", http.MethodPut, at, "cluster", "Have a source go on elsewhere",
		"Of a stopped pipeline, by a new checkpoint with the state of all other nodes as it is. Answers when that is stored."),
		func(ctx context.Context, in *change) (*answer[OffsetsChanged], error) {
			if err := in.Body.check(); err != nil {
				return nil, o.problem(err)
			}
			changed, err := c.SetOffsets(ctx, in.Name, in.Node, in.Body)
			return &answer[OffsetsChanged]{changed}, o.problem(err)
		})
}
