package reference

import (
	"encoding/json"
	"strings"

	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Row is one parameter as a person reads it.
type Row struct {
	// Name is the path from the configuration's root: "roll.size".
	Name string
	Type string
	// Default is as a pipeline file would have it; "required" where the parameter
	// must be set, empty where it may be left out.
	Default string
	// Meaning is the description, and what values are allowed.
	Meaning string
}

// Rows lists parameters, those of objects below their object.
func Rows(params []*pluginv1.Parameter) []Row { return appendRows(nil, "", params) }

func appendRows(rows []Row, prefix string, params []*pluginv1.Parameter) []Row {
	for _, p := range params {
		rows = append(rows, Row{prefix + p.Name, typeName(p), defaultOf(p), meaning(p, params)})
		rows = appendRows(rows, prefix+p.Name+".", p.Fields)
	}
	return rows
}

func defaultOf(p *pluginv1.Parameter) string {
	var s string
	switch {
	case p.Required && p.Xor == "":
		return "required"
	case json.Unmarshal([]byte(p.Default), &s) == nil && s != "":
		return s
	}
	return p.Default
}

func typeName(p *pluginv1.Parameter) string {
	name := func(t pluginv1.Parameter_Type) string {
		return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(t.String(), "TYPE_")), "_", " ")
	}
	switch p.Type {
	case pluginv1.Parameter_TYPE_LIST:
		return "list of " + name(p.Element)
	case pluginv1.Parameter_TYPE_MAP:
		return "map of " + name(p.Element)
	}
	return name(p.Type)
}

// meaning is told beside the parameters of the same object.
func meaning(p *pluginv1.Parameter, siblings []*pluginv1.Parameter) string {
	parts := []string{p.Description}
	if len(p.Enum) > 0 {
		parts = append(parts, "One of "+strings.Join(p.Enum, ", ")+".")
	}
	switch {
	case p.Min != "" && p.Max != "":
		parts = append(parts, "From "+p.Min+" to "+p.Max+".")
	case p.Min != "":
		parts = append(parts, "At least "+p.Min+".")
	case p.Max != "":
		parts = append(parts, "At most "+p.Max+".")
	}
	if p.Pattern != "" {
		parts = append(parts, "Matches "+p.Pattern+".")
	}
	if p.Secret {
		parts = append(parts, "Secret.")
	}
	if others, required := rivals(p, siblings); len(others) > 0 {
		rule := "Excludes "
		if required {
			rule = "Either this is required or "
		}
		parts = append(parts, rule+strings.Join(others, ", ")+".")
	}
	if p.Deprecated != "" {
		parts = append(parts, "Deprecated: "+p.Deprecated)
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}

// rivals are the parameters of which only one may be set beside p, and whether one
// must be.
func rivals(p *pluginv1.Parameter, siblings []*pluginv1.Parameter) (others []string, required bool) {
	if p.Xor == "" {
		return nil, false
	}
	for _, s := range siblings {
		if s.Xor == p.Xor {
			required = required || s.Required
			if s.Name != p.Name {
				others = append(others, s.Name)
			}
		}
	}
	return others, required
}

// Output is an output of a component and what leaves there.
type Output struct{ Name, Summary string }

// Outputs lists the outputs of a source or operator, in the order in which they are
// declared; a sink has none. An output without a name stands for those that the
// configuration names.
func Outputs(c *pluginv1.Component) []Output {
	if c.GetKind() == pluginv1.Kind_KIND_SINK {
		return nil
	}
	all := []Output{{pipeline.OutputMain, "its records"}}
	for _, o := range c.GetOutputs() {
		all = append(all, Output{o.Name, o.Summary})
	}
	if c.GetDynamicOutputs() {
		all = append(all, Output{Summary: "those that the configuration names"})
	}
	return append(all, Output{Name: pipeline.OutputErrors, Summary: "failed records, where a dead letter node asks for them"})
}

// Claim is something that a component promises or asks for.
type Claim struct{ Name, Meaning string }

// Claims lists what a component claims.
func Claims(c *pluginv1.Capabilities) []Claim {
	var held []Claim
	for _, claim := range []struct {
		held bool
		Claim
	}{
		{c.GetBounded(), Claim{"bounded", "every split has an end, so that a pipeline can finish"}},
		{c.GetReplayable(), Claim{"replayable", "reading again from a recorded position gives the same records"}},
		{c.GetExactlyOnce(), Claim{"exactly once", "shows only what a completed checkpoint holds, once"}},
		{c.GetRetract(), Claim{"retracts", "can withdraw what was published after a restored checkpoint"}},
		{c.GetKeyedState(), Claim{"keyed state", "keeps state by key; edges into it partition by key"}},
		{c.GetDiskState(), Claim{"state on disk", "can keep that on disk, with `state: disk`, where it is larger than memory"}},
		{c.GetPreservesOrder(), Claim{"preserves order", "records leave in the order in which they came"}},
		{c.GetPreservesKey(), Claim{"preserves the key", "a record leaves with the key with which it came"}},
		{c.GetByEventTime(), Claim{"by event time", "what leads to it has to set event time"}},
		{c.GetEventTime(), Claim{"event time", "sets the time of records and makes watermarks"}},
		{c.GetSingleTask(), Claim{"one task only", "its parallelism is 1"}},
		{c.GetLocal(), Claim{"this host only", "needs something of the machine, so its tasks cannot move to another"}},
		{c.GetDiscards(), Claim{"keeps nothing", "no guarantee means anything for what it gets"}},
	} {
		if claim.held {
			held = append(held, claim.Claim)
		}
	}
	return held
}
