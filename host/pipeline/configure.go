package pipeline

import (
	"slices"
	"strings"

	"github.com/weirstream/weir/host/secret"
	"github.com/weirstream/weir/host/yamlfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// configure checks a node's configuration against its component's parameters
// and then by the component itself.
func (l *loader) configure(d *draft) { l.configureAt(d, yamlfile.Key(d.at.path, "config")) }

// configureAt does the same for a configuration that stands at a path.
func (l *loader) configureAt(d *draft, path string) {
	c := &checker{l: l, root: path, at: d.config, values: make(map[string]field)}
	if !c.at.present() {
		c.at = field{path: c.root, key: d.at.at(), Value: &yamlfile.Value{Kind: yamlfile.Null, Pos: d.at.at()}}
	}
	config := c.check(d.component.spec.GetParameters())
	d.json = c.json(config)
	slices.Sort(c.secretPaths)
	d.secretPaths = slices.Compact(c.secretPaths)
	if l.opts.Catalog == nil {
		return
	}
	resp, err := l.validate(d, d.json)
	if err == nil && len(c.unknown) > 0 {
		err = l.askForHints(d, c, config)
	}
	if err != nil {
		l.fault(d.ref, CodePlugin, "", "%s could not check this configuration: %v", d.component.fullName(), err)
		return
	}
	d.sound = len(c.bad) == 0
	for _, f := range resp.GetFaults() {
		if !c.covered(f.GetPath()) {
			c.report(f)
			d.sound = d.sound && f.GetWarning()
		}
	}
	leaveClaims(d.capabilities, resp.GetCapabilities())
	if d.component.spec.GetDynamicOutputs() {
		var own []string
		for _, o := range resp.GetOutputs() {
			own = append(own, o.GetName())
		}
		slices.Sort(own) // a configuration is a map: its order means nothing
		for _, name := range slices.Compact(own) {
			if !slices.Contains(d.outputs, name) {
				d.outputs = append(d.outputs, name)
			}
		}
		d.outputsKnown = d.sound
	}
}

// validate lets the component check a configuration.
func (l *loader) validate(d *draft, config []byte) (*pluginv1.ValidateResponse, error) {
	return l.opts.Catalog.Validate(l.ctx, d.component.plugin, &pluginv1.ValidateRequest{
		Kind: d.kind, Component: d.component.spec.GetName(), Config: config, SecretPaths: d.secretPaths,
	})
}

// unknownMessage is how a component's message about a field that it does not have
// begins where it knows what to do instead: people bring names from elsewhere.
const unknownMessage = "unknown field: "

// askForHints asks the component about fields that it does not have, by their names
// alone; c's configuration is of no other use then.
func (l *loader) askForHints(d *draft, c *checker, config map[string]any) error {
	for _, u := range c.unknown {
		u.in[u.name] = nil
	}
	resp, err := l.validate(d, c.json(config))
	for _, f := range resp.GetFaults() {
		hint, ok := strings.CutPrefix(f.GetMessage(), unknownMessage)
		i := slices.IndexFunc(c.unknown, func(u unknown) bool { return u.path == f.GetPath() })
		if ok && i >= 0 {
			l.faults[c.unknown[i].fault].Hint = hint
		}
	}
	return err
}

// leaveClaims applies what a configuration leaves of a manifest's capabilities:
// it can take claims away and add restrictions, never the other way round. State
// by key and segments do not depend on it. An answer without capabilities leaves
// all as it is.
func leaveClaims(have, left *pluginv1.Capabilities) {
	if left == nil {
		return
	}
	have.Bounded = have.Bounded && left.Bounded
	have.Replayable = have.Replayable && left.Replayable
	have.ExactlyOnce = have.ExactlyOnce && left.ExactlyOnce
	have.Retract = have.Retract && left.Retract
	have.PreservesOrder = have.PreservesOrder && left.PreservesOrder
	have.PreservesKey = have.PreservesKey && left.PreservesKey
	have.EventTime = have.EventTime && left.EventTime
	have.ByEventTime = have.ByEventTime && left.ByEventTime
	have.SingleTask = have.SingleTask || left.SingleTask
	have.Local = have.Local || left.Local
	have.Discards = have.Discards || left.Discards
	if left.ConcurrentSplits > 0 && (have.ConcurrentSplits == 0 || left.ConcurrentSplits < have.ConcurrentSplits) {
		have.ConcurrentSplits = left.ConcurrentSplits
	}
}

// covered says whether a component's fault is about what has been refused
// already: the component never saw those fields.
func (c *checker) covered(path string) bool {
	if path == "" {
		return len(c.bad) > 0
	}
	return slices.ContainsFunc(c.bad, func(bad string) bool { return within(path, bad) || within(bad, path) })
}

// within says whether one field path is another or leads below it.
func within(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// report places what a component found in the file.
func (c *checker) report(f *pluginv1.Fault) {
	at, pos := c.place(f.GetPath())
	if v := at.Value; f.GetOffset() >= 0 && v != nil {
		if e := v.Get("expr"); e != nil {
			v = e
		}
		if v.Kind != yamlfile.Map && v.Kind != yamlfile.List {
			pos = v.At(int(f.GetOffset()))
		}
	}
	path := c.root
	if f.GetPath() != "" {
		path = yamlfile.Key(c.root, f.GetPath())
	}
	code := CodeComponent
	if f.GetCode() != "" {
		code = Code(f.GetCode())
	}
	message := strings.TrimSpace(f.GetMessage())
	if message == "" {
		message = "is refused by the component, which does not say why"
	}
	if c.secretAt(f.GetPath()) {
		message = c.l.hideQuoted(message)
	}
	if c.tells(f.GetPath(), message) {
		message = "is refused by the component; its reason is not shown since it holds the secret"
	}
	c.l.faultAt(pos, path, code, "", "%s", message)
	if f.GetWarning() {
		c.l.faults[len(c.l.faults)-1].Severity = SeverityWarning
	}
}

// tells says whether a message about a secret field holds a secret that is too
// short to be looked for in every message.
func (c *checker) tells(path, message string) bool {
	return c.secretAt(path) &&
		slices.ContainsFunc(c.l.secrets, func(s string) bool { return s != "" && len(s) < secret.Shortest && strings.Contains(message, s) })
}

// secretAt says whether there is a secret at a path, above it or below.
func (c *checker) secretAt(path string) bool {
	return slices.ContainsFunc(c.secretPaths, func(at string) bool { return within(path, at) || within(at, path) })
}

// place finds the value that a field path of a component leads to, or the
// nearest above it.
func (c *checker) place(path string) (field, yamlfile.Pos) {
	for p := path; p != ""; {
		if f, ok := c.values[p]; ok {
			if p == path {
				return f, f.pos()
			}
			return field{}, f.at()
		}
		p = p[:max(strings.LastIndexAny(p, ".["), 0)]
	}
	return field{}, c.at.at()
}
