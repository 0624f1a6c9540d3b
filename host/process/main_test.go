//go:build linux

package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// The test binary plays every plugin, and the host that is killed: the role
// stands in the environment.
const envRole = "WEIR_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(envRole)
	if role == "" {
		os.Exit(m.Run())
	}
	play, ok := roles[role]
	if !ok {
		fmt.Fprintln(os.Stderr, "no such role:", role)
		os.Exit(99)
	}
	play()
}

var roles = map[string]func(){
	"good": func() { serve(&testPlugin{}, wire.ProtocolVersion) },
	"deaf": func() { // neither the farewell nor the lifeline ends it
		serve(&testPlugin{deaf: true}, wire.ProtocolVersion)
		select {}
	},
	"noisy": func() {
		fmt.Println("loading model ...")
		fmt.Println("a|b|c|d")
		fmt.Println(strings.Repeat("x", 100<<10))
		serve(&testPlugin{}, wire.ProtocolVersion)
	},
	"future":   func() { serve(&testPlugin{}, wire.ProtocolVersion+1) },
	"stranger": func() { serve(nil, wire.ProtocolVersion) },
	"netrpc": func() {
		fmt.Println("1|1|unix|/nowhere|netrpc")
		select {}
	},
	"abroad": func() {
		fmt.Println("1|1|tcp|192.0.2.1:80|grpc")
		select {}
	},
	"hello": func() { fmt.Println("hello, world") },
	"fails": func() {
		fmt.Fprintln(os.Stderr, "cannot open the model")
		os.Exit(3)
	},
	"panics":      func() { panic("no model") },
	"mute":        func() { signal.Ignore(syscall.SIGTERM); select {} },
	"closes":      func() { _ = os.Stdout.Close(); select {} },
	"undescribed": func() { serve(&testPlugin{hangDescribe: true}, wire.ProtocolVersion) },
	"short": func() { // shakes hands and is gone
		fmt.Println("1|1|unix|/nowhere|grpc")
		os.Exit(4)
	},
	"host": playHost,
}

// serve is the plugin's side with nothing but go-plugin, as a stranger would
// write it.
func serve(p *testPlugin, version int) {
	if p == nil || !p.deaf {
		watchLifeline()
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{version: {wire.PluginName: &grpcPlugin{server: p}}},
		Logger:           hclog.NewNullLogger(),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			opts = append(opts, wire.ServerOptions()...)
			return grpc.NewServer(append(opts, grpc.UnaryInterceptor(p.intercept))...)
		},
	})
}

func watchLifeline() {
	fd, err := strconv.Atoi(os.Getenv(wire.EnvLifeline))
	if err != nil {
		return
	}
	go func() {
		_, _ = os.NewFile(uintptr(fd), "lifeline").Read(make([]byte, 1))
		os.Exit(0)
	}()
}

type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	server *testPlugin
}

func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	if p.server != nil {
		pluginv1.RegisterPluginServer(s, p.server)
	}
	return nil
}

func (p *grpcPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

// testPlugin does what the component's name in Validate says.
type testPlugin struct {
	pluginv1.UnimplementedPluginServer
	deaf, hangDescribe bool
	hung               atomic.Bool
}

// intercept holds every call back while the plugin is hung.
func (p *testPlugin) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if p != nil && p.hung.Load() {
		select {}
	}
	return next(ctx, req)
}

func (p *testPlugin) Describe(_ context.Context, req *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	if p.hangDescribe {
		select {}
	}
	return &pluginv1.DescribeResponse{Manifest: &pluginv1.Manifest{Name: "test", Version: "1.2.3", Sdk: req.GetHostVersion()}}, nil
}

func (p *testPlugin) Validate(_ context.Context, req *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	answer := func(s string) (*pluginv1.ValidateResponse, error) {
		return &pluginv1.ValidateResponse{Faults: []*pluginv1.Fault{{Message: s}}}, nil
	}
	action, arg, _ := strings.Cut(req.GetComponent(), " ")
	switch action {
	case "exit":
		status, _ := strconv.Atoi(arg)
		// Past what go-plugin put in place of os.Stderr.
		_, _ = syscall.Write(2, []byte("out of quota\n"))
		os.Exit(status)
	case "panic":
		go panic("the author's mistake")
		select {}
	case "signal":
		n, _ := strconv.Atoi(arg)
		_ = syscall.Kill(os.Getpid(), syscall.Signal(n))
		select {}
	case "hang":
		p.hung.Store(true)
	case "flood":
		lines, _ := strconv.Atoi(arg)
		block := []byte(strings.Repeat("flood flood flood\n", 64))
		for i := 0; i < lines; i += 64 {
			_, _ = syscall.Write(2, block)
		}
	case "stderr":
		_, _ = syscall.Write(2, []byte(arg+"\n"))
	case "print":
		fmt.Print(arg)
		fmt.Fprint(os.Stderr, arg)
	case "env":
		return answer(strings.Join(os.Environ(), "\n"))
	case "group":
		return answer(strconv.Itoa(syscall.Getpgrp()))
	case "files":
		entries, _ := os.ReadDir("/proc/self/fd")
		var links []string
		for _, e := range entries {
			l, _ := os.Readlink("/proc/self/fd/" + e.Name())
			links = append(links, e.Name()+" "+l)
		}
		return answer(strings.Join(links, "\n"))
	case "child": // in this group or in a session of its own, holding standard error
		c := exec.Command("sleep", "600")
		c.Stderr = os.NewFile(2, "stderr")
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: arg == "session"}
		if err := c.Start(); err != nil {
			return nil, err
		}
		return answer(strconv.Itoa(c.Process.Pid))
	}
	return answer("")
}

// playHost starts a plugin, tells its pid and waits to be killed.
func playHost() {
	p, err := Start(context.Background(),
		Command{Name: "test", Args: []string{os.Args[0]}, Env: map[string]string{envRole: os.Getenv("WEIR_TEST_PLUGIN")}},
		Options{SocketDir: os.Getenv("WEIR_TEST_SOCKETS"), HealthInterval: -1})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(p.PID())
	time.Sleep(time.Hour)
}
