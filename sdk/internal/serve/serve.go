// Package serve is the plugin's side of a plugin process: it shows the handshake,
// serves weir.plugin.v1 over gRPC, and ends with its host.
//
// The host passes two files whose numbers stand in environment variables: the
// lifeline, a pipe that ends when the host is gone or wants the plugin gone, and a
// lock that is kept open until the process ends. Neither reaches the plugin's own
// children. Any host that speaks go-plugin can do without them.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// Option changes how Serve serves.
type Option func(*config)

type config struct {
	serverOptions []grpc.ServerOption
}

// ServerOptions adds gRPC options behind the ones that the contract needs.
func ServerOptions(opts ...grpc.ServerOption) Option {
	return func(c *config) { c.serverOptions = append(c.serverOptions, opts...) }
}

// Serve serves server until the host asks it to end; main returns then. It ends
// the process by itself when the lifeline ends (status 0), when the program was
// started by hand (status 2, saying what it is), and when it cannot listen (status
// 1). It is called once, early in main.
//
// What is printed to os.Stdout does not disturb the handshake: from the call of
// Serve on it goes to standard error, and so to the host's log.
func Serve(server pluginv1.PluginServer, opts ...Option) {
	var c config
	for _, o := range opts {
		o(&c)
	}
	shake := wire.Handshake()
	if os.Getenv(shake.MagicCookieKey) != shake.MagicCookieValue {
		byHand(os.Stderr, os.Args[0])
		os.Exit(2)
	}
	if err := holdOn(); err != nil {
		fmt.Fprintln(os.Stderr, "weir plugin:", err)
		os.Exit(1)
	}
	p := &grpcPlugin{server: server, out: newStdio()}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  shake,
		VersionedPlugins: map[int]plugin.PluginSet{wire.ProtocolVersion: {wire.PluginName: p}},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr, JSONFormat: true}),
		GRPCServer: func(tls []grpc.ServerOption) *grpc.Server {
			all := append(tls, wire.ServerOptions()...)
			all = append(all, grpc.ChainUnaryInterceptor(p.out.unary), grpc.ChainStreamInterceptor(p.out.stream))
			return grpc.NewServer(append(all, c.serverOptions...)...)
		},
	})
	if !p.served {
		os.Exit(1) // go-plugin has said why
	}
}

// grpcPlugin registers the server with go-plugin.
type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	server pluginv1.PluginServer
	out    *stdio
	served bool
}

var _ plugin.GRPCPlugin = (*grpcPlugin)(nil)

// GRPCServer is the last that go-plugin calls before it prints the handshake.
func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	pluginv1.RegisterPluginServer(s, p.server)
	p.served = true
	p.out.handshake()
	return nil
}

// GRPCClient is the host's side, which no plugin is.
func (p *grpcPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a plugin is no client")
}

// stdio keeps os.Stdout and os.Stderr where the host reads them at all times.
// go-plugin replaces both by pipes that it sends over gRPC, so that a program's
// last words before os.Exit would be lost.
type stdio struct {
	stdout, stderr *os.File
	once           sync.Once
}

func newStdio() *stdio {
	s := &stdio{stdout: os.Stdout, stderr: os.Stderr}
	os.Stdout = s.stderr
	return s
}

// handshake lets go-plugin print its line.
func (s *stdio) handshake() { os.Stdout = s.stdout }

// restore runs before the first call is served: go-plugin has printed its line and
// replaced the files by then.
func (s *stdio) restore() { s.once.Do(func() { os.Stdout, os.Stderr = s.stderr, s.stderr }) }

func (s *stdio) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	s.restore()
	return next(ctx, req)
}

func (s *stdio) stream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	s.restore()
	return next(srv, stream)
}

// byHand tells a person who runs the program what it is for.
func byHand(w io.Writer, program string) {
	file := filepath.Base(program)
	name := strings.TrimSuffix(strings.TrimPrefix(file, "weir-plugin-"), ".exe")
	_, _ = fmt.Fprintf(w, `%s is a Weir plugin: weir starts it when a pipeline needs it, it does nothing by itself.

To use it, put it into a folder of the plugin path (such as "plugins" beside the pipeline
file), or declare it in the pipeline file:

    plugins: {%s: {path: %s}}

    weir plugin ls               shows what is installed
    weir plugin describe %s    shows its components and their parameters
`, file, name, program, name)
}
