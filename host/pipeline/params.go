package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/weirstream/weir/host/yamlfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// checker checks one configuration against the parameters of its component, and
// turns what is sound of it into JSON. Its field paths begin at the
// configuration.
type checker struct {
	l    *loader
	root string // the configuration's own path in the file
	at   field
	// values holds every value of the configuration by its path.
	values map[string]field
	// bad are the paths that have been refused and left out.
	bad         []string
	unknown     []unknown
	secretPaths []string
}

// unknown is a field that the component does not have.
type unknown struct {
	path  string
	in    map[string]any // what is left of the object that it was in
	name  string
	fault int // of the loader's
}

// check returns what is sound of the configuration.
func (c *checker) check(params []*pluginv1.Parameter) map[string]any {
	c.index(c.at, "")
	config := c.object(c.at, "", params)
	if config == nil {
		config = map[string]any{}
	}
	return config
}

// json returns a configuration as canonical JSON: keys sorted, no blanks.
func (c *checker) json(config map[string]any) []byte {
	out, err := canonical(config)
	if err != nil {
		c.l.faultKey(c.at, CodeValue, "", "cannot be written as JSON")
		return []byte("{}")
	}
	return out
}

// canonical is JSON with sorted keys and without blanks, for bytes to be equal
// where configurations are.
func canonical(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(out.Bytes()), err
}

// index remembers where everything stands, and which of it is secret since it
// comes from a file.
func (c *checker) index(f field, rel string) {
	c.values[rel] = f
	if f.Secret {
		c.secretPaths = append(c.secretPaths, rel)
	}
	for i := range f.Items {
		c.index(f.item(i), yamlfile.Index(rel, i))
	}
	for _, e := range f.Entries {
		c.index(field{path: yamlfile.Key(f.path, e.Key), name: e.Key, key: e.KeyPos, Value: e.Value}, yamlfile.Key(rel, e.Key))
	}
}

func (c *checker) refuse(rel string) { c.bad = append(c.bad, rel) }

// object checks the fields of the configuration or of an object in it. It
// returns nil where f is no map at all.
func (c *checker) object(f field, rel string, params []*pluginv1.Parameter) map[string]any {
	if f.Failed || f.Kind != yamlfile.Map && f.Kind != yamlfile.Null {
		c.refuse(rel)
		if !f.Failed {
			c.l.wrongType(f, "a map")
		}
		return nil
	}
	byName := make(map[string]*pluginv1.Parameter, len(params))
	var names []string
	for _, p := range params {
		byName[p.GetName()] = p
		if p.GetDeprecated() == "" {
			names = append(names, p.GetName())
		}
	}
	out := make(map[string]any, len(f.Entries))
	for _, e := range f.Entries {
		at, path := c.values[yamlfile.Key(rel, e.Key)], yamlfile.Key(rel, e.Key)
		p := byName[e.Key]
		if p == nil {
			c.refuse(path)
			c.unknown = append(c.unknown, unknown{path, out, e.Key, len(c.l.faults)})
			c.l.unknownField(at, f.path, names)
			continue
		}
		if absent(e.Value, p) {
			continue
		}
		if p.GetDeprecated() != "" {
			c.l.warn(at, CodeDeprecated, p.GetDeprecated(), "%q is deprecated", e.Key)
		}
		if v, ok := c.parameter(at, path, p); ok {
			out[e.Key] = v
		}
	}
	c.required(f, rel, params)
	return out
}

// absent says whether an empty value counts as none: `path:` with nothing
// behind it.
func absent(v *yamlfile.Value, p *pluginv1.Parameter) bool {
	return v.Kind == yamlfile.Null && !v.Resolved && !v.Failed && p.GetType() != pluginv1.Parameter_TYPE_ANY
}

