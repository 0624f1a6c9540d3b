package task

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// Names that every component has.
const (
	mainOutput   = "out"
	errorsOutput = "errors"
)

// Plugin says who serves.
type Plugin struct {
	Name, Version string
	// SDK is the SDK and its version, for support.
	SDK string
	// OneTaskPerProcess asks the host for a process a task.
	OneTaskPerProcess bool
}

// Options of a server; the zero value is good.
type Options struct {
	// Pool owns the memory of batches. A poisoned one overwrites them after each
	// call, which shows a component that keeps what it must not.
	Pool *wire.Pool
	// Log is for what has no task to report to; nil discards it.
	Log *slog.Logger
	// CloseTimeout bounds how long a task waits for a component that does not
	// return although it was told to end; 0 means ten seconds. The task then ends
	// with an error and the host kills the process.
	CloseTimeout time.Duration
	// CommitterIdle is how long a committer is kept without a call; 0 means a
	// minute.
	CommitterIdle time.Duration
	// ReportInterval is the time between two reports; 0 means a second.
	ReportInterval time.Duration
	// Clock is the processing time; nil is that of the system.
	Clock Clock
}

// Clock is processing time, for timers.
type Clock interface {
	Now() time.Time
	// After returns a channel that is sent to once, when d has passed, and a
	// function that gives it up.
	After(d time.Duration) (reached <-chan time.Time, stop func())
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) After(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// Server serves the wire contract for a set of components. It is safe for
// concurrent use.
type Server struct {
	pluginv1.UnimplementedPluginServer
	manifest   *pluginv1.Manifest
	components map[componentKey]*Component
	opts       Options
	fence      fence
	committers committers

	mu    sync.Mutex
	tasks map[taskKey]*task
}

var _ pluginv1.PluginServer = (*Server)(nil)

type componentKey struct {
	kind pluginv1.Kind
	name string
}

type taskKey struct {
	uid   string
	epoch uint64
	node  string
	index uint32
	role  pluginv1.Role
}

// NewServer returns a server of these components. It panics where two have the
// same kind and name, or one has no function to open it: the author's mistake,
// which shows at the first start.
func NewServer(p Plugin, components []*Component, opts Options) *Server {
	if opts.Pool == nil {
		opts.Pool = wire.NewPool()
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	opts.CloseTimeout = orDefault(opts.CloseTimeout, 10*time.Second)
	opts.CommitterIdle = orDefault(opts.CommitterIdle, time.Minute)
	opts.ReportInterval = orDefault(opts.ReportInterval, time.Second)
	if opts.Clock == nil {
		opts.Clock = systemClock{}
	}
	s := &Server{
		manifest: &pluginv1.Manifest{
			Name: p.Name, Version: p.Version, Sdk: p.SDK, OneTaskPerProcess: p.OneTaskPerProcess,
		},
		components: map[componentKey]*Component{},
		opts:       opts,
		tasks:      map[taskKey]*task{},
	}
	s.committers.idle = opts.CommitterIdle
	for _, c := range components {
		key := componentKey{c.Spec.GetKind(), c.Spec.GetName()}
		if s.components[key] != nil {
			panic(fmt.Sprintf("two components of %s named %q", key.kind, key.name))
		}
		if !c.opens() {
			panic(fmt.Sprintf("component %q of %s cannot be opened", key.name, key.kind))
		}
		s.components[key] = c
		s.manifest.Components = append(s.manifest.Components, c.Spec)
	}
	return s
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// Close ends the committers. Tasks end with their streams.
func (s *Server) Close() { s.committers.close() }

// Describe implements [pluginv1.PluginServer].
func (s *Server) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return &pluginv1.DescribeResponse{Manifest: s.manifest}, nil
}

// Validate implements [pluginv1.PluginServer].
func (s *Server) Validate(_ context.Context, r *pluginv1.ValidateRequest) (out *pluginv1.ValidateResponse, err error) {
	c, err := s.component(r.GetKind(), r.GetComponent())
	if err != nil {
		return nil, err
	}
	out = &pluginv1.ValidateResponse{Capabilities: c.Spec.GetCapabilities()}
	if c.Validate == nil {
		return out, nil
	}
	err = guard(func() error { out = c.Validate(r.GetConfig(), r.GetSecretPaths()); return nil })
	return out, internal("Validate", c, err)
}

// Probe implements [pluginv1.PluginServer].
func (s *Server) Probe(ctx context.Context, r *pluginv1.ProbeRequest) (*pluginv1.ProbeResponse, error) {
	c, err := s.component(r.GetKind(), r.GetComponent())
	if err != nil {
		return nil, err
	}
	out := &pluginv1.ProbeResponse{}
	if c.Probe == nil {
		return out, nil
	}
	err = guard(func() error {
		out.Faults = c.Probe(ctx, r)
		return nil
	})
	return out, internal("Probe", c, err)
}

// internal is the status of a call in which a component panicked.
func internal(call string, c *Component, err error) error {
	if err == nil {
		return nil
	}
	return status.Errorf(codes.Internal, "%s of component %q: %v", call, c.Spec.GetName(), err)
}

func (s *Server) component(kind pluginv1.Kind, name string) (*Component, error) {
	if c := s.components[componentKey{kind, name}]; c != nil {
		return c, nil
	}
	return nil, status.Errorf(codes.NotFound, "plugin %q has no component %q of %s", s.manifest.Name, name, kind)
}

func (c *Component) opens() bool {
	switch c.Spec.GetKind() {
	case pluginv1.Kind_KIND_SOURCE:
		return c.OpenSource != nil
	case pluginv1.Kind_KIND_OPERATOR:
		return c.OpenOperator != nil
	case pluginv1.Kind_KIND_SINK:
		return c.OpenSink != nil
	}
	return false
}

// register makes a task known for Run to find; no two share a reference.
func (s *Server) register(t *task) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := keyOf(t.open.GetTask())
	if s.tasks[key] != nil {
		return status.Errorf(codes.AlreadyExists, "task %s is open already", t)
	}
	s.tasks[key] = t
	return nil
}

func (s *Server) forget(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tasks, keyOf(t.open.GetTask()))
}

func (s *Server) find(ref *pluginv1.TaskRef) *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tasks[keyOf(ref)]
}

func keyOf(r *pluginv1.TaskRef) taskKey {
	return taskKey{r.GetUid(), r.GetEpoch(), r.GetNode(), r.GetIndex(), r.GetRole()}
}
