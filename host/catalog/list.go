package catalog

import (
	"context"
	"runtime"
	"strings"
	"sync"

	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Origin says where a plugin comes from.
type Origin string

// The origins, as `weir plugin ls` prints them.
const (
	BuiltIn  Origin = "built in"
	Declared Origin = "declared"
	OnPath   Origin = "plugin path"
)

// Listing is one plugin that exists, usable or not.
type Listing struct {
	// Name is what a pipeline file calls the plugin.
	Name   string
	Origin Origin
	// Path is the executable, or the command of a declared plugin.
	Path string
	// Manifest is what the plugin says about itself; nil where it could not be
	// asked.
	Manifest *pluginv1.Manifest
	// Protocol is the version of the plugin protocol that was agreed on; 0 where
	// none was.
	Protocol int
	// Ignored says why the plugin is not used; empty where it is.
	Ignored string
	// Err is the error behind Ignored, where starting the plugin gave one.
	Err error
}

// List starts every plugin that exists, the declared ones and those on the plugin
// path of Config.Dir, to see what each of them is, and stops what it started. It
// does not fail: what cannot be used says why. The order is that in which names are
// looked up.
func (c *Catalog) List(ctx context.Context, declared ...pipeline.Plugin) []Listing {
	var all []Listing
	var plugins []pipeline.Plugin
	add := func(l Listing, p pipeline.Plugin) {
		all, plugins = append(all, l), append(plugins, p)
	}
	add(Listing{Name: pipeline.FirstParty, Origin: BuiltIn, Path: strings.Join(c.config.BuiltIn.Args, " ")},
		pipeline.Plugin{Name: pipeline.FirstParty, Dir: c.config.Dir})
	taken := make(map[string]bool)
	for _, d := range declared {
		taken[d.Name] = true
		path := d.Path
		if path == "" {
			path = strings.Join(d.Command, " ")
		}
		add(Listing{Name: d.Name, Origin: Declared, Path: path}, d)
	}
	for _, f := range find(c.path(c.config.Dir)) {
		if f.why == "" && taken[f.name] {
			f.why = "the pipeline file declares another plugin of this name"
		}
		add(Listing{Name: f.name, Origin: OnPath, Path: f.path, Ignored: f.why}, pipeline.Plugin{Name: f.name, Dir: c.config.Dir})
	}

	slots := make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))
	var wg sync.WaitGroup
	for i := range all {
		if all[i].Ignored != "" {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			c.look(ctx, &all[i], plugins[i])
		})
	}
	wg.Wait()
	return all
}

// look starts one plugin for a listing.
func (c *Catalog) look(ctx context.Context, l *Listing, p pipeline.Plugin) {
	started, err := c.launch(ctx, p, c.config.Process)
	if err != nil {
		l.Err, l.Ignored = err, err.Error()
		return
	}
	l.Manifest, l.Protocol = started.Manifest(), started.Protocol()
	if err := started.Stop(ctx); err != nil {
		c.log().Warn("a listed plugin did not end well", "error", err)
	}
}
