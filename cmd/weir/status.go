package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/console"
)

func newList() *cobra.Command {
	var f serverFlags
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List pipelines, and what needs attention",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.ask(func(p pipelines) error { return printList(cmd.Context(), p, cmd.OutOrStdout(), format) })
		},
	}
	f.flags(cmd)
	format.flag(cmd)
	return cmd
}

func printList(ctx context.Context, p pipelines, w io.Writer, format outputFormat) error {
	all, err := p.List(ctx)
	if err != nil {
		return err
	}
	if format == formatJSON {
		if all == nil {
			all = []api.Pipeline{}
		}
		return json.NewEncoder(w).Encode(all)
	}
	text := "no pipelines"
	if len(all) > 0 {
		text = console.Pipelines(all, time.Now(), console.Width(w, 0))
	}
	_, err = fmt.Fprintln(w, text)
	return err
}

// watchEvery is how often --watch looks.
const watchEvery = time.Second

func newStatus() *cobra.Command {
	var f serverFlags
	var format outputFormat
	var watch, exitCode bool
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Say what a pipeline does, and why it does not do more",
		Long: `Status says of a pipeline in which state it is and why, how its checkpoints fare
and what one under way waits for, what is not published and why, what keeps it
from being faster, and what each node does. Without a name it lists all.

It can be asked of a pipeline that does not run any more: then it says how the last
run ended.`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, signals := watchSignals(cmd.Context())
			defer signals.stop()
			signals.onFirst(signals.cancel)
			s := statusCommand{w: cmd.OutOrStdout(), format: format, watch: watch, exitCode: exitCode}
			return f.ask(func(p pipelines) error {
				if len(args) == 0 {
					return s.list(ctx, p)
				}
				return s.one(ctx, p, args[0])
			})
		},
	}
	f.flags(cmd)
	format.flag(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "go on until the pipeline has ended: redrawn on a terminal, else one picture after the other")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 1 unless the pipeline runs or has finished, and nothing needs attention")
	return cmd
}

// statusCommand is `weir status`.
type statusCommand struct {
	w        io.Writer
	format   outputFormat
	watch    bool
	exitCode bool
	drawn    bool
}

func (s *statusCommand) list(ctx context.Context, p pipelines) error {
	for {
		var b strings.Builder
		if err := printList(ctx, p, &b, s.format); err != nil {
			return err
		}
		if err := s.show(b.String()); err != nil {
			return err
		}
		if !s.watch {
			return s.verdict(ctx, p, "")
		}
		if !pause(ctx, watchEvery) {
			return nil
		}
	}
}

func (s *statusCommand) one(ctx context.Context, p pipelines, name string) error {
	for {
		status, err := p.Status(ctx, name)
		if err != nil {
			return err
		}
		text := ""
		if s.format == formatJSON {
			data, err := json.Marshal(status)
			if err != nil {
				return err
			}
			text = string(data) + "\n"
		} else {
			text = console.Status(status, time.Now(), console.Width(s.w, 0))
		}
		if err := s.show(text); err != nil {
			return err
		}
		if !s.watch || status.State.Ended() {
			return s.verdict(ctx, p, name)
		}
		if !pause(ctx, watchEvery) {
			return nil
		}
	}
}

// show writes a picture, in place of the last where that was on a terminal.
func (s *statusCommand) show(text string) error {
	if s.watch && s.format == formatText {
		switch {
		case console.IsTerminal(s.w):
			// To the top left, and clear what is below, so that nothing flickers.
			text = "\x1b[H\x1b[J" + text
		case s.drawn:
			text = "\n" + text
		}
		s.drawn = true
	}
	_, err := io.WriteString(s.w, text)
	return err
}

// verdict is the exit code that --exit-code asks for.
func (s *statusCommand) verdict(ctx context.Context, p pipelines, name string) error {
	if !s.exitCode {
		return nil
	}
	all, err := p.List(ctx)
	if err != nil {
		return err
	}
	for _, one := range all {
		if name != "" && one.Name != name {
			continue
		}
		if one.Problem != "" || one.State != api.StateRunning && one.State != api.StateFinishing && one.State != api.StateFinished {
			return failed(nil)
		}
	}
	return nil
}

// pause waits, and says whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
