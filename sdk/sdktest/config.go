package sdktest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk"
)

// Checked is what a component says of a configuration.
type Checked struct {
	// Faults are all that is wrong with it, warnings included.
	Faults []sdk.FieldError
	// Capabilities are what the configuration leaves of the component's claims; of
	// a faulty one, nothing.
	Capabilities sdk.Capabilities
	// Outputs are those that the configuration names.
	Outputs []string
}

// Check validates a configuration as `weir validate` does. secretPaths name the
// fields whose values come from a secret.
func Check(t testing.TB, c sdk.Component, config any, secretPaths ...string) Checked {
	t.Helper()
	def, err := definition(c)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := configJSON(config)
	if err != nil {
		t.Fatal(err)
	}
	r := def.Validate(raw, secretPaths)
	checked := Checked{Faults: fieldErrors(r.Faults), Capabilities: capabilities(r.GetCapabilities())}
	for _, o := range r.Outputs {
		checked.Outputs = append(checked.Outputs, o.Name)
	}
	return checked
}

// Probe asks the outside as `weir validate --connect` does.
func Probe(ctx context.Context, t testing.TB, c sdk.Component, config any, options ...Option) []sdk.FieldError {
	t.Helper()
	def, err := definition(c)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := configJSON(config)
	if err != nil {
		t.Fatal(err)
	}
	h := host{settings: newSettings(options)}
	return fieldErrors(def.Probe(ctx, &pluginv1.ProbeRequest{Config: raw, Owner: h.protoOwner(), CommitWithin: durationpb.New(h.commitWithin)}))
}

// OpenError opens a component that is expected to refuse: it returns why, be it
// a fault of the configuration or an error from opening. It ends the test where
// the component opens.
func OpenError(t testing.TB, c sdk.Component, config any, options ...Option) error {
	t.Helper()
	def, err := definition(c)
	if err != nil {
		return err
	}
	switch def.Spec.Kind {
	case pluginv1.Kind_KIND_SOURCE:
		_, err = openSource(t, c, config, options)
	case pluginv1.Kind_KIND_OPERATOR:
		_, err = openOperator(t, c, config, options, 0, nil)
	default:
		_, err = openSink(t, c, config, options)
	}
	if err == nil {
		t.Fatalf("component %q opened", def.Spec.Name)
	}
	return err
}

func capabilities(c *pluginv1.Capabilities) sdk.Capabilities {
	return sdk.Capabilities{
		Bounded:          c.GetBounded(),
		Replayable:       c.GetReplayable(),
		ExactlyOnce:      c.GetExactlyOnce(),
		Retract:          c.GetRetract(),
		PreservesOrder:   c.GetPreservesOrder(),
		PreservesKey:     c.GetPreservesKey(),
		SingleTask:       c.GetSingleTask(),
		Local:            c.GetLocal(),
		Discards:         c.GetDiscards(),
		ConcurrentSplits: int(c.GetConcurrentSplits()),
	}
}

func fieldErrors(faults []*pluginv1.Fault) []sdk.FieldError {
	var out []sdk.FieldError
	for _, f := range faults {
		out = append(out, sdk.FieldError{
			Field: f.Path, Message: f.Message, Column: int(f.Offset) + 1, Warning: f.Warning, Code: f.Code,
		})
	}
	return out
}

// faultsError returns the faults that are no warnings as one error.
func faultsError(faults []*pluginv1.Fault) error {
	var lines []string
	for _, f := range fieldErrors(faults) {
		if !f.Warning {
			lines = append(lines, f.Error())
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return fmt.Errorf("configuration: %s", strings.Join(lines, "; "))
}

// onFailure makes failed records leave, so that the harness sees them.
func (h *host) onFailure() *pluginv1.FailurePolicy {
	return &pluginv1.FailurePolicy{
		Action:     pluginv1.FailurePolicy_ACTION_DEAD_LETTER,
		Retries:    uint32(h.retries),
		Backoff:    durationpb.New(time.Millisecond),
		MaxBackoff: durationpb.New(time.Millisecond),
	}
}
