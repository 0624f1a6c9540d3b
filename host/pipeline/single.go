package pipeline

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/host/secret"
	"github.com/weirstream/weir/host/yamlfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Configured is a configuration that has been checked as a node's is.
type Configured struct {
	// Config is canonical JSON, and SecretPaths which of it no message repeats.
	Config      []byte
	SecretPaths []string
	// Capabilities are what the configuration leaves of the manifest's, and Outputs
	// those beside OutputMain and OutputErrors.
	Capabilities *pluginv1.Capabilities
	Outputs      []string
}

// CheckConfig checks the configuration of a component that stands in another file
// than a pipeline's: against the component's parameters and, where catalog is not
// nil, by the component itself. value stands at path in that file and is nil where
// there is none; pos is where to point then. The faults name no file.
func CheckConfig(ctx context.Context, catalog Catalog, p Plugin, spec *pluginv1.Component, path string, value *yamlfile.Value, pos yamlfile.Pos) (Configured, []Fault) {
	if value == nil {
		value = &yamlfile.Value{Kind: yamlfile.Null, Pos: pos}
	}
	l := &loader{ctx: ctx, opts: Options{Catalog: catalog}, mask: &secret.Mask{}, meant: make(map[string]bool)}
	above := field{path: path, key: pos, Value: value}
	d := &draft{
		at: above, ref: above, kind: spec.GetKind(),
		config:    above,
		component: &component{plugin: p, spec: spec},
	}
	d.capabilities = &pluginv1.Capabilities{}
	if c := spec.GetCapabilities(); c != nil {
		d.capabilities = proto.CloneOf(c)
	}
	for _, o := range spec.GetOutputs() {
		d.outputs = append(d.outputs, o.GetName())
	}
	l.configureAt(d, path)
	report := l.report("")
	return Configured{Config: d.json, SecretPaths: d.secretPaths, Capabilities: d.capabilities, Outputs: d.outputs}, report.Faults
}
