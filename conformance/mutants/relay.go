package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/host/process"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// relay serves a plugin that passes everything on to a good process of its own, and
// changes on the way what the fault says (wire.go).
func relay() {
	shake := wire.Handshake()
	if os.Getenv(shake.MagicCookieKey) != shake.MagicCookieValue {
		if is("says-nothing-by-hand") {
			os.Exit(0)
		}
		fmt.Fprintln(os.Stderr, "this is a plugin")
		os.Exit(2)
	}
	s := &server{}
	if err := s.start(); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
	s.watchLifeline()
	if is("prints-before-the-handshake") {
		fmt.Println("welcome")
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  shake,
		VersionedPlugins: map[int]plugin.PluginSet{wire.ProtocolVersion: {wire.PluginName: &served{s: s}}},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr, JSONFormat: true}),
		GRPCServer: func(tls []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(tls, wire.ServerOptions()...)...)
		},
	})
	switch fault {
	case "ignores-every-end":
		select {}
	case "ends-with-a-status":
		os.Exit(3)
	}
	s.stop()
}

// served registers the relay with go-plugin.
type served struct {
	plugin.NetRPCUnsupportedPlugin
	s *server
}

// GRPCServer implements [plugin.GRPCPlugin].
func (p *served) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	pluginv1.RegisterPluginServer(s, p.s)
	return nil
}

// GRPCClient implements [plugin.GRPCPlugin].
func (p *served) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a plugin is no client")
}

// server passes calls on to the good process.
type server struct {
	pluginv1.UnimplementedPluginServer
	good    *process.Process
	sockets string
	asked   atomic.Int64
	live    atomic.Int64 // streams of Control
	runs    atomic.Int64

	mu    sync.Mutex
	other *wire.Frame // a batch of some task, to be sent by another
}

// start starts the good process: the same program without the fault.
func (s *server) start() error {
	// Beside go-plugin's own folder, within the one that the host has made.
	s.sockets = filepath.Join(filepath.Dir(os.Getenv("PLUGIN_UNIX_SOCKET_DIR")), "g")
	if err := os.MkdirAll(s.sockets, 0o700); err != nil {
		return err
	}
	env := make(map[string]string)
	for _, name := range []string{rig.EnvMark, wire.EnvOverwrite, "TMPDIR"} {
		env[name] = os.Getenv(name)
	}
	var err error
	s.good, err = process.Start(context.Background(), process.Command{Name: "good", Args: os.Args[:len(os.Args)-1], Env: env},
		process.Options{SocketDir: s.sockets})
	return err
}

func (s *server) stop() {
	_ = s.good.Stop(context.Background())
	_ = os.RemoveAll(s.sockets)
}

// watchLifeline ends the process with its host.
func (s *server) watchLifeline() {
	fd, err := strconv.Atoi(os.Getenv(wire.EnvLifeline))
	if err != nil || is("ignores-the-lifeline") || is("ignores-every-end") {
		return
	}
	lifeline := os.NewFile(uintptr(fd), "lifeline")
	go func() {
		_, _ = lifeline.Read(make([]byte, 1))
		if is("waits-for-its-tasks") && s.live.Load() > 0 {
			return
		}
		s.stop()
		os.Exit(0)
	}()
}

// hang waits until the host gives a stream up.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// Control implements [pluginv1.PluginServer].
func (s *server) Control(host grpc.BidiStreamingServer[pluginv1.ControlRequest, pluginv1.ControlResponse]) error {
	s.live.Add(1)
	defer s.live.Add(-1)
	ctx := host.Context()
	if is("control-end-is-ignored") {
		ctx = context.Background()
	}
	good, err := s.good.Client().Control(ctx)
	if err != nil {
		return err
	}
	t := &tap{s: s, host: host}
	go func() {
		for {
			m, err := host.Recv()
			if err != nil {
				if !is("control-end-is-ignored") {
					_ = good.CloseSend()
				}
				return
			}
			for _, m := range t.down(m) {
				_ = good.Send(m)
			}
		}
	}()
	for {
		m, err := good.Recv()
		if err != nil {
			return t.controlEnded(err)
		}
		for _, m := range t.up(m) {
			if err := t.say(m); err != nil {
				return err
			}
		}
	}
}

// Run implements [pluginv1.PluginServer].
func (s *server) Run(host grpc.BidiStreamingServer[pluginv1.Frame, pluginv1.Frame]) error {
	s.runs.Add(1)
	defer s.runs.Add(-1)
	ctx := host.Context()
	if is("control-end-is-ignored") {
		ctx = context.Background()
	}
	good, err := s.good.Client().Run(ctx)
	if err != nil {
		return err
	}
	t := &frames{s: s, pool: wire.NewPool(), host: host}
	go func() {
		send := func(f wire.Frame) { _ = good.SendMsg(&f) }
		if is("queues-without-end") {
			send = unbounded(ctx, send)
		}
		for {
			var f wire.Frame
			if err := host.RecvMsg(&f); err != nil {
				_ = good.CloseSend()
				return
			}
			for _, f := range t.down(f) {
				send(f)
			}
		}
	}()
	t.pass(func() (wire.Frame, error) {
		var f wire.Frame
		err := good.RecvMsg(&f)
		return f, err
	})
	return t.runEnded(t.end)
}

// unbounded hands frames over to a goroutine that sends them, however many wait.
func unbounded(ctx context.Context, send func(wire.Frame)) func(wire.Frame) {
	var mu sync.Mutex
	var queue []wire.Frame
	more := make(chan struct{}, 1)
	go func() {
		for {
			mu.Lock()
			var next *wire.Frame
			if len(queue) > 0 {
				f := queue[0]
				queue, next = queue[1:], &f
			}
			mu.Unlock()
			if next != nil {
				send(*next)
				continue
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func(f wire.Frame) {
		mu.Lock()
		queue = append(queue, f)
		mu.Unlock()
		select {
		case more <- struct{}{}:
		default:
		}
	}
}
