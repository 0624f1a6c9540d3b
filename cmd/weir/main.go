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

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/plugins/firstparty"
)

// servePlugin is the hidden argument with which weir runs itself as the plugin
// that holds the first-party components.
const servePlugin = "__plugin"

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
	if exit.err != nil {
		fmt.Fprintln(errOut, "weir:", exit.err)
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

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "Streaming pipelines of out-of-process plugins, exactly once",
		Long: `Weir runs streaming pipelines whose sources, operators and sinks are plugins,
each a process of its own, and keeps every record exactly once: whatever dies,
run the same command again.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newRun(), newValidate(), newPlugin(), newCheckpoint(), newVersion())
	return root
}
