package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Component is one component of a plugin.
type Component struct {
	Plugin    pipeline.Plugin
	Manifest  *pluginv1.Manifest
	Component *pluginv1.Component
}

// Ref is the shortest name that a pipeline file can use anywhere.
func (c Component) Ref() string {
	if c.Plugin.Name == pipeline.FirstParty {
		return c.Component.GetName()
	}
	return c.Plugin.Name + "/" + c.Component.GetName()
}

// Components finds what a name in a pipeline file means: "file" (first party),
// "acme/mask", or "acme" where that plugin has one component of the kind. Kind
// KIND_UNSPECIFIED takes any: the result then has one component for each kind
// that the name serves, and for "acme" all of that plugin's.
//
// declared are the plugins that a pipeline file declares; they come before those
// on the plugin path. An *[UnknownError] says that there is none and what may have
// been meant; other errors say why the plugin cannot be asked, or that the name is
// not enough.
func (c *Catalog) Components(ctx context.Context, kind pluginv1.Kind, ref string, declared ...pipeline.Plugin) ([]Component, error) {
	what := fmt.Sprintf("%s %q", kindName(kind), ref)
	plugin, name, qualified := strings.Cut(ref, "/")
	if qualified {
		found, err := c.ofPlugin(ctx, plugin, declared)
		if err != nil {
			return nil, err
		}
		return pick(found, kind, name, what)
	}
	first, err := c.ofPlugin(ctx, pipeline.FirstParty, nil)
	if err != nil {
		return nil, err
	}
	if same := named(first, kind, ref); len(same) > 0 {
		return same, nil
	}
	theirs, err := c.ofPlugin(ctx, ref, declared)
	if errors.Is(err, pipeline.ErrUnknownPlugin) {
		return nil, &UnknownError{What: what, Hint: c.hint(ctx, kind, ref, first, declared)}
	} else if err != nil {
		return nil, err
	}
	one := named(theirs, kind, "")
	switch {
	case len(one) == 0:
		return nil, &UnknownError{What: what, Hint: fmt.Sprintf("plugin %s has none; it has %s", ref, enumerate(theirs))}
	case len(one) > 1 && kind != pluginv1.Kind_KIND_UNSPECIFIED:
		return nil, fmt.Errorf("plugin %s has more than one %s: say which of %s", ref, kindName(kind), enumerate(one))
	}
	return one, nil
}

// ComponentsOf finds all components of the plugin whose executable lies at path.
// The plugin's name is what it says of itself.
func (c *Catalog) ComponentsOf(ctx context.Context, path string) ([]Component, error) {
	name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), Prefix), ".exe")
	all, err := c.ofPlugin(ctx, name, []pipeline.Plugin{{Name: name, Path: path, Dir: c.config.Dir}})
	for i := range all {
		all[i].Plugin.Name = all[i].Manifest.GetName()
	}
	return all, err
}

// ofPlugin lists a plugin's components.
func (c *Catalog) ofPlugin(ctx context.Context, name string, declared []pipeline.Plugin) ([]Component, error) {
	p := pipeline.Plugin{Name: name, Dir: c.config.Dir}
	if i := slices.IndexFunc(declared, func(d pipeline.Plugin) bool { return d.Name == name }); i >= 0 {
		p = declared[i]
	}
	m, err := c.Manifest(ctx, p)
	if err != nil {
		return nil, err
	}
	var all []Component
	for _, component := range m.GetComponents() {
		all = append(all, Component{Plugin: p, Manifest: m, Component: component})
	}
	return all, nil
}

// pick finds a component of one plugin by its own name.
func pick(all []Component, kind pluginv1.Kind, name, what string) ([]Component, error) {
	if name == "" {
		return nil, &UnknownError{What: what, Hint: "the component's name is missing behind the slash"}
	}
	if same := named(all, kind, name); len(same) > 0 {
		return same, nil
	}
	e := &UnknownError{What: what}
	if other := named(all, pluginv1.Kind_KIND_UNSPECIFIED, name); len(other) > 0 {
		e.Hint = fmt.Sprintf("%s is %s", other[0].Ref(), kinds(other))
		return nil, e
	}
	refs := make(map[string]string)
	for _, c := range named(all, kind, "") {
		refs[c.Component.GetName()] = c.Ref()
	}
	if near := nearest(name, slices.Collect(maps.Keys(refs))); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", refs[near])
	} else {
		e.Hint = "the plugin has " + enumerate(all)
	}
	return nil, e
}

// named are the components of the kind and name; zero values take any.
func named(all []Component, kind pluginv1.Kind, name string) []Component {
	var some []Component
	for _, c := range all {
		if (kind == pluginv1.Kind_KIND_UNSPECIFIED || c.Component.GetKind() == kind) && (name == "" || c.Component.GetName() == name) {
			some = append(some, c)
		}
	}
	return some
}

// hint says what a bare name may have meant: a component of another kind, or a
// name that is close to it.
func (c *Catalog) hint(ctx context.Context, kind pluginv1.Kind, ref string, first []Component, declared []pipeline.Plugin) string {
	if other := named(first, pluginv1.Kind_KIND_UNSPECIFIED, ref); len(other) > 0 {
		return fmt.Sprintf("%s is %s", ref, kinds(other))
	}
	var known []string
	for _, f := range named(first, kind, "") {
		known = append(known, f.Ref())
	}
	plugins := c.Installed(ctx)
	for _, d := range declared {
		plugins = append(plugins, d.Name)
	}
	if near := nearest(ref, slices.Concat(known, plugins)); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	slices.Sort(known)
	hint := "weir has " + strings.Join(slices.Compact(known), ", ")
	if len(plugins) > 0 {
		slices.Sort(plugins)
		hint += "; plugins: " + strings.Join(slices.Compact(plugins), ", ")
	}
	return hint
}

// enumerate lists components by the names that a pipeline file uses.
func enumerate(all []Component) string {
	if len(all) == 0 {
		return "no components"
	}
	var refs []string
	for _, c := range all {
		refs = append(refs, kindName(c.Component.GetKind())+" "+c.Ref())
	}
	return strings.Join(refs, ", ")
}

// kinds says what components of one name are: "a source and a sink".
func kinds(all []Component) string {
	var names []string
	for _, c := range all {
		name := kindName(c.Component.GetKind())
		article := "a "
		if strings.HasPrefix(name, "o") {
			article = "an "
		}
		names = append(names, article+name)
	}
	return strings.Join(names, " and ")
}
