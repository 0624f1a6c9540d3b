package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/process"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// fakeCatalog knows one plugin under whatever name.
type fakeCatalog struct{}

func (fakeCatalog) Installed(context.Context) []string { return nil }

func (fakeCatalog) Manifest(_ context.Context, p pipeline.Plugin) (*pluginv1.Manifest, error) {
	return manifest(p.Name), nil
}

func (fakeCatalog) Validate(_ context.Context, p pipeline.Plugin, r *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	for _, c := range manifest(p.Name).Components {
		if c.Kind == r.Kind && c.Name == r.Component {
			return &pluginv1.ValidateResponse{Capabilities: c.Capabilities}, nil
		}
	}
	return nil, fmt.Errorf("no component %s", r.Component)
}

// manifest lists the components of the fake plugin:
//
//	feed      a source whose splits the test fills
//	pass      passes records on; those that begin with "side" to its second output
//	counts    the same, and claims keyed state
//	keep      a sink that prepares its output and can withdraw it
//	final     the same, but cannot withdraw
//	loose     a sink that prepares nothing
func manifest(name string) *pluginv1.Manifest {
	sink := func(name string, c *pluginv1.Capabilities) *pluginv1.Component {
		return &pluginv1.Component{Kind: pluginv1.Kind_KIND_SINK, Name: name, Capabilities: c, Parameters: []*pluginv1.Parameter{
			{Name: "hold", Type: pluginv1.Parameter_TYPE_BOOL}, // until a barrier rolls
		}}
	}
	return &pluginv1.Manifest{Name: name, Version: "1", Components: []*pluginv1.Component{
		{
			Kind: pluginv1.Kind_KIND_SOURCE, Name: "feed", Capabilities: &pluginv1.Capabilities{Bounded: true, Replayable: true},
			Parameters: []*pluginv1.Parameter{{Name: "splits", Type: pluginv1.Parameter_TYPE_INT, Default: "1"}},
		},
		{
			Kind: pluginv1.Kind_KIND_OPERATOR, Name: "pass", Capabilities: &pluginv1.Capabilities{PreservesOrder: true, PreservesKey: true},
			Outputs: []*pluginv1.Output{{Name: "side"}},
		},
		{Kind: pluginv1.Kind_KIND_OPERATOR, Name: "counts", Capabilities: &pluginv1.Capabilities{KeyedState: true}},
		sink("keep", &pluginv1.Capabilities{ExactlyOnce: true, Retract: true}),
		sink("final", &pluginv1.Capabilities{ExactlyOnce: true}),
		sink("loose", &pluginv1.Capabilities{}),
	}}
}

// proc is a plugin process: a gRPC server in this one.
type proc struct {
	w      *world
	name   string
	number int
	server *grpc.Server
	conn   *grpc.ClientConn
	done   chan struct{}

	mu    sync.Mutex
	exit  *process.ExitError
	tasks map[string]*simTask
	ended bool
}

func (w *world) newProc(name string) *proc {
	lis := bufconn.Listen(1 << 20)
	conn, err := grpc.NewClient("passthrough:///fake", append(wire.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return lis.Dial() }))...)
	if err != nil {
		panic(err)
	}
	p := &proc{w: w, name: name, server: grpc.NewServer(wire.ServerOptions()...), conn: conn, done: make(chan struct{}), tasks: map[string]*simTask{}}
	pluginv1.RegisterPluginServer(p.server, &server{p: p})
	go func() { _ = p.server.Serve(lis) }()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.starts++
	p.number = w.starts
	w.procs = append(w.procs, p)
	w.events = append(w.events, fmt.Sprintf("start process %d", p.number))
	return p
}

func (p *proc) Client() pluginv1.PluginClient { return pluginv1.NewPluginClient(p.conn) }
func (p *proc) Done() <-chan struct{}         { return p.done }

