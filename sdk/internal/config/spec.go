package config

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// tagKey is the struct tag that names a field: `weir:"name"`, `weir:"name,required"`
// or `weir:"-"`. The other tags are default, min, max, pattern, enum, xor, doc and
// deprecated.
const tagKey = "weir"

var fieldName = regexp.MustCompile(`^[a-z][a-z0-9]*([._-][a-z0-9]+)*$`)

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	rawMessage      = reflect.TypeFor[json.RawMessage]()
	anyType         = reflect.TypeFor[any]()
)

// New reads a configuration type, which is a struct. The error joins everything
// that is wrong with its fields and tags.
func New(t reflect.Type, scalars Scalars) (*Spec, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("a configuration is a struct, not %s", t)
	}
	b := &builder{scalars: scalars}
	root := b.object(t, t.Name(), nil)
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	return &Spec{root}, nil
}

type builder struct {
	scalars Scalars
	errs    []error
}

func (b *builder) errorf(goName, format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf("%s: %w", goName, fmt.Errorf(format, args...)))
}

// object reads a struct type. above holds the struct types around it.
func (b *builder) object(t reflect.Type, goName string, above []reflect.Type) *object {
	o := &object{byName: make(map[string]*field)}
	if slices.Contains(above, t) {
		b.errorf(goName, "%s contains itself, which no parameter list can say", t)
		return o
	}
	b.fields(o, t, goName, nil, append(slices.Clone(above), t))
	b.checkXor(o, goName)
	return o
}

// fields adds the fields of t to o, and those of structs embedded in it.
func (b *builder) fields(o *object, t reflect.Type, goName string, index []int, above []reflect.Type) {
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, tagged := sf.Tag.Lookup(tagKey)
		at := goName + "." + sf.Name
		if tag == "-" || !tagged && !sf.IsExported() && !sf.Anonymous {
			continue
		}
		fieldIndex := append(slices.Clone(index), i)
		switch {
		case sf.Anonymous && !tagged:
			if sf.Type.Kind() != reflect.Struct {
				b.errorf(at, "only a struct by value may be embedded")
				continue
			}
			b.fields(o, sf.Type, at, fieldIndex, above)
			continue
		case !tagged:
			b.errorf(at, "has no `%s` tag; one of \"-\" leaves the field out", tagKey)
			continue
		case !sf.IsExported():
			b.errorf(at, "has a `%s` tag but is not exported", tagKey)
			continue
		}
		f := b.field(sf, tag, at, fieldIndex, above)
		if f == nil {
			continue
		}
		if twin := o.byName[f.name]; twin != nil {
			b.errorf(at, "has the name %q, as %s has", f.name, twin.goName)
			continue
		}
		o.byName[f.name] = f
		o.fields = append(o.fields, f)
	}
}

func (b *builder) field(sf reflect.StructField, tag, at string, index []int, above []reflect.Type) *field {
	name, flags, _ := strings.Cut(tag, ",")
	f := &field{
		name:       name,
		goName:     at,
		index:      index,
		xor:        sf.Tag.Get("xor"),
		doc:        sf.Tag.Get("doc"),
		deprecated: sf.Tag.Get("deprecated"),
	}
	if !fieldName.MatchString(name) {
		b.errorf(at, "the name %q is not lower-case letters and digits joined by . _ or -", name)
	}
	switch flags {
	case "":
	case "required":
		f.required = true
	default:
		b.errorf(at, "unknown flag %q in the `%s` tag; there is only required", flags, tagKey)
	}
	v, err := b.value(sf.Type, at, above)
	if err != nil {
		b.errorf(at, "%w", err)
		return nil
	}
	f.value = v
	leaf := v
	if v.element != nil {
		leaf = v.element
	}
	if err := leaf.setRules(sf.Tag); err != nil {
		b.errorf(at, "%w", err)
		return nil
	}
	if err := f.setDefault(sf.Tag); err != nil {
		b.errorf(at, "%w", err)
	}
	return f
}

// value reads the type of a field or element.
func (b *builder) value(t reflect.Type, at string, above []reflect.Type) (*value, error) {
	v := &value{goType: t}
	if scalar := b.scalarOf(t); scalar == nil && t.Kind() == reflect.Pointer {
		v.pointer, v.goType = true, t.Elem()
		t = t.Elem()
	}
	if v.scalar = b.scalarOf(t); v.scalar != nil {
		v.typ = v.scalar.Type
		return v, nil
	}
	switch t.Kind() {
	case reflect.Struct:
		v.typ = pluginv1.Parameter_TYPE_OBJECT
		v.object = b.object(t, at, above)
		return v, nil
	case reflect.Slice:
		v.typ = pluginv1.Parameter_TYPE_LIST
	case reflect.Map:
		v.typ = pluginv1.Parameter_TYPE_MAP
		if t.Key().Kind() != reflect.String {
			return nil, fmt.Errorf("a map's keys are strings, not %s", t.Key())
		}
	default:
		return nil, fmt.Errorf("a configuration cannot hold %s", t)
	}
	if t.Elem().Kind() == reflect.Uint8 {
		return nil, fmt.Errorf("a configuration holds text as string or Secret, not %s", t)
	}
	element, err := b.value(t.Elem(), at, above)
	if err != nil {
		return nil, err
	}
	if element.element != nil {
		return nil, fmt.Errorf("%s: lists and maps cannot be nested; put a struct between them", t)
	}
	v.element = element
	return v, nil
}

// scalarOf returns how t is decoded from one JSON value, nil where it is none.
func (b *builder) scalarOf(t reflect.Type) *Scalar {
	if s := b.scalars[t]; s != nil {
		return s
	}
	switch {
	case t == rawMessage || t == anyType:
		return anyScalar
	case t.Kind() == reflect.Pointer:
		return nil
	case reflect.PointerTo(t).Implements(textUnmarshaler):
		return textScalar
	}
	return kindScalar(t.Kind())
}

// setDefault reads the default tag and tries it.
func (f *field) setDefault(tag reflect.StructTag) error {
	text, ok := tag.Lookup("default")
	if !ok {
		return nil
	}
	switch {
	case f.required:
		return errors.New("is required and has a default")
	case f.xor != "":
		return errors.New("excludes other fields (xor) and has a default")
	case f.value.secret():
		return errors.New("is secret and has a default")
	}
	f.def = f.value.literal(text)
	d := &decoder{}
	d.value(f.value, reflect.New(f.value.declared()).Elem(), f.def, f.name)
	if len(d.faults) > 0 {
		return fmt.Errorf("default %q: %s", text, d.faults[0].Message)
	}
	return nil
}

// literal returns text, as a tag has it, as JSON.
func (v *value) literal(text string) json.RawMessage {
	switch v.typ {
	case pluginv1.Parameter_TYPE_STRING, pluginv1.Parameter_TYPE_DURATION, pluginv1.Parameter_TYPE_EXPRESSION:
	default:
		if json.Valid([]byte(text)) {
			return json.RawMessage(text)
		}
	}
	quoted, _ := json.Marshal(text) // a string always marshals
	return quoted
}

// declared is the type as the struct has it.
func (v *value) declared() reflect.Type {
	if v.pointer {
		return reflect.PointerTo(v.goType)
	}
	return v.goType
}

func (b *builder) checkXor(o *object, goName string) {
	members := make(map[string]int)
	for _, f := range o.fields {
		if f.xor != "" {
			members[f.xor]++
		}
	}
	for _, f := range o.fields {
		if f.xor != "" && members[f.xor] == 1 {
			b.errorf(f.goName, "is alone in the group xor:%q", f.xor)
		}
	}
}
