package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/console"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/reference"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

func newPluginDescribe() *cobra.Command {
	var (
		format outputFormat
		dirs   []string
		file   string
		pages  string
	)
	cmd := &cobra.Command{
		Use:   "describe COMPONENT",
		Short: "Describe a component: its parameters, outputs and claims",
		Long: `Describe prints what a component says about itself. COMPONENT is a name as a
pipeline file has it: file, acme/mask, or acme for all components of a plugin. It may
also be the path of a plugin's executable: ./bin/weir-plugin-acme.

With --pages it writes Markdown files instead, one a component and an index.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			plugins, err := declared(file)
			if err != nil {
				return err
			}
			var found []catalog.Component
			err = withCatalog(cmd.Context(), filepath.Dir(file), dirs, func(c *catalog.Catalog) error {
				found, err = find(cmd.Context(), c, args[0], plugins)
				return err
			})
			if err != nil {
				return badInput(err)
			}
			if pages != "" {
				return writePages(cmd.OutOrStdout(), pages, reference.Pages(found))
			}
			for i, c := range found {
				if i > 0 && format != formatJSON {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := describe(cmd.OutOrStdout(), c, format); err != nil {
					return failed(err)
				}
			}
			return nil
		},
	}
	format.flag(cmd, formatMarkdown)
	pluginDirFlag(cmd, &dirs)
	pipelineFlag(cmd, &file)
	cmd.Flags().StringVar(&pages, "pages", "", "folder to write Markdown pages to; what they replace is overwritten")
	return cmd
}

// find finds components by a name of the pipeline file's, or all of an executable's
// by its path.
func find(ctx context.Context, c *catalog.Catalog, ref string, declared []pipeline.Plugin) ([]catalog.Component, error) {
	if !isPath(ref) {
		return c.Components(ctx, pluginv1.Kind_KIND_UNSPECIFIED, ref, declared...)
	}
	path, err := filepath.Abs(ref)
	if err != nil {
		return nil, err
	}
	return c.ComponentsOf(ctx, path)
}

// isPath tells ./acme and /opt/acme from acme/mask.
func isPath(s string) bool {
	return filepath.IsAbs(s) || strings.HasPrefix(s, "."+string(filepath.Separator)) || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "..")
}

// writePages writes pages into a folder, which is made if need be.
func writePages(w io.Writer, dir string, pages []reference.Page) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return badInput(fmt.Errorf("--pages: %w", err))
	}
	for _, p := range pages {
		if err := os.WriteFile(filepath.Join(dir, p.Name), []byte(p.Text), 0o644); err != nil {
			return failed(err)
		}
	}
	_, err := fmt.Fprintf(w, "%d pages in %s\n", len(pages), dir)
	return err
}

func describe(w io.Writer, c catalog.Component, format outputFormat) error {
	switch format {
	case formatMarkdown:
		_, err := io.WriteString(w, reference.Markdown(c))
		return err
	case formatJSON:
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
	var outputs []string
	for _, o := range reference.Outputs(spec) {
		outputs = append(outputs, cmp.Or(o.Name, o.Summary))
	}
	if len(outputs) > 0 {
		fmt.Fprintf(&b, "\noutputs: %s\n", strings.Join(outputs, ", "))
	}
	var claims []string
	for _, claim := range reference.Claims(spec.Capabilities) {
		claims = append(claims, claim.Name)
	}
	if len(claims) > 0 {
		fmt.Fprintf(&b, "\nclaims: %s\n", strings.Join(claims, ", "))
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
	rows := reference.Rows(params)
	others := [][]string{{"PARAMETER"}, {"TYPE"}, {"DEFAULT"}}
	t := plainTable()
	t.AppendHeader(table.Row{"PARAMETER", "TYPE", "DEFAULT", "MEANING"})
	for _, row := range rows {
		for i, cell := range []string{row.Name, row.Type, row.Default} {
			others[i] = append(others[i], cell)
		}
		t.AppendRow(table.Row{row.Name, row.Type, row.Default, row.Meaning})
	}
	wrapLast(t, width, others)
	return rendered(t)
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ")
}
