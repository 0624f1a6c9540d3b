package format

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/avro"
)

// locate finds where in a schema an error is, which its parser does not tell: it
// parses ever larger parts of it. place is a path such as fields[2].type, or a line
// and column where the text is no JSON.
func locate(text string, err error) (place, message string) {
	var schema any
	if jsonErr := json.Unmarshal([]byte(text), &schema); jsonErr != nil {
		var syntax *json.SyntaxError
		if errors.As(jsonErr, &syntax) {
			return syntaxPlace(text, syntax.Offset), "is not valid JSON: " + syntax.Error()
		}
		return "", jsonErr.Error()
	}
	l := &locator{err: err}
	place = l.find(schema, func(part any) any { return part })
	message = l.err.Error()
	for _, wrapping := range []string{"invalid record field: ", "invalid union type: ", "invalid array items: ", "invalid map values: "} {
		for strings.HasPrefix(message, wrapping) {
			message = strings.TrimPrefix(message, wrapping)
		}
	}
	return place, message
}

type locator struct{ err error } // that of the smallest part that has one

// fails parses a schema, and keeps the error.
func (l *locator) fails(schema any) bool {
	text, err := json.Marshal(schema)
	if err != nil {
		return false
	}
	parsed, err := avro.Parse(string(text))
	if err == nil {
		_, err = compileAvro(parsed)
	}
	if err != nil {
		l.err = err
	}
	return err != nil
}

// find returns the path of the fault within part, which has one. whole puts a part
// in its place within the schema, as far as it precedes the fault.
func (l *locator) find(part any, whole func(any) any) string {
	switch p := part.(type) {
	case []any:
		for i := range p {
			within := func(branch any) any {
				return whole(append(append([]any{}, p[:i]...), branch))
			}
			if l.fails(within(p[i])) {
				return join(fmt.Sprintf("[%d]", i), l.find(p[i], within))
			}
		}
	case map[string]any:
		switch p["type"] {
		case "record", "error":
			return l.record(p, whole)
		case "array":
			return l.member(p, "items", whole)
		case "map":
			return l.member(p, "values", whole)
		}
		if _, nested := p["type"].(string); !nested && p["type"] != nil {
			return l.member(p, "type", whole)
		}
	}
	return ""
}

// member looks into a member that holds a schema.
func (l *locator) member(p map[string]any, name string, whole func(any) any) string {
	inner, ok := p[name]
	if !ok {
		return ""
	}
	if l.fails(whole(with(p, name, "null"))) {
		return ""
	}
	within := func(v any) any { return whole(with(p, name, v)) }
	if !l.fails(within(inner)) {
		return ""
	}
	return join(name, l.find(inner, within))
}

func (l *locator) record(p map[string]any, whole func(any) any) string {
	fields, ok := p["fields"].([]any)
	if !ok || l.fails(whole(with(p, "fields", []any{}))) {
		return ""
	}
	for i, f := range fields {
		within := func(v any) any {
			return whole(with(p, "fields", append(append([]any{}, fields[:i]...), v)))
		}
		if !l.fails(within(f)) {
			continue
		}
		at := fmt.Sprintf("fields[%d]", i)
		field, ok := f.(map[string]any)
		if !ok || field["type"] == nil {
			return at
		}
		plain := with(field, "type", field["type"])
		delete(plain, "default")
		typed := func(t any) any { return within(with(plain, "type", t)) }
		switch {
		case l.fails(typed("null")):
			return at
		case l.fails(typed(field["type"])):
			return join(at+".type", l.find(field["type"], typed))
		}
		l.fails(within(f)) // its error is the one
		return at + ".default"
	}
	return ""
}

// with returns a copy of an object with one member changed.
func with(object map[string]any, name string, v any) map[string]any {
	out := make(map[string]any, len(object)+1)
	for k, old := range object {
		out[k] = old
	}
	out[name] = v
	return out
}

func join(path, rest string) string {
	if rest == "" || rest[0] == '[' {
		return path + rest
	}
	return path + "." + rest
}
