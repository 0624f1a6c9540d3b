package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/api/client"
)

// waitEvery is how often `weir wait` looks.
const waitEvery = 100 * time.Millisecond

// What `weir wait` can wait for.
var waitGoals = []string{"running", "finished", "stopped", "checkpoint"}

func newWait() *cobra.Command {
	var f serverFlags
	var goal string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait NAME",
		Short: "Wait until a pipeline runs, has finished, or has made a checkpoint",
		Long: `Wait returns when the pipeline is as --for says:

  running     its data flows
  finished    all its input is read and all its output published
  stopped     it does not run any more, for whatever reason
  checkpoint  it has completed a checkpoint since now

It exits with 1 when the time is over, and when the pipeline fails meanwhile. It may be
asked of a pipeline that is only about to be started.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(waitGoals, goal) {
				return badInput(fmt.Errorf("--for: %q is none of running, finished, stopped, checkpoint", goal))
			}
			return f.ask(func(p pipelines) error {
				w := waiter{name: args[0], goal: goal, began: time.Now(), errOut: cmd.ErrOrStderr()}
				return w.wait(cmd.Context(), p, timeout)
			})
		},
	}
	f.flags(cmd)
	timeoutFlag(cmd, &timeout)
	cmd.Flags().StringVar(&goal, "for", "running", "running, finished, stopped or checkpoint")
	return cmd
}

// waiter is `weir wait`.
type waiter struct {
	name, goal string
	began      time.Time
	newest     *uint64   // checkpoint when it was first asked
	errOut     io.Writer // is told once that the pipeline is not there yet; then nil
}

func (w *waiter) wait(ctx context.Context, p pipelines, timeout time.Duration) error {
	deadline := w.began.Add(timeout)
	for {
		s, err := p.Status(ctx, w.name)
		last := ""
		switch {
		case passing(err):
			last = err.Error()
			if w.errOut != nil {
				fmt.Fprintf(w.errOut, "waiting: %s\n", last)
				w.errOut = nil
			}
		case err != nil:
			return err
		default:
			done, err := w.met(s)
			if done || err != nil {
				return err
			}
			last = string(s.State)
			if s.Reason != "" {
				last += ": " + s.Reason
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s was not %s within %v; at the end: %s", w.name, map[bool]string{true: "at another checkpoint", false: w.goal}[w.goal == "checkpoint"], timeout, last)
		}
		if !pause(ctx, waitEvery) {
			return context.Cause(ctx)
		}
	}
}

// passing says that the pipeline may yet come: it, or its server, is not there.
func passing(err error) bool {
	var p *api.Problem
	var absent *client.ServerError
	return errors.As(err, &p) && p.Code == api.CodePipelineNotFound || errors.As(err, &absent)
}

// met says whether the pipeline is as it should be, or why it will not be.
func (w *waiter) met(s api.Status) (bool, error) {
	if s.State == api.StateFailed && s.Since.After(w.began) && w.goal != "stopped" {
		return false, fmt.Errorf("%s has failed: %s", w.name, s.Reason)
	}
	switch w.goal {
	case "running":
		return s.State == api.StateRunning, nil
	case "finished":
		return s.State == api.StateFinished, nil
	case "stopped":
		return s.State.Ended(), nil
	}
	var newest uint64
	if c := s.Checkpoints.Last; c != nil {
		newest = c.Number
	}
	if w.newest == nil {
		w.newest = &newest
	}
	return newest > *w.newest, nil
}
