package main

import (
	"context"
	"fmt"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/pipetest"
)

// untilCaughtUp is what --until knows.
const untilCaughtUp = "caught-up"

// dryRun is the pipeline with a sink that throws away in place of every one of its
// own, and without a place for its checkpoints.
func dryRun(ctx context.Context, p *pipeline.Pipeline, plugins *catalog.Catalog) (*pipeline.Pipeline, error) {
	source, err := pipetest.WithoutSinks(p, "discard")
	if err != nil {
		return nil, err
	}
	dry, report := pipeline.LoadBytes(ctx, p.File, source, pipeline.Options{Catalog: plugins})
	if !report.OK() {
		return nil, fmt.Errorf("the pipeline without its sinks: %w", report.Err())
	}
	return dry, nil
}