// required reports what is missing, and fields that exclude each other.
func (c *checker) required(f field, rel string, params []*pluginv1.Parameter) {
	type group struct {
		names, set []string
		required   bool
	}
	groups := make(map[string]*group)
	var order []string
	for _, p := range params {
		v := f.Get(p.GetName())
		set := v != nil && !absent(v, p)
		if x := p.GetXor(); x != "" {
			g := groups[x]
			if g == nil {
				g = &group{}
				groups[x] = g
				order = append(order, x)
			}
			g.names = append(g.names, p.GetName())
			g.required = g.required || p.GetRequired()
			if set {
				g.set = append(g.set, p.GetName())
			}
		} else if path := yamlfile.Key(f.path, p.GetName()); p.GetRequired() && !set && c.l.meant[path] {
			c.refuse(yamlfile.Key(rel, p.GetName()))
		} else if p.GetRequired() && !set {
			c.missing(f, yamlfile.Key(rel, p.GetName()), p.GetDescription(), fmt.Sprintf("%q is missing", p.GetName()))
		}
	}
	for _, x := range order {
		g := groups[x]
		if len(g.set) == 0 && g.required {
			for _, name := range g.names {
				c.refuse(yamlfile.Key(rel, name))
			}
			c.missing(f, rel, "", "exactly one of "+enumerate(g.names)+" must be set")
		}
		if len(g.set) > 1 {
			slices.SortFunc(g.set, func(a, b string) int {
				return comparePos(c.values[yamlfile.Key(rel, a)].key, c.values[yamlfile.Key(rel, b)].key)
			})
			for _, name := range g.set[1:] {
				path := yamlfile.Key(rel, name)
				c.refuse(path)
				c.l.faultKey(c.values[path], CodeExclusive, "", "%q and %q exclude each other", g.set[0], name)
			}
		}
	}
}

func (c *checker) missing(f field, rel, hint, message string) {
	path := c.root
	if rel != "" {
		c.refuse(rel)
		path = yamlfile.Key(c.root, rel)
	}
	c.l.faultAt(f.at(), path, CodeRequired, hint, "%s", message)
}

// parameter checks the value of one parameter.
func (c *checker) parameter(f field, rel string, p *pluginv1.Parameter) (any, bool) {
	if p.GetSecret() {
		c.keepSecret(f, rel)
	}
	t := p.GetType()
	switch t {
	case pluginv1.Parameter_TYPE_OBJECT:
		if len(p.GetFields()) > 0 {
			v := c.object(f, rel, p.GetFields())
			return v, v != nil
		}
		return c.collection(f, rel, yamlfile.Map, p)
	case pluginv1.Parameter_TYPE_LIST:
		return c.collection(f, rel, yamlfile.List, p)
	case pluginv1.Parameter_TYPE_MAP:
		return c.collection(f, rel, yamlfile.Map, p)
	}
	return c.value(f, rel, p, t)
}

// keepSecret keeps everything below a secret parameter out of messages.
func (c *checker) keepSecret(f field, rel string) {
	c.secretPaths = append(c.secretPaths, rel)
	var walk func(v *yamlfile.Value)
	walk = func(v *yamlfile.Value) {
		if v.Text != "" && !v.Failed {
			c.l.keep(v.Text)
		}
		for _, item := range v.Items {
			walk(item)
		}
		for _, e := range v.Entries {
			walk(e.Value)
		}
	}
	walk(f.Value)
}

// collection checks a list or a map whose elements are all alike.
func (c *checker) collection(f field, rel string, kind yamlfile.Kind, p *pluginv1.Parameter) (any, bool) {
	if f.Failed || f.Kind != kind {
		c.refuse(rel)
		if !f.Failed {
			c.wrongType(f, p, kind.String())
		}
		return nil, false
	}
	element := p.GetElement()
	if kind == yamlfile.List {
		list := make([]any, 0, len(f.Items))
		for i := range f.Items {
			path := yamlfile.Index(rel, i)
			if v, ok := c.element(c.values[path], path, p, element); ok {
				list = append(list, v)
			}
		}
		return list, true
	}
	out := make(map[string]any, len(f.Entries))
	for _, e := range f.Entries {
		path := yamlfile.Key(rel, e.Key)
		if v, ok := c.element(c.values[path], path, p, element); ok {
			out[e.Key] = v
		}
	}
	return out, true
}

func (c *checker) element(f field, rel string, p *pluginv1.Parameter, t pluginv1.Parameter_Type) (any, bool) {
	if t == pluginv1.Parameter_TYPE_OBJECT && len(p.GetFields()) > 0 {
		v := c.object(f, rel, p.GetFields())
		return v, v != nil
	}
	return c.value(f, rel, p, t)
}

// wrongType is the loader's, but shows nothing of a secret.
func (c *checker) wrongType(f field, p *pluginv1.Parameter, want string) {
	c.l.fault(f, CodeType, "", "must be %s, not %s", want, c.shown(f, p))
}

func (c *checker) shown(f field, p *pluginv1.Parameter) string {
	if p.GetSecret() {
		return f.Kind.String()
	}
	return shown(f.Value)
}
