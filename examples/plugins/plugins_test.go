// Package plugins_test builds the example plugins as their authors would: as
// modules of their own, outside of this one.
package plugins_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

func TestMaskIsAPluginOfItsOwnModule(t *testing.T) {
	binary := build(t, "weir-plugin-mask")
	client, stderr := start(t, binary)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()

	described, err := client.Describe(ctx, &pluginv1.DescribeRequest{HostVersion: "test"})
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	m := described.Manifest
	var components []string
	for _, c := range m.Components {
		components = append(components, fmt.Sprintf("%s %s %s", c.Kind, c.Name, c.Version))
	}
	if want := []string{"KIND_OPERATOR mask 1.0.0", "KIND_OPERATOR upper 1.0.0"}; m.Name != "mask" || !slices.Equal(components, want) {
		t.Errorf("plugin %q holds %q, want %q", m.Name, components, want)
	}
	if !strings.HasPrefix(m.Sdk, "weir-go") {
		t.Errorf("the SDK is %q", m.Sdk)
	}
	if p := m.Components[0].Parameters[0]; p.Name != "patterns" || !p.Required || p.Element != pluginv1.Parameter_TYPE_STRING {
		t.Errorf("the first parameter is %v", p)
	}

	valid, err := client.Validate(ctx, &pluginv1.ValidateRequest{
		Kind: pluginv1.Kind_KIND_OPERATOR, Component: "mask", Config: []byte(`{"patterns": ["a", "("], "kep": 1}`),
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	var faults []string
	for _, f := range valid.Faults {
		faults = append(faults, f.Path)
	}
	if !slices.Contains(faults, "kep") {
		t.Errorf("faults at %q", faults)
	}

	weir := filepath.Join(t.TempDir(), "weir")
	command(t, ".", "go", "build", "-o", weir, "../../cmd/weir")
	report := command(t, filepath.Dir(binary), weir, "plugin", "test", binary)
	for _, component := range []string{"operator mask:", "operator mask (pseudonyms):", "operator upper:"} {
		if !strings.Contains(report, component) {
			t.Errorf("the conformance kit does not know %q:\n%s", component, report)
		}
	}
}

// build copies a plugin's module out of the repository, tests it there and builds
// it.
func build(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(name)); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	command(t, dir, "go", "mod", "edit", "-replace=github.com/weirstream/weir="+root)
	binary := filepath.Join(dir, name)
	command(t, dir, "go", "vet", ".")
	command(t, dir, "go", "test", ".")
	command(t, dir, "go", "build", "-o", binary, ".")
	return binary
}

func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// start runs a plugin process as a host does.
func start(t *testing.T, binary string) (pluginv1.PluginClient, *bytes.Buffer) {
	t.Helper()
	// The path of a socket may be a hundred bytes, so that t.TempDir is too long.
	sockets, err := os.MkdirTemp("", "weir")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	var stderr bytes.Buffer
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), "PLUGIN_UNIX_SOCKET_DIR="+sockets)
	c := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{wire.ProtocolVersion: {wire.PluginName: grpcClient{}}},
		Cmd:              cmd,
		SkipHostEnv:      true,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		GRPCDialOptions:  wire.DialOptions(),
		StartTimeout:     10 * time.Second,
		Stderr:           &stderr,
		Logger:           hclog.New(&hclog.LoggerOptions{Output: io.Discard}),
	})
	t.Cleanup(c.Kill)
	protocol, err := c.Client()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	served, err := protocol.Dispense(wire.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	return served.(pluginv1.PluginClient), &stderr
}

type grpcClient struct{ plugin.NetRPCUnsupportedPlugin }

func (grpcClient) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }

func (grpcClient) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return pluginv1.NewPluginClient(conn), nil
}
