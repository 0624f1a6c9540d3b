//go:build linux

package faulttest

import (
	"bytes"
	"context"
	"io"
	"os"
	"time"

	"github.com/weirstream/weir/plugins/firstparty"
	"github.com/weirstream/weir/sdk"
)

// playPlugin serves the first-party components, and what slows a pipeline down.
// Other components of a pipeline are chained with it where they come from the same
// plugin; declared under two names it is two plugins.
func playPlugin() {
	sdk.Serve(sdk.Plugin{Name: "weir", Version: "0.0.1"}, append(firstparty.Components(), slow(), patient(), tally())...)
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

type patientConfig struct {
	Path string `weir:"path,required" doc:"The file to wait for."`
	Note string `weir:"note,required" doc:"A file that gets a line for each Read."`
}

// patient reads one record, a file's content, in one Read that waits until the file
// is there.
func patient() sdk.Component {
	return sdk.NewSource("patient", "Waits in Read.",
		func(_ context.Context, cfg *patientConfig, _ *sdk.Task) (*patientSource, error) {
			return &patientSource{cfg}, nil
		}, sdk.Bounded())
}

type patientSource struct{ cfg *patientConfig }

// Splits implements [sdk.Source].
func (s *patientSource) Splits(context.Context) ([]sdk.Split[struct{}], bool, error) {
	return []sdk.Split[struct{}]{{ID: "one"}}, false, nil
}

// Open implements [sdk.Source].
func (s *patientSource) Open(context.Context, sdk.Split[struct{}], *int) (sdk.Reader[int], error) {
	return s, nil
}

// Read implements [sdk.Reader].
func (s *patientSource) Read(ctx context.Context, out *sdk.Collector) (int, error) {
	f, err := os.OpenFile(s.cfg.Note, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	_, _ = f.WriteString("read\n")
	_ = f.Close()
	for {
		value, err := os.ReadFile(s.cfg.Path)
		switch {
		case err == nil:
			out.Append(sdk.Row{Value: bytes.TrimSpace(value)})
			return 1, io.EOF
		case !os.IsNotExist(err):
			return 0, err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// Close implements [sdk.Source] and [sdk.Reader].
func (s *patientSource) Close() error { return nil }
