package schema

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// tables are the places of a page that hold the fields of a definition.
var tables = regexp.MustCompile(`(?s)<!-- fields of (\S+) -->\n.*?<!-- end of fields -->\n`)

// Fill returns a Markdown page whose tables of fields, each between
// `<!-- fields of NAME -->` and `<!-- end of fields -->`, are what the schema says
// today. NAME is "pipeline" or a definition of the schema.
func Fill(page []byte) ([]byte, error) {
	// JSON is YAML, whose decoder keeps the order of fields.
	var root yaml.MapSlice
	if err := yaml.UnmarshalWithOptions(base, &root, yaml.UseOrderedMap()); err != nil {
		return nil, fmt.Errorf("the built-in schema: %w", err)
	}
	r := fieldsReader{defs: inside(root, "$defs")}
	var fault error
	filled := tables.ReplaceAllFunc(page, func(old []byte) []byte {
		name := string(tables.FindSubmatch(old)[1])
		def := root
		if name != "pipeline" {
			if def = inside(r.defs, name); def == nil {
				fault = fmt.Errorf("the page asks for the fields of %q, which the schema does not define", name)
			}
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "<!-- fields of %s -->\n| field | value | default | meaning |\n|---|---|---|---|\n", name)
		r.rows(&b, "", def)
		b.WriteString("<!-- end of fields -->\n")
		return b.Bytes()
	})
	return filled, fault
}

// fieldsReader writes what a schema says of fields.
type fieldsReader struct{ defs yaml.MapSlice }

// rows writes a row for each property of an object, and of those inside it, also
// where an object is one way among several.
func (r fieldsReader) rows(b *bytes.Buffer, prefix string, object yaml.MapSlice) {
	ways, _ := find(object, "anyOf").([]any)
	for _, way := range ways {
		r.rows(b, prefix, way.(yaml.MapSlice))
	}
	required, _ := find(object, "required").([]any)
	for _, p := range inside(object, "properties") {
		name, s := prefix+p.Key.(string), p.Value.(yaml.MapSlice)
		def, meaning := text(s, "default"), text(s, "description")
		target := r.follow(s)
		if meaning == "" {
			meaning = text(target, "description")
		}
		switch {
		case slices.Contains(required, p.Key):
			def = "required"
		case def != "":
			def = "`" + def + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, strings.Join(r.values(s), ", "), def, strings.ReplaceAll(meaning, "|", `\|`))
		r.rows(b, name+".", s)
		// An object of objects: its fields stand below any name.
		r.rows(b, name+".NAME.", inside(s, "additionalProperties"))
	}
}

// values says what a field may be, a phrase for each way. A reference, which may
// stand wherever a scalar does, is none of them.
func (r fieldsReader) values(s yaml.MapSlice) []string {
	if title := text(s, "title"); title != "" {
		return []string{title}
	}
	if name := target(s); name == "reference" {
		return nil
	} else if name != "" {
		return r.values(inside(r.defs, name))
	}
	if c := find(s, "const"); c != nil {
		return []string{fmt.Sprintf("`%v`", c)}
	}
	var all []string
	if enum, ok := find(s, "enum").([]any); ok {
		for _, v := range enum {
			all = append(all, fmt.Sprintf("`%v`", v))
		}
		return all
	}
	if ways, ok := find(s, "anyOf").([]any); ok {
		for _, way := range ways {
			for _, v := range r.values(way.(yaml.MapSlice)) {
				if !slices.Contains(all, v) {
					all = append(all, v)
				}
			}
		}
		return all
	}
	switch t := find(s, "type").(type) {
	case string:
		return []string{t}
	case []any:
		for _, t := range t {
			if t != "null" {
				all = append(all, fmt.Sprint(t))
			}
		}
	}
	return all
}

// follow returns what a schema refers to, or itself.
func (r fieldsReader) follow(s yaml.MapSlice) yaml.MapSlice {
	if name := target(s); name != "" {
		return inside(r.defs, name)
	}
	return s
}

// target is the definition that a schema refers to, or "".
func target(s yaml.MapSlice) string { return strings.TrimPrefix(text(s, "$ref"), "#/$defs/") }

func find(s yaml.MapSlice, key string) any {
	for _, item := range s {
		if item.Key == key {
			return item.Value
		}
	}
	return nil
}

func inside(s yaml.MapSlice, key string) yaml.MapSlice {
	v, _ := find(s, key).(yaml.MapSlice)
	return v
}

// text is a scalar as a pipeline file would have it, or "".
func text(s yaml.MapSlice, key string) string {
	if v := find(s, key); v != nil {
		return fmt.Sprint(v)
	}
	return ""
}
