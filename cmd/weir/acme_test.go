package main

import (
	"context"

	"github.com/weirstream/weir/sdk"
)

// acmeName is the name of a program on the scripts' PATH: somebody else's plugin,
// which is one under the name acmePlugin too. It lies beside weir, where the latter
// would be found by itself. Its path is $ACME.
const (
	acmeName   = "acme"
	acmePlugin = "weir-plugin-acme"
)

type acmeConfig struct {
	Prefix string `weir:"prefix,required" doc:"Put in front of every value."`
}

type acmePrefix struct{ prefix string }

func (p acmePrefix) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	for r := range in.All() {
		out.Emit(r, append(append(out.AvailableBuffer(), p.prefix...), r.Value()...))
	}
	return nil
}

func (acmePrefix) Close() error { return nil }

func serveAcme() {
	sdk.Serve(sdk.Plugin{Name: "acme", Version: "1.0.0"},
		sdk.NewOperator("prefix", "Puts a prefix in front of values.",
			func(_ context.Context, cfg *acmeConfig, _ *sdk.Task) (acmePrefix, error) {
				return acmePrefix{cfg.Prefix}, nil
			},
			sdk.PreservesOrder(), sdk.PreservesKey()))
}
