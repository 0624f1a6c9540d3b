package spec

import (
	"regexp"
	"slices"

	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/yamlfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// fieldsOf are the fields that an entry of each kind may have, beside those of
// all.
var fieldsOf = map[pluginv1.Kind][]string{
	pluginv1.Kind_KIND_SOURCE:   {"feed"},
	pluginv1.Kind_KIND_OPERATOR: {"input", "expect", "steps", "by_clock", "forgets", "bad", "varies"},
	pluginv1.Kind_KIND_SINK:     {"read", "bad", "objects", "exclusive"},
}

var kinds = []pluginv1.Kind{pluginv1.Kind_KIND_SOURCE, pluginv1.Kind_KIND_OPERATOR, pluginv1.Kind_KIND_SINK}

var labelPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

func (r *reader) component(n node) *Component {
	c := &Component{Pos: n.pos(), Path: n.path}
	common := []string{"source", "operator", "sink", "label", "config", "previous", "setup", "teardown", "parallelism", "records", "carries"}
	known := append([]string{}, common...)
	for _, k := range kinds {
		known = append(known, fieldsOf[k]...)
	}
	fs := r.fields(n, known...)
	for _, k := range kinds {
		f := fs[pipeline.KindName(k)]
		if !f.present() {
			continue
		}
		if c.Kind != 0 {
			r.fault(f.key, f.path, CodeKind, "use exactly one of source, operator and sink", "the entry is a %s already", pipeline.KindName(c.Kind))
			continue
		}
		c.Kind = k
		c.Name, _ = r.text(f)
	}
	if c.Kind == 0 {
		if n.Kind == yamlfile.Map {
			r.fault(n.pos(), n.path, CodeKind, "use exactly one of source, operator and sink", "the entry names no component")
		}
		return c
	}
	for _, k := range kinds {
		for _, name := range fieldsOf[k] {
			if f := fs[name]; k != c.Kind && f.Value != nil && !slices.Contains(fieldsOf[c.Kind], name) {
				r.fault(f.key, f.path, CodeUnknownField, "", "a %s has no %q", pipeline.KindName(c.Kind), name)
			}
		}
	}
	if s, ok := r.text(fs["label"]); ok {
		if c.Label = s; !labelPattern.MatchString(s) {
			r.fault(fs["label"].pos(), fs["label"].path, CodeValue, "", "has letters, digits, - and _, and begins with a letter or a digit")
		}
	}
	c.Config = r.config(n, fs["config"], "config")
	if f := fs["previous"]; f.present() {
		previous := r.config(n, f, "previous")
		c.Previous = &previous
	}
	c.Setup, c.Teardown = r.command(fs["setup"]), r.command(fs["teardown"])
	c.Parallelism = r.integer(fs["parallelism"], 1, 64)
	c.Feed = r.outside(fs["feed"], pluginv1.Kind_KIND_SINK)
	c.Read = r.outside(fs["read"], pluginv1.Kind_KIND_SOURCE)
	c.Objects = r.command(fs["objects"])
	if f := fs["exclusive"]; f.present() {
		c.Exclusive = r.boolean(f)
	}
	if f := fs["varies"]; f.present() {
		c.Varies = r.boolean(f)
	}
	c.Input, c.Expect = r.input(fs["input"]), r.expect(fs["expect"])
	c.Steps = r.steps(fs["steps"])
	if f := fs["by_clock"]; f.present() {
		c.ByClock = r.boolean(f)
		if c.ByClock && (c.Input == nil || c.Expect == nil) {
			r.fault(f.key, f.path, CodeRequired, "", "needs `input` and `expect`: what comes by the clock")
		}
	}
	if s, ok := r.oneOf(fs["forgets"], string(ByEventTime), string(ByClock)); ok {
		c.Forgets = Forgets(s)
	}
	for _, e := range r.records(fs["bad"]) {
		c.Bad = append(c.Bad, e.Record)
	}
	c.Records = r.template(fs["records"])
	c.Carries = r.carries(fs["carries"], c)
	return c
}

func (r *reader) config(above, n node, name string) Config {
	c := Config{Pos: above.pos(), Path: yamlfile.Key(above.path, name)}
	if n.present() {
		c.Pos, c.Value = n.key, n.Value
		if n.Kind != yamlfile.Map {
			r.wrongType(n, "a map")
			c.Value = nil
		}
	}
	return c
}

// command reads a text for the shell, or a list of words.
func (r *reader) command(n node) Command {
	if !n.present() {
		return nil
	}
	if n.Kind != yamlfile.List {
		s, ok := r.text(n)
		if !ok {
			return nil
		}
		return Command{"sh", "-c", s}
	}
	var out Command
	for i := range n.Items {
		word := n.item(i)
		if word.Kind == yamlfile.List || word.Kind == yamlfile.Map {
			r.wrongType(word, "a word of the command")
			continue
		}
		out = append(out, word.Text)
	}
	if len(n.Items) == 0 || out != nil && out[0] == "" {
		r.fault(n.pos(), n.path, CodeValue, "", "names no program")
	}
	return out
}