func (p *proc) Err() *process.ExitError {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

func (p *proc) Stop(context.Context) error {
	p.end(nil)
	return nil
}

func (p *proc) Kill(reason string) {
	p.w.note("kill process %d: %s", p.number, reason)
	p.end(&process.ExitError{Plugin: p.name, PID: p.number, Status: -1, Signal: syscall.SIGKILL, Reason: reason})
}

// die ends the process as if it had failed by itself.
func (p *proc) die() {
	p.w.note("process %d dies", p.number)
	p.end(&process.ExitError{Plugin: p.name, PID: p.number, Status: 3, Stderr: []string{"out of luck"}})
}

func (p *proc) end(exit *process.ExitError) {
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return
	}
	p.ended, p.exit = true, exit
	for _, t := range p.tasks {
		t.leave()
	}
	p.mu.Unlock()
	p.server.Stop()
	_ = p.conn.Close()
	close(p.done)
}

// processOf is the living process that runs a node's tasks; nil where there is
// none.
func (w *world) processOf(node string) *proc {
	w.mu.Lock()
	procs := w.procs
	w.mu.Unlock()
	for _, p := range procs {
		p.mu.Lock()
		for _, t := range p.tasks {
			if t.node == node && !p.ended {
				p.mu.Unlock()
				return p
			}
		}
		p.mu.Unlock()
	}
	return nil
}

// server speaks the wire contract for a process.
type server struct {
	pluginv1.UnimplementedPluginServer
	p *proc
}

func (s *server) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return &pluginv1.DescribeResponse{Manifest: manifest(s.p.name)}, nil
}

func (s *server) Probe(_ context.Context, r *pluginv1.ProbeRequest) (*pluginv1.ProbeResponse, error) {
	s.p.w.note("probe %s", r.Owner.Node)
	if probe := s.p.w.act(r.Owner.Node).probe; probe != nil {
		return &pluginv1.ProbeResponse{Faults: probe()}, nil
	}
	return &pluginv1.ProbeResponse{}, nil
}

// prepared is a committable.
type prepared struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
}

// Commit publishes what is not published yet.
func (s *server) Commit(_ context.Context, r *pluginv1.CommitRequest) (*pluginv1.CommitResponse, error) {
	w := s.p.w
	if commit := w.act(r.Owner.Node).commit; commit != nil {
		if failure, err := commit(r); failure != nil || err != nil {
			w.note("commit %s fails", r.Owner.Node)
			return &pluginv1.CommitResponse{Error: failure}, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var keys []string
	for _, e := range r.Committables {
		var p prepared
		if err := json.Unmarshal(e.GetPayload(), &p); err != nil {
			return nil, err
		}
		keys = append(keys, p.Key)
		there := false
		for _, o := range w.published[r.Owner.Node] {
			there = there || o.key == p.Key
		}
		if !there {
			w.published[r.Owner.Node] = append(w.published[r.Owner.Node], output{p.Key, e.Checkpoint, p.Values})
		}
	}
	w.events = append(w.events, fmt.Sprintf("commit %s e%d [%s]", r.Owner.Node, r.Owner.Epoch, strings.Join(keys, " ")))
	return &pluginv1.CommitResponse{}, nil
}

// Sweep withdraws where it is asked to; what was prepared is nowhere but in
// checkpoints, so there is nothing to remove.
func (s *server) Sweep(_ context.Context, r *pluginv1.SweepRequest) (*pluginv1.SweepResponse, error) {
	w := s.p.w
	if sweep := w.act(r.Owner.Node).sweep; sweep != nil {
		if failure, err := sweep(r); failure != nil || err != nil {
			w.note("sweep %s fails", r.Owner.Node)
			return &pluginv1.SweepResponse{Error: failure}, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var earlier, keep []string
	for _, g := range r.Earlier {
		earlier = append(earlier, fmt.Sprintf("e%d x%d", g.Epoch, g.Parallelism))
	}
	for _, k := range r.Keep {
		keep = append(keep, string(k.GetPayload()))
	}
	if r.Retract {
		var left []output
		for _, o := range w.published[r.Owner.Node] {
			if o.checkpoint <= r.RestoredCheckpoint {
				left = append(left, o)
			}
		}
		w.published[r.Owner.Node] = left
	}
	w.events = append(w.events, fmt.Sprintf("sweep %s e%d of [%s] keep %v restored %d retract %v",
		r.Owner.Node, r.Owner.Epoch, strings.Join(earlier, ", "), keep, r.RestoredCheckpoint, r.Retract))
	return &pluginv1.SweepResponse{}, nil
}
