//go:build linux

package faulttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"go.uber.org/goleak"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/checkpoint/storage/cloud"
	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/local"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/process"
)

// envHost holds what a host is to do, as JSON.
const envHost = "WEIR_TEST_HOST"

// hostSpec is one run of a pipeline.
type hostSpec struct {
	File     string `json:"file"`
	Name     string `json:"name"`
	StateDir string `json:"state_dir"`
	// Trace is the file that steps, processes and faults are noted in as they come,
	// so that they are known of a host that was killed.
	Trace         string        `json:"trace"`
	Faults        []fault       `json:"faults"`
	HealthTimeout time.Duration `json:"health_timeout"`
}

// fault is something that the host does to itself or to a plugin.
type fault struct {
	// When: the nth time that a step is taken, or after a while.
	Step  engine.Step   `json:"step,omitempty"`
	Nth   int           `json:"nth,omitempty"`
	After time.Duration `json:"after,omitempty"`
	Do    action        `json:"do"`
	// Plugin picks a process among those that live, in the order of their starts.
	Plugin int `json:"plugin,omitempty"`
	// Wait is how long the step then takes.
	Wait time.Duration `json:"wait,omitempty"`
}

type action string

const (
	killHost   action = "kill the host"
	killPlugin action = "kill a plugin"
	stopPlugin action = "stop a plugin"
	askToStop  action = "ask to stop"
)

func (f fault) String() string {
	when := fmt.Sprintf("after %v", f.After)
	if f.Step != "" {
		when = fmt.Sprintf("at %q, time %d", f.Step, f.Nth)
	}
	if f.Do == killPlugin || f.Do == stopPlugin {
		return fmt.Sprintf("%s (%d) %s, then wait %v", f.Do, f.Plugin, when, f.Wait)
	}
	return fmt.Sprintf("%s %s", f.Do, when)
}

// report is what a host says that was not killed.
type report struct {
	Finished    bool       `json:"finished"`
	Before      bool       `json:"before"`
	Uncommitted []string   `json:"uncommitted"`
	Error       string     `json:"error"`
	Refused     bool       `json:"refused"` // before the engine ran
	Leak        string     `json:"leak"`
	Status      statusPart `json:"status"`
}

// statusPart is what the tests read of an engine's status.
type statusPart struct {
	Restarts  engine.RestartStatus `json:"restarts"`
	Completed int                  `json:"checkpoints_completed"`
	Nodes     []engine.NodeStatus  `json:"nodes"`
}

// playHost runs a pipeline as `weir run` does.
func playHost() {
	var spec hostSpec
	if err := json.Unmarshal([]byte(os.Getenv(envHost)), &spec); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	debug.SetTraceback("all")
	// The test holds the other end: when it dies, so does this.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	ours := goleak.IgnoreCurrent()
	h, err := newHost(spec)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	r := h.run()
	if err := goleak.Find(ours); err != nil {
		r.Leak = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		os.Exit(3)
	}
}

type host struct {
	spec  hostSpec
	trace *os.File
	log   *slog.Logger

	mu     sync.Mutex
	steps  map[engine.Step]int
	procs  []catalog.Process
	engine *engine.Engine
	timers []*time.Timer
}

