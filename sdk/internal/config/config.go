// Package config turns a struct type with tags into a parameter list, and JSON
// into a value of that type with every fault named by its field path.
//
// A type is read once, by [New]; what is wrong with its tags is an error there,
// which names the Go field. [Spec.Decode] then only fails on what a person wrote.
package config

import (
	"encoding/json"
	"reflect"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// The codes of faults.
const (
	CodeSyntax     = "config.syntax"
	CodeUnknown    = "config.unknown_field"
	CodeDuplicate  = "config.duplicate_field"
	CodeRequired   = "config.required"
	CodeType       = "config.type"
	CodeRange      = "config.range"
	CodeEnum       = "config.enum"
	CodePattern    = "config.pattern"
	CodeXor        = "config.xor"
	CodeDeprecated = "config.deprecated"
)

// Scalar is a Go type that is one JSON value with a meaning of its own.
type Scalar struct {
	Type   pluginv1.Parameter_Type
	Secret bool
	// Expect completes "expected ...": `a duration such as "1m30s"`.
	Expect string
	// Set decodes raw into v, which is settable. path is the field's. An error
	// need not repeat what Expect says.
	Set func(v reflect.Value, raw json.RawMessage, path string) error
}

// Scalars maps Go types to their meaning.
type Scalars map[reflect.Type]*Scalar

// Spec describes a configuration type. It is immutable.
type Spec struct {
	root *object
}

// object is a struct.
type object struct {
	fields []*field
	byName map[string]*field
}

// field is a struct field that a configuration can set.
type field struct {
	name       string
	goName     string // for errors about tags: "Config.Roll.Size"
	index      []int
	value      *value
	required   bool
	def        json.RawMessage // nil: no default
	xor        string
	doc        string
	deprecated string
}

// value is what a field, a list or a map holds.
type value struct {
	goType  reflect.Type
	pointer bool // goType is behind a pointer
	typ     pluginv1.Parameter_Type
	scalar  *Scalar // for scalars
	element *value  // for lists and maps
	object  *object // for objects
	rules   rules
}

// secret reports whether v or its elements are secret.
func (v *value) secret() bool {
	for ; v != nil; v = v.element {
		if v.scalar != nil && v.scalar.Secret {
			return true
		}
	}
	return false
}

// Parameters returns the manifest's form of the spec.
func (s *Spec) Parameters() []*pluginv1.Parameter { return s.root.parameters() }

func (o *object) parameters() []*pluginv1.Parameter {
	list := make([]*pluginv1.Parameter, 0, len(o.fields))
	for _, f := range o.fields {
		p := &pluginv1.Parameter{
			Name:        f.name,
			Type:        f.value.typ,
			Required:    f.required,
			Default:     string(f.def),
			Description: f.doc,
			Secret:      f.value.secret(),
			Xor:         f.xor,
			Deprecated:  f.deprecated,
		}
		leaf := f.value
		if leaf.element != nil {
			leaf = leaf.element
			p.Element = leaf.typ
		}
		if leaf.object != nil {
			p.Fields = leaf.object.parameters()
		}
		p.Enum, p.Min, p.Max, p.Pattern = leaf.rules.enum, leaf.rules.minText, leaf.rules.maxText, leaf.rules.patternText
		list = append(list, p)
	}
	return list
}
