package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/console"
	"github.com/weirstream/weir/host/local"
)

// stored is a pipeline's stored state, opened for reading beside whoever runs
// it.
type stored struct {
	name    string
	records local.Peeked
	ledger  *checkpoint.Ledger
	history checkpoint.History
	storage *storage.Storage
}

// checkpointFlags are common to the commands below `weir checkpoint`.
type checkpointFlags struct {
	stateDir string
	storage  string
	format   outputFormat
}

func (f *checkpointFlags) flags(cmd *cobra.Command) {
	stateDirFlag(cmd, &f.stateDir)
	cmd.Flags().StringVar(&f.storage, "storage", "", "URL of the checkpoint storage; the default is the one last used")
	f.format.flag(cmd)
}

// with opens the stored state of a pipeline and calls do.
func (f *checkpointFlags) with(ctx context.Context, name string, do func(*stored) error) (err error) {
	s := &stored{name: name}
	if s.records, err = local.Peek(ctx, f.stateDir, name); err != nil {
		return badInput(err)
	}
	defer func() { err = errors.Join(err, s.records.Close()) }()
	spec, err := local.ReadSpec(ctx, s.records, name)
	if err != nil && !errors.Is(err, coordination.ErrNotFound) {
		return failed(err)
	}
	if s.storage, err = f.openStorage(ctx, name, spec); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.storage.Close()) }()
	s.ledger = checkpoint.NewLedger(s.records, nil, name)
	s.history, err = s.ledger.Load(ctx)
	if err != nil && !errors.Is(err, coordination.ErrNotFound) {
		return failed(err)
	}
	return do(s)
}

// openStorage opens the storage of a pipeline's checkpoints: the one that was last
// used, unless a flag names another.
func (f *checkpointFlags) openStorage(ctx context.Context, name string, spec local.Spec) (*storage.Storage, error) {
	url := spec.Storage
	if f.storage != "" {
		url = f.storage
	}
	st, err := local.OpenStorage(ctx, f.stateDir, name, url, storageOptions()...)
	if err != nil {
		return nil, failed(fmt.Errorf("checkpoint storage: %w", err))
	}
	return st, nil
}

func newCheckpoint() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "What is stored of a pipeline, readable by a person",
		Long: `The commands below read the stored state of a pipeline that was run here. They may
be used while it runs.`,
	}
	cmd.AddCommand(newCheckpointList(), newCheckpointShow(), newCheckpointExport(), newCheckpointVerify())
	return cmd
}

func newCheckpointList() *cobra.Command {
	var f checkpointFlags
	cmd := &cobra.Command{
		Use:   "ls NAME",
		Short: "List the checkpoints of a pipeline",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), args[0], func(s *stored) error {
				return printSummaries(cmd.OutOrStdout(), s.history.Summaries(), f.format)
			})
		},
	}
	f.flags(cmd)
	return cmd
}

func printSummaries(w io.Writer, all []checkpoint.Summary, format outputFormat) error {
	if format == formatJSON {
		return json.NewEncoder(w).Encode(all)
	}
	t := plainTable()
	t.AppendHeader(table.Row{"CHECKPOINT", "COMPLETED", "TOOK", "SIZE", "STATE", "OUTPUT"})
	for _, c := range all {
		number := strconv.FormatUint(c.N, 10)
		if c.Savepoint != "" {
			number += " " + c.Savepoint
		}
		output := "published"
		switch {
		case c.Committables == 0:
			output = "none"
		case !c.Committed:
			output = "not all published"
		}
		state := string(c.State)
		if c.Reason != "" {
			state += ": " + c.Reason
		}
		t.AppendRow(table.Row{number, c.CompletedAt.Local().Format(time.DateTime), c.Took.Round(time.Millisecond), humanize.IBytes(uint64(c.Bytes)), state, output})
	}
	if t.Length() == 0 {
		_, err := fmt.Fprintln(w, "no checkpoint yet")
		return err
	}
	return printTable(w, t)
}

func newCheckpointShow() *cobra.Command {
	var f checkpointFlags
	cmd := &cobra.Command{
		Use:   "show NAME [CHECKPOINT]",
		Short: "Show what a checkpoint holds: positions, state and prepared output",
		Long: `Show prints every entry of a checkpoint, by node and task. CHECKPOINT is a number
or the name of a savepoint; the default is the newest.`,
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), args[0], func(s *stored) error {
				r, err := s.find(args[1:])
				if err != nil {
					return badInput(err)
				}
				d, err := checkpoint.Describe(cmd.Context(), s.storage, r)
				if err != nil {
					return failed(fmt.Errorf("checkpoint %d: %w", r.N, err))
				}
				return printDescription(cmd.OutOrStdout(), d, f.format)
			})
		},
	}
	f.flags(cmd)
	return cmd
}

// find returns the checkpoint of that number or savepoint name, or the newest.
func (s *stored) find(which []string) (checkpoint.Record, error) {
	if len(which) > 0 {
		r, _, err := s.history.Find(which[0])
		if err != nil {
			return r, fmt.Errorf("pipeline %s: %w", s.name, err)
		}
		return r, nil
	}
	if r := s.history.Newest(); r != nil {
		return *r, nil
	}
	return checkpoint.Record{}, fmt.Errorf("pipeline %s has no checkpoint", s.name)
}

