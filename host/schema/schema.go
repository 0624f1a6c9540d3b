// Package schema writes one JSON Schema (draft 2020-12) for pipeline files, with
// the parameters of every component that is installed, so that an editor completes
// and checks a file while it is written.
//
// What the file itself may say stands in pipeline.json; what components take comes
// from their manifests. A schema knows less than weir validate: no graph, no
// expression, and no value that is resolved at the start only, so ${...} may stand
// wherever a scalar does.
package schema

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

//go:embed pipeline.json
var base []byte

// Component is one component and the names that a pipeline file may call it by.
type Component struct {
	Names []string
	Spec  *pluginv1.Component
}

// object is a JSON object; encoding/json writes its keys in order.
type object = map[string]any

// Of returns the schema for files that use these components.
func Of(components []Component) ([]byte, error) {
	var schema object
	if err := json.Unmarshal(base, &schema); err != nil {
		return nil, fmt.Errorf("the built-in schema: %w", err)
	}
	defs := schema["$defs"].(object)
	node := defs["node"].(object)
	var rules []any
	for _, kind := range []pluginv1.Kind{pluginv1.Kind_KIND_SOURCE, pluginv1.Kind_KIND_OPERATOR, pluginv1.Kind_KIND_SINK} {
		field := pipeline.KindName(kind)
		var names []any
		for _, c := range components {
			if c.Spec.GetKind() != kind || len(c.Names) == 0 {
				continue
			}
			def := field + " " + c.Names[0]
			defs[def] = config(c.Spec)
			then := object{"properties": object{"config": object{"$ref": "#/$defs/" + def}}}
			if needsConfig(c.Spec.GetParameters()) {
				then["required"] = []any{"config"}
			}
			rules = append(rules, object{
				"if":   object{"required": []any{field}, "properties": object{field: object{"enum": anys(c.Names)}}},
				"then": then,
			})
			for _, name := range c.Names {
				names = append(names, object{"const": name, "description": c.Spec.GetSummary()})
			}
		}
		// A component of a plugin that is not installed here is named with it.
		names = append(names, object{"type": "string", "pattern": "^[a-z][a-z0-9-]*/."}, ref("reference"))
		node["properties"].(object)[field].(object)["anyOf"] = names
	}
	if len(rules) > 0 {
		node["allOf"] = rules
	}
	return json.MarshalIndent(schema, "", "  ")
}

// config is the schema of a component's configuration.
func config(c *pluginv1.Component) object {
	s := fields(c.GetParameters())
	if !needsConfig(c.GetParameters()) {
		s["type"] = []any{"object", "null"}
	}
	s["title"] = c.GetName()
	if c.GetSummary() != "" {
		s["description"] = c.GetSummary()
	}
	return s
}

func needsConfig(params []*pluginv1.Parameter) bool {
	return slices.ContainsFunc(params, func(p *pluginv1.Parameter) bool { return p.GetRequired() })
}

// fields is the schema of an object with these fields.
func fields(params []*pluginv1.Parameter) object {
	properties := object{}
	var required []any
	groups := map[string][]*pluginv1.Parameter{}
	var order []string
	for _, p := range params {
		properties[p.GetName()] = parameter(p)
		switch x := p.GetXor(); {
		case x != "":
			if groups[x] == nil {
				order = append(order, x)
			}
			groups[x] = append(groups[x], p)
		case p.GetRequired():
			required = append(required, p.GetName())
		}
	}
	s := object{"type": "object", "additionalProperties": false, "properties": properties}
	if required != nil {
		s["required"] = required
	}
	var rules []any
	for _, x := range order {
		rules = append(rules, exclusive(groups[x]))
	}
	if rules != nil {
		s["allOf"] = rules
	}
	return s
}

// exclusive allows one parameter of the group, or asks for one where any of them
// is required.
func exclusive(group []*pluginv1.Parameter) object {
	var each []any
	for _, p := range group {
		each = append(each, object{"required": []any{p.GetName()}})
	}
	if needsConfig(group) {
		return object{"oneOf": each}
	}
	return object{"oneOf": append(slices.Clone(each), object{"not": object{"anyOf": each}})}
}

