package catalog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/process"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Process is a running plugin; *process.Process is one. See there for what each
// method promises.
type Process interface {
	Client() pluginv1.PluginClient
	Name() string
	Path() string
	PID() int
	Protocol() int
	Manifest() *pluginv1.Manifest
	Done() <-chan struct{}
	Err() *process.ExitError
	Stop(ctx context.Context) error
	Kill(reason string)
}

var _ Process = (*process.Process)(nil)

// Launch starts a process as [process.Start] does.
type Launch func(ctx context.Context, cmd process.Command, opts process.Options) (Process, error)

// Config is what a catalog is made of.
type Config struct {
	// BuiltIn is the command that runs the first-party plugin, such as the absolute
	// path of this binary with a hidden argument. The catalog sets its name.
	BuiltIn process.Command
	// Companions are further plugins that come with this binary, by name. Nobody
	// installs, declares or pins them.
	Companions map[string]process.Command
	// Dir is the pipeline file's folder, for what is asked without a plugin that
	// says its own: it is searched for plugins, and processes work in it. Empty
	// means the working folder.
	Dir string
	// Path are the folders to search for plugins; nil means [DefaultPath] of the
	// folder in question.
	Path []string
	// Unlocked starts plugins whatever the weir.lock of their folder says, for
	// writing it.
	Unlocked bool
	// Process holds for every process that the catalog starts.
	Process process.Options
	// Launch starts processes; nil means process.Start.
	Launch Launch
}

// Catalog answers what plugins are and starts them. It implements
// [pipeline.Catalog]. All methods may be called concurrently; one plugin is
// started once however many ask for it at the same time. What a plugin said, also
// that it cannot be used, is not asked again: make a catalog for each load of a
// pipeline.
type Catalog struct {
	config Config

	mu     sync.Mutex
	known  map[string]*entry
	closed bool
}

var _ pipeline.Catalog = (*Catalog)(nil)

// entry is one plugin that was asked for.
type entry struct {
	turn     chan struct{} // holds one token: who has it may start the plugin
	manifest *pluginv1.Manifest
	err      error   // why it cannot be used; kept, as it would be the same again
	kept     Process // described it, and belongs to nobody else yet
}

// New returns a catalog that has started nothing yet. The caller closes it.
func New(config Config) *Catalog {
	if config.Launch == nil {
		config.Launch = func(ctx context.Context, cmd process.Command, opts process.Options) (Process, error) {
			p, err := process.Start(ctx, cmd, opts)
			if err != nil {
				return nil, err
			}
			return p, nil
		}
	}
	config.BuiltIn.Name = pipeline.FirstParty
	return &Catalog{config: config, known: make(map[string]*entry)}
}

// ErrClosed is returned by everything that would start a process after Close.
var ErrClosed = errors.New("the catalog is closed")

// Manifest returns what the plugin says about itself, starting it if it was not
// asked before. See [pipeline.Catalog].
func (c *Catalog) Manifest(ctx context.Context, p pipeline.Plugin) (*pluginv1.Manifest, error) {
	e, release, err := c.described(ctx, p)
	if err != nil {
		return nil, err
	}
	defer release()
	return e.manifest, nil
}

// Validate lets the plugin check a configuration. See [pipeline.Catalog].
func (c *Catalog) Validate(ctx context.Context, p pipeline.Plugin, req *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	var res *pluginv1.ValidateResponse
	err := c.use(ctx, p, func(running Process) (err error) {
		res, err = running.Client().Validate(ctx, req)
		return err
	})
	return res, err
}

// Probe lets the plugin check a configuration against the outside.
func (c *Catalog) Probe(ctx context.Context, p pipeline.Plugin, req *pluginv1.ProbeRequest) (*pluginv1.ProbeResponse, error) {
	var res *pluginv1.ProbeResponse
	err := c.use(ctx, p, func(running Process) (err error) {
		res, err = running.Client().Probe(ctx, req)
		return err
	})
	return res, err
}

// Warm describes plugins at the same time, so that what asks for them one after
// the other later need not wait. What cannot be started is found out then.
func (c *Catalog) Warm(ctx context.Context, plugins ...pipeline.Plugin) {
	var wg sync.WaitGroup
	for _, p := range plugins {
		wg.Go(func() { _, _ = c.Manifest(ctx, p) })
	}
	wg.Wait()
}

