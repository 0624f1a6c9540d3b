package sdk

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
	"github.com/weirstream/weir/sdk/internal/serve"
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

// Serve serves components to a Weir host until the host ends it. It is what main
// calls, and early: a host waits only so long for a plugin to start. What is
// printed to standard output from then on goes to the host's log. A declaration
// that is wrong is told on standard error and ends the process with status 1.
func Serve(p Plugin, components ...Component) {
	inner, err := definitions(p, components)
	if err != nil {
		fmt.Fprintf(os.Stderr, "weir plugin %s: %v\n", p.Name, err)
		os.Exit(1)
	}
	var opts task.Options
	if os.Getenv(wire.EnvOverwrite) != "" {
		opts.Pool = wire.NewPoisonedPool()
	}
	server := task.NewServer(task.Plugin{
		Name: p.Name, Version: p.Version, SDK: sdkVersion(), OneTaskPerProcess: p.OneTaskPerProcess,
	}, inner, opts)
	defer server.Close()
	serve.Serve(server)
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
