package process

import (
	"context"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin/runner"
)

// pluginRunner runs the process for go-plugin, which sees of it no more than the
// handshake: standard error, exit and kill are the supervisor's. (go-plugin's own
// runner waits for the pipes before it reaps, panics over some lines of standard
// error, and stops at a long line of standard output.)
type pluginRunner struct {
	p       *Process
	child   *child
	shake   *io.PipeReader
	shaking *io.PipeWriter
	close   []io.Closer

	mu       sync.Mutex
	givenUp  bool
	startErr error
	refused  *StartError // why the handshake was not accepted
}

var _ runner.Runner = (*pluginRunner)(nil)

func newRunner(p *Process) *pluginRunner {
	r := &pluginRunner{p: p}
	r.shake, r.shaking = io.Pipe()
	return r
}

// prepare is go-plugin's RunnerFunc: spec carries the environment that a plugin
// needs, and sockets is the folder that was made for this process.
func (r *pluginRunner) prepare(_ hclog.Logger, spec *exec.Cmd, sockets string) (runner.Runner, error) {
	r.p.socketDir = sockets
	cmd := r.p.cmd.exec(r.p.path)
	cmd.Env = slices.Concat(cmd.Env, spec.Env)
	child, theirs, err := newChild(cmd, r.p.opts.Inherit, r.p.opts.Stdout)
	if err != nil {
		return nil, err
	}
	r.child = child
	for _, f := range theirs {
		r.close = append(r.close, f)
	}
	return r, nil
}

// Start launches the process and begins to read its output.
func (r *pluginRunner) Start(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.givenUp {
		r.startErr = context.Canceled
	} else {
		r.startErr = r.child.start()
	}
	for _, f := range r.close {
		_ = f.Close()
	}
	if r.startErr != nil {
		r.child.cutLifeline()
		r.child.closeOutput()
		return r.startErr
	}
	p := r.p
	p.child = r.child
	p.log = p.log.With("pid", p.PID())
	p.out = newOutput(p.log, p.opts.Mask, p.opts.LogLines)
	p.pipes.Go(func() { p.out.readFrom(r.child.stderr, false) })
	p.pipes.Go(func() { filterStdout(r.child.stdout, r.shaking, p.out, r.accept) })
	return nil
}

// accept says whether the host can speak to a plugin with this handshake.
func (r *pluginRunner) accept(h handshake) bool {
	detail, reason := h.check(r.p.opts.versions)
	if reason == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = r.p.failed(reason, detail)
	return false
}

// giveUp ends a start that takes too long: without its output go-plugin waits no
// more. The process itself is left to whoever finds out why.
func (r *pluginRunner) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.givenUp = true
	_ = r.shaking.Close()
}

// Stdout is the handshake alone.
func (r *pluginRunner) Stdout() io.ReadCloser { return r.shake }

// Stderr is empty, and ends with the process.
func (r *pluginRunner) Stderr() io.ReadCloser { return untilExit{r.child} }

// Wait returns when the process is reaped.
func (r *pluginRunner) Wait(context.Context) error {
	<-r.child.exited.Done()
	return nil
}

// Kill does nothing: go-plugin asks for it as soon as a start fails, when the
// process may be about to say why.
func (r *pluginRunner) Kill(context.Context) error { return nil }

// Name is the program.
func (r *pluginRunner) Name() string { return r.p.path }

// ID is the process id.
func (r *pluginRunner) ID() string { return strconv.Itoa(r.child.pid()) }

// Diagnose has nothing to add.
func (r *pluginRunner) Diagnose(context.Context) string { return "" }

// PluginToHost and HostToPlugin leave addresses alone: both sides see the same.
func (r *pluginRunner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin: see PluginToHost.
func (r *pluginRunner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// untilExit reads as an empty file whose end comes with the process's.
type untilExit struct{ c *child }

func (u untilExit) Read([]byte) (int, error) {
	<-u.c.exited.Done()
	return 0, io.EOF
}

func (u untilExit) Close() error { return nil }
