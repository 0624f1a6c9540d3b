package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/api"
)

// changeTimeout is how long the commands that change a pipeline wait by default.
const changeTimeout = 10 * time.Minute

// timeoutFlag adds --timeout.
func timeoutFlag(cmd *cobra.Command, d *time.Duration) {
	cmd.Flags().DurationVar(d, "timeout", changeTimeout, "how long to wait")
}

// within calls do with a context that ends after d, and says so where that was it.
func within(ctx context.Context, d time.Duration, what string, do func(context.Context) error) error {
	timeout := fmt.Errorf("%s after %v", what, d)
	ctx, cancel := context.WithTimeoutCause(ctx, d, timeout)
	defer cancel()
	err := do(ctx)
	if err != nil && errors.Is(context.Cause(ctx), timeout) {
		return timeout
	}
	return err
}

func newStop() *cobra.Command {
	var f serverFlags
	var format outputFormat
	var savepoint string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "stop NAME",
		Short: "Stop a pipeline after a final checkpoint",
		Long: `Stop makes a final checkpoint, publishes its output, and waits until the pipeline
has stopped. It resumes where it was when it is run again.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.ask(func(p pipelines) error {
				return within(cmd.Context(), timeout, args[0]+" has not stopped", func(ctx context.Context) error {
					s, err := p.Stop(ctx, args[0], api.StopRequest{Savepoint: savepoint})
					if err != nil {
						return err
					}
					return printStopped(cmd.OutOrStdout(), args[0], savepoint, s, format)
				})
			})
		},
	}
	f.flags(cmd)
	format.flag(cmd)
	timeoutFlag(cmd, &timeout)
	cmd.Flags().StringVar(&savepoint, "savepoint", "", "keep the final checkpoint under this name")
	return cmd
}

func printStopped(w io.Writer, name, savepoint string, s api.Stopped, format outputFormat) error {
	if format == formatJSON {
		return json.NewEncoder(w).Encode(s)
	}
	text := fmt.Sprintf("%s has %s", name, s.State)
	if s.Checkpoint > 0 {
		text += fmt.Sprintf(" at checkpoint %d", s.Checkpoint)
	}
	if savepoint != "" {
		text += fmt.Sprintf(", kept as savepoint %s", savepoint)
	}
	if len(s.Uncommitted) > 0 {
		text += "; some output is prepared but not yet published, the next start does it"
	}
	if s.State == api.StateFailed {
		text = fmt.Sprintf("%s has failed; weir status %s says why", name, name)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func newSavepoint() *cobra.Command {
	var f serverFlags
	var format outputFormat
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "savepoint NAME [SAVEPOINT]",
		Short: "Make a checkpoint that is kept under a name",
		Long: `Savepoint makes a checkpoint of a running pipeline and keeps it under a name until
somebody deletes it. It is complete, and the command returns, when all output up to
it is published. The default name is the time.`,
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.ask(func(p pipelines) error {
				return within(cmd.Context(), timeout, "the savepoint is not complete", func(ctx context.Context) error {
					s, err := p.Savepoint(ctx, args[0], api.SavepointRequest{Name: strings.Join(args[1:], "")})
					if err != nil {
						return err
					}
					if format == formatJSON {
						return json.NewEncoder(cmd.OutOrStdout()).Encode(s)
					}
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "savepoint %s of %s is complete: checkpoint %d, and all output up to it is published\n", s.Name, args[0], s.Number)
					return err
				})
			})
		},
	}
	f.flags(cmd)
	format.flag(cmd)
	timeoutFlag(cmd, &timeout)
	return cmd
}
