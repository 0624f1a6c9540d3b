package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/console"
)

func newLogs() *cobra.Command {
	var f serverFlags
	var format outputFormat
	var q api.LogQuery
	var set string
	cmd := &cobra.Command{
		Use:   "logs NAME [NODE]",
		Short: "Show a running pipeline's log, and change its level",
		Long: `Logs shows the newest records of a running pipeline's log, of one node or of all and
the host; in a cluster, of all hosts. A reader that is too slow for what is logged loses records and is told how
many.

--set-level changes what is logged, of one node or of all: of a run until it ends; in a
cluster on every host that has tasks of the pipeline, also of those that start later,
until it is set to default. "weir status" shows what was changed.`,
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			levels := []string{"debug", "info", "warn", "error"}
			if q.Level != "" && !slices.Contains(levels, q.Level) {
				return badInput(fmt.Errorf("level %q is none of %s", q.Level, strings.Join(levels, ", ")))
			}
			if levels = append(levels, "default"); set != "" && !slices.Contains(levels, set) {
				return badInput(fmt.Errorf("level %q is none of %s", set, strings.Join(levels, ", ")))
			}
			q.Node = strings.Join(args[1:], "")
			ctx, signals := watchSignals(cmd.Context())
			defer signals.stop()
			signals.onFirst(signals.cancel)
			return f.ask(func(p pipelines) error {
				if set != "" {
					return setLevel(ctx, p, args[0], q.Node, set, cmd.OutOrStdout())
				}
				return printLogs(ctx, p, args[0], q, cmd.OutOrStdout(), format)
			})
		},
	}
	f.flags(cmd)
	format.flag(cmd)
	cmd.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on with what is logged from now on")
	cmd.Flags().StringVar(&q.Level, "level", "", "the lowest level shown: debug, info, warn or error")
	cmd.Flags().IntVar(&q.Tail, "tail", -1, "show at most so many of the records that are kept; -1 for all")
	cmd.Flags().StringVar(&set, "set-level", "", "change what is logged to debug, info, warn or error, or back to default")
	return cmd
}

func setLevel(ctx context.Context, p pipelines, name, node, level string, w io.Writer) error {
	if err := p.SetLogLevel(ctx, name, api.LogLevelRequest{Node: node, Level: level}); err != nil {
		return err
	}
	what := level + " and above"
	if level == "default" {
		what = "as it was started"
	}
	_, err := fmt.Fprintf(w, "%s of %s now logs %s\n", cmp.Or(node, "everything"), name, what)
	return err
}

func printLogs(ctx context.Context, p pipelines, name string, q api.LogQuery, w io.Writer, format outputFormat) error {
	lines := json.NewEncoder(w)
	people := console.NewLogHandler(w, slog.LevelDebug)
	for r, err := range p.Logs(ctx, name, q) {
		switch {
		case err != nil:
			return err
		case format == formatJSON:
			err = lines.Encode(r)
		default:
			if r.Dropped > 0 {
				_, err = fmt.Fprintf(w, "... %d records are lost\n", r.Dropped)
			}
			if err == nil {
				err = people.Handle(ctx, record(r))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// record is a record as slog has it.
func record(r api.LogRecord) slog.Record {
	var level slog.Level
	if err := level.UnmarshalText([]byte(r.Level)); err != nil {
		level = slog.LevelInfo
	}
	out := slog.NewRecord(r.Time.Local(), level, r.Message, 0)
	for _, a := range []slog.Attr{slog.String("host", r.Host), slog.String("node", r.Node), slog.String("task", r.Task), slog.String("plugin", r.Plugin)} {
		if a.Value.String() != "" {
			out.AddAttrs(a)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.Attributes)) {
		out.AddAttrs(slog.Any(key, r.Attributes[key]))
	}
	return out
}
