package conformance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/conformance/spec"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/proto/wire"
)

// unknownIn says which port or output of a step the component does not have, or
// nothing.
func (t *Target) unknownIn(s spec.Step) string {
	ports, outputs := t.Ports(), append([]string{pipeline.OutputMain, pipeline.OutputErrors}, t.Outputs...)
	for name := range s.Records {
		if name != "" && !slices.Contains(ports, name) {
			return fmt.Sprintf("the %s has no input %q: it has %s", t.Name(), name, strings.Join(ports, ", "))
		}
	}
	for name := range s.Expect {
		if !slices.Contains(outputs, name) {
			return fmt.Sprintf("the %s has no output %q: it has %s", t.Name(), name, strings.Join(outputs, ", "))
		}
	}
	return ""
}

// sendStep sends what goes in with a step of conformance.yaml.
func (t *T) sendStep(s *rig.Stage, i int) {
	step := t.entry.Steps[i]
	for port, name := range t.Ports() {
		list := step.Records[name]
		if port == 0 {
			list = append(append([]exchange.Record{}, step.Records[""]...), list...)
		}
		if len(list) > 0 {
			s.Send(0, port, list...)
		}
	}
	if step.Watermark != wire.NoTime {
		s.Watermark(step.Watermark)
	}
}

// expectStep fails the case where a step gave something else than is expected.
func (t *T) expectStep(i int, got outcome) {
	step := t.entry.Steps[i]
	for name, want := range step.Expect {
		if d := unexpected(want, got[name], step.Ordered); d != "" {
			t.Fatalf("%s:%d:%d: %s, on %q: %s", t.kit.config.Name(), step.Pos.Line, step.Pos.Column, step.Path, name, d)
		}
	}
}

// since is what an outcome has beyond an earlier one of the same task.
func (o outcome) since(earlier outcome) outcome {
	out := make(outcome)
	for name, records := range o {
		out[name] = records[len(earlier[name]):]
	}
	return out
}
