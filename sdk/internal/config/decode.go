package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Decode decodes a JSON object into into, a pointer to the spec's type whose
// value is zero, and returns every fault. The values at secretPaths, and of
// secret fields, are in no message; secrets are those that it met. Nothing or null
// is an empty object.
func (s *Spec) Decode(data []byte, secretPaths []string, into any) (faults []*pluginv1.Fault, secrets []string) {
	d := &decoder{secretPaths: secretPaths}
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		data = []byte("null")
	}
	if !json.Valid(data) {
		d.fault("", CodeSyntax, "the configuration is not valid JSON")
		return d.faults, nil
	}
	if !isNull(data) && data[0] != '{' {
		d.fault("", CodeType, "expected an object, got "+kindOf(data))
		return d.faults, nil
	}
	d.object(s.root, reflect.ValueOf(into).Elem(), data, "")
	return d.faults, d.secrets
}

type decoder struct {
	secretPaths []string
	faults      []*pluginv1.Fault
	secrets     []string
}

func (d *decoder) fault(path, code, message string) {
	d.faults = append(d.faults, &pluginv1.Fault{Path: path, Code: code, Message: message, Offset: -1})
}

// value decodes raw, which is valid JSON, into v.
func (d *decoder) value(t *value, v reflect.Value, raw json.RawMessage, path string) {
	if t.pointer {
		v.Set(reflect.New(t.goType))
		v = v.Elem()
	}
	switch t.typ {
	case pluginv1.Parameter_TYPE_OBJECT:
		if raw[0] != '{' {
			d.wrongType("an object", t, raw, path)
			return
		}
		d.object(t.object, v, raw, path)
	case pluginv1.Parameter_TYPE_LIST:
		d.list(t, v, raw, path)
	case pluginv1.Parameter_TYPE_MAP:
		d.mapping(t, v, raw, path)
	default:
		d.scalar(t, v, raw, path)
	}
}

func (d *decoder) scalar(t *value, v reflect.Value, raw json.RawMessage, path string) {
	secret := d.secret(t, path)
	if secret {
		d.keep(raw)
	}
	var got string
	if !secret {
		got = ", got " + shown(raw)
	}
	if err := t.scalar.Set(v, raw, path); err != nil {
		var detail *ValueError
		var span *rangeError
		switch {
		case errors.As(err, &span):
			d.fault(path, CodeRange, span.Error()+got)
		case errors.As(err, &detail) && !secret:
			d.fault(path, CodeType, detail.Error())
		default:
			d.wrongType(t.scalar.Expect, t, raw, path)
		}
		return
	}
	if message, code := t.rules.check(v, got); message != "" {
		d.fault(path, code, message)
	}
}

// keep remembers a secret value.
func (d *decoder) keep(raw json.RawMessage) {
	text, err := String(raw)
	if err != nil {
		text = string(raw)
	}
	d.secrets = append(d.secrets, text)
}

func (d *decoder) list(t *value, v reflect.Value, raw json.RawMessage, path string) {
	if raw[0] != '[' {
		d.wrongType("a list", t, raw, path)
		return
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		d.fault(path, CodeSyntax, "is not valid JSON")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		at := path + "[" + strconv.Itoa(i) + "]"
		if isNull(item) && t.element.typ != pluginv1.Parameter_TYPE_ANY {
			d.fault(at, CodeRequired, "is empty")
			continue
		}
		d.value(t.element, v.Index(i), item, at)
	}
}

func (d *decoder) mapping(t *value, v reflect.Value, raw json.RawMessage, path string) {
	if raw[0] != '{' {
		d.wrongType("a map", t, raw, path)
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	d.members(raw, path, func(name, at string, item json.RawMessage) {
		if isNull(item) && t.element.typ != pluginv1.Parameter_TYPE_ANY {
			d.fault(at, CodeRequired, "is empty")
			return
		}
		element := reflect.New(v.Type().Elem()).Elem()
		d.value(t.element, element, item, at)
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), element)
	})
}

