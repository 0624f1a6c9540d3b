package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/conformance"
	"github.com/weirstream/weir/conformance/spec"
	"github.com/weirstream/weir/host/process"
)

// conformanceFile is the file that describes a plugin to the kit, where no other is
// named.
const conformanceFile = "conformance.yaml"

func newPluginTest() *cobra.Command {
	var (
		opts     conformance.Options
		list     bool
		format   string
		file     string
		run      string
		previous string
	)
	cmd := &cobra.Command{
		Use:   "test BINARY [ARG...]",
		Short: "Run the conformance kit on a plugin",
		Long: `Test runs the conformance kit on a plugin, in whatever language it is written, and
says whether it keeps the contract. BINARY is the plugin's program, with its
arguments behind it; conformance.yaml says how to reach the outside of its
components. docs/conformance.md describes that file and every case.

Exit status: 0 all cases passed, 1 the plugin failed one, 2 it could not be tested.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if list {
				return arguments(0, 0)(cmd, args)
			}
			return arguments(1, -1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !strings.Contains(" text json junit ", " "+format+" ") {
				return badInput(fmt.Errorf("-o: %q is none of text, json, junit", format))
			}
			if run != "" {
				re, err := regexp.Compile(run)
				if err != nil {
					return badInput(fmt.Errorf("--run: %w", err))
				}
				opts.Run = re
			}
			if list {
				return listCases(cmd.OutOrStdout(), opts.Run, format)
			}
			if !cmd.Flags().Changed("seed") {
				opts.Seed = uint64(rand.Uint32())
			}
			var err error
			if opts.Config, err = openConformance(file, cmd.Flags().Changed("config")); err != nil {
				return badInput(err)
			}
			if opts.Command, err = pluginCommand(args); err != nil {
				return badInput(err)
			}
			if previous != "" {
				older, err := pluginCommand([]string{previous})
				if err != nil {
					return badInput(fmt.Errorf("--previous: %w", err))
				}
				opts.Previous = &older
			}
			self, err := os.Executable()
			if err != nil {
				return failed(err)
			}
			opts.FirstParty = process.Command{Name: "weir", Args: []string{self, servePlugin}}
			opts.HostVersion = currentVersion()
			if format == "text" {
				opts.Done = func(r conformance.Result) {
					if r.Status == conformance.Pass {
						fmt.Fprintf(cmd.OutOrStdout(), "pass  %s %s: %s\n", r.Case, r.Target, r.Title)
					}
				}
			}
			report, err := conformance.Run(cmd.Context(), opts)
			var input *conformance.InputError
			switch {
			case errors.As(err, &input):
				return badInput(input.Err)
			case err != nil:
				return failed(err)
			}
			if err := writeReport(cmd.OutOrStdout(), report, format); err != nil {
				return failed(err)
			}
			switch {
			case report.Count(conformance.Broken) > 0:
				return &exitError{exitInput, nil}
			case report.Count(conformance.Fail) > 0:
				return &exitError{exitFailed, nil}
			case report.Count(conformance.Pass) == 0:
				return badInput(errors.New("no case was run: --run and --component leave none"))
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&list, "list", false, "list the cases and test nothing")
	flags.StringSliceVar(&opts.Components, "component", nil, "test these components alone: NAME, or KIND:NAME")
	flags.StringVar(&file, "config", conformanceFile, "how to reach the outside of the components")
	flags.StringVar(&run, "run", "", "run the cases alone whose id or title matches")
	flags.Uint64Var(&opts.Seed, "seed", 0, "drives what is random; default: another each time")
	flags.StringVar(&previous, "previous", "", "an older version of the plugin, whose snapshots and committables are to be taken over")
	flags.IntVar(&opts.Parallel, "parallel", 0, "cases that run at the same time; default: by the machine")
	flags.StringVarP(&format, "output", "o", "text", "how to print: text, json or junit")
	return cmd
}

// openConformance opens the file; one that was not asked for need not be there.
func openConformance(name string, asked bool) (*spec.Source, error) {
	s, err := spec.Open(name)
	if errors.Is(err, fs.ErrNotExist) && !asked {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	return s, nil
}

// pluginCommand starts a program wherever the kit lets it work.
func pluginCommand(args []string) (process.Command, error) {
	name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(args[0]), "weir-plugin-"), ".exe")
	args = append([]string(nil), args...)
	program := args[0]
	if _, err := os.Stat(program); err != nil && filepath.Base(program) == program {
		if found, err := exec.LookPath(program); err == nil {
			program = found
		}
	}
	abs, err := filepath.Abs(program)
	if err != nil {
		return process.Command{}, err
	}
	args[0] = abs
	if self, err := os.Executable(); err == nil && len(args) == 1 && sameFile(self, abs) {
		args = append(args, servePlugin) // weir holds the first-party plugin
	}
	return process.Command{Name: name, Args: args}, nil
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

func writeReport(w io.Writer, r *conformance.Report, format string) error {
	switch format {
	case "json":
		return r.WriteJSON(w)
	case "junit":
		return r.WriteJUnit(w)
	}
	return r.WriteText(w)
}

func listCases(w io.Writer, run *regexp.Regexp, format string) error {
	if format == "junit" {
		return badInput(errors.New("-o: a list is text or json"))
	}
	if err := conformance.WriteList(w, run, format == "json"); err != nil {
		return failed(err)
	}
	return nil
}
