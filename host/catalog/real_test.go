package catalog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/process"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// envName makes the test binary a plugin of that name.
const envName = "WEIR_TEST_PLUGIN_NAME"

func TestMain(m *testing.M) {
	name := os.Getenv(envName)
	if name == "" {
		os.Exit(m.Run())
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{wire.ProtocolVersion: {wire.PluginName: &served{name: name}}},
		Logger:           hclog.NewNullLogger(),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, wire.ServerOptions()...)...)
		},
	})
}

type served struct {
	plugin.NetRPCUnsupportedPlugin
	pluginv1.UnimplementedPluginServer
	name string
}

func (s *served) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	pluginv1.RegisterPluginServer(server, s)
	return nil
}

func (s *served) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func (s *served) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return &pluginv1.DescribeResponse{Manifest: manifest(s.name, "operator mask")}, nil
}

func (s *served) Validate(context.Context, *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	dir, err := os.Getwd()
	return &pluginv1.ValidateResponse{Faults: []*pluginv1.Fault{{Message: dir}}}, err
}

// TestRealPluginsAreFoundStartedAndHandedOver does with processes what the other
// tests do with stand-ins.
func TestRealPluginsAreFoundStartedAndHandedOver(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	defer goleak.VerifyNone(t, ignore)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{
		"weir-plugin-acme":  fmt.Sprintf("#!/bin/sh\n%s=acme exec %q\n", envName, os.Args[0]),
		"weir-plugin-other": fmt.Sprintf("#!/bin/sh\n%s=another exec %q\n", envName, os.Args[0]),
		"weir-plugin-hello": "#!/bin/sh\necho hello\n",
	} {
		if err := os.MkdirAll(filepath.Join(dir, "plugins"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "plugins", file), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(EnvPath, filepath.Join(dir, "plugins"))
	sockets, remove, err := process.SocketDir(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = remove() }()
	c := New(Config{
		BuiltIn: process.Command{Args: []string{os.Args[0]}, Env: map[string]string{envName: "weir"}},
		Dir:     dir,
		Process: process.Options{SocketDir: sockets},
	})
	defer closed(t, c)

	got := make(map[string]string)
	for _, l := range c.List(t.Context()) {
		if l.Path == os.Args[0] || strings.HasPrefix(l.Path, dir) {
			got[l.Name] = l.Ignored
		}
	}
	if len(got) != 4 || got["weir"] != "" || got["acme"] != "" || !strings.Contains(got["other"], `describes itself as "another"`) || !strings.Contains(got["hello"], "no Weir plugin") {
		t.Errorf("listed %q", got)
	}

	acme := pipeline.Plugin{Name: "acme", Dir: dir}
	res, err := c.Validate(t.Context(), acme, &pluginv1.ValidateRequest{})
	if err != nil || res.GetFaults()[0].GetMessage() != dir {
		t.Errorf("%v, %v: the process does not work in the pipeline file's folder", res, err)
	}
	p, err := c.Start(t.Context(), acme, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.Manifest().GetName() != "acme" {
		t.Errorf("manifest %v", p.Manifest())
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
