// Command weir runs streaming pipelines whose sources, operators and sinks are
// plugins, each a process of its own.
//
// This package is flags and wiring; the work is done in host, checkpoint and
// coordination.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirstream/weir/host/explain"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/plugins/firstparty"
	"github.com/weirstream/weir/plugins/testio"
)

// servePlugin is the hidden argument with which weir runs itself as the plugin
// that holds the first-party components.
const servePlugin = "__plugin"

// serveTestPlugin does the same with the components that stand in for sources and
// sinks under test.
const serveTestPlugin = "__test-plugin"

// Exit codes.
const (
	exitDone    = 0
	exitFailed  = 1   // the pipeline failed
	exitInput   = 2   // a file, flag or configuration is wrong
	exitSIGINT  = 130 // stopped by a signal after a final checkpoint
	exitSIGTERM = 143
)

func main() {
	// A plugin process must be quick to start and knows no commands.
	if len(os.Args) == 2 && os.Args[1] == servePlugin {
		firstparty.Serve()
		return
	}
	if len(os.Args) == 2 && os.Args[1] == serveTestPlugin {
		testio.Serve(currentVersion())
		return
	}
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process around it.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		// What cobra refuses by itself: unknown commands and flags, missing
		// arguments.
		exit = &exitError{code: exitInput, err: err}
	}
	var faults *pipeline.FaultError
	switch {
	case exit.err == nil:
	case errors.As(exit.err, &faults):
		// Each begins with the file's name, for editors.
		fmt.Fprintln(errOut, faults)
	default:
		fmt.Fprintln(errOut, "weir:", exit.err)
		if code := explain.CodeOf(exit.err); code != "" {
			fmt.Fprintf(errOut, "`weir explain %s` says more\n", code)
		}
	}
	return exit.code
}

// exitError carries the exit code out of a command. A nil err has been told
// already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

func failed(err error) error   { return &exitError{exitFailed, err} }
func badInput(err error) error { return &exitError{exitInput, err} }

// parsing is what Go's conversions put before what is wrong with a flag's value.
var parsing = regexp.MustCompile(`strconv\.\w+: parsing "[^"]*": |time: (invalid duration) "[^"]*"`)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "Streaming pipelines of out-of-process plugins, exactly once",
		Long: `Weir runs streaming pipelines whose sources, operators and sinks are plugins,
each a process of its own, and keeps every record exactly once: whatever dies,
run the same command again.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		said := parsing.ReplaceAllString(err.Error(), "$1") + meantFlag(cmd, err)
		return fmt.Errorf("%s\nsee %s --help", said, cmd.CommandPath())
	})
	for _, group := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Write a pipeline:", []*cobra.Command{newInit(), newValidate(), newTest(), newPlugin(), newExplain()}},
		{"Run and watch it:", []*cobra.Command{newRun(), newList(), newStatus(), newLogs(), newTap(), newWait(), newSavepoint(), newStop()}},
		{"Change what has run:", []*cobra.Command{newPlan(), newOffsets(), newCheckpoint()}},
		{"In a cluster:", []*cobra.Command{newServe(), newSubmit(), newResume(), newDelete(), newRescale(), newHosts(), newDrain()}},
	} {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title})
		for _, cmd := range group.commands {
			cmd.GroupID = group.title
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(newMan(), newVersion())
	completeNames(root)
	// A command that only has commands below it runs to say so.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if not .HasAvailableSubCommands}}", 1))
	for _, cmd := range append(root.Commands(), root) {
		if cmd.HasSubCommands() {
			cmd.Args, cmd.RunE = noSuchCommand, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	return root
}

// meantFlag is a hint at the flag that an unknown one was probably meant to be; a long
// one with a single dash is one too.
func meantFlag(cmd *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return ""
	}
	written := unknown.GetSpecifiedName()
	if short := unknown.GetSpecifiedShortnames(); short != "" {
		if written, _, _ = strings.Cut(short, "="); len(written) == 1 {
			return ""
		}
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, f.Name)
		}
	})
	if meant := pipeline.Nearest(written, known); meant != "" {
		return " (did you mean --" + meant + "?)"
	}
	return ""
}

// noSuchCommand refuses the arguments of a command that only has commands below it.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see " + cmd.CommandPath() + " --help"
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("there is no command %q (%s)", strings.TrimSpace(name(cmd)+" "+args[0]), hint)
}

// arguments checks the number of a command's arguments; most is -1 where any
// number is right. Their names are the capitals in its usage.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		usage := "usage: " + cmd.UseLine()
		switch {
		case len(args) < least:
			names := strings.Fields(cmd.Use)[1:]
			return fmt.Errorf("%s needs a %s\n%s", name(cmd), strings.TrimSuffix(names[len(args)], "..."), usage)
		case most >= 0 && len(args) > most:
			return fmt.Errorf("%s does not know what to do with %q\n%s", name(cmd), args[most], usage)
		}
		return nil
	}
}

// name is a command's name below weir: "checkpoint show".
func name(cmd *cobra.Command) string {
	_, below, _ := strings.Cut(cmd.CommandPath(), " ")
	return below
}
