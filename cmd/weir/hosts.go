package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/api"
)

func newHosts() *cobra.Command {
	var f serverFlags
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "hosts",
		Short: "List the hosts of a cluster and what they run",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.askCluster(func(c api.Cluster) error {
				all, err := c.Hosts(cmd.Context())
				if err != nil {
					return err
				}
				return printHosts(cmd.OutOrStdout(), all, format)
			})
		},
	}
	f.flags(cmd)
	format.flag(cmd)
	return cmd
}

func printHosts(w io.Writer, all []api.Host, format outputFormat) error {
	if format == formatJSON {
		return json.NewEncoder(w).Encode(all)
	}
	t := plainTable()
	t.AppendHeader(table.Row{"HOST", "SLOTS", "STATE", "VERSION", "SINCE", "API", "DATA", "TASKS"})
	for _, h := range all {
		state := "ready"
		switch {
		case h.Draining:
			state = "draining"
		case h.Leader:
			state = "leads"
		}
		t.AppendRow(table.Row{
			h.ID, fmt.Sprintf("%d/%d", h.Used, h.Slots), state, h.Version, h.Since.Local().Format(time.DateTime), h.API, h.Address, strings.Join(h.Tasks, " "),
		})
	}
	return printTable(w, t)
}

func newDrain() *cobra.Command {
	var f serverFlags
	var undo bool
	cmd := &cobra.Command{
		Use:   "drain HOST",
		Short: "Move all tasks away from a host of a cluster",
		Long: `Drain has the tasks of a host moved to others, by a final checkpoint and without
loss, and keeps new ones away until it is undone. It returns when the host is empty.
A host that gets SIGTERM does the same by itself and then ends.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.askCluster(func(c api.Cluster) error {
				if err := c.Drain(cmd.Context(), args[0], api.DrainRequest{Drain: !undo}); err != nil {
					return err
				}
				if undo {
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "host %s takes tasks again\n", args[0])
					return err
				}
				return within(cmd.Context(), changeTimeout, "host "+args[0]+" has still tasks", func(ctx context.Context) error {
					for {
						all, err := c.Hosts(ctx)
						if err != nil {
							return err
						}
						i := slices.IndexFunc(all, func(h api.Host) bool { return h.ID == args[0] })
						if i < 0 || all[i].Draining && len(all[i].Tasks) == 0 {
							_, err := fmt.Fprintf(cmd.OutOrStdout(), "host %s is empty\n", args[0])
							return err
						}
						if !pause(ctx, waitEvery) {
							return context.Cause(ctx)
						}
					}
				})
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&undo, "undo", false, "let it take tasks again")
	return cmd
}
