package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/api"
)

// askCluster calls do with a host of a cluster, and gives its error an exit code.
func (f *serverFlags) askCluster(do func(api.Cluster) error) error {
	return f.ask(func(p pipelines) error {
		c, ok := p.(api.Cluster)
		if !ok {
			return badInput(fmt.Errorf("which cluster? name a host of it with --server HOST:PORT or WEIR_SERVER; weir serve listens on %s by default", defaultAPI))
		}
		return do(c)
	})
}

func newSubmit() *cobra.Command {
	var f serverFlags
	var format outputFormat
	var check, duplicates bool
	cmd := &cobra.Command{
		Use:   "submit FILE",
		Short: "Run a pipeline in a cluster",
		Long: `Submit gives a pipeline file to a cluster, which runs it until all input has been
read or it is stopped. A file of a name that runs already takes its place: the
pipeline makes a final checkpoint and goes on from there with the new file. What that
means for each node is printed; with --check nothing else is done.

References such as ${TOKEN} are resolved on the hosts, and relative paths are relative
to the file's folder, which must be there under the same path on each host.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return badInput(err)
			}
			dir, err := filepath.Abs(filepath.Dir(args[0]))
			if err != nil {
				return failed(err)
			}
			return f.askCluster(func(c api.Cluster) error {
				s, err := c.Submit(cmd.Context(), api.Submission{
					File: args[0], Dir: dir, Source: string(data), Check: check, AcceptDuplicates: duplicates,
				})
				if err != nil {
					return err
				}
				for _, w := range s.Warnings {
					fmt.Fprintln(cmd.ErrOrStderr(), w)
				}
				return printSubmitted(cmd.OutOrStdout(), s, format)
			})
		},
	}
	f.flags(cmd)
	format.flag(cmd)
	cmd.Flags().BoolVar(&check, "check", false, "only say what would happen")
	cmd.Flags().BoolVar(&duplicates, "accept-duplicates", false, "if the newest checkpoint is damaged, restore an older one although output may come twice")
	return cmd
}

func printSubmitted(w io.Writer, s api.Submitted, format outputFormat) error {
	if format == formatJSON {
		return json.NewEncoder(w).Encode(s)
	}
	for _, change := range s.Changes {
		if _, err := fmt.Fprintln(w, change); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s is submitted (revision %d)", s.Name, s.Revision)
	if s.Revision == 0 {
		text = s.Name + " would be submitted"
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func newResume() *cobra.Command {
	var f serverFlags
	var duplicates bool
	cmd := &cobra.Command{
		Use:   "resume NAME",
		Short: "Let a pipeline of a cluster run again that was stopped or has failed",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.askCluster(func(c api.Cluster) error {
				if err := c.Resume(cmd.Context(), args[0], api.ResumeRequest{AcceptDuplicates: duplicates}); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is resumed\n", args[0])
				return err
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&duplicates, "accept-duplicates", false, "if the newest checkpoint is damaged, restore an older one although output may come twice")
	return cmd
}

func newDelete() *cobra.Command {
	var f serverFlags
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Forget a pipeline of a cluster that has ended, and its state",
		Long: `Delete forgets a pipeline that has finished, failed or stopped: its records, its
checkpoints and savepoints. What its sinks have published stays; what they had
prepared and not published stays hidden where it is.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.askCluster(func(c api.Cluster) error {
				if err := c.Delete(cmd.Context(), args[0]); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is deleted\n", args[0])
				return err
			})
		},
	}
	f.flags(cmd)
	return cmd
}

func newRescale() *cobra.Command {
	var f serverFlags
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "rescale NAME NODE=TASKS...",
		Short: "Change how many tasks nodes of a pipeline have, while it runs",
		Long: `Rescale changes the parallelism of nodes. The pipeline makes a final checkpoint and
goes on from there; state goes to the tasks that own it now. It holds for later
submissions of the pipeline too, until it is 0, which is what the file says.`,
		Args: arguments(2, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := api.RescaleRequest{Parallelism: map[string]int{}}
			for _, arg := range args[1:] {
				node, tasks, ok := strings.Cut(arg, "=")
				n, err := strconv.Atoi(tasks)
				if !ok || err != nil || n < 0 {
					return badInput(fmt.Errorf("%q is not NODE=TASKS, as in counts=4", arg))
				}
				r.Parallelism[node] = n
			}
			return f.askCluster(func(c api.Cluster) error {
				s, err := c.Rescale(cmd.Context(), args[0], r)
				if err != nil {
					return err
				}
				return printSubmitted(cmd.OutOrStdout(), s, format)
			})
		},
	}
	f.flags(cmd)
	format.flag(cmd)
	return cmd
}
