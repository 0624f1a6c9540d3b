package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/console"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/process"
	"github.com/weirstream/weir/host/sarif"
)

// validation is what validate says about one file.
type validation struct {
	File       string                   `json:"file"`
	OK         bool                     `json:"ok"`
	Faults     []pipeline.Fault         `json:"faults"`
	Guarantees []pipeline.SinkGuarantee `json:"guarantees,omitempty"`
	Probes     []probeFinding           `json:"probes,omitempty"`
}

func newValidate() *cobra.Command {
	var (
		format     outputFormat
		pluginDirs []string
		connect    bool
		schemaOnly bool
	)
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check pipeline files and list every fault",
		Long: `Validate checks each file without running it: syntax, graph, every parameter of
every component. It lists all faults as file:line:column: field: message, and for
a file without any the guarantee that holds for each sink, and why.

It exits with 2 if there is any fault.

With --schema it prints a JSON Schema of pipeline files instead, with the
parameters of every component that is installed and of the plugins that FILE
declares. An editor with a YAML language server completes and checks a file that
begins with

  # yaml-language-server: $schema=weir.schema.json`,
		Args: func(cmd *cobra.Command, files []string) error {
			if schemaOnly {
				return arguments(0, 1)(cmd, files)
			}
			return arguments(1, -1)(cmd, files)
		},
		RunE: func(cmd *cobra.Command, files []string) error {
			if schemaOnly {
				return printSchema(cmd.Context(), cmd.OutOrStdout(), strings.Join(files, ""), pluginDirs)
			}
			all, err := validateFiles(cmd.Context(), files, pluginDirs, connect)
			if err != nil {
				return failed(err)
			}
			if err := printValidations(cmd.OutOrStdout(), all, format); err != nil {
				return failed(err)
			}
			for _, v := range all {
				if !v.OK {
					return badInput(nil)
				}
			}
			return nil
		},
	}
	format.flag(cmd, formatSARIF)
	pluginDirFlag(cmd, &pluginDirs)
	cmd.Flags().BoolVar(&schemaOnly, "schema", false, "print the JSON Schema of pipeline files")
	cmd.Flags().BoolVar(&connect, "connect", false, "let components ask the outside too: can it be reached, is it allowed")
	return cmd
}

// validateFiles checks the files in turn. Files of one folder that follow each other
// share the plugin processes.
func validateFiles(ctx context.Context, files, pluginDirs []string, connect bool) ([]validation, error) {
	var all []validation
	for len(files) > 0 {
		dir, n := filepath.Dir(files[0]), 1
		for n < len(files) && filepath.Dir(files[n]) == dir {
			n++
		}
		err := withCatalog(ctx, dir, pluginDirs, func(c *catalog.Catalog) error {
			for _, file := range files[:n] {
				all = append(all, validateFile(ctx, c, file, connect))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		files = files[n:]
	}
	return all, nil
}

func validateFile(ctx context.Context, c *catalog.Catalog, file string, connect bool) validation {
	p, report := pipeline.Load(ctx, file, pipeline.Options{Catalog: c})
	v := validation{File: file, OK: report.OK(), Faults: append([]pipeline.Fault{}, report.Faults...)}
	if p == nil {
		return v
	}
	v.Guarantees = p.Guarantees
	if connect {
		v.Probes = probe(ctx, c, p)
		v.OK = v.OK && len(probeFaults(v.Probes)) == 0
	}
	return v
}

func printValidations(w io.Writer, all []validation, format outputFormat) error {
	switch format {
	case formatJSON:
		return json.NewEncoder(w).Encode(all)
	case formatSARIF:
		var faults []pipeline.Fault
		for _, v := range all {
			faults = append(faults, v.Faults...)
			for _, f := range v.Probes {
				faults = append(faults, f.fault(v.File))
			}
		}
		return sarif.Write(w, currentVersion(), faults)
	}
	var b strings.Builder
	for _, v := range all {
		for _, f := range v.Faults {
			b.WriteString(f.String() + "\n")
		}
		for _, f := range v.Probes {
			fmt.Fprintf(&b, "%s: %s\n", v.File, f)
		}
		if !v.OK {
			continue
		}
		fmt.Fprintf(&b, "%s: ok\n%s\n", v.File, indent(console.Guarantees(v.Guarantees)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// withCatalog calls f with a catalog whose processes end when f has returned.
func withCatalog(ctx context.Context, dir string, pluginDirs []string, f func(*catalog.Catalog) error, changes ...func(*catalog.Config)) (err error) {
	sockets, remove, err := process.SocketDir("")
	if err != nil {
		return err
	}
	c, err := newCatalog(dir, pluginDirs, process.Options{SocketDir: sockets}, changes...)
	if err != nil {
		return err
	}
	err = f(c)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if stopErr := c.Close(stop); err == nil {
		err = stopErr
	}
	if removeErr := remove(); err == nil {
		err = removeErr
	}
	return err
}