// Start returns a running process of the plugin, which is the caller's from now
// on: the one that described the plugin, if it is still there, else a new one.
// inherit is the file that the process must hold open (see [process.Options]); a
// process that was started with another is stopped and not given out, so set
// Config.Process.Inherit beforehand where the time to start matters.
func (c *Catalog) Start(ctx context.Context, p pipeline.Plugin, inherit *os.File) (Process, error) {
	e, release, err := c.turn(ctx, p)
	if err != nil {
		return nil, err
	}
	kept := e.kept
	e.kept = nil
	release()
	if kept != nil && inherit == c.config.Process.Inherit && alive(kept) {
		return kept, nil
	}
	if kept != nil {
		if err := kept.Stop(ctx); err != nil {
			c.log().Warn("a plugin that was no longer needed did not end well", "error", err)
		}
	}
	opts := c.config.Process
	opts.Inherit = inherit
	return c.launch(ctx, p, opts)
}

// Close stops the processes that were not given out, and waits for them.
func (c *Catalog) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	var all []*entry
	for _, e := range c.known {
		all = append(all, e)
	}
	c.mu.Unlock()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, e := range all {
		wg.Go(func() {
			// A start under way ends by its own deadline.
			<-e.turn
			defer func() { e.turn <- struct{}{} }()
			if e.kept != nil {
				errs[i] = e.kept.Stop(ctx)
				e.kept = nil
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// use calls f with a process of the plugin, which stays the catalog's. Calls for
// one plugin come one after the other.
func (c *Catalog) use(ctx context.Context, p pipeline.Plugin, f func(Process) error) error {
	e, release, err := c.described(ctx, p)
	if err != nil {
		return err
	}
	defer release()
	if e.kept == nil || !alive(e.kept) {
		e.kept = nil
		started, err := c.launch(ctx, p, c.config.Process)
		if err != nil {
			return err
		}
		e.kept = started
	}
	if err := f(e.kept); err != nil {
		return cause(e.kept, err)
	}
	return nil
}

// cause says how the process ended where that is why a call failed.
func cause(p Process, err error) error {
	if !broken(err) {
		return fmt.Errorf("plugin %s: %w", p.Name(), err)
	}
	select {
	case <-p.Done():
	case <-grace():
	}
	if exit := p.Err(); exit != nil {
		return exit
	}
	return fmt.Errorf("plugin %s: %w", p.Name(), err)
}

// described takes the plugin's turn and describes it if that was not done.
func (c *Catalog) described(ctx context.Context, p pipeline.Plugin) (e *entry, release func(), err error) {
	e, release, err = c.turn(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	if e.manifest == nil && e.err == nil {
		started, err := c.launch(ctx, p, c.config.Process)
		switch {
		case err == nil:
			e.kept, e.manifest = started, started.Manifest()
		case ctx.Err() == nil:
			e.err = err
		default:
			release()
			return nil, nil, err
		}
	}
	if e.err != nil {
		release()
		return nil, nil, e.err
	}
	return e, release, nil
}

// turn waits until nobody else deals with the plugin.
func (c *Catalog) turn(ctx context.Context, p pipeline.Plugin) (*entry, func(), error) {
	key := identity(p)
	c.mu.Lock()
	e := c.known[key]
	if e == nil {
		e = &entry{turn: make(chan struct{}, 1)}
		e.turn <- struct{}{}
		c.known[key] = e
	}
	c.mu.Unlock()
	select {
	case <-e.turn:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("plugin %s: %w", p.Name, context.Cause(ctx))
	}
	return e, func() { e.turn <- struct{}{} }, nil
}

// launch starts a process of the plugin and checks that it is the one meant.
func (c *Catalog) launch(ctx context.Context, p pipeline.Plugin, opts process.Options) (Process, error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	cmd, err := c.Command(p)
	if err != nil {
		return nil, err
	}
	started, err := c.config.Launch(ctx, cmd, opts)
	if err != nil {
		return nil, err
	}
	if is := started.Manifest().GetName(); !p.Declared() && is != p.Name {
		err := &NameError{Plugin: p.Name, Path: started.Path(), Describes: is}
		if stopErr := started.Stop(ctx); stopErr != nil {
			return nil, errors.Join(err, stopErr)
		}
		return nil, err
	}
	return started, nil
}
