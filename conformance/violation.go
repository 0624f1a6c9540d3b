package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// violation is a configuration that breaks one constraint of a manifest.
type violation struct {
	// What names the constraint, and Path the field that a fault must be about; or
	// one of Others.
	What, Path string
	Others     []string
	Config     []byte
	// Top is the parameter of the configuration itself that was changed.
	Top string
	// Several says that it is about fields together, and not about one alone.
	Several bool
}

// breaks takes an object that breaks a constraint.
type breaks func(v violation, object map[string]any)

// violations returns for every constraint of the parameters a configuration that
// breaks it, made from a sound one.
func violations(params []*pluginv1.Parameter, base []byte) []violation {
	var config map[string]any
	d := json.NewDecoder(strings.NewReader(string(base)))
	d.UseNumber()
	if err := d.Decode(&config); err != nil || config == nil {
		config = map[string]any{}
	}
	var out []violation
	breakAll(params, "", "", config, func(v violation, object map[string]any) {
		if b, err := json.Marshal(object); err == nil {
			v.Config = b
			out = append(out, v)
		}
	})
	return out
}

// breakAll calls found with the object changed so that it breaks one constraint, for
// each. top is the parameter of the configuration that all of it stands in.
func breakAll(params []*pluginv1.Parameter, top, prefix string, object map[string]any, found breaks) {
	with := func(name string, value any) map[string]any {
		o := maps.Clone(object)
		if o == nil {
			o = map[string]any{}
		}
		o[name] = value
		return o
	}
	where := prefix
	if where == "" {
		where = "the configuration"
	}
	found(violation{Top: top, Path: join(prefix, unknownField), What: "an unknown field in " + where}, with(unknownField, true))
	groups := make(map[string][]string)
	for _, p := range params {
		name, path := p.GetName(), join(prefix, p.GetName())
		at := top
		if at == "" {
			at = name
		}
		if p.GetXor() != "" {
			groups[p.GetXor()] = append(groups[p.GetXor()], name)
		} else if p.GetRequired() {
			o := maps.Clone(object)
			delete(o, name)
			found(violation{Top: at, Path: path, What: "the required field " + path + " left away"}, o)
		}
		for _, bad := range badValues(p, p.GetType()) {
			found(violation{Top: at, Path: path, What: bad.what + " for " + path}, with(name, bad.value))
		}
		element := p.GetElement()
		switch p.GetType() {
		case pluginv1.Parameter_TYPE_OBJECT:
			if len(p.GetFields()) > 0 {
				inner, _ := object[name].(map[string]any)
				breakAll(p.GetFields(), at, path, inner, func(v violation, o map[string]any) { found(v, with(name, o)) })
			}
		case pluginv1.Parameter_TYPE_LIST:
			if element == pluginv1.Parameter_TYPE_OBJECT {
				breakAll(p.GetFields(), at, path+"[0]", firstOf(object[name]), func(v violation, o map[string]any) { found(v, with(name, []any{o})) })
				continue
			}
			for _, bad := range badValues(p, element) {
				found(violation{Top: at, Path: path + "[0]", What: bad.what + " in " + path}, with(name, []any{bad.value}))
			}
		case pluginv1.Parameter_TYPE_MAP:
			if element == pluginv1.Parameter_TYPE_OBJECT {
				breakAll(p.GetFields(), at, path+".k", nil, func(v violation, o map[string]any) {
					found(v, with(name, map[string]any{"k": o}))
				})
				continue
			}
			for _, bad := range badValues(p, element) {
				found(violation{Top: at, Path: path + ".k", What: bad.what + " in " + path}, with(name, map[string]any{"k": bad.value}))
			}
		}
	}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		breakGroup(params, groups[group], top, prefix, object, found)
	}
}

// breakGroup sets two fields that exclude each other, and where one of them is
// required none.
func breakGroup(params []*pluginv1.Parameter, names []string, top, prefix string, object map[string]any, found breaks) {
	byName := make(map[string]*pluginv1.Parameter)
	required := false
	for _, p := range params {
		byName[p.GetName()] = p
		required = required || slices.Contains(names, p.GetName()) && p.GetRequired()
	}
	at := top
	if at == "" {
		at = names[0]
	}
	o := maps.Clone(object)
	if o == nil {
		o = map[string]any{}
	}
	for _, name := range names {
		delete(o, name)
	}
	var others []string
	for _, name := range names {
		others = append(others, join(prefix, name))
	}
	if required {
		found(violation{Top: at, Path: join(prefix, names[0]), What: "none of " + strings.Join(names, ", "), Several: true, Others: others}, o)
	}
	o = maps.Clone(o)
	set := 0
	for _, name := range names {
		v, ok := object[name], object[name] != nil
		if !ok {
			v, ok = goodValue(byName[name])
		}
		if ok && set < 2 {
			o[name] = v
			set++
		}
	}
	if set == 2 {
		found(violation{Top: at, Path: join(prefix, names[0]), What: "two of " + strings.Join(names, ", "), Several: true, Others: others}, o)
	}
}

// told says whether a fault that is no warning is about the violation.
func (v violation) told(faults []*pluginv1.Fault) bool {
	return slices.ContainsFunc(faults, func(f *pluginv1.Fault) bool {
		return !f.GetWarning() && (about(f, v.Path) || slices.ContainsFunc(v.Others, func(path string) bool { return about(f, path) }))
	})
}

const unknownField = "no_such_field"

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// firstOf is the first element of a list of objects, or an empty object.
func firstOf(v any) map[string]any {
	if list, ok := v.([]any); ok && len(list) > 0 {
		if o, ok := list[0].(map[string]any); ok {
			return o
		}
	}
	return map[string]any{}
}

