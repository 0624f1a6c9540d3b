package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// probeTimeout bounds what one component may take to ask the outside.
const probeTimeout = 10 * time.Second

// probeFinding is what a component found outside.
type probeFinding struct {
	Node    string `json:"node"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	Warning bool   `json:"warning,omitempty"`
}

func (f probeFinding) String() string {
	fault := f.fault("")
	if f.Warning {
		return fmt.Sprintf("%s: warning: %s", fault.Field, f.Message)
	}
	return fmt.Sprintf("%s: %s", fault.Field, f.Message)
}

// fault is the finding as one of the file: components know nothing of places in it.
func (f probeFinding) fault(file string) pipeline.Fault {
	out := pipeline.Fault{File: file, Line: 1, Column: 1, Field: "nodes." + f.Node, Message: f.Message, Code: pipeline.CodeProbe}
	if f.Field != "" {
		out.Field += ".config." + f.Field
	}
	if f.Warning {
		out.Severity = pipeline.SeverityWarning
	}
	return out
}

// probe lets all nodes ask the outside at the same time. The findings are in the
// order of the nodes.
func probe(ctx context.Context, c *catalog.Catalog, p *pipeline.Pipeline) []probeFinding {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	plugins := map[string]pipeline.Plugin{}
	for _, pl := range p.Plugins {
		plugins[pl.Name] = pl
	}
	found := make([][]probeFinding, len(p.Nodes))
	var wg sync.WaitGroup
	for i, n := range p.Nodes {
		wg.Go(func() {
			r, err := c.Probe(ctx, plugins[n.Plugin], &pluginv1.ProbeRequest{
				Kind: n.Kind, Component: n.Component, Config: n.Config, SecretPaths: n.SecretPaths,
				Owner:        &pluginv1.Owner{Pipeline: p.Name, Node: n.ID},
				CommitWithin: durationpb.New(p.CommitWithin()),
			})
			if err != nil {
				found[i] = []probeFinding{{Node: n.Name, Message: p.Mask(err.Error())}}
				return
			}
			for _, f := range r.GetFaults() {
				found[i] = append(found[i], probeFinding{Node: n.Name, Field: f.Path, Message: p.Mask(f.Message), Warning: f.Warning})
			}
		})
	}
	wg.Wait()
	return slices.Concat(found...)
}

// probeFaults are the findings that keep a pipeline from running.
func probeFaults(all []probeFinding) []probeFinding {
	return slices.DeleteFunc(slices.Clone(all), func(f probeFinding) bool { return f.Warning })
}
