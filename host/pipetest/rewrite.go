package pipetest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Stand names the components that stand in for sources and sinks: each has one
// parameter, `path`.
type Stand struct{ Source, Sink string }

// staged is a case as a pipeline of its own.
type staged struct {
	source []byte // the pipeline file
	// in and out are the files of records, by source node and by what Expect
	// names.
	in, out map[string]string
}

// stage rewrites the pipeline's file for a case. Sources read the case's records,
// sinks write what they get to files in dir, and so do more sinks behind every
// other output that the case looks at. What concerns where state lies, how often
// checkpoints are made and how many tasks there are goes: a case has one task a
// node, so that its order is certain.
func stage(p *pipeline.Pipeline, c Case, stand Stand, dir string) (staged, error) {
	s := staged{in: map[string]string{}, out: map[string]string{}}
	file, nodes, err := reread(p)
	if err != nil {
		return s, err
	}
	file = slices.DeleteFunc(file, func(item yaml.MapItem) bool {
		switch item.Key {
		case "parallelism", "guarantee", "checkpoint", "restart", "nodes":
			return true
		}
		return false
	})
	kinds := map[string]pluginv1.Kind{}
	for _, n := range p.Nodes {
		kinds[n.Name] = n.Kind
	}
	var staging yaml.MapSlice
	for _, item := range nodes {
		name := fmt.Sprint(item.Key)
		fields, ok := item.Value.(yaml.MapSlice)
		if !ok {
			return s, fmt.Errorf("node %s is no map", name)
		}
		var kept yaml.MapSlice
		for _, f := range fields {
			replaced := kinds[name] != pluginv1.Kind_KIND_OPERATOR && slices.Contains([]string{"source", "sink", "config", "isolation"}, fmt.Sprint(f.Key))
			if f.Key != "parallelism" && !replaced {
				kept = append(kept, f)
			}
		}
		switch kinds[name] {
		case pluginv1.Kind_KIND_SOURCE:
			s.in[name] = filepath.Join(dir, fmt.Sprintf("in-%d.jsonl", len(s.in)))
			kept = append(component("source", stand.Source, s.in[name]), kept...)
		case pluginv1.Kind_KIND_SINK:
			s.out[name] = outFile(dir, len(s.out))
			kept = append(component("sink", stand.Sink, s.out[name]), kept...)
		}
		staging = append(staging, yaml.MapItem{Key: name, Value: kept})
	}
	for _, e := range c.Expect {
		if s.out[e.Node] != "" {
			continue
		}
		s.out[e.Node] = outFile(dir, len(s.out))
		tap := append(component("sink", stand.Sink, s.out[e.Node]), yaml.MapItem{Key: "input", Value: e.Node})
		staging = append(staging, yaml.MapItem{Key: tapName(kinds, e.Node), Value: tap})
	}
	file = append(file,
		yaml.MapItem{Key: "restart", Value: yaml.MapSlice{{Key: "attempts", Value: 0}}},
		yaml.MapItem{Key: "checkpoint", Value: yaml.MapSlice{{Key: "interval", Value: "1h"}, {Key: "timeout", Value: "1h"}}},
		yaml.MapItem{Key: "nodes", Value: staging})
	s.source, err = yaml.Marshal(file)
	return s, err
}

// reread reads the pipeline's file again, in its order; and its nodes, with aliases
// written out.
func reread(p *pipeline.Pipeline) (file, nodes yaml.MapSlice, err error) {
	var whole struct {
		Nodes yaml.MapSlice `yaml:"nodes"`
	}
	if err = yaml.UnmarshalWithOptions(p.Source, &file, yaml.UseOrderedMap()); err == nil {
		err = yaml.UnmarshalWithOptions(p.Source, &whole, yaml.UseOrderedMap())
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read %s again: %w", p.File, err)
	}
	return file, whole.Nodes, nil
}

func component(kind, name, path string) yaml.MapSlice {
	return yaml.MapSlice{
		{Key: kind, Value: name},
		{Key: "config", Value: yaml.MapSlice{{Key: "path", Value: strings.ReplaceAll(path, "${", "$${")}}},
	}
}

func outFile(dir string, n int) string { return filepath.Join(dir, fmt.Sprintf("out-%d.jsonl", n)) }

// tapName is a name that no node has.
func tapName(kinds map[string]pluginv1.Kind, of string) string {
	name := "look-" + strings.ReplaceAll(of, ".", "-")
	for _, taken := kinds[name]; taken; _, taken = kinds[name] {
		name += "-"
	}
	kinds[name] = pluginv1.Kind_KIND_SINK
	return name
}

// WithoutSinks rewrites the pipeline's file: every sink is this first-party component,
// which takes no parameters. What it demands of its sinks and says of where its
// checkpoints are stored goes.
func WithoutSinks(p *pipeline.Pipeline, sink string) ([]byte, error) {
	file, nodes, err := reread(p)
	if err != nil {
		return nil, err
	}
	for i, item := range nodes {
		fields, ok := item.Value.(yaml.MapSlice)
		if n := p.Node(fmt.Sprint(item.Key)); !ok || n == nil || n.Kind != pluginv1.Kind_KIND_SINK {
			continue
		}
		kept := yaml.MapSlice{{Key: "sink", Value: sink}}
		for _, f := range fields {
			if !slices.Contains([]string{"sink", "config", "on_error"}, fmt.Sprint(f.Key)) {
				kept = append(kept, f)
			}
		}
		nodes[i].Value = kept
	}
	out := yaml.MapSlice{}
	for _, item := range file {
		switch checkpoint, _ := item.Value.(yaml.MapSlice); item.Key {
		case "guarantee":
			continue
		case "nodes":
			item.Value = nodes
		case "checkpoint":
			item.Value = slices.DeleteFunc(checkpoint, func(f yaml.MapItem) bool { return f.Key == "storage" })
		}
		out = append(out, item)
	}
	return yaml.Marshal(out)
}
