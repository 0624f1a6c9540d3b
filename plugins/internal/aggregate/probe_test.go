package aggregate_test

import (
	"context"

	"github.com/weirstream/weir/sdk"
)

type context_ = context.Context

// probe shows a test the records that come to an operator.
type probe struct{ see func(sdk.Record) }

func (p probe) Process(_ context.Context, in *sdk.Batch, _ *sdk.Collector) error {
	for r := range in.All() {
		p.see(r)
	}
	return nil
}

func (probe) Close() error { return nil }
