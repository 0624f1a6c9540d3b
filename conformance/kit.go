package conformance

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/conformance/spec"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/process"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Options say what to test.
type Options struct {
	// Command starts the plugin, and Previous an older version of it; nil is none.
	Command  process.Command
	Previous *process.Command
	// Config is the conformance.yaml; nil is none.
	Config *spec.Source
	// Components are the names of those to test, as NAME or KIND:NAME; empty is all.
	Components []string
	// Run selects cases by their id and title; nil is all.
	Run *regexp.Regexp
	// Seed drives everything that is random.
	Seed uint64
	// Parallel is the number of cases that run at the same time; 0 is a choice made
	// by the machine.
	Parallel int
	// FirstParty starts the first-party components, for `feed` and `read`.
	FirstParty process.Command
	// HostVersion is told to plugins.
	HostVersion string
	// Done is called when a case has ended, from one goroutine at a time; nil is
	// nobody.
	Done func(Result)
}

// InputError is something wrong with what was given to the kit, and not a verdict
// on the plugin.
type InputError struct{ Err error }

func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.Err }

// kit is one run.
type kit struct {
	opts       Options
	dir        string // where plugin and commands run
	config     *spec.Source
	launcher   rig.Launcher
	previous   *rig.Launcher
	firstParty rig.Launcher
	manifest   *pluginv1.Manifest
	tmp        string
	nonce      string
	targets    []*Target

	mu      sync.Mutex
	hung    map[*Target]int    // cases that ran out of time
	stopped map[*Target]string // why no more is tested
	cases   int
}

// Run tests a plugin. The error is an [*InputError], or that of ctx.
func Run(ctx context.Context, opts Options) (*Report, error) {
	began := time.Now()
	k := &kit{opts: opts, config: opts.Config, hung: map[*Target]int{}, stopped: map[*Target]string{}}
	var err error
	if k.tmp, err = os.MkdirTemp("", "weir-conformance-"); err != nil {
		return nil, &InputError{err}
	}
	defer func() { _ = os.RemoveAll(k.tmp) }()
	if k.tmp, err = filepath.EvalSymlinks(k.tmp); err != nil {
		return nil, &InputError{err}
	}
	sockets, remove, err := process.SocketDir("")
	if err != nil {
		return nil, &InputError{err}
	}
	defer func() { _ = remove() }()
	k.nonce = strings.ToLower(rand.Text()[:8])
	if err := k.prepare(ctx, sockets); err != nil {
		return nil, err
	}
	report := &Report{
		Plugin: k.manifest.GetName(), Version: k.manifest.GetVersion(), Binary: strings.Join(opts.Command.Args, " "), Seed: opts.Seed,
		Remarks: k.remarks(),
	}
	report.Results = k.runAll(ctx)
	report.Took = time.Since(began)
	if ctx.Err() != nil {
		return report, context.Cause(ctx)
	}
	return report, nil
}

// prepare asks the plugin what it is, and checks everything that was given.
func (k *kit) prepare(ctx context.Context, sockets string) error {
	k.dir = k.opts.Command.Dir
	if k.config != nil {
		k.dir = k.config.Dir()
	}
	launcher := func(c process.Command, env map[string]string) rig.Launcher {
		c.Dir = k.dir
		if c.Env == nil {
			c.Env = make(map[string]string)
		}
		for name, value := range env {
			c.Env[name] = value
		}
		return rig.Launcher{Command: c, SocketDir: sockets, HostVersion: k.opts.HostVersion}
	}
	var file *spec.File
	if k.config != nil {
		var report pipeline.Report
		if file, report = k.config.Parse(spec.Vars{CaseID: "wc_check", TMP: k.tmp}); !report.OK() {
			return &InputError{report.Err()}
		}
	}
	var env map[string]string
	if file != nil {
		env = file.Env
	}
	k.launcher, k.firstParty = launcher(k.opts.Command, env), launcher(k.opts.FirstParty, nil)
	if k.opts.Previous != nil {
		l := launcher(*k.opts.Previous, env)
		k.previous = &l
	}
	p, err := process.Start(ctx, k.launcher.Command, process.Options{SocketDir: sockets, HostVersion: k.opts.HostVersion})
	if err != nil {
		return &InputError{err}
	}
	defer func() { _ = p.Stop(ctx) }()
	k.manifest = p.Manifest()
	if k.previous != nil {
		older, err := process.Start(ctx, k.previous.Command, process.Options{SocketDir: sockets, HostVersion: k.opts.HostVersion})
		if err != nil {
			return &InputError{fmt.Errorf("--previous: %w", err)}
		}
		_ = older.Stop(ctx)
	}
	if err := k.target(ctx, p, file); err != nil {
		return err
	}
	return k.choose()
}

