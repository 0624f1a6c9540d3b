package conformance

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

var describeCases = []Case{
	{
		ID: "WC-DSC-001", Title: "the manifest never changes", Once: true,
		Demands: "Describe gives the same answer each time it is asked, and in every process.",
		Why:     "The host asks once and relies on the answer for the life of the process, and for state that a later process takes over.",
		Fix:     "Build the manifest once, from constants. Maps have no order: sort what comes out of one.",
		run: func(t *T) {
			p := t.Start()
			first := p.Manifest()
			for range 3 {
				if again := t.describe(p); !proto.Equal(first, again) {
					t.Fatalf("asked again, the same process described itself differently:\n%v\n%v", first, again)
				}
			}
			if other := t.Start().Manifest(); !proto.Equal(first, other) {
				t.Fatalf("another process described itself differently:\n%v\n%v", first, other)
			}
		},
	},
	{
		ID: "WC-DSC-002", Title: "the manifest is complete and sound", Once: true,
		Demands: "Plugin and components have names of lower-case letters, digits and hyphens, and a kind; kind and name together are unique. Each component has a summary of one line, each parameter a name, a type and a description; defaults, bounds and patterns can be read; claims fit the kind.",
		Why:     "`weir validate`, the listings, the JSON Schema and the documentation are all made from it. A bound that cannot be read is a bound that nobody checks.",
		Fix:     "The message names the component and the field.",
		run: func(t *T) {
			if faults := manifestFaults(t.Manifest); len(faults) > 0 {
				t.Fatalf("%s", strings.Join(faults, "\n"))
			}
		},
	},
}

func (t *T) describe(p *rig.Plugin) *pluginv1.Manifest {
	r, err := p.Client().Describe(t.ctx, &pluginv1.DescribeRequest{HostVersion: "conformance"})
	if err != nil {
		t.Fatalf("Describe: %v", err)
	}
	return r.GetManifest()
}

var componentName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// manifestFaults lists what is wrong with a manifest.
func manifestFaults(m *pluginv1.Manifest) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if !componentName.MatchString(m.GetName()) {
		fault("the plugin's name %q is not of lower-case letters, digits and hyphens, beginning with a letter", m.GetName())
	}
	if m.GetVersion() == "" {
		fault("the plugin has no version")
	}
	if len(m.GetComponents()) == 0 {
		fault("the plugin has no components")
	}
	seen := make(map[string]bool)
	for i, c := range m.GetComponents() {
		what := fmt.Sprintf("%s %q", pipeline.KindName(c.GetKind()), c.GetName())
		switch {
		case c.GetKind() < pluginv1.Kind_KIND_SOURCE || c.GetKind() > pluginv1.Kind_KIND_SINK:
			fault("component %d (%q) is no source, operator or sink", i, c.GetName())
		case !componentName.MatchString(c.GetName()):
			fault("%s: its name is not of lower-case letters, digits and hyphens, beginning with a letter", what)
		case seen[what]:
			fault("%s stands twice", what)
		}
		seen[what] = true
		if c.GetSummary() == "" || strings.Contains(c.GetSummary(), "\n") {
			fault("%s: its summary is not one line", what)
		}
		faults = append(faults, parameterFaults(what, "", c.GetParameters())...)
		faults = append(faults, claimFaults(what, c)...)
		names := map[string]bool{pipeline.OutputMain: true, pipeline.OutputErrors: true}
		for _, o := range c.GetOutputs() {
			if o.GetName() == "" || names[o.GetName()] {
				fault("%s: the output %q has no name of its own", what, o.GetName())
			}
			names[o.GetName()] = true
		}
		ports := map[string]bool{}
		for _, p := range c.GetInputs() {
			if p.GetName() == "" || ports[p.GetName()] {
				fault("%s: the input %q has no name of its own", what, p.GetName())
			}
			ports[p.GetName()] = true
		}
	}
	return faults
}

func parameterFaults(what, prefix string, params []*pluginv1.Parameter) (faults []string) {
	fault := func(p *pluginv1.Parameter, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s: parameter %s%s: %s", what, prefix, p.GetName(), fmt.Sprintf(format, args...)))
	}
	seen := make(map[string]bool)
	for _, p := range params {
		switch {
		case p.GetName() == "":
			fault(p, "has no name")
		case seen[p.GetName()]:
			fault(p, "stands twice")
		}
		seen[p.GetName()] = true
		if p.GetType() == pluginv1.Parameter_TYPE_UNSPECIFIED {
			fault(p, "has no type")
		}
		if p.GetDescription() == "" && p.GetDeprecated() == "" {
			fault(p, "has no description")
		}
		if d := p.GetDefault(); d != "" && !json.Valid([]byte(d)) {
			fault(p, "its default %q is no JSON", d)
		}
		if p.GetRequired() && p.GetDefault() != "" {
			fault(p, "is required and has a default")
		}
		if _, err := regexp.Compile(p.GetPattern()); err != nil {
			fault(p, "its pattern is no RE2 expression: %v", err)
		}
		if len(p.GetEnum()) > 0 && p.GetType() != pluginv1.Parameter_TYPE_STRING && p.GetElement() != pluginv1.Parameter_TYPE_STRING {
			fault(p, "has allowed values and is no string")
		}
		for _, bound := range []string{p.GetMin(), p.GetMax()} {
			if bound != "" && !readable(p, bound) {
				fault(p, "its bound %q is no value of its type", bound)
			}
		}
		faults = append(faults, parameterFaults(what, prefix+p.GetName()+".", p.GetFields())...)
	}
	return faults
}

// claimFaults lists claims that mean nothing for a component of the kind.
func claimFaults(what string, c *pluginv1.Component) (faults []string) {
	k := c.GetCapabilities()
	for _, claim := range []struct {
		name string
		held bool
		kind pluginv1.Kind
	}{
		{"bounded", k.GetBounded(), pluginv1.Kind_KIND_SOURCE},
		{"replayable", k.GetReplayable(), pluginv1.Kind_KIND_SOURCE},
		{"exactly_once", k.GetExactlyOnce(), pluginv1.Kind_KIND_SINK},
		{"retract", k.GetRetract(), pluginv1.Kind_KIND_SINK},
		{"discards", k.GetDiscards(), pluginv1.Kind_KIND_SINK},
		{"keyed_state", k.GetKeyedState(), pluginv1.Kind_KIND_OPERATOR},
		{"preserves_order", k.GetPreservesOrder(), pluginv1.Kind_KIND_OPERATOR},
		{"preserves_key", k.GetPreservesKey(), pluginv1.Kind_KIND_OPERATOR},
	} {
		if claim.held && c.GetKind() != claim.kind {
			faults = append(faults, fmt.Sprintf("%s claims %s, which only a %s can", what, claim.name, pipeline.KindName(claim.kind)))
		}
	}
	if k.GetRetract() && !k.GetExactlyOnce() {
		faults = append(faults, what+" claims retract without exactly_once")
	}
	if k.GetDiscards() && k.GetExactlyOnce() {
		faults = append(faults, what+" claims exactly_once and throws every record away")
	}
	return faults
}
