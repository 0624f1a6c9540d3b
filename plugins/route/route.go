// Package route is an operator that sends records to outputs by condition.
package route

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/weirstream/weir/plugins/internal/expression"
	"github.com/weirstream/weir/sdk"
)

// Every operator has these outputs.
const (
	mainOutput  = "out"
	errorOutput = "errors" // of records that fail, and of no others
)

// Config is the operator's configuration.
type Config struct {
	Routes  map[string]sdk.Expr `weir:"outputs,required" doc:"Output name to condition. A record leaves on every output whose condition is true."`
	Default string              `weir:"default" default:"out" doc:"The output of records for which no condition is true."`
}

// Operator returns the component.
func Operator() sdk.Component {
	return sdk.NewOperator("route", "Sends each record to the outputs whose conditions it meets.",
		func(_ context.Context, cfg *Config, _ *sdk.Task) (*operator, error) {
			op, faults := compile(cfg)
			if len(faults) > 0 {
				return nil, sdk.Fatal(faults[0])
			}
			return op, nil
		},
		sdk.PreservesOrder(), sdk.PreservesKey(),
		sdk.Example("Errors apart from the rest", "outputs: {bad: json.status >= 500}\n"))
}

// Outputs implements [sdk.DynamicOutputs].
func (c *Config) Outputs() []sdk.Output {
	names := slices.Sorted(maps.Keys(c.Routes))
	if c.Default != mainOutput && !slices.Contains(names, c.Default) {
		names = append(names, c.Default)
	}
	var out []sdk.Output
	for _, n := range names {
		if n != mainOutput {
			out = append(out, sdk.Output{Name: n})
		}
	}
	return out
}

// Validate implements [sdk.Validator].
func (c *Config) Validate() []sdk.FieldError {
	_, faults := compile(c)
	for _, name := range slices.Sorted(maps.Keys(c.Routes)) {
		if why := badName(name); why != "" {
			faults = append(faults, sdk.Faultf("outputs."+name, "%s", why))
		}
	}
	if why := badName(c.Default); why != "" {
		faults = append(faults, sdk.Faultf("default", "%s", why))
	}
	return faults
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// badName says why an output cannot be called that, or nothing.
func badName(name string) string {
	switch {
	case name == errorOutput:
		return fmt.Sprintf("%q is the output of failed records; choose another name", name)
	case !namePattern.MatchString(name):
		return fmt.Sprintf("%q is no name for an output: letters, digits, - and _", name)
	}
	return ""
}

type branch struct {
	output    string
	condition *expression.Program
	records   []uint32
}

type operator struct {
	branches []branch
	fallback string
	rest     []uint32
	uses     expression.Uses
	env      expression.Env
}

func compile(c *Config) (*operator, []sdk.FieldError) {
	op := &operator{fallback: c.Default}
	var faults []sdk.FieldError
	for _, name := range slices.Sorted(maps.Keys(c.Routes)) {
		p, f := expression.Compile(c.Routes[name], "bool")
		faults = append(faults, f...)
		if p != nil {
			op.uses = op.uses.And(p.Uses())
			if p.Uses().Item {
				faults = append(faults, c.Routes[name].Faultf(0, "item is known to the operator expr alone"))
			}
		}
		op.branches = append(op.branches, branch{output: name, condition: p})
	}
	return op, faults
}

// Process implements [sdk.Operator].
func (o *operator) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	for i := range o.branches {
		o.branches[i].records = o.branches[i].records[:0]
	}
	o.rest = o.rest[:0]
	for i := range in.Len() {
		r := in.At(i)
		if err := o.place(r, uint32(i)); err != nil {
			out.Fail(r, err)
		}
	}
	for _, b := range o.branches {
		if len(b.records) > 0 {
			out.To(b.output).ForwardSelected(in, b.records)
		}
	}
	if len(o.rest) > 0 {
		out.To(o.fallback).ForwardSelected(in, o.rest)
	}
	return nil
}

// place puts a record where it belongs, or nowhere on an error.
func (o *operator) place(r sdk.Record, i uint32) error {
	if err := o.env.Fill(r, o.uses); err != nil {
		return err
	}
	matched := 0
	for at := range o.branches {
		b := &o.branches[at]
		ok, err := b.condition.Bool(&o.env)
		if err != nil {
			for back := range at {
				if rs := o.branches[back].records; len(rs) > 0 && rs[len(rs)-1] == i {
					o.branches[back].records = rs[:len(rs)-1]
				}
			}
			return err
		}
		if ok {
			b.records = append(b.records, i)
			matched++
		}
	}
	if matched == 0 {
		o.rest = append(o.rest, i)
	}
	return nil
}

// Close implements [sdk.Operator].
func (o *operator) Close() error { return nil }
