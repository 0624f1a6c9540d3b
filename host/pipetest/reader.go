package pipetest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/yamlfile"
	"github.com/weirstream/weir/proto/wire"
)

// reader reads values of the file and gathers every fault.
type reader struct {
	file   string
	faults []pipeline.Fault
}

// node is a value with the path that leads to it; its Value is nil where the file
// has none.
type node struct {
	path, name string
	key        yamlfile.Pos // where its key stands
	*yamlfile.Value
}

func (n node) present() bool { return n.Value != nil && n.Kind != yamlfile.Null }

func (n node) pos() yamlfile.Pos {
	if n.Value == nil {
		return n.key
	}
	return n.Pos
}

func (r *reader) failed() bool { return len(r.faults) > 0 }

func (r *reader) fault(pos yamlfile.Pos, path string, code pipeline.Code, hint, format string, args ...any) {
	r.faults = append(r.faults, pipeline.Fault{
		File: r.file, Line: pos.Line, Column: pos.Column, Field: path, Code: code, Hint: hint, Message: fmt.Sprintf(format, args...),
	})
}

func (r *reader) wrongType(n node, want string) {
	r.fault(n.pos(), n.path, CodeType, "", "must be %s, not %s", want, n.Kind)
}

// fields returns the fields of a map and reports those that are not known.
func (r *reader) fields(n node, known ...string) map[string]node {
	out := map[string]node{}
	for _, e := range r.entries(n) {
		if !slices.Contains(known, e.name) {
			r.fault(e.key, e.path, CodeUnknownField, pipeline.Suggest(e.name, known), "unknown field %q", e.name)
			continue
		}
		out[e.name] = e
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
		out = append(out, node{path: yamlfile.Key(n.path, e.Key), name: e.Key, key: e.KeyPos, Value: e.Value})
	}
	return out
}

func (r *reader) list(n node, of string) []node {
	if !n.present() {
		return nil
	}
	if n.Kind != yamlfile.List {
		r.wrongType(n, "a list of "+of)
		return nil
	}
	var out []node
	for i, item := range n.Items {
		out = append(out, node{path: yamlfile.Index(n.path, i), key: item.Pos, Value: item})
	}
	return out
}

func (r *reader) text(n node) (string, bool) {
	if !n.present() {
		return "", false
	}
	if n.Kind == yamlfile.List || n.Kind == yamlfile.Map || n.Text == "" {
		r.wrongType(n, "a string")
		return "", false
	}
	return n.Text, true
}

// records reads a list of records. A text alone is a value; `json` in place of
// `value` is compared as JSON; a time may be written as RFC 3339.
func (r *reader) records(n node) []Expected {
	out := []Expected{}
	for _, item := range r.list(n, "records") {
		e, err := record(item.Value)
		if err != nil {
			r.fault(item.pos(), item.path, CodeRecord, "", "is no record: %v", err)
			continue
		}
		out = append(out, e)
	}
	return out
}

func record(v *yamlfile.Value) (Expected, error) {
	var e Expected
	if v.Kind != yamlfile.Map {
		if v.Kind == yamlfile.List {
			return e, fmt.Errorf("it is a text, or a map with key, value or json, time and headers")
		}
		e.Record = exchange.Record{Value: []byte(v.Text), Time: wire.NoTime}
		e.Has.Value = true
		return e, nil
	}
	fields := map[string]any{}
	for _, f := range v.Entries {
		switch {
		case f.Key == "json":
			e.JSON = marshal(jsonOf(f.Value))
		case f.Key == "time" && f.Value.Kind == yamlfile.String:
			t, err := time.Parse(time.RFC3339Nano, f.Value.Text)
			if err != nil {
				return e, fmt.Errorf("\"time\" is an integer, nanoseconds since the Unix epoch, or RFC 3339: %w", err)
			}
			fields[f.Key] = t.UnixNano()
		default:
			fields[f.Key] = jsonOf(f.Value)
		}
	}
	if _, both := fields["value"]; both && e.JSON != nil {
		return e, fmt.Errorf("\"value\" and \"json\" exclude each other")
	}
	parsed, err := exchange.Parse(marshal(fields))
	if err != nil {
		return e, err
	}
	e.Expected = parsed
	if e.JSON != nil {
		e.Value = e.JSON
	}
	return e, nil
}

// marshal keeps <, > and & as they are. What it is given can always be encoded.
func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// jsonOf is a value of the file as JSON has it; integers stay exact.
func jsonOf(v *yamlfile.Value) any {
	switch v.Kind {
	case yamlfile.Null:
		return nil
	case yamlfile.Bool:
		return strings.EqualFold(v.Text, "true")
	case yamlfile.Int:
		if n, ok := new(big.Int).SetString(v.Text, 0); ok {
			return json.Number(n.String())
		}
	case yamlfile.Float:
		if _, err := strconv.ParseFloat(v.Text, 64); err == nil && json.Valid([]byte(v.Text)) {
			return json.Number(v.Text)
		}
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

// canonical is JSON with sorted keys and without spaces; nil where b is no JSON.
func canonical(b []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return nil
	}
	return marshal(v)
}

// bytesOf is a key or value as the file has it.
func bytesOf(b []byte) any {
	switch {
	case b == nil:
		return nil
	case utf8.Valid(b):
		return string(b)
	}
	return map[string]string{"base64": base64.StdEncoding.EncodeToString(b)}
}
