package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/console"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

func newPlugin() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "What is installed, and what a component takes",
	}
	cmd.AddCommand(newPluginList(), newPluginDescribe())
	return cmd
}

func newPluginList() *cobra.Command {
	var (
		format outputFormat
		dirs   []string
	)
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List plugins: what was found where, and what was ignored and why",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []catalog.Listing
			err := withCatalog(cmd.Context(), ".", dirs, func(c *catalog.Catalog) error {
				all = c.List(cmd.Context())
				return nil
			})
			if err == nil {
				err = printListings(cmd.OutOrStdout(), all, format)
			}
			if err != nil {
				return failed(err)
			}
			return nil
		},
	}
	format.flag(cmd)
	pluginDirFlag(cmd, &dirs)
	return cmd
}

// pluginLine is a listing as it is printed.
type pluginLine struct {
	Name       string   `json:"name"`
	Version    string   `json:"version,omitempty"`
	Protocol   int      `json:"protocol,omitempty"`
	Origin     string   `json:"origin"`
	Path       string   `json:"path,omitempty"`
	Components []string `json:"components,omitempty"`
	Ignored    string   `json:"ignored,omitempty"`
}

func printListings(w io.Writer, all []catalog.Listing, format outputFormat) error {
	lines := make([]pluginLine, 0, len(all))
	for _, l := range all {
		line := pluginLine{Name: l.Name, Protocol: l.Protocol, Origin: string(l.Origin), Path: l.Path, Ignored: l.Ignored}
		if l.Origin == catalog.BuiltIn {
			line.Path = ""
		}
		if l.Manifest != nil {
			line.Version = l.Manifest.Version
			for _, c := range l.Manifest.Components {
				line.Components = append(line.Components, pipeline.KindName(c.Kind)+" "+c.Name)
			}
		}
		lines = append(lines, line)
	}
	if format == formatJSON {
		return json.NewEncoder(w).Encode(lines)
	}
	width := console.Width(w, pageWidth)
	var b, ignored strings.Builder
	for _, l := range lines {
		from := l.Origin
		if l.Path != "" {
			from = l.Path
		}
		if l.Ignored != "" {
			// The path stands above already.
			why := strings.NewReplacer(" ("+l.Path+")", "", l.Path+" ", "").Replace(strings.TrimPrefix(l.Ignored, "plugin "+l.Name+": "))
			fmt.Fprintf(&ignored, "  %s\n%s\n", from, hanging(why, width, "    "))
			continue
		}
		fmt.Fprintf(&b, "%s %s (%s, protocol %d)\n%s\n", l.Name, l.Version, from, l.Protocol, hanging(strings.Join(l.Components, ", "), width, "  "))
	}
	if ignored.Len() > 0 {
		fmt.Fprintf(&b, "\nignored:\n%s", ignored.String())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// hanging wraps each line of s and puts an indent in front.
func hanging(s string, width int, indent string) string {
	var out []string
	for _, line := range strings.Split(s, "\n") {
		room := max(width-len(indent), 20)
		if wrapped := text.WrapSoft(line, room); !strings.Contains(strings.TrimSpace(line), " ") {
			out = append(out, indent+line) // a path, say: nothing to wrap at
		} else {
			for _, part := range strings.Split(wrapped, "\n") {
				out = append(out, strings.TrimRight(indent+part, " "))
			}
		}
	}
	return strings.Join(out, "\n")
}

func newPluginDescribe() *cobra.Command {
	var (
		format outputFormat
		dirs   []string
	)
	cmd := &cobra.Command{
		Use:   "describe COMPONENT",
		Short: "Describe a component: its parameters, outputs and capabilities",
		Long: `Describe prints what a component says about itself. COMPONENT is a name as a
pipeline file has it: file, acme/mask, or acme for all components of a plugin.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var found []catalog.Component
			err := withCatalog(cmd.Context(), ".", dirs, func(c *catalog.Catalog) (err error) {
				found, err = c.Components(cmd.Context(), pluginv1.Kind_KIND_UNSPECIFIED, args[0])
				return err
			})
			if err != nil {
				return badInput(err)
			}
			for i, c := range found {
				if i > 0 && format == formatText {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := describe(cmd.OutOrStdout(), c, format); err != nil {
					return failed(err)
				}
			}
			return nil
		},
	}
	format.flag(cmd)
	pluginDirFlag(cmd, &dirs)
	return cmd
}

func describe(w io.Writer, c catalog.Component, format outputFormat) error {
	if format == formatJSON {
		loose, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(c.Component)
		if err != nil {
			return err
		}
		// protojson sets blanks at random.
		var b bytes.Buffer
		if err := json.Compact(&b, loose); err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, b.String())
		return err
	}
	var b strings.Builder
	spec := c.Component
	width := console.Width(w, pageWidth)
	fmt.Fprintf(&b, "%s %s %s (plugin %s %s)\n%s\n", pipeline.KindName(spec.Kind), c.Ref(), spec.Version, c.Manifest.Name, c.Manifest.Version, text.WrapSoft(spec.Summary, width))
	if spec.Description != "" {
		b.WriteString("\n" + paragraphs(spec.Description, width) + "\n")
	}
	if len(spec.Parameters) > 0 {
		fmt.Fprintf(&b, "\n%s\n", parameters(spec.Parameters, width))
	}
	if names := outputNames(spec); names != "" {
		fmt.Fprintf(&b, "\noutputs: %s\n", names)
	}
	if claims := claims(spec.Capabilities); claims != "" {
		fmt.Fprintf(&b, "\nclaims: %s\n", claims)
	}
	for _, e := range spec.Examples {
		fmt.Fprintf(&b, "\n%s:\n%s\n", e.Title, indent(e.Config))
	}
	_, err := io.WriteString(w, console.Trimmed(b.String()))
	return err
}

// paragraphs wraps text whose paragraphs are divided by empty lines.
func paragraphs(s string, width int) string {
	all := strings.Split(strings.TrimSpace(s), "\n\n")
	for i, p := range all {
		all[i] = text.WrapSoft(strings.Join(strings.Fields(p), " "), width)
	}
	return strings.Join(all, "\n\n")
}

// parameters is a table of all parameters, those of objects below their object.
func parameters(params []*pluginv1.Parameter, width int) string {
	rows := parameterRows("", params)
	others := [][]string{{"PARAMETER"}, {"TYPE"}, {"DEFAULT"}}
	t := plainTable()
	t.AppendHeader(table.Row{"PARAMETER", "TYPE", "DEFAULT", "MEANING"})
	for _, row := range rows {
		for i := range others {
			others[i] = append(others[i], row[i])
		}
		t.AppendRow(table.Row{row[0], row[1], row[2], row[3]})
	}
	wrapLast(t, width, others)
	return rendered(t)
}

func parameterRows(prefix string, params []*pluginv1.Parameter) (rows [][4]string) {
	for _, p := range params {
		rows = append(rows, [4]string{prefix + p.Name, typeName(p), defaultOf(p), meaning(p)})
		rows = append(rows, parameterRows(prefix+p.Name+".", p.Fields)...)
	}
	return rows
}

// defaultOf is a parameter's default as a pipeline file would have it.
func defaultOf(p *pluginv1.Parameter) string {
	var s string
	switch {
	case p.Required:
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

func meaning(p *pluginv1.Parameter) string {
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
	if p.Deprecated != "" {
		parts = append(parts, "Deprecated: "+p.Deprecated)
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}

func outputNames(spec *pluginv1.Component) string {
	if spec.Kind == pluginv1.Kind_KIND_SINK {
		return ""
	}
	names := []string{pipeline.OutputMain}
	for _, o := range spec.Outputs {
		names = append(names, o.Name)
	}
	if spec.DynamicOutputs {
		names = append(names, "those that the configuration names")
	}
	return strings.Join(append(names, pipeline.OutputErrors), ", ")
}

func claims(c *pluginv1.Capabilities) string {
	var out []string
	for _, claim := range []struct {
		name string
		held bool
	}{
		{"bounded", c.GetBounded()},
		{"replayable", c.GetReplayable()},
		{"exactly once", c.GetExactlyOnce()},
		{"retracts", c.GetRetract()},
		{"keyed state", c.GetKeyedState()},
		{"preserves order", c.GetPreservesOrder()},
		{"preserves the key", c.GetPreservesKey()},
		{"event time", c.GetEventTime()},
		{"one task only", c.GetSingleTask()},
		{"this host only", c.GetLocal()},
		{"keeps nothing", c.GetDiscards()},
	} {
		if claim.held {
			out = append(out, claim.name)
		}
	}
	return strings.Join(out, ", ")
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ")
}
