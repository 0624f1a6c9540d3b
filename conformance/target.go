package conformance

import (
	"context"

	"github.com/weirstream/weir/conformance/spec"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Target is what a case is run on: a component with one configuration, or for a
// case that runs once the plugin alone.
type Target struct {
	Manifest  *pluginv1.Manifest
	Component *pluginv1.Component // nil for the plugin as a whole
	// Entry is the component's in conformance.yaml; nil where there is none. Its
	// references stand for nothing real: a case resolves its own.
	Entry *spec.Component
	// Left are the capabilities that the configuration leaves, and Outputs those
	// beside "out" and "errors".
	Left    *pluginv1.Capabilities
	Outputs []string

	index int // of Entry in the file
	// previous says that an older version of the plugin was given.
	previous bool
}

// Name is the target's in a report: "sink file (gzip)".
func (t *Target) Name() string {
	if t.Component == nil {
		return "plugin " + t.Manifest.GetName()
	}
	name := pipeline.KindName(t.Component.GetKind()) + " " + t.Component.GetName()
	if t.Entry != nil && t.Entry.Label != "" {
		name += " (" + t.Entry.Label + ")"
	}
	return name
}

// Parallelism is the number of tasks in cases that want several.
func (t *Target) Parallelism() int {
	switch {
	case t.Left.GetSingleTask() || t.Manifest.GetOneTaskPerProcess():
		return 1
	case t.Entry != nil && t.Entry.Parallelism > 0:
		return t.Entry.Parallelism
	}
	return 2
}

// asked is the plugin under test as a catalog of one, for pipeline.CheckConfig.
type asked struct {
	manifest *pluginv1.Manifest
	client   pluginv1.PluginClient
}

var _ pipeline.Catalog = asked{}

func (a asked) Manifest(context.Context, pipeline.Plugin) (*pluginv1.Manifest, error) {
	return a.manifest, nil
}

func (a asked) Validate(ctx context.Context, _ pipeline.Plugin, r *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	return a.client.Validate(ctx, r)
}

func (a asked) Installed(context.Context) []string { return nil }
