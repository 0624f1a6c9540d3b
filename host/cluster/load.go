package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/process"
)

// Library loads pipelines and opens their checkpoint storage on this host.
type Library struct {
	// BuiltIn runs the first-party plugin, Path are the folders to look for others
	// in; see [catalog.Config].
	BuiltIn process.Command
	Path    func(dir string) []string
	Process process.Options
	// Inherit is a file that every plugin process holds open.
	Inherit *os.File
	// Scratch is a folder on this host's disk for tasks that keep state there.
	Scratch string
	// StorageURL is for pipelines that name no storage of their own.
	StorageURL string
	Storage    []storage.Option
	Log        *slog.Logger
	// OnStep, as in [engine.Config]. Optional.
	OnStep func(pipeline string, s engine.Step)
}

// Check makes a pipeline of a file that was submitted. A file that is wrong is a
// *pipeline.FaultError.
func (l *Library) Check(ctx context.Context, s Spec) (Spec, pipeline.Report, error) {
	plugins := l.catalog(s.Dir, l.Process)
	defer l.done(plugins)
	p, report := l.read(ctx, s, plugins)
	if p == nil {
		return s, report, report.Err()
	}
	s.Topology = engine.TopologyOf(p)
	return s, report, nil
}

func (l *Library) read(ctx context.Context, s Spec, plugins *catalog.Catalog) (*pipeline.Pipeline, pipeline.Report) {
	return pipeline.LoadBytes(ctx, s.File, []byte(s.Source), pipeline.Options{
		Catalog: plugins, BaseDir: s.Dir, Parallelism: s.Parallelism, Mask: l.Process.Mask,
	})
}

func (l *Library) catalog(dir string, process process.Options) *catalog.Catalog {
	c := catalog.Config{BuiltIn: l.BuiltIn, Dir: dir, Process: process}
	c.Process.Inherit = l.Inherit
	if l.Path != nil {
		c.Path = l.Path(dir)
	}
	return catalog.New(c)
}

// done stops what a catalog has started and nobody has taken.
func (l *Library) done(c *catalog.Catalog) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		l.Log.Warn("stop plugins that were not used", "error", err)
	}
}

// Load implements [Loader].
func (l *Library) Load(ctx context.Context, name string, s Spec) (*Loaded, error) {
	process := l.Process
	if process.Log != nil {
		process.Log = process.Log.With("pipeline", name)
	}
	plugins := l.catalog(s.Dir, process)
	p, report := l.read(ctx, s, plugins)
	if p == nil {
		l.done(plugins)
		return nil, report.Err()
	}
	st, release, err := l.open(ctx, p.Checkpoint.Storage)
	if err != nil {
		l.done(plugins)
		return nil, err
	}
	return &Loaded{
		Topology: engine.TopologyOf(p),
		Storage:  st,
		Worker: func(c engine.WorkerConfig) *engine.Worker {
			c.Pipeline = p
			if l.Scratch != "" {
				c.Scratch = filepath.Join(l.Scratch, name)
			}
			c.Start = func(ctx context.Context, pl pipeline.Plugin) (engine.Process, error) {
				return plugins.Start(ctx, pl, l.Inherit)
			}
			if l.OnStep != nil {
				c.OnStep = func(s engine.Step) { l.OnStep(name, s) }
			}
			return engine.NewWorker(c)
		},
		Close: func() {
			release()
			l.done(plugins)
		},
	}, nil
}

// OpenStorage opens the checkpoint storage of a pipeline.
func (l *Library) OpenStorage(ctx context.Context, s Spec) (*storage.Storage, func(), error) {
	return l.open(ctx, s.Topology.Checkpoint.Storage)
}

func (l *Library) open(ctx context.Context, url string) (*storage.Storage, func(), error) {
	if url == "" {
		url = l.StorageURL
	}
	st, err := storage.Open(ctx, url, l.Storage...)
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint storage: %w", err)
	}
	return st, func() {
		if err := st.Close(); err != nil {
			l.Log.Warn("close the checkpoint storage", "error", err)
		}
	}, nil
}
