package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/local"
)

func newOffsets() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "offsets",
		Short: "Where the sources of a pipeline stand; and move them",
		Long: `The commands below show and change where a source goes on, split by split: a file,
a partition of a Kafka topic. They are about pipelines that were run here; "ls" works
also while one runs, "set" and "reset" need it to be stopped.

A change makes a new checkpoint with the state of all other nodes as it is, and
output that was published stays. The checkpoint before it is kept: "weir run FILE
--from NUMBER" starts from that one, as if nothing had been changed, as long as
nothing has run in between.`,
	}
	cmd.AddCommand(newOffsetsList(), newOffsetsSet(), newOffsetsReset())
	return cmd
}

func newOffsetsList() *cobra.Command {
	var f checkpointFlags
	var which string
	cmd := &cobra.Command{
		Use:   "ls NAME NODE",
		Short: "Show where a source stands, by split",
		Long: `Ls shows the splits of a source and, as JSON of the source's own, where it goes on in
each: as of the newest checkpoint, or of another one. NODE is the source's id, which
is its name unless the file says otherwise.`,
		Args: arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), args[0], func(s *stored) error {
				var chosen []string
				if which != "" {
					chosen = []string{which}
				}
				r, err := s.find(chosen)
				if err != nil {
					return badInput(err)
				}
				all, err := checkpoint.Positions(cmd.Context(), s.storage, r, args[1])
				if err != nil {
					return offsetsError(err)
				}
				return printPositions(cmd.OutOrStdout(), all, f.format)
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&which, "checkpoint", "", "number of a checkpoint or name of a savepoint (default the newest)")
	return cmd
}

func newOffsetsSet() *cobra.Command {
	var f checkpointFlags
	cmd := &cobra.Command{
		Use:   "set NAME NODE SPLIT=POSITION...",
		Short: "Move a source of a stopped pipeline, in some splits",
		Long: `Set changes where a source goes on in the splits that are given. POSITION is JSON as
"offsets ls" shows it; fields that are not given stay as they are, and null is the
beginning of the split:

    weir offsets set orders in 'orders-0={"offset": 1200}' orders-1=null

What is read again comes out again, what is passed over never does. Operators keep
their state: windows that have closed count what comes again as late.

A position has the form of the one before it, or is refused; whether it is a place in
the split the source says when it is started.`,
		Args: arguments(3, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			positions := map[string]json.RawMessage{}
			for _, arg := range args[2:] {
				at := splitAt(arg)
				if at < 0 {
					return badInput(fmt.Errorf("%q is no SPLIT=POSITION with a position as JSON, such as 'orders-0={\"offset\": 1200}'", arg))
				}
				if positions[arg[:at]] != nil {
					return badInput(fmt.Errorf("split %s is given twice", arg[:at]))
				}
				positions[arg[:at]] = json.RawMessage(arg[at+1:])
			}
			return f.reposition(cmd.Context(), args[0], args[1], positions, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.flags(cmd)
	return cmd
}

// splitAt is where the position begins: behind the first equals sign that JSON follows,
// since the name of a split may have some; -1 for none.
func splitAt(arg string) int {
	for at := 0; at < len(arg); at++ {
		if at > 0 && arg[at] == '=' && json.Valid([]byte(arg[at+1:])) {
			return at
		}
	}
	return -1
}

func newOffsetsReset() *cobra.Command {
	var f checkpointFlags
	cmd := &cobra.Command{
		Use:   "reset NAME NODE",
		Short: "Let a source of a stopped pipeline begin anew",
		Long: `Reset forgets which splits a source has found and where it stands in them: the next
run looks for them again and begins as its configuration says, as a first run does.
All other nodes keep their state, so that what is read again comes out again.`,
		Args: arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.reposition(cmd.Context(), args[0], args[1], nil, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.flags(cmd)
	return cmd
}

// reposition changes positions; nil is the beginning.
func (f *checkpointFlags) reposition(ctx context.Context, name, node string, positions map[string]json.RawMessage, w, errOut io.Writer) (err error) {
	names, err := local.Names(f.stateDir)
	if err != nil {
		return failed(err)
	}
	if !slices.Contains(names, name) {
		return f.with(ctx, name, func(*stored) error { return nil }) // says which there are
	}
	home, err := local.Open(ctx, f.stateDir, name, slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return failed(err)
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	spec, err := local.ReadSpec(ctx, home.Store(), name)
	if err != nil {
		return failed(err)
	}
	st, err := f.openStorage(ctx, name, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	r, err := checkpoint.NewLedger(home.Store(), home.Leadership(), name).Reposition(ctx, st, node, positions)
	if err != nil {
		return offsetsError(err)
	}
	if f.format == formatJSON {
		return json.NewEncoder(w).Encode(struct {
			Checkpoint uint64    `json:"checkpoint"`
			Before     uint64    `json:"before"`
			At         time.Time `json:"at"`
		}{r.N, r.Prev, r.CompletedAt})
	}
	what := fmt.Sprintf("%s goes on elsewhere in %s", node, counted(len(positions), "split"))
	if positions == nil {
		what = node + " begins anew"
	}
	_, err = fmt.Fprintf(w, "%s: checkpoint %d, from which the next run starts\nundo: weir run FILE --from %d\n", what, r.N, r.Prev)
	return err
}

// offsetsError says whose fault it is that positions are not shown or changed.
func offsetsError(err error) error {
	var refused *checkpoint.PositionError
	if errors.As(err, &refused) {
		return badInput(err)
	}
	return failed(err)
}

func printPositions(w io.Writer, all []checkpoint.Position, format outputFormat) error {
	if format == formatJSON {
		return json.NewEncoder(w).Encode(all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no split: it has found none yet, or has read all of them")
		return err
	}
	t := plainTable()
	t.AppendHeader(table.Row{"SPLIT", "TASK", "POSITION", "OF"})
	for _, p := range all {
		position := "its beginning"
		if p.Position != nil {
			position = string(p.Position)
		}
		t.AppendRow(table.Row{p.Split, p.Task, position, strings.TrimSpace(string(p.Data))})
	}
	return printTable(w, t)
}
