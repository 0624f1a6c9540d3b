package sdk

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/config"
	"github.com/weirstream/weir/sdk/internal/task"
)

// Component is a source, operator or sink that can be served. Its constructors
// ([NewSource], [NewOperator], [NewSink], [NewTwoPhaseSink]) never fail: what is
// wrong with a declaration or with a configuration's tags is told by Err, and by
// [Serve].
type Component struct {
	inner *task.Component
	err   error
}

// Err returns everything that is wrong with the component's declaration, nil
// where it can be served.
func (c Component) Err() error { return c.err }

// Definition returns the component as the SDK's runtime takes it. It is for
// package sdktest; the type is not for others.
func (c Component) Definition() (*task.Component, error) { return c.inner, c.err }

var (
	componentName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	portName      = regexp.MustCompile(`^[a-z][a-z0-9]*([_-][a-z0-9]+)*$`)
)

// outputNames are those that every source and operator has.
const (
	mainOutput  = "out"
	errorOutput = "errors"
)

func (d *declaration) fault(format string, args ...any) {
	d.faults = append(d.faults, fmt.Errorf(format, args...))
}

// only says for which kinds an option is.
func (d *declaration) only(option string, kinds ...pluginv1.Kind) {
	for _, k := range kinds {
		if d.spec.Kind == k {
			return
		}
	}
	d.fault("the option %s is not for a %s", option, kindName(d.spec.Kind))
}

// names checks the names of inputs or outputs.
func (d *declaration) names(what string, names []string) {
	for i, name := range names {
		if !portName.MatchString(name) {
			d.fault("the %s name %q is not lower-case letters and digits joined by - or _", what, name)
		}
		if slices.Contains(names[:i], name) {
			d.fault("two %ss are named %q", what, name)
		}
	}
}

func portNames[P interface{ GetName() string }](ports []P) []string {
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = p.GetName()
	}
	return names
}

// unlessOfType reports a method that has an optional interface's name but not its
// signature: it would never be called.
func (d *declaration) unlessOfType(implements, hasMethod bool, interfaceName string) {
	if hasMethod && !implements {
		d.fault("a method has the name but not the signature of sdk.%s", interfaceName)
	}
}

func kindName(k pluginv1.Kind) string {
	switch k {
	case pluginv1.Kind_KIND_SOURCE:
		return "source"
	case pluginv1.Kind_KIND_OPERATOR:
		return "operator"
	}
	return "sink"
}

// declare makes what all kinds of components share.
func declare[Cfg any](kind pluginv1.Kind, name, summary string, claims Capabilities, options []Option) (*declaration, *settings[Cfg]) {
	d := &declaration{
		spec:   &pluginv1.Component{Kind: kind, Name: name, Summary: summary},
		claims: claims,
	}
	// The task loop does it, whatever the component is.
	d.claims.eventTime = kind != pluginv1.Kind_KIND_SINK
	if !componentName.MatchString(name) {
		d.fault("the name is not lower-case letters and digits joined by hyphens")
	}
	for _, o := range options {
		o(d)
	}
	d.names("input", portNames(d.spec.Inputs))
	d.names("output", append([]string{mainOutput, errorOutput}, portNames(d.spec.Outputs)...))
	cfg := reflect.TypeFor[Cfg]()
	spec, err := config.New(cfg, scalars())
	if err != nil {
		d.faults = append(d.faults, err)
	} else {
		d.spec.Parameters = spec.Parameters()
	}
	d.optionalOfConfig(reflect.PointerTo(cfg))
	d.spec.Capabilities = d.claims.proto()
	return d, &settings[Cfg]{spec, d.claims, d.spec.Outputs}
}

func (d *declaration) optionalOfConfig(t reflect.Type) {
	_, validate := t.MethodByName("Validate")
	d.unlessOfType(implements[Validator](t), validate, "Validator")
	_, hint := t.MethodByName("Hint")
	d.unlessOfType(implements[Hinter](t), hint, "Hinter")
	_, probe := t.MethodByName("Probe")
	d.unlessOfType(implements[Prober](t), probe, "Prober")
	_, claims := t.MethodByName("Capabilities")
	d.unlessOfType(implements[Claimer](t), claims, "Claimer")
	_, outputs := t.MethodByName("Outputs")
	d.unlessOfType(implements[DynamicOutputs](t), outputs, "DynamicOutputs")

	d.spec.DynamicOutputs = implements[DynamicOutputs](t)
	if d.spec.DynamicOutputs {
		d.only("DynamicOutputs", pluginv1.Kind_KIND_OPERATOR)
	}
}

func implements[I any](t reflect.Type) bool { return t.Implements(reflect.TypeFor[I]()) }

// finish returns the component, with everything that was found wrong.
func finish[Cfg any](d *declaration, s *settings[Cfg], c *task.Component) Component {
	if len(d.faults) > 0 {
		return Component{err: fmt.Errorf("%s %q: %w", kindName(d.spec.Kind), d.spec.Name, errors.Join(d.faults...))}
	}
	c.Spec, c.Validate = d.spec, s.validate
	c.Probe = func(ctx context.Context, r *pluginv1.ProbeRequest) []*pluginv1.Fault {
		return s.probe(ctx, r.GetConfig(), r.GetSecretPaths(), Probe{ownerOf(r.GetOwner()), r.GetCommitWithin().AsDuration()})
	}
	return Component{inner: c}
}