type bad struct {
	what  string
	value any
}

// badValues are values that a parameter, or an element of it, must refuse.
func badValues(p *pluginv1.Parameter, t pluginv1.Parameter_Type) (out []bad) {
	add := func(what string, value any) { out = append(out, bad{what, value}) }
	switch t {
	case pluginv1.Parameter_TYPE_STRING, pluginv1.Parameter_TYPE_EXPRESSION:
		add("a list", []any{1})
	case pluginv1.Parameter_TYPE_INT, pluginv1.Parameter_TYPE_FLOAT:
		add("a text", "many")
	case pluginv1.Parameter_TYPE_BOOL:
		add("a text", "perhaps")
	case pluginv1.Parameter_TYPE_DURATION:
		add("a text that is no duration", "soon")
	case pluginv1.Parameter_TYPE_BYTES:
		add("a text that is no size", "plenty")
	case pluginv1.Parameter_TYPE_OBJECT, pluginv1.Parameter_TYPE_MAP, pluginv1.Parameter_TYPE_LIST:
		add("a number", 7)
	case pluginv1.Parameter_TYPE_CONSTANT_OR_EXPRESSION:
		add("a list", []any{1})
	}
	if t != p.GetType() && p.GetType() != pluginv1.Parameter_TYPE_LIST && p.GetType() != pluginv1.Parameter_TYPE_MAP {
		return out
	}
	if t == pluginv1.Parameter_TYPE_STRING {
		if enum := p.GetEnum(); len(enum) > 0 {
			add("a value that is none of the allowed ones", "no-such-"+enum[0])
		}
		if s, ok := mismatch(p.GetPattern()); ok && p.GetPattern() != "" {
			add(fmt.Sprintf("%q, which does not match the pattern", s), s)
		}
	}
	if v, ok := beyond(t, p.GetMin(), -1); ok {
		add(fmt.Sprintf("%v, below the least of %s", v, p.GetMin()), v)
	}
	if v, ok := beyond(t, p.GetMax(), 1); ok {
		add(fmt.Sprintf("%v, above the most of %s", v, p.GetMax()), v)
	}
	return out
}

// beyond is a value just outside a bound; there is none where the type cannot
// hold one.
func beyond(t pluginv1.Parameter_Type, bound string, by int64) (any, bool) {
	if bound == "" {
		return nil, false
	}
	switch t {
	case pluginv1.Parameter_TYPE_INT:
		n, ok := new(big.Int).SetString(bound, 0)
		if !ok {
			return nil, false
		}
		n.Add(n, big.NewInt(by))
		return json.Number(n.String()), n.IsInt64()
	case pluginv1.Parameter_TYPE_FLOAT:
		f, err := strconv.ParseFloat(bound, 64)
		return f + float64(by), err == nil
	case pluginv1.Parameter_TYPE_DURATION:
		d, err := time.ParseDuration(bound)
		return (d + time.Duration(by)).String(), err == nil
	case pluginv1.Parameter_TYPE_BYTES:
		n, err := pipeline.ParseBytes(bound)
		return n + by, err == nil && n+by >= 0
	}
	return nil, false
}

// readable says whether a bound can be read as its type has it.
func readable(p *pluginv1.Parameter, bound string) bool {
	t := p.GetType()
	if t == pluginv1.Parameter_TYPE_LIST || t == pluginv1.Parameter_TYPE_MAP {
		t = p.GetElement()
	}
	switch t {
	case pluginv1.Parameter_TYPE_INT:
		_, ok := new(big.Int).SetString(bound, 0)
		return ok
	case pluginv1.Parameter_TYPE_FLOAT:
		_, err := strconv.ParseFloat(bound, 64)
		return err == nil
	case pluginv1.Parameter_TYPE_DURATION:
		_, err := time.ParseDuration(bound)
		return err == nil
	case pluginv1.Parameter_TYPE_BYTES:
		_, err := pipeline.ParseBytes(bound)
		return err == nil
	}
	return false
}

// mismatch is a text that a pattern does not match as a whole.
func mismatch(pattern string) (string, bool) {
	re, err := regexp.Compile(`^(?:` + pattern + `)$`)
	if err != nil {
		return "", false
	}
	for _, s := range []string{"!", "", "a b", "é", "-", "0", "a", strings.Repeat("x", 300), "\n"} {
		if !re.MatchString(s) {
			return s, true
		}
	}
	return "", false
}

// goodValue is some value that a parameter takes, where one can be told.
func goodValue(p *pluginv1.Parameter) (any, bool) {
	if p.GetDefault() != "" {
		return json.RawMessage(p.GetDefault()), true
	}
	switch p.GetType() {
	case pluginv1.Parameter_TYPE_STRING:
		if len(p.GetEnum()) > 0 {
			return p.GetEnum()[0], true
		}
		return "a", p.GetPattern() == ""
	case pluginv1.Parameter_TYPE_BOOL:
		return true, true
	case pluginv1.Parameter_TYPE_EXPRESSION:
		return "true", true
	case pluginv1.Parameter_TYPE_INT, pluginv1.Parameter_TYPE_FLOAT:
		if p.GetMin() != "" {
			return json.Number(p.GetMin()), true
		}
		return 1, p.GetMax() == ""
	case pluginv1.Parameter_TYPE_DURATION:
		if p.GetMin() != "" {
			return p.GetMin(), true
		}
		return "1s", p.GetMax() == ""
	case pluginv1.Parameter_TYPE_BYTES:
		if p.GetMin() != "" {
			return p.GetMin(), true
		}
		return 1024, p.GetMax() == ""
	}
	return nil, false
}