func printDescription(w io.Writer, d checkpoint.Description, format outputFormat) error {
	if format == formatJSON {
		return json.NewEncoder(w).Encode(d)
	}
	var b strings.Builder
	r := d.Record
	fmt.Fprintf(&b, "checkpoint %d of %s: %s, epoch %d, %s\n", r.N, r.CompletedAt.Local().Format(time.DateTime), r.State, r.Epoch, humanize.IBytes(uint64(r.Bytes)))
	b.WriteString("\n" + rendered(taskTable(d)) + "\n")
	shared := int64(0)
	for _, n := range d.Nodes {
		for _, task := range n.Tasks {
			shared += task.Shared
		}
	}
	if shared > 0 {
		fmt.Fprintf(&b, "\n%s of it in files that an earlier checkpoint stored\n", humanize.IBytes(uint64(shared)))
	}
	var empty []string
	for _, n := range d.Nodes {
		t := plainTable()
		for _, task := range n.Tasks {
			entryRows(t, task)
		}
		if t.Length() == 0 {
			empty = append(empty, n.Name)
			continue
		}
		ended := ""
		if slices.Contains(r.Ended, n.Name) {
			ended = ", input has ended"
		}
		fmt.Fprintf(&b, "\n%s: %s %s, %d tasks%s\n%s\n", n.Name, n.Component, n.Version, n.Parallelism, ended, indent(rendered(t)))
	}
	if len(empty) > 0 {
		fmt.Fprintf(&b, "\nnothing to keep: %s\n", strings.Join(empty, ", "))
	}
	_, err := io.WriteString(w, strings.ReplaceAll(b.String(), ", 1 tasks", ", 1 task"))
	return err
}

// taskTable is a row a task: how large its state is, and how long its part took.
func taskTable(d checkpoint.Description) table.Writer {
	t := plainTable()
	t.AppendHeader(table.Row{"NODE", "TASK", "SIZE", "SPLITS", "KEY GROUPS", "ALIGN", "PROCESS", "SNAPSHOT", "UPLOAD"})
	some := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	for _, n := range d.Nodes {
		for _, task := range n.Tasks {
			t.AppendRow(table.Row{
				n.Name, task.Task, humanize.IBytes(uint64(task.Bytes)), some(task.Splits), some(task.KeyGroups),
				console.Duration(task.Timing.Align), console.Duration(task.Timing.Process),
				console.Duration(task.Timing.Snapshot), console.Duration(task.Timing.Upload),
			})
		}
	}
	return t
}

// entryRows adds a row for everything that a task has in a checkpoint.
func entryRows(t table.Writer, task checkpoint.TaskDescription) {
	who := task.Task
	if who != "enumerator" {
		who = "task " + who
	}
	for _, o := range task.Objects {
		t.AppendRow(table.Row{who, "object " + o.Name, humanize.IBytes(uint64(o.Size))})
	}
	for _, e := range task.Entries {
		what := strings.TrimSpace(e.Kind + " " + e.ID)
		if what == who {
			what = "splits"
		}
		if e.Checkpoint > 0 {
			what += fmt.Sprintf(" of checkpoint %d", e.Checkpoint)
		}
		value := string(e.Value)
		if e.Value == nil {
			value = humanize.IBytes(uint64(e.Bytes))
		}
		t.AppendRow(table.Row{who, what, value})
	}
}

func newCheckpointVerify() *cobra.Command {
	var f checkpointFlags
	cmd := &cobra.Command{
		Use:   "verify NAME",
		Short: "Read everything that is stored and check it against its checksums",
		Long:  `Verify reads every object of every checkpoint. It exits with 1 if any is damaged.`,
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), args[0], func(s *stored) error {
				verdicts, err := s.ledger.VerifyAll(cmd.Context(), s.storage)
				if err != nil && !errors.Is(err, coordination.ErrNotFound) {
					return failed(err)
				}
				damaged, err := printVerdicts(cmd.OutOrStdout(), verdicts, f.format)
				if err != nil {
					return failed(err)
				}
				if damaged > 0 {
					return failed(fmt.Errorf("%d of %d checkpoints are damaged", damaged, len(verdicts)))
				}
				return nil
			})
		},
	}
	f.flags(cmd)
	return cmd
}

func printVerdicts(w io.Writer, all []checkpoint.Verdict, format outputFormat) (damaged int, err error) {
	type line struct {
		checkpoint.Verdict
		OK    bool   `json:"ok"`
		Error string `json:"error,omitempty"`
	}
	lines := []line{}
	t := plainTable()
	t.AppendHeader(table.Row{"CHECKPOINT", "OBJECTS", "SIZE", "VERDICT"})
	for _, v := range all {
		l := line{Verdict: v, OK: v.Err == nil}
		verdict := "whole"
		if v.Err != nil {
			damaged++
			l.Error = v.Err.Error()
			verdict = "damaged: " + l.Error
		}
		lines = append(lines, l)
		t.AppendRow(table.Row{strings.TrimSpace(fmt.Sprint(v.N, " ", v.Savepoint)), v.Objects, humanize.IBytes(uint64(v.Bytes)), verdict})
	}
	if format == formatJSON {
		return damaged, json.NewEncoder(w).Encode(lines)
	}
	if t.Length() == 0 {
		_, err := fmt.Fprintln(w, "no checkpoint yet")
		return 0, err
	}
	return damaged, printTable(w, t)
}