func parameter(p *pluginv1.Parameter) object {
	s := shape(p)
	if !p.GetRequired() && p.GetType() != pluginv1.Parameter_TYPE_ANY {
		// `field:` with nothing behind it counts as absent.
		s = object{"anyOf": []any{s, object{"type": "null"}}}
	}
	if p.GetDescription() != "" {
		s["description"] = p.GetDescription()
	}
	if p.GetDefault() != "" {
		s["default"] = json.RawMessage(p.GetDefault())
	}
	if p.GetDeprecated() != "" {
		s["deprecated"] = true
	}
	if p.GetSecret() {
		s["writeOnly"] = true
	}
	return s
}

// shape is what a parameter's value looks like.
func shape(p *pluginv1.Parameter) object {
	switch t := p.GetType(); t {
	case pluginv1.Parameter_TYPE_OBJECT:
		if len(p.GetFields()) > 0 {
			return fields(p.GetFields())
		}
		return object{"type": "object"}
	case pluginv1.Parameter_TYPE_LIST:
		return object{"type": "array", "items": element(p)}
	case pluginv1.Parameter_TYPE_MAP:
		return object{"type": "object", "additionalProperties": element(p)}
	default:
		return value(p, t)
	}
}

func element(p *pluginv1.Parameter) object {
	if t := p.GetElement(); t != pluginv1.Parameter_TYPE_OBJECT || len(p.GetFields()) == 0 {
		return value(p, t)
	}
	return fields(p.GetFields())
}

// value is the schema of a value that is no list, map or object of declared
// fields.
func value(p *pluginv1.Parameter, t pluginv1.Parameter_Type) object {
	switch t {
	case pluginv1.Parameter_TYPE_STRING:
		s := object{"type": "string"}
		if len(p.GetEnum()) > 0 {
			s = object{"enum": anys(p.GetEnum())}
		}
		if p.GetPattern() != "" {
			s["pattern"] = "^(?:" + p.GetPattern() + ")$"
		}
		if p.GetRequired() && len(p.GetEnum()) == 0 {
			s["minLength"] = 1
		}
		if len(s) == 1 && s["type"] != nil {
			return s
		}
		return orReference(s)
	case pluginv1.Parameter_TYPE_INT:
		return orReference(bounded(p, object{"type": "integer"}))
	case pluginv1.Parameter_TYPE_FLOAT:
		return orReference(bounded(p, object{"type": "number"}))
	case pluginv1.Parameter_TYPE_BOOL:
		return orReference(object{"type": "boolean"})
	case pluginv1.Parameter_TYPE_DURATION:
		return ref("duration")
	case pluginv1.Parameter_TYPE_BYTES:
		return ref("bytes")
	case pluginv1.Parameter_TYPE_EXPRESSION:
		return object{"type": []any{"string", "number", "boolean"}}
	case pluginv1.Parameter_TYPE_CONSTANT_OR_EXPRESSION:
		return object{"anyOf": []any{
			object{"type": []any{"string", "number", "boolean"}},
			object{
				"type": "object", "additionalProperties": false, "required": []any{"expr"},
				"properties": object{"expr": object{"type": []any{"string", "number", "boolean"}}},
			},
		}}
	case pluginv1.Parameter_TYPE_OBJECT, pluginv1.Parameter_TYPE_MAP:
		return object{"type": "object"}
	case pluginv1.Parameter_TYPE_LIST:
		return object{"type": "array"}
	}
	return object{}
}

func bounded(p *pluginv1.Parameter, s object) object {
	if p.GetMin() != "" {
		s["minimum"] = json.RawMessage(p.GetMin())
	}
	if p.GetMax() != "" {
		s["maximum"] = json.RawMessage(p.GetMax())
	}
	return s
}

func ref(def string) object { return object{"$ref": "#/$defs/" + def} }

// orReference allows a reference that is resolved at the start.
func orReference(s object) object { return object{"anyOf": []any{s, ref("reference")}} }

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
