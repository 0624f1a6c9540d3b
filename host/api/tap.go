package api

import (
	"context"
	"iter"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

type tapInput struct {
	Name   string   `path:"name" doc:"The pipeline's name."`
	Node   string   `query:"node" doc:"What passes on this node's outputs alone; of a sink, what comes into it."`
	Output string   `query:"output" doc:"What passes on this output of the node alone."`
	Mask   []string `query:"mask,explode" maxItems:"100" doc:"Headers, and fields of JSON values at any depth, to mask beside those whose names look secret."`
}

// tap registers the operation that streams records.
func (o *operations) tap() {
	op := o.streaming("tapPipeline", "tap", "Records that pass", reflect.TypeFor[TapRecord](),
		"One record a line, as they pass, until the run ends. It slows the pipeline down by nothing that can be measured: it shows a bounded number of records a second, and says how many have passed that it does not show. In a cluster each host shows what passes on it.")
	huma.Register(o.api, op, func(ctx context.Context, in *tapInput) (*huma.StreamResponse, error) {
		query := TapQuery{Node: in.Node, Output: in.Output, Mask: in.Mask}
		return stream(o, func(ctx context.Context) iter.Seq2[TapRecord, error] { return o.Pipelines.Tap(ctx, in.Name, query) },
			func() error { return o.tappable(ctx, in) })
	})
}

// tappable checks the names of a query.
func (o *operations) tappable(ctx context.Context, in *tapInput) error {
	if in.Node == "" && in.Output != "" {
		return Problemf(CodeInvalidRequest, "output %q of which node? Give the node too", in.Output)
	}
	n, err := o.find(ctx, in.Name, in.Node)
	if err != nil || in.Output == "" {
		return err
	}
	for _, name := range n.Outputs {
		if name == in.Output {
			return nil
		}
	}
	return OutputNotFound(in.Node, in.Output, n.Outputs)
}