func (d *decoder) object(o *object, v reflect.Value, raw json.RawMessage, path string) {
	given := make(map[string]json.RawMessage)
	if !isNull(raw) {
		d.members(raw, path, func(name, at string, item json.RawMessage) {
			f := o.byName[name]
			if f == nil {
				d.fault(at, CodeUnknown, o.unknown(name, v.Addr().Interface()))
				return
			}
			if isNull(item) {
				return // as if absent
			}
			given[name] = item
			if f.deprecated != "" {
				d.fault(at, CodeDeprecated, "is deprecated: "+f.deprecated)
				d.faults[len(d.faults)-1].Warning = true
			}
		})
	}
	for _, f := range o.fields {
		d.field(f, v.FieldByIndex(f.index), given[f.name], join(path, f.name))
	}
	d.xor(o, given, path)
}

// field decodes one field; raw is nil where it is absent.
func (d *decoder) field(f *field, v reflect.Value, raw json.RawMessage, path string) {
	switch {
	case raw != nil:
		d.value(f.value, v, raw, path)
		if f.required && (string(raw) == `""` || raw[0] == '[' && v.Kind() == reflect.Slice && v.Len() == 0 ||
			raw[0] == '{' && v.Kind() == reflect.Map && v.Len() == 0) {
			d.fault(path, CodeRequired, "is required and empty")
		}
	case f.def != nil:
		d.value(f.value, v, f.def, path)
	case f.required && f.xor == "":
		d.fault(path, CodeRequired, "is required")
	case f.value.object != nil && f.value.element == nil && !f.value.pointer && f.xor == "":
		d.object(f.value.object, v, json.RawMessage("null"), path)
	}
}

// xor checks that one member at most of each group is given, and one at least
// where a member is required.
func (d *decoder) xor(o *object, given map[string]json.RawMessage, path string) {
	done := make(map[string]bool)
	for _, first := range o.fields {
		if first.xor == "" || done[first.xor] {
			continue
		}
		done[first.xor] = true
		var all, set []string
		required := false
		for _, f := range o.fields {
			if f.xor != first.xor {
				continue
			}
			all = append(all, f.name)
			required = required || f.required
			if given[f.name] != nil {
				set = append(set, f.name)
			}
		}
		switch {
		case len(set) > 1:
			for _, name := range set[1:] {
				d.fault(join(path, name), CodeXor,
					fmt.Sprintf("excludes %q: only one of %s may be set", set[0], quoteAll(all)))
			}
		case len(set) == 0 && required:
			d.fault(path, CodeXor, "one of "+quoteAll(all)+" is required")
		}
	}
}

// members calls yield for each member of a JSON object, in order.
func (d *decoder) members(raw json.RawMessage, path string, yield func(name, at string, item json.RawMessage)) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, err := dec.Token() // the brace
	seen := make(map[string]bool)
	for err == nil && dec.More() {
		var token json.Token
		if token, err = dec.Token(); err != nil {
			break
		}
		name, _ := token.(string)
		var item json.RawMessage
		if err = dec.Decode(&item); err != nil {
			break
		}
		at := join(path, name)
		if seen[name] {
			d.fault(at, CodeDuplicate, "is there twice")
			continue
		}
		seen[name] = true
		yield(name, at, item)
	}
	if err != nil {
		d.fault(path, CodeSyntax, "is not valid JSON")
	}
}

func (d *decoder) wrongType(expect string, t *value, raw json.RawMessage, path string) {
	got := kindOf(raw)
	if !d.secret(t, path) && raw[0] != '{' && raw[0] != '[' {
		got = withValue(raw)
	}
	message := "expected " + expect + ", got " + got
	if t.typ == pluginv1.Parameter_TYPE_STRING && strings.ContainsRune("-0123456789tf", rune(raw[0])) {
		message += "; put it in quotes"
	}
	d.fault(path, CodeType, message)
}

// secret reports whether the value at path must not be told.
func (d *decoder) secret(t *value, path string) bool {
	if t.secret() {
		return true
	}
	for _, s := range d.secretPaths {
		if s == path || s == "" || within(path, s) || within(s, path) {
			return true
		}
	}
	return false
}

// within reports whether path lies below root.
func within(path, root string) bool {
	return len(path) > len(root) && strings.HasPrefix(path, root) && (path[len(root)] == '.' || path[len(root)] == '[')
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }
