// Package eventtime is an operator that passes records on. The host puts it behind a
// component whose plugin does not set event time: the stage on its output does.
package eventtime

import (
	"context"

	"github.com/weirstream/weir/sdk"
)

// Config is empty: event_time of the pipeline file says it all.
type Config struct{}

// Operator returns the component.
func Operator() sdk.Component {
	return sdk.NewOperator("event-time", "Passes records on; set event_time on it, or on the node before it.",
		func(context.Context, *Config, *sdk.Task) (operator, error) { return operator{}, nil },
		sdk.PreservesOrder(), sdk.PreservesKey())
}

type operator struct{}

// Process implements [sdk.Operator].
func (operator) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	out.ForwardAll(in)
	return nil
}

// Close implements [sdk.Operator].
func (operator) Close() error { return nil }
