package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/internal/scaffold"
)

func newPluginNew() *cobra.Command {
	var o scaffold.Options
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make the module of a new plugin: a component that works, its tests and a pipeline",
		Long: `New makes a Go module for a plugin with one component, both called NAME, to change
into your own: a source of files, an operator on JSON fields or, with --keyed, one
that counts by key and event time, or an exactly-once sink; with unit tests, a
conformance.yaml, a README, a Makefile and a pipeline that runs. No file is ever
overwritten.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name, o.Version = args[0], sdkVersion()
			made, err := scaffold.New(cmd.Context(), o)
			var input *scaffold.InputError
			switch {
			case errors.As(err, &input):
				return badInput(err)
			case err != nil:
				return failed(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), `%s holds the %s %s: %s

  cd %s
  make test          runs its unit tests
  make conformance   puts it through the conformance kit
  make run           runs pipeline.yaml
`, made.Dir, o.Kind, o.Name, strings.Join(made.Files, ", "), made.Dir)
			return err
		},
	}
	cmd.Flags().StringVar(&o.Kind, "kind", "", "source, operator or sink")
	cmd.Flags().BoolVar(&o.Keyed, "keyed", false, "an operator that remembers by key, with timers")
	cmd.Flags().StringVar(&o.Dir, "dir", "", "folder to write to (default weir-plugin-NAME)")
	cmd.Flags().StringVar(&o.Module, "module", "", "path of the Go module (default example.org/weir-plugin-NAME)")
	cmd.Flags().StringVar(&o.SDK, "sdk", "", "a checkout of Weir to build against, in place of a released version")
	return cmd
}

// sdkVersion is the version of the module that this weir was built from; empty where
// it is no release.
func sdkVersion() string {
	v := version
	if info, ok := debug.ReadBuildInfo(); ok && v == "" {
		v = info.Main.Version
	}
	if !strings.HasPrefix(v, "v") || strings.Contains(v, "+") {
		return ""
	}
	return v
}
