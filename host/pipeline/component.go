package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// component is a component that a node names, and the plugin that serves it.
type component struct {
	plugin   Plugin
	manifest *pluginv1.Manifest
	spec     *pluginv1.Component
}

func (c *component) fullName() string { return c.plugin.Name + "/" + c.spec.GetName() }

// finder looks components up and asks each plugin once.
type finder struct {
	l     *loader
	asked map[string]*answer
}

type answer struct {
	plugin   Plugin
	manifest *pluginv1.Manifest
	err      error
	reported bool
}

// components finds and checks the component of every node.
func (l *loader) components() {
	f := &finder{l: l, asked: make(map[string]*answer)}
	l.warm()
	for _, d := range l.nodes {
		if d.ref.present() {
			if name, ok := l.text(d.ref); ok {
				d.component = f.find(d, name)
			}
		}
		if d.component == nil {
			continue
		}
		d.capabilities = &pluginv1.Capabilities{}
		if c := d.component.spec.GetCapabilities(); c != nil {
			d.capabilities = proto.CloneOf(c)
		}
		for _, o := range d.component.spec.GetOutputs() {
			d.outputs = append(d.outputs, o.GetName())
		}
		d.outputsKnown = !d.component.spec.GetDynamicOutputs()
		l.configure(d)
		l.stateOf(d)
		l.eventTimeOf(d, f)
	}
}

// warm asks the plugins whose names are certain all at once.
func (l *loader) warm() {
	w, ok := l.opts.Catalog.(Warmer)
	if !ok {
		return
	}
	plugins := []Plugin{{Name: FirstParty}}
	seen := map[string]bool{FirstParty: true}
	for _, d := range l.nodes {
		if !d.ref.present() || d.ref.Failed {
			continue
		}
		name, _, qualified := strings.Cut(d.ref.Text, "/")
		declared := l.plugins[name]
		if seen[name] || !qualified && declared == nil || declared != nil && !declared.sound {
			continue
		}
		seen[name] = true
		p := Plugin{Name: name}
		if declared != nil {
			p = declared.plugin
		}
		plugins = append(plugins, p)
	}
	if len(plugins) > 1 {
		w.Warm(l.ctx, plugins...)
	}
}

// find resolves "component", "plugin" or "plugin/component". It returns nil
// where there is none, and has reported why.
func (f *finder) find(d *draft, ref string) *component {
	if plugin, name, ok := strings.Cut(ref, "/"); ok {
		if plugin == "" || name == "" {
			f.l.fault(d.ref, CodeUnknownComponent, "", "must be COMPONENT, PLUGIN or PLUGIN/COMPONENT, not %s", shown(d.ref.Value))
			return nil
		}
		a := f.ask(plugin)
		if a.err != nil {
			f.reportPlugin(d, plugin, a)
			return nil
		}
		if c := a.component(d.kind, name); c != nil {
			return c
		}
		f.reportComponent(d, a, plugin, name)
		return nil
	}
	if first := f.ask(FirstParty); first.err == nil {
		if c := first.component(d.kind, ref); c != nil {
			return c
		}
	}
	a := f.ask(ref)
	if a.err != nil {
		f.reportUnqualified(d, ref, a)
		return nil
	}
	of := a.names(d.kind)
	switch {
	case len(of) == 1:
		return a.component(d.kind, of[0])
	case slices.Contains(of, ref):
		return a.component(d.kind, ref)
	case len(of) == 0:
		f.l.fault(d.ref, CodeUnknownComponent, "", "the plugin %q has no %s", ref, KindName(d.kind))
	default:
		f.l.fault(d.ref, CodeUnknownComponent, fmt.Sprintf("write %s/NAME, with one of %s", ref, enumerate(of)),
			"the plugin %q has several %ss", ref, KindName(d.kind))
	}
	return nil
}

