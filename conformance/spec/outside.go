package spec

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/yamlfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// outside reads a command, or a component of the kind.
func (r *reader) outside(n node, kind pluginv1.Kind) *Outside {
	if !n.present() {
		return nil
	}
	o := &Outside{Pos: n.pos(), Path: n.path, Kind: kind, Format: exchange.JSONLines}
	if n.Kind != yamlfile.Map {
		o.Command = r.command(n)
		return o
	}
	word := pipeline.KindName(kind)
	fs := r.fields(n, "command", "format", "timeout", word, "config", "shows_uncommitted")
	if f := fs["shows_uncommitted"]; f.present() {
		o.ShowsUncommitted = r.boolean(f)
		if kind != pluginv1.Kind_KIND_SOURCE {
			r.fault(f.key, f.path, CodeUnknownField, "", "what is fed is not committed")
		}
	}
	command, component := fs["command"], fs[word]
	switch {
	case command.present() == component.present():
		r.fault(n.pos(), n.path, CodeRequired, "", "must have exactly one of `command` and `%s`", word)
	case command.present():
		o.Command = r.command(command)
		if f, ok := r.oneOf(fs["format"], string(exchange.JSONLines), string(exchange.Lines)); ok {
			o.Format = exchange.Format(f)
		}
		o.Timeout = r.duration(fs["timeout"], 0)
		if f := fs["config"]; f.present() {
			r.fault(f.key, f.path, CodeUnknownField, "", "a command has no `config`")
		}
	default:
		o.Component, _ = r.text(component)
		o.Config = r.config(n, fs["config"], "config")
		for _, name := range []string{"format", "timeout"} {
			if f := fs[name]; f.present() {
				r.fault(f.key, f.path, CodeUnknownField, "", "a component has no `%s`", name)
			}
		}
	}
	return o
}

// input reads a list of records, or a map from port to one.
func (r *reader) input(n node) map[string][]exchange.Record {
	if !n.present() {
		return nil
	}
	out := make(map[string][]exchange.Record)
	add := func(port string, list node) {
		out[port] = []exchange.Record{}
		for _, e := range r.records(list) {
			out[port] = append(out[port], e.Record)
		}
	}
	if n.Kind == yamlfile.List {
		add("", n)
		return out
	}
	for _, e := range r.entries(n) {
		add(e.path[len(n.path)+1:], e)
	}
	return out
}

// expect reads a list of records of the main output, or a map from output to one.
func (r *reader) expect(n node) map[string][]exchange.Expected {
	if !n.present() {
		return nil
	}
	if n.Kind == yamlfile.List {
		return map[string][]exchange.Expected{pipeline.OutputMain: r.records(n)}
	}
	out := make(map[string][]exchange.Expected)
	for _, e := range r.entries(n) {
		out[e.path[len(n.path)+1:]] = r.records(e)
	}
	return out
}

func (r *reader) records(n node) []exchange.Expected {
	out := []exchange.Expected{}
	for _, item := range r.list(n, "records") {
		if item.Kind != yamlfile.Map {
			r.wrongType(item, "a record: {key: ..., value: ...}")
			continue
		}
		object, err := json.Marshal(jsonOf(item.Value))
		if err == nil {
			var e exchange.Expected
			if e, err = exchange.Parse(object); err == nil {
				out = append(out, e)
				continue
			}
		}
		r.fault(item.pos(), item.path, CodeRecord, "", "is no record: %s", fmt.Sprint(err))
	}
	return out
}

func (r *reader) template(n node) Template {
	var t Template
	fs := r.fields(n, "key", "value", "count", "max_size")
	one := func(f node) *string {
		if !f.present() {
			return nil
		}
		if f.Kind == yamlfile.List || f.Kind == yamlfile.Map {
			r.wrongType(f, "a string")
			return nil
		}
		return &f.Text
	}
	t.Key, t.Value = one(fs["key"]), one(fs["value"])
	if v := fs["value"]; t.Value != nil && !strings.Contains(*t.Value, NumberMark) {
		r.fault(v.pos(), v.path, CodeValue, "the kit tells records apart by it", "must hold ${N}, the record's number")
	}
	t.Count = r.integer(fs["count"], 10, 100_000)
	t.MaxSize = r.size(fs["max_size"], 1, 8<<20)
	return t
}

var carried = []string{"key", "time", "headers", "null", "empty", "binary"}

// carries reads what the outside keeps of a record. What is not said is all that
// the exchange itself can hold.
func (r *reader) carries(n node, c *Component) Carries {
	if !n.present() {
		if o := c.Feed; o != nil && o.Format == exchange.Lines {
			return Carries{Empty: true}
		}
		if o := c.Read; o != nil && o.Format == exchange.Lines {
			return Carries{Empty: true}
		}
		return Carries{Key: true, Time: true, Headers: true, Null: true, Empty: true, Binary: true}
	}
	var out Carries
	for _, item := range r.list(n, "words") {
		s, ok := r.oneOf(item, carried...)
		if !ok {
			continue
		}
		switch s {
		case "key":
			out.Key = true
		case "time":
			out.Time = true
		case "headers":
			out.Headers = true
		case "null":
			out.Null = true
		case "empty":
			out.Empty = true
		case "binary":
			out.Binary = true
		}
	}
	return out
}
