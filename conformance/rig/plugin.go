package rig

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/weirstream/weir/host/process"
	"github.com/weirstream/weir/proto/wire"
)

// Launcher starts processes of one plugin.
type Launcher struct {
	Command     process.Command
	SocketDir   string
	HostVersion string
}

// Options are what a case may ask of a process.
type Options struct {
	// TMP is its folder for temporary files, and Mark the value of [EnvMark].
	TMP, Mark string
	// Stdout is lent to it as the host's standard output; nil is none.
	Stdout *os.File
	// Window is that of its streams towards the host, in bytes; 0 is the contract's.
	Window int32
}

// Plugin is one process of a plugin or, where it runs one task a process, as many
// as it takes for the tasks that are open.
type Plugin struct {
	*process.Process
	// Logs is what it has said so far.
	Logs *Logs
	// TMP is its folder for temporary files, SocketDir that for its sockets.
	TMP, SocketDir string

	t        TB
	launcher Launcher
	opts     Options
	tasks    tasks

	mu       sync.Mutex
	siblings []*Plugin
	busy     bool // with the one task that it runs
}

// EnvMark is a variable that every process of the rig is started with, and so
// every child of it: its value finds them.
const EnvMark = "WEIR_CONFORMANCE_MARK"

// Start starts a process. It is ended, if need be by force, when the case ends.
func (l Launcher) Start(t TB, opts Options) *Plugin {
	cmd := l.Command
	cmd.Env = maps.Clone(cmd.Env)
	if cmd.Env == nil {
		cmd.Env = make(map[string]string)
	}
	cmd.Env[EnvMark], cmd.Env["TMPDIR"], cmd.Env[wire.EnvOverwrite] = opts.Mark, opts.TMP, "1"
	sockets, err := os.MkdirTemp(l.SocketDir, "p")
	if err != nil {
		t.Fatalf("folder for sockets: %v", err)
	}
	p := &Plugin{Logs: &Logs{}, TMP: opts.TMP, SocketDir: sockets, t: t, launcher: l, opts: opts}
	p.Process, err = process.Start(t.Context(), cmd, process.Options{
		Log: slog.New(p.Logs), SocketDir: sockets, HostVersion: l.HostVersion, StartTimeout: startTimeout, LogLines: most,
		Stdout: opts.Stdout, StreamWindow: opts.Window,
	})
	if err != nil {
		_ = os.RemoveAll(sockets)
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		p.tasks.drop()
		p.Kill("the case is over")
		<-p.Done()
		_ = os.RemoveAll(sockets)
	})
	return p
}

// forTask is a process that can take one more task.
func (p *Plugin) forTask() *Plugin {
	if !p.Manifest().GetOneTaskPerProcess() {
		return p
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range append([]*Plugin{p}, p.siblings...) {
		if !s.busy {
			s.busy = true
			return s
		}
	}
	s := p.launcher.Start(p.t, p.opts)
	s.busy = true
	p.siblings = append(p.siblings, s)
	return s
}

// free takes the task back that a process was given.
func (p *Plugin) free(s *Plugin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.busy = false
}

// SIGKILL kills the process and waits until nothing of it is left.
func (p *Plugin) SIGKILL() {
	for _, s := range p.kill() {
		s.tasks.drop()
	}
}

// SIGKILLDuring kills the process while somebody else opens tasks in it, and lets go
// of them when done is closed.
func (p *Plugin) SIGKILLDuring(done <-chan struct{}) {
	p.kill()
	<-done
	p.SIGKILL()
}

// kill kills the process and those beside it, and waits until they have ended.
func (p *Plugin) kill() []*Plugin {
	p.mu.Lock()
	all := append([]*Plugin{p}, p.siblings...)
	p.mu.Unlock()
	for _, s := range all {
		s.Process.Kill("killed by the case")
	}
	for _, s := range all {
		<-s.Done()
	}
	return all
}

// StopWithin ends the process as a host does and fails the case where it had to be
// killed.
func (p *Plugin) StopWithin(d time.Duration) {
	ctx, cancel := context.WithTimeout(p.t.Context(), d)
	defer cancel()
	p.tasks.drop()
	if err := p.Process.Stop(ctx); err != nil {
		p.t.Fatalf("the process was asked to end: %v", err)
	}
}

// Ended fails the case if the process has ended by itself.
func (p *Plugin) Ended() {
	select {
	case <-p.Done():
		if err := p.Err(); err != nil {
			p.t.Fatalf("the process ended: %v", err)
		}
	default:
	}
}
