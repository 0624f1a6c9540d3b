//go:build linux

package faulttest

import (
	"context"
	"time"

	"github.com/weirstream/weir/plugins/firstparty"
	"github.com/weirstream/weir/sdk"
)

// playPlugin serves the first-party components, and what slows a pipeline down.
// Other components of a pipeline are chained with it where they come from the same
// plugin; declared under two names it is two plugins.
func playPlugin() {
	sdk.Serve(sdk.Plugin{Name: "weir", Version: "0.0.1"}, append(firstparty.Components(), slow())...)
}

type slowConfig struct {
	Rate float64 `weir:"rate,required" doc:"Records a second that a task lets pass."`
}

// slow passes records on at a rate, so that a run takes a while and many
// checkpoints fall into it.
func slow() sdk.Component {
	return sdk.NewOperator("slow", "Passes records on at a rate.",
		func(_ context.Context, cfg *slowConfig, _ *sdk.Task) (*slowOperator, error) {
			return &slowOperator{rate: cfg.Rate}, nil
		}, sdk.PreservesOrder(), sdk.PreservesKey())
}

type slowOperator struct {
	rate float64
	next time.Time
}

// Process implements [sdk.Operator].
func (s *slowOperator) Process(ctx context.Context, in *sdk.Batch, out *sdk.Collector) error {
	now := time.Now()
	if s.next.Before(now) {
		s.next = now
	}
	s.next = s.next.Add(time.Duration(float64(in.Len()) / s.rate * float64(time.Second)))
	select {
	case <-time.After(time.Until(s.next)):
	case <-ctx.Done():
		return ctx.Err()
	}
	out.ForwardAll(in)
	return nil
}

// Close implements [sdk.Operator].
func (s *slowOperator) Close() error { return nil }