func newHost(spec hostSpec) (*host, error) {
	trace, err := os.OpenFile(spec.Trace, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &host{
		spec: spec, trace: trace, steps: map[engine.Step]int{},
		log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, nil
}

// note is in the trace whatever becomes of this process.
func (h *host) note(format string, args ...any) { fmt.Fprintf(h.trace, format+"\n", args...) }

func (h *host) run() report {
	ctx := context.Background()
	home, err := local.Open(ctx, h.spec.StateDir, h.spec.Name, h.log)
	if err != nil {
		return report{Error: err.Error(), Refused: true}
	}
	defer home.Close()
	sockets, removeSockets, err := home.Sockets()
	if err != nil {
		return report{Error: err.Error(), Refused: true}
	}
	defer removeSockets()
	// Records that are printed are of no interest here.
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return report{Error: err.Error(), Refused: true}
	}
	defer null.Close()
	plugins := catalog.New(catalog.Config{
		BuiltIn: process.Command{Args: []string{os.Args[0], rolePlugin}},
		Dir:     filepath.Dir(h.spec.File),
		Process: process.Options{
			Log: h.log, SocketDir: sockets, DumpDir: home.DumpDir(), Inherit: home.Inherit(), Stdout: null,
			HealthInterval: h.spec.HealthTimeout / 10, HealthTimeout: h.spec.HealthTimeout,
		},
	})
	defer plugins.Close(ctx)
	p, faults := pipeline.Load(ctx, h.spec.File, pipeline.Options{Catalog: plugins})
	if !faults.OK() {
		return report{Error: faults.Err().Error(), Refused: true}
	}
	store, err := local.OpenStorage(ctx, h.spec.StateDir, p.Name, p.Checkpoint.Storage, storage.WithOpener(cloud.Open, cloud.Schemes...))
	if err != nil {
		return report{Error: err.Error(), Refused: true}
	}
	defer store.Close()
	if err := home.Claim(ctx, p.Name, local.Spec{File: h.spec.File, Source: string(p.Source), Storage: store.String()}, false); err != nil {
		return report{Error: err.Error(), Refused: true}
	}
	h.engine = engine.New(engine.Config{
		Pipeline: p, Store: home.Store(), Leadership: home.Leadership(), Storage: store, Log: h.log, Scratch: home.ScratchDir(),
		OnStep: h.step,
		Start: func(ctx context.Context, pl pipeline.Plugin) (engine.Process, error) {
			proc, err := plugins.Start(ctx, pl, home.Inherit())
			if err != nil {
				return nil, err
			}
			h.note("process %d %s", proc.PID(), pl.Name)
			h.mu.Lock()
			defer h.mu.Unlock()
			h.procs = append(h.procs, proc)
			return proc, nil
		},
	})
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-terminated:
			h.engine.Stop()
		case <-over:
		}
	})
	defer func() {
		signal.Stop(terminated)
		close(over)
		watch.Wait()
	}()
	h.setTimers()
	outcome, err := h.engine.Run(ctx)
	h.stopTimers()
	status := h.engine.Status()
	r := report{Finished: outcome.Finished, Before: outcome.Before != nil, Uncommitted: outcome.Uncommitted,
		Status: statusPart{status.Restarts, status.Completed, status.Nodes}}
	if err != nil {
		r.Finished, r.Error = false, err.Error()
	}
	return r
}

// step is the engine's hook.
func (h *host) step(s engine.Step) {
	h.mu.Lock()
	h.steps[s]++
	n := h.steps[s]
	h.mu.Unlock()
	h.note("step %d %s", n, s)
	for _, f := range h.spec.Faults {
		if f.Step == s && f.Nth == n {
			h.commit(f)
		}
	}
}

func (h *host) setTimers() {
	for _, f := range h.spec.Faults {
		if f.Step == "" {
			h.timers = append(h.timers, time.AfterFunc(f.After, func() { h.commit(f) }))
		}
	}
}

func (h *host) stopTimers() {
	for _, t := range h.timers {
		t.Stop()
	}
}

// commit commits a fault.
func (h *host) commit(f fault) {
	h.note("fault %s", f)
	switch f.Do {
	case killHost:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case askToStop:
		h.engine.Stop()
	case killPlugin, stopPlugin:
		if p := h.pick(f.Plugin); p != nil {
			h.note("victim %d", p.PID())
			signal := syscall.SIGKILL
			if f.Do == stopPlugin {
				signal = syscall.SIGSTOP
			}
			if err := syscall.Kill(p.PID(), signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				h.note("error %v", err)
			}
		}
		time.Sleep(f.Wait)
	}
}

// pick returns a process that lives, or nil.
func (h *host) pick(i int) catalog.Process {
	h.mu.Lock()
	defer h.mu.Unlock()
	var live []catalog.Process
	for _, p := range h.procs {
		select {
		case <-p.Done():
		default:
			live = append(live, p)
		}
	}
	if len(live) == 0 {
		return nil
	}
	return live[i%len(live)]
}
