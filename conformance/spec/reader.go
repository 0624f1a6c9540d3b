package spec

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/yamlfile"
)

// reader reads values of the file and gathers every fault.
type reader struct{ faults []pipeline.Fault }

// node is a value with the path that leads to it; its Value is nil where the
// file has none.
type node struct {
	path string
	key  yamlfile.Pos // where its key stands
	*yamlfile.Value
}

func (n node) present() bool { return n.Value != nil && (n.Kind != yamlfile.Null || n.Failed) }

func (n node) pos() yamlfile.Pos {
	if n.Value == nil {
		return n.key
	}
	return n.Value.Pos
}

func (n node) item(i int) node {
	return node{path: yamlfile.Index(n.path, i), key: n.Items[i].Pos, Value: n.Items[i]}
}

func (r *reader) fault(pos yamlfile.Pos, path string, code pipeline.Code, hint, format string, args ...any) {
	r.faults = append(r.faults, pipeline.Fault{
		Line: pos.Line, Column: pos.Column, Field: path, Code: code, Hint: hint, Message: fmt.Sprintf(format, args...),
	})
}

func (r *reader) wrongType(n node, want string) {
	if !n.Failed {
		r.fault(n.pos(), n.path, CodeType, "", "must be %s, not %s", want, shown(n.Value))
	}
}

func shown(v *yamlfile.Value) string {
	switch v.Kind {
	case yamlfile.Null, yamlfile.List, yamlfile.Map:
		return v.Kind.String()
	case yamlfile.String:
		return strconv.Quote(v.Written())
	}
	return v.Written()
}

// fields returns the fields of a map and reports those that are not known. The
// ones that are absent have no Value.
func (r *reader) fields(n node, known ...string) map[string]node {
	out := make(map[string]node)
	for _, e := range r.entries(n) {
		name := strings.TrimPrefix(strings.TrimPrefix(e.path, n.path), ".")
		if !slices.Contains(known, name) {
			r.fault(e.key, e.path, CodeUnknownField, pipeline.Suggest(name, known), "unknown field %q", name)
			continue
		}
		out[name] = e
	}
	return out
}

// entries returns the entries of a map in the order of the file.
func (r *reader) entries(n node) []node {
	if !n.present() {
		return nil
	}
	if n.Kind != yamlfile.Map {
		r.wrongType(n, "a map")
		return nil
	}
	var out []node
	for _, e := range n.Entries {
		out = append(out, node{path: yamlfile.Key(n.path, e.Key), key: e.KeyPos, Value: e.Value})
	}
	return out
}

// list returns the items of a list.
func (r *reader) list(n node, of string) []node {
	if !n.present() {
		return nil
	}
	if n.Kind != yamlfile.List {
		r.wrongType(n, "a list of "+of)
		return nil
	}
	var out []node
	for i := range n.Items {
		out = append(out, n.item(i))
	}
	return out
}

func (r *reader) text(n node) (string, bool) {
	if !n.present() || n.Failed {
		return "", false
	}
	if n.Kind == yamlfile.List || n.Kind == yamlfile.Map || n.Kind != yamlfile.String && !n.Resolved {
		r.wrongType(n, "a string")
		return "", false
	}
	if n.Text == "" {
		r.fault(n.pos(), n.path, CodeValue, "", "must not be empty")
		return "", false
	}
	return n.Text, true
}

func (r *reader) oneOf(n node, allowed ...string) (string, bool) {
	s, ok := r.text(n)
	if ok && !slices.Contains(allowed, s) {
		r.fault(n.pos(), n.path, CodeValue, "", "must be one of %s, not %s", strings.Join(allowed, ", "), shown(n.Value))
		return "", false
	}
	return s, ok
}

func (r *reader) boolean(n node) bool {
	if n.Kind != yamlfile.Bool {
		r.wrongType(n, "true or false")
		return false
	}
	return n.Text == "true" || n.Text == "True" || n.Text == "TRUE"
}

func (r *reader) integer(n node, least, most int) int {
	if !n.present() || n.Failed {
		return 0
	}
	v, err := strconv.Atoi(n.Text)
	switch {
	case n.Kind != yamlfile.Int && !n.Resolved || err != nil:
		r.wrongType(n, "an integer")
	case v < least || v > most:
		r.fault(n.pos(), n.path, CodeValue, "", "must be between %d and %d, not %d", least, most, v)
	default:
		return v
	}
	return 0
}

func (r *reader) duration(n node, otherwise time.Duration) time.Duration {
	if !n.present() || n.Failed {
		return otherwise
	}
	d, err := time.ParseDuration(n.Text)
	switch {
	case n.Kind != yamlfile.String && !n.Resolved || err != nil:
		r.wrongType(n, `a duration such as "30s"`)
	case d < time.Second || d > time.Hour:
		r.fault(n.pos(), n.path, CodeValue, "", "must be between 1s and 1h, not %s", n.Text)
	default:
		return d
	}
	return otherwise
}

func (r *reader) size(n node, least, most int64) int64 {
	if !n.present() || n.Failed {
		return 0
	}
	v, err := pipeline.ParseBytes(n.Text)
	switch {
	case n.Kind == yamlfile.List || n.Kind == yamlfile.Map || err != nil:
		r.wrongType(n, `a size such as "256KiB" or 4096`)
	case v < least || v > most:
		r.fault(n.pos(), n.path, CodeValue, "", "must be between %d and %d bytes, not %s", least, most, n.Text)
	default:
		return v
	}
	return 0
}

// jsonOf is a value of the file as JSON has it.
func jsonOf(v *yamlfile.Value) any {
	switch v.Kind {
	case yamlfile.Bool:
		return v.Text == "true" || v.Text == "True" || v.Text == "TRUE"
	case yamlfile.Int:
		if n, ok := new(big.Int).SetString(v.Text, 0); ok {
			return json.Number(n.String())
		}
	case yamlfile.Float:
		if f, err := strconv.ParseFloat(v.Text, 64); err == nil {
			return f
		}
	case yamlfile.Null:
		return nil
	case yamlfile.List:
		out := make([]any, len(v.Items))
		for i, item := range v.Items {
			out[i] = jsonOf(item)
		}
		return out
	case yamlfile.Map:
		out := make(map[string]any, len(v.Entries))
		for _, e := range v.Entries {
			out[e.Key] = jsonOf(e.Value)
		}
		return out
	}
	return v.Text
}
