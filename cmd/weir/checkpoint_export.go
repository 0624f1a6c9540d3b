package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/sdk/diskstate"
)

func newCheckpointExport() *cobra.Command {
	var f checkpointFlags
	var nodes []string
	cmd := &cobra.Command{
		Use:   "export NAME [CHECKPOINT]",
		Short: "Print every entry of a checkpoint as a line of JSON",
		Long: `Export prints all that a checkpoint holds, one entry a line: node, task, kind, id, key
group, size and, where it is JSON or text, the value. CHECKPOINT is a number or the
name of a savepoint; the default is the newest.

State by key that was kept on disk is printed as if it had been in memory. Its files
are read from a temporary folder, one task's at a time; those that another plugin's
store has written are listed as they are.`,
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), args[0], func(s *stored) error {
				r, err := s.find(args[1:])
				if err != nil {
					return badInput(err)
				}
				d, err := checkpoint.DescribeState(cmd.Context(), s.storage, r, nodes, diskstate.Entries)
				if err != nil {
					return failed(fmt.Errorf("checkpoint %d: %w", r.N, err))
				}
				return exportEntries(cmd.OutOrStdout(), d, nodes)
			})
		},
	}
	stateDirFlag(cmd, &f.stateDir)
	cmd.Flags().StringVar(&f.storage, "storage", "", "URL of the checkpoint storage; the default is the one last used")
	cmd.Flags().StringSliceVar(&nodes, "node", nil, "export these nodes alone, by their ids")
	return cmd
}

// exportedEntry is a line of an export.
type exportedEntry struct {
	Node string `json:"node"`
	Task string `json:"task"`
	checkpoint.EntryDescription
}

func exportEntries(w io.Writer, d checkpoint.Description, only []string) error {
	var known []string
	for _, n := range d.Nodes {
		known = append(known, n.Name)
	}
	for _, n := range only {
		if !slices.Contains(known, n) {
			return badInput(fmt.Errorf("checkpoint %d has no node %q; it has: %s", d.Record.N, n, strings.Join(known, ", ")))
		}
	}
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	for _, n := range d.Nodes {
		if len(only) > 0 && !slices.Contains(only, n.Name) {
			continue
		}
		for _, t := range n.Tasks {
			for _, e := range t.Entries {
				if err := lines.Encode(exportedEntry{n.Name, t.Task, e}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
