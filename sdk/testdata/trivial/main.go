// Command trivial is the smallest useful plugin: it stands for what an author
// has to write, and a test measures it.
package main

import (
	"bytes"
	"context"

	"github.com/weirstream/weir/sdk"
)

type config struct {
	Prefix string `weir:"prefix,required" doc:"Put in front of every value."`
}

type prefixer struct{ prefix string }

func open(_ context.Context, cfg *config, _ *sdk.Task) (*prefixer, error) {
	return &prefixer{cfg.Prefix}, nil
}

func (p *prefixer) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	for r := range in.All() {
		b := append(out.AvailableBuffer(), p.prefix...)
		out.Emit(r, append(b, bytes.TrimSpace(r.Value())...))
	}
	return nil
}

func (p *prefixer) Close() error { return nil }

func main() {
	sdk.Serve(sdk.Plugin{Name: "trivial", Version: "1.0.0"},
		sdk.NewOperator("prefix", "Puts a prefix in front of values.", open, sdk.PreservesOrder(), sdk.PreservesKey()))
}
