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
	)
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check pipeline files and list every fault",
		Long: `Validate checks each file without running it: syntax, graph, every parameter of
every component. It lists all faults as file:line:column: field: message, and for
a file without any the guarantee that holds for each sink, and why.

It exits with 2 if there is any fault.`,
		Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, files []string) error {
			var all []validation
			for _, file := range files {
				v, err := validateFile(cmd.Context(), file, pluginDirs, connect)
				if err != nil {
					return failed(err)
				}
				all = append(all, v)
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
	format.flag(cmd)
	pluginDirFlag(cmd, &pluginDirs)
	cmd.Flags().BoolVar(&connect, "connect", false, "let components ask the outside too: can it be reached, is it allowed")
	return cmd
}

func validateFile(ctx context.Context, file string, pluginDirs []string, connect bool) (v validation, err error) {
	v.File = file
	err = withCatalog(ctx, filepath.Dir(file), pluginDirs, func(c *catalog.Catalog) error {
		p, report := pipeline.Load(ctx, file, pipeline.Options{Catalog: c})
		v.OK, v.Faults = report.OK(), append([]pipeline.Fault{}, report.Faults...)
		if p == nil {
			return nil
		}
		v.Guarantees = p.Guarantees
		if connect {
			v.Probes = probe(ctx, c, p)
			v.OK = v.OK && len(probeFaults(v.Probes)) == 0
		}
		return nil
	})
	return v, err
}

func printValidations(w io.Writer, all []validation, format outputFormat) error {
	if format == formatJSON {
		return json.NewEncoder(w).Encode(all)
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
func withCatalog(ctx context.Context, dir string, pluginDirs []string, f func(*catalog.Catalog) error) (err error) {
	sockets, remove, err := process.SocketDir("")
	if err != nil {
		return err
	}
	c, err := newCatalog(dir, pluginDirs, process.Options{SocketDir: sockets})
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
