package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/local"
)

func newOffsets() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "offsets",
		Short: "Where the sources of a pipeline stand; and move them",
		Long: `The commands below show and change where a source goes on, split by split: a file,
a partition of a Kafka topic. They are about pipelines that were run here or, with
--server or WEIR_SERVER, about those of a cluster; "ls" works also while one runs, the
others need it to be stopped.

A change makes a new checkpoint with the state of all other nodes as it is, and
output that was published stays. The checkpoint before it is kept: "undo" goes back to
it, as if nothing had been changed, as long as nothing has run in between.`,
	}
	cmd.AddCommand(newOffsetsList(), newOffsetsSet(), newOffsetsReset(), newOffsetsUndo())
	return cmd
}

// offsetsFlags say whose state is meant: what has run here, or what a cluster has.
type offsetsFlags struct {
	checkpointFlags
	server serverFlags
}

func (f *offsetsFlags) flags(cmd *cobra.Command) {
	f.server.flags(cmd)
	cmd.Flags().StringVar(&f.storage, "storage", "", "URL of the checkpoint storage, of what has run here; the default is the one last used")
	f.format.flag(cmd)
}

// here says that what has run here is meant.
func (f *offsetsFlags) here() bool {
	f.stateDir = f.server.stateDir
	return f.server.server == "" && os.Getenv("WEIR_SERVER") == ""
}

func newOffsetsList() *cobra.Command {
	var f offsetsFlags
	var which string
	cmd := &cobra.Command{
		Use:   "ls NAME NODE",
		Short: "Show where a source stands, by split",
		Long: `Ls shows the splits of a source and, as JSON of the source's own, where it goes on in
each: as of the newest checkpoint, or of another one. NODE is the source's id, which
is its name unless the file says otherwise.`,
		Args: arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !f.here() {
				return f.server.askCluster(func(c api.Cluster) error {
					all, err := c.Offsets(cmd.Context(), args[0], args[1], which)
					if err != nil {
						return err
					}
					positions := []checkpoint.Position{}
					for _, o := range all {
						positions = append(positions, checkpoint.Position(o))
					}
					return printPositions(cmd.OutOrStdout(), positions, f.format)
				})
			}
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
	var c offsetsChange
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
			c.Positions = map[string]json.RawMessage{}
			for _, arg := range args[2:] {
				at := splitAt(arg)
				if at < 0 {
					return badInput(fmt.Errorf("%q is no SPLIT=POSITION with a position as JSON, such as 'orders-0={\"offset\": 1200}'", arg))
				}
				if c.Positions[arg[:at]] != nil {
					return badInput(fmt.Errorf("split %s is given twice", arg[:at]))
				}
				c.Positions[arg[:at]] = json.RawMessage(arg[at+1:])
			}
			return c.make(cmd, args)
		},
	}
	c.flags(cmd)
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
	var c offsetsChange
	cmd := &cobra.Command{
		Use:   "reset NAME NODE",
		Short: "Let a source of a stopped pipeline begin anew",
		Long: `Reset forgets which splits a source has found and where it stands in them: the next
run looks for them again and begins as its configuration says, as a first run does.
All other nodes keep their state, so that what is read again comes out again.`,
		Args: arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.Reset = true
			return c.make(cmd, args)
		},
	}
	c.flags(cmd)
	return cmd
}

func newOffsetsUndo() *cobra.Command {
	var c offsetsChange
	cmd := &cobra.Command{
		Use:   "undo NAME NODE",
		Short: "Take back the last change of where a source goes on",
		Long: `Undo takes back the last "set" or "reset" of a source: the pipeline goes on from the
checkpoint before it. It can be said again where several were made, but not after
something has run.`,
		Args: arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.Undo = true
			return c.make(cmd, args)
		},
	}
	c.flags(cmd)
	return cmd
}

// offsetsChange is a change of where a source goes on.
type offsetsChange struct {
	offsetsFlags
	api.OffsetsRequest
	timeout time.Duration
}

func (c *offsetsChange) flags(cmd *cobra.Command) {
	c.offsetsFlags.flags(cmd)
	timeoutFlag(cmd, &c.timeout)
}

// make makes the change, here or in a cluster, and says so.
func (c *offsetsChange) make(cmd *cobra.Command, args []string) error {
	name, node := args[0], args[1]
	if c.here() {
		return c.makeHere(cmd, name, node)
	}
	return c.server.askCluster(func(cluster api.Cluster) error {
		return within(cmd.Context(), c.timeout, "no answer about the change of positions", func(ctx context.Context) error {
			changed, err := cluster.SetOffsets(ctx, name, node, c.OffsetsRequest)
			if err != nil {
				return err
			}
			return c.print(cmd.OutOrStdout(), name, node, changed)
		})
	})
}

func (c *offsetsChange) makeHere(cmd *cobra.Command, name, node string) (err error) {
	ctx := cmd.Context()
	names, err := local.Names(c.stateDir)
	if err != nil {
		return failed(err)
	}
	if !slices.Contains(names, name) {
		return c.with(ctx, name, func(*stored) error { return nil }) // says which there are
	}
	home, err := local.Open(ctx, c.stateDir, name, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return failed(err)
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	ledger := checkpoint.NewLedger(home.Store(), home.Leadership(), name)
	if c.Undo {
		changed, err := undoHere(ctx, ledger, name, node)
		if err != nil {
			return offsetsError(err)
		}
		return c.print(cmd.OutOrStdout(), name, node, changed)
	}
	spec, err := local.ReadSpec(ctx, home.Store(), name)
	if err != nil {
		return failed(err)
	}
	st, err := c.openStorage(ctx, name, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	r, err := ledger.Reposition(ctx, st, rand.Text(), node, c.Positions)
	if err != nil {
		return offsetsError(err)
	}
	return c.print(cmd.OutOrStdout(), name, node, api.OffsetsChanged{Checkpoint: r.N, Before: r.Prev, At: r.CompletedAt})
}

func undoHere(ctx context.Context, ledger *checkpoint.Ledger, name, node string) (changed api.OffsetsChanged, err error) {
	h, err := ledger.Load(ctx)
	if err != nil {
		return changed, err
	}
	newest := h.Newest()
	if newest == nil {
		return changed, &checkpoint.PositionError{Reason: fmt.Sprintf("pipeline %s has no checkpoint: there is nothing to undo", name)}
	}
	r, err := ledger.Undo(ctx, node, newest.N)
	return api.OffsetsChanged{Checkpoint: r.N, Before: newest.N, At: time.Now()}, err
}

func (c *offsetsChange) print(w io.Writer, name, node string, changed api.OffsetsChanged) error {
	if c.format == formatJSON {
		return json.NewEncoder(w).Encode(changed)
	}
	what := fmt.Sprintf("%s goes on elsewhere in %s", node, counted(len(c.Positions), "split"))
	switch {
	case c.Undo:
		_, err := fmt.Fprintf(w, "%s goes on as before the change: checkpoint %d, from which the next run starts\n", node, changed.Checkpoint)
		return err
	case c.Reset:
		what = node + " begins anew"
	}
	_, err := fmt.Fprintf(w, "%s: checkpoint %d, from which the next run starts\nundo: weir offsets undo %s %s\n", what, changed.Checkpoint, name, node)
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