// target finds the components to test: those in the file, and those of the
// manifest that it does not have.
func (k *kit) target(ctx context.Context, p *process.Process, file *spec.File) error {
	var faults []pipeline.Fault
	fault := func(pos spec.Config, format string, args ...any) {
		faults = append(faults, pipeline.Fault{File: file.Name, Line: pos.Pos.Line, Column: pos.Pos.Column, Field: pos.Path,
			Code: spec.CodeValue, Message: fmt.Sprintf(format, args...)})
	}
	k.targets = append(k.targets, &Target{Manifest: k.manifest, previous: k.previous != nil})
	for _, c := range k.manifest.GetComponents() {
		found := false
		if file != nil {
			for i, e := range file.Components {
				if e.Kind != c.GetKind() || e.Name != c.GetName() {
					continue
				}
				found = true
				configured, f := pipeline.CheckConfig(ctx, asked{k.manifest, p.Client()}, pipeline.Plugin{Name: k.manifest.GetName()}, c, e.Config.Path, e.Config.Value, e.Config.Pos)
				for _, x := range f {
					x.File = file.Name
					faults = append(faults, x)
				}
				t := &Target{
					Manifest: k.manifest, Component: c, Entry: e, Left: configured.Capabilities, Outputs: configured.Outputs,
					index: i, previous: k.previous != nil,
				}
				k.targets = append(k.targets, t)
				for _, s := range e.Steps {
					if m := t.unknownIn(s); m != "" {
						fault(spec.Config{Pos: s.Pos, Path: s.Path}, "%s", m)
					}
				}
			}
		}
		if !found {
			k.targets = append(k.targets, &Target{Manifest: k.manifest, Component: c, Left: c.GetCapabilities(), previous: k.previous != nil})
		}
	}
	if file != nil {
		for _, e := range file.Components {
			if !slices.ContainsFunc(k.manifest.GetComponents(), func(c *pluginv1.Component) bool { return c.GetKind() == e.Kind && c.GetName() == e.Name }) {
				fault(spec.Config{Pos: e.Pos, Path: e.Path}, "the plugin has no %s %q: it has %s", pipeline.KindName(e.Kind), e.Name, k.names())
			}
		}
	}
	report := pipeline.Report{Faults: faults}
	report.Sort()
	if !report.OK() {
		return &InputError{report.Err()}
	}
	return nil
}

func (k *kit) names() string {
	var out []string
	for _, c := range k.manifest.GetComponents() {
		out = append(out, pipeline.KindName(c.GetKind())+" "+c.GetName())
	}
	if len(out) == 0 {
		return "no components"
	}
	return strings.Join(out, ", ")
}

// choose keeps the targets that were asked for.
func (k *kit) choose() error {
	if len(k.opts.Components) == 0 {
		return nil
	}
	used := make(map[string]bool)
	k.targets = slices.DeleteFunc(k.targets, func(t *Target) bool {
		if t.Component == nil {
			return false
		}
		for _, want := range k.opts.Components {
			kind, name, ok := strings.Cut(want, ":")
			if !ok {
				kind, name = "", want
			}
			if name == t.Component.GetName() && (kind == "" || kind == pipeline.KindName(t.Component.GetKind())) {
				used[want] = true
				return false
			}
		}
		return true
	})
	for _, want := range k.opts.Components {
		if !used[want] {
			return &InputError{fmt.Errorf("--component %s: the plugin has no such component: it has %s", want, k.names())}
		}
	}
	return nil
}

// remarks are what weakens the verdict.
func (k *kit) remarks() []string {
	var out []string
	for _, t := range k.targets {
		if t.Component == nil {
			continue
		}
		if t.Entry == nil {
			out = append(out, t.Name()+": conformance.yaml has no entry for it, so hardly anything of it is tested")
			continue
		}
		if o := t.Entry.Read; o != nil && o.Component != "" && k.own(o.Component) {
			out = append(out, t.Name()+": what it committed is read by the plugin's own "+o.Component+": what both get wrong alike is not seen")
		}
		if o := t.Entry.Feed; o != nil && o.Component != "" && k.own(o.Component) {
			out = append(out, t.Name()+": it is fed by the plugin's own "+o.Component+": what both get wrong alike is not seen")
		}
		if t.Entry.Read != nil && t.Entry.Read.ShowsUncommitted {
			out = append(out, t.Name()+": by conformance.yaml its reader sees output that is not committed: that nothing is seen too early is not tested")
		}
		if c := t.Entry.Carries; t.Component.GetKind() != pluginv1.Kind_KIND_OPERATOR && (t.Entry.Read != nil || t.Entry.Feed != nil) {
			var lost []string
			for _, x := range []struct {
				name string
				kept bool
			}{{"key", c.Key}, {"time", c.Time}, {"headers", c.Headers}, {"null", c.Null}, {"empty", c.Empty}, {"binary", c.Binary}} {
				if !x.kept {
					lost = append(lost, x.name)
				}
			}
			if len(lost) > 0 {
				out = append(out, t.Name()+": by conformance.yaml its outside does not carry "+strings.Join(lost, ", "))
			}
		}
	}
	return out
}
