package sdk

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/task"
)

// Plugin says who serves.
type Plugin struct {
	// Name as in weir-plugin-NAME: lower-case letters, digits and hyphens,
	// beginning with a letter.
	Name string
	// Version is free text; semantic versions are compared as such.
	Version string
	// OneTaskPerProcess asks for a process a task, for components that share what
	// two tasks cannot share.
	OneTaskPerProcess bool
}

// Serve serves components to a Weir host and returns when the host ends it: it is
// what main calls, and it alone. Nothing may be written to standard output before
// it. A declaration that is wrong, or a start by hand, is told on standard error
// and ends the process with status 1.
func Serve(p Plugin, components ...Component) {
	if err := serveComponents(p, components); err != nil {
		fmt.Fprintf(os.Stderr, "weir plugin %s: %v\n", p.Name, err)
		os.Exit(1)
	}
}

var pluginName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// definitions returns the components as the runtime takes them, with everything
// that is wrong with any of them.
func definitions(p Plugin, components []Component) ([]*task.Component, error) {
	var errs []error
	if !pluginName.MatchString(p.Name) {
		errs = append(errs, fmt.Errorf("the plugin name %q is not lower-case letters and digits joined by hyphens", p.Name))
	}
	if len(components) == 0 {
		errs = append(errs, errors.New("there are no components"))
	}
	type key struct {
		kind pluginv1.Kind
		name string
	}
	seen := make(map[key]bool)
	out := make([]*task.Component, 0, len(components))
	for _, c := range components {
		if c.err != nil {
			errs = append(errs, c.err)
			continue
		}
		if c.inner == nil {
			errs = append(errs, errors.New("a component that no constructor has made"))
			continue
		}
		spec := c.inner.Spec
		if k := (key{spec.Kind, spec.Name}); seen[k] {
			errs = append(errs, fmt.Errorf("two components are a %s %q", kindName(spec.Kind), spec.Name))
		} else {
			seen[k] = true
		}
		if spec.Version == "" {
			spec.Version = p.Version
		}
		out = append(out, c.inner)
	}
	return out, errors.Join(errs...)
}

const modulePath = "github.com/weirstream/weir"

// sdkVersion names this SDK and, where the binary knows it, its version.
func sdkVersion() string {
	const name = "weir-go"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return name
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == modulePath && m.Version != "" {
			return name + " " + m.Version
		}
	}
	return name
}

func newServer(p Plugin, components []Component) (*task.Server, error) {
	defs, err := definitions(p, components)
	if err != nil {
		return nil, err
	}
	return task.NewServer(task.Plugin{
		Name: p.Name, Version: p.Version, SDK: sdkVersion(), OneTaskPerProcess: p.OneTaskPerProcess,
	}, defs, task.Options{}), nil
}

func serveComponents(p Plugin, components []Component) error {
	s, err := newServer(p, components)
	if err != nil {
		return err
	}
	defer s.Close()
	return errors.ErrUnsupported
}
