package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// PickConfig is what a pipeline file may set.
type PickConfig struct {
	Column    int    `weir:"column,required" min:"1" doc:"Which column to keep, counted from 1."`
	Separator string `weir:"separator" default:"," doc:"What stands between columns."`
}

// Picker keeps one column of each value.
type Picker struct{ cfg *PickConfig }

var errTooFewColumns = errors.New("too few columns")

func (p *Picker) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	for r := range in.All() {
		columns := bytes.Split(r.Value(), []byte(p.cfg.Separator))
		switch {
		case len(r.Value()) == 0:
			out.To("empty").Forward(r)
		case len(columns) < p.cfg.Column:
			out.Fail(r, errTooFewColumns) // the pipeline's on_error decides
		default:
			// Keeps key, time, headers and origin of r.
			out.Emit(r, append(out.AvailableBuffer(), columns[p.cfg.Column-1]...))
		}
	}
	return nil
}

func (p *Picker) Close() error { return nil }

// An operator with an output of its own and failed records, and a test of it.
func ExampleNewOperator() {
	pick := sdk.NewOperator("pick", "Keeps one column of each value.",
		func(_ context.Context, cfg *PickConfig, _ *sdk.Task) (*Picker, error) { return &Picker{cfg}, nil },
		sdk.PreservesOrder(), sdk.PreservesKey(),
		sdk.Outputs(sdk.Output{Name: "empty", Summary: "Values without a column."}))
	// In main: sdk.Serve(sdk.Plugin{Name: "acme", Version: "1.0.0"}, pick)

	inTest(func(t testing.TB) {
		op := sdktest.NewOperator(t, pick, `{"column": 2}`)
		got := op.Process(sdktest.KV("k1", "a,b,c"), sdktest.KV("k2", ""), sdktest.KV("k3", "a"))
		fmt.Println("out:   ", got.Out)
		fmt.Println("empty: ", got.Outputs["empty"])
		fmt.Println("failed:", got.Failed[0].Err)
		for _, fault := range sdktest.Check(t, pick, `{"colum": 2, "separator": 3}`).Faults {
			fmt.Println("fault: ", fault)
		}
	})
	// Output:
	// out:    [{"k1": "b"}]
	// empty:  [{"k2": ""}]
	// failed: too few columns
	// fault:  colum: unknown field; did you mean "column"?
	// fault:  column: is required
	// fault:  separator: expected a string, got the number 3; put it in quotes
}
