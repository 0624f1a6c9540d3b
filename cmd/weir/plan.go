package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/local"
	"github.com/weirstream/weir/host/pipeline"
)

// exitChanges is the exit code of a plan that has something to do.
const exitChanges = 3

// planned is what a run of a file would do with the stored state of its pipeline.
type planned struct {
	Pipeline string `json:"pipeline"`
	// Checkpoint is the one that a run resumes from; 0 where there is none.
	Checkpoint uint64     `json:"checkpoint,omitempty"`
	Of         *time.Time `json:"of,omitempty"`
	Finished   bool       `json:"finished,omitempty"`
	// OtherFile is the file that the state belongs to, where it is another.
	OtherFile string          `json:"other_file,omitempty"`
	Changes   []engine.Change `json:"changes"`
	// Refused says why a run would not start.
	Refused string `json:"refused,omitempty"`
}

func newPlan() *cobra.Command {
	var f checkpointFlags
	var pluginDirs []string
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Say what running a changed file does with the stored state",
		Long: `Plan holds a pipeline file against the stored state of that pipeline and says what
becomes of each node: kept, new, upgraded, rescaled, changed (its state goes on in
memory and was on disk, or the other way round), replaced, removed or dropped. The
command changes nothing.

It exits with 0 where there is nothing to do, with 3 where a run would take the
changes over, and with 1 where it would refuse, naming the flag that allows it.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := topologyOf(cmd.Context(), args[0], pluginDirs)
			if err != nil {
				return err
			}
			p, err := f.plan(cmd.Context(), args[0], t)
			if err != nil {
				return err
			}
			if err := p.print(cmd.OutOrStdout(), f.format); err != nil {
				return failed(err)
			}
			return p.exit()
		},
	}
	f.flags(cmd)
	pluginDirFlag(cmd, &pluginDirs)
	return cmd
}

// topologyOf loads and checks a file.
func topologyOf(ctx context.Context, file string, pluginDirs []string) (t engine.Topology, err error) {
	var report pipeline.Report
	err = withCatalog(ctx, filepath.Dir(file), pluginDirs, func(c *catalog.Catalog) error {
		var p *pipeline.Pipeline
		if p, report = pipeline.Load(ctx, file, pipeline.Options{Catalog: c}); report.OK() {
			t = engine.TopologyOf(p)
		}
		return nil
	})
	switch {
	case err != nil:
		return t, failed(err)
	case !report.OK():
		return t, badInput(report.Err())
	}
	return t, nil
}

func (f *checkpointFlags) plan(ctx context.Context, file string, t engine.Topology) (planned, error) {
	p := planned{Pipeline: t.Name}
	names, err := local.Names(f.stateDir)
	if err != nil {
		return p, failed(err)
	}
	var m *checkpoint.Manifest
	for _, name := range names {
		if name != t.Name {
			continue
		}
		err := f.with(ctx, name, func(s *stored) error {
			if spec, err := local.ReadSpec(ctx, s.records, name); err == nil {
				if abs, err := filepath.Abs(file); err == nil && spec.File != abs {
					p.OtherFile = spec.File
				}
			}
			r := s.history.Newest()
			if r == nil {
				return nil
			}
			p.Checkpoint, p.Of, p.Finished = r.N, &r.CompletedAt, r.State == checkpoint.Finished
			var err error
			if m, err = checkpoint.ReadManifest(ctx, s.storage, *r); err != nil {
				return failed(fmt.Errorf("checkpoint %d: %w", r.N, err))
			}
			return nil
		})
		if err != nil {
			return p, err
		}
	}
	var incompatible *engine.IncompatibleError
	if p.Changes, err = engine.Changes(t, m); errors.As(err, &incompatible) {
		p.Refused = strings.Join(incompatible.Reasons, "; ")
	} else if err != nil {
		return p, failed(err)
	}
	return p, nil
}

func (p planned) exit() error {
	if p.Refused != "" || p.OtherFile != "" {
		return failed(nil)
	}
	for _, c := range p.Changes {
		if c.Kind != engine.ChangeKept {
			return &exitError{exitChanges, nil}
		}
	}
	return nil
}

func (p planned) print(w io.Writer, format outputFormat) error {
	if format == formatJSON {
		return json.NewEncoder(w).Encode(p)
	}
	var b strings.Builder
	switch {
	case p.Checkpoint == 0:
		fmt.Fprintf(&b, "%s has no checkpoint: a run begins from nothing\n\n", p.Pipeline)
	case p.Finished:
		fmt.Fprintf(&b, "%s has finished at checkpoint %d of %s: a run does nothing unless it is told --fresh or --from\n\n", p.Pipeline, p.Checkpoint, p.Of.Local().Format(time.DateTime))
	default:
		fmt.Fprintf(&b, "%s resumes from checkpoint %d of %s\n\n", p.Pipeline, p.Checkpoint, p.Of.Local().Format(time.DateTime))
	}
	t := plainTable()
	t.AppendHeader(table.Row{"NODE", "CHANGE", ""})
	for _, c := range p.Changes {
		what := c.What
		if c.Refused {
			what += fmt.Sprintf(" (refused; --allow-dropped-state %s allows it)", c.Node)
		}
		t.AppendRow(table.Row{c.Node, c.Kind, what})
	}
	b.WriteString(rendered(t) + "\n")
	if p.OtherFile != "" {
		fmt.Fprintf(&b, "\na run refuses: the state belongs to %s; --adopt takes it over\n", p.OtherFile)
	}
	if p.Refused != "" {
		fmt.Fprintf(&b, "\na run refuses: %s\n", p.Refused)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