// ask returns a plugin's manifest, or why there is none.
func (f *finder) ask(name string) *answer {
	a := f.asked[name]
	if a == nil {
		a = &answer{plugin: Plugin{Name: name}}
		f.asked[name] = a
		d := f.l.plugins[name]
		switch {
		case d != nil && !d.sound:
			a.err, a.reported = errors.New("its declaration is faulty"), true
		case f.l.opts.Catalog == nil:
			a.err = ErrUnknownPlugin
		default:
			if d != nil {
				a.plugin = d.plugin
			}
			a.manifest, a.err = f.l.opts.Catalog.Manifest(f.l.ctx, a.plugin)
		}
		if a.err == nil && a.manifest == nil {
			a.err = errors.New("it has no manifest")
		}
	}
	if d := f.l.plugins[name]; d != nil {
		d.used = true
	}
	return a
}

func (a *answer) component(kind pluginv1.Kind, name string) *component {
	for _, c := range a.manifest.GetComponents() {
		if c.GetKind() == kind && c.GetName() == name {
			return &component{plugin: a.plugin, manifest: a.manifest, spec: c}
		}
	}
	return nil
}

// names lists the components of a kind.
func (a *answer) names(kind pluginv1.Kind) []string {
	var names []string
	for _, c := range a.manifest.GetComponents() {
		if c.GetKind() == kind {
			names = append(names, c.GetName())
		}
	}
	slices.Sort(names)
	return names
}

// otherKinds lists what a name stands for when it is not of the wanted kind.
func (a *answer) otherKinds(name string) []string {
	var kinds []string
	for _, c := range a.manifest.GetComponents() {
		if c.GetName() == name {
			kinds = append(kinds, withArticle(c.GetKind()))
		}
	}
	return kinds
}

func withArticle(k pluginv1.Kind) string {
	if k == pluginv1.Kind_KIND_OPERATOR {
		return "an operator"
	}
	return "a " + KindName(k)
}

// reportPlugin says, once for a plugin, why it cannot be used.
func (f *finder) reportPlugin(d *draft, name string, a *answer) {
	if errors.Is(a.err, ErrUnknownPlugin) && f.l.plugins[name] == nil {
		f.l.fault(d.ref, CodeUnknownPlugin, Suggest(name, f.pluginNames()), "there is no plugin %q: it is not installed, and `plugins` does not declare it", name)
		return
	}
	if a.reported {
		return
	}
	a.reported = true
	at := d.ref
	if declared := f.l.plugins[name]; declared != nil {
		at = declared.at
	}
	f.l.faultKey(at, CodePlugin, "", "the plugin %q cannot be used: %v", name, a.err)
}

func (f *finder) reportComponent(d *draft, a *answer, plugin, name string) {
	if kinds := a.otherKinds(name); len(kinds) > 0 {
		f.l.fault(d.ref, CodeUnknownComponent, "", "%s/%s is %s, not %s", plugin, name, strings.Join(kinds, " and "), withArticle(d.kind))
		return
	}
	f.l.fault(d.ref, CodeUnknownComponent, Suggest(name, a.names(d.kind)), "the plugin %q has no %s %q", plugin, KindName(d.kind), name)
}

// reportUnqualified is for a name without a slash that is neither a first-party
// component of the kind nor a usable plugin.
func (f *finder) reportUnqualified(d *draft, ref string, a *answer) {
	first := f.ask(FirstParty)
	if !errors.Is(a.err, ErrUnknownPlugin) || f.l.plugins[ref] != nil {
		f.reportPlugin(d, ref, a)
		return
	}
	if first.err != nil && !errors.Is(first.err, ErrUnknownPlugin) {
		f.reportPlugin(d, FirstParty, first)
		return
	}
	if kinds := first.otherKinds(ref); len(kinds) > 0 {
		f.l.fault(d.ref, CodeUnknownComponent, "", "%q is %s, not %s", ref, strings.Join(kinds, " and "), withArticle(d.kind))
		return
	}
	known := append(first.names(d.kind), f.pluginNames()...)
	f.l.fault(d.ref, CodeUnknownComponent, Suggest(ref, known), "there is no %s %q", KindName(d.kind), ref)
}

// pluginNames lists what could stand before a slash.
func (f *finder) pluginNames() []string {
	var names []string
	for name := range f.l.plugins {
		names = append(names, name)
	}
	if f.l.opts.Catalog != nil {
		names = append(names, f.l.opts.Catalog.Installed(f.l.ctx)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
