// Package discard is a sink that throws everything away: for trying a pipeline
// out, and for measuring one.
package discard

import (
	"context"

	"github.com/weirstream/weir/sdk"
)

// Config is empty: there is nothing to say.
type Config struct{}

// Sink returns the component.
func Sink() sdk.Component {
	return sdk.NewSink("discard", "Throws every record away.",
		func(context.Context, *Config, *sdk.Task) (sink, error) { return sink{}, nil },
		sdk.Discards())
}

type sink struct{}

// Write implements [sdk.Sink].
func (sink) Write(context.Context, *sdk.Batch, *sdk.Collector) error { return nil }

// Flush implements [sdk.Sink].
func (sink) Flush(context.Context) error { return nil }

// Close implements [sdk.Sink].
func (sink) Close() error { return nil }
