package catalog

import (
	"fmt"
	"strings"

	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// UnknownError says that there is no such plugin or component.
type UnknownError struct {
	// What is looked for: `plugin "acme"`, `sink "acme/mask"`.
	What string
	// Hint is what may have been meant, or where it was looked for.
	Hint string
	// plugin is set where it is the plugin that is missing.
	plugin bool
}

// Error names what is missing and gives the hint.
func (e *UnknownError) Error() string {
	s := "there is no " + e.What
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

// Unwrap makes a missing plugin a [pipeline.ErrUnknownPlugin].
func (e *UnknownError) Unwrap() error {
	if e.plugin {
		return pipeline.ErrUnknownPlugin
	}
	return nil
}

// NameError says that a plugin on the plugin path calls itself by another name
// than its file's.
type NameError struct {
	Plugin, Path, Describes string
}

// Error names both and says what to do.
func (e *NameError) Error() string {
	return fmt.Sprintf("plugin %s: %s describes itself as %q: rename the file to %s%s, or declare it under `plugins:`",
		e.Plugin, e.Path, e.Describes, Prefix, e.Describes)
}

// unknown is the error for a plugin that is nowhere.
func (c *Catalog) unknown(name string, path []string, all []found) error {
	names := []string{pipeline.FirstParty}
	for _, f := range all {
		if f.why == "" {
			names = append(names, f.name)
		}
	}
	e := &UnknownError{What: fmt.Sprintf("plugin %q", name), plugin: true}
	if near := nearest(name, names); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", near)
	} else {
		e.Hint = fmt.Sprintf("no %s%s in %s", Prefix, name, strings.Join(path, ", "))
	}
	return e
}

// kindName is the kind as a pipeline file has it.
func kindName(k pluginv1.Kind) string {
	switch k {
	case pluginv1.Kind_KIND_SOURCE:
		return "source"
	case pluginv1.Kind_KIND_OPERATOR:
		return "operator"
	case pluginv1.Kind_KIND_SINK:
		return "sink"
	default:
		return "component"
	}
}
