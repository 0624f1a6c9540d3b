package serve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/emptypb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// The test binary is the plugin where this variable is set.
const envPlugin = "WEIR_TEST_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(envPlugin) == "" {
		os.Exit(m.Run())
	}
	Serve(&echo{})
	fmt.Fprintln(os.Stderr, "main goes on")
}

// echo sends frames back, and does what the component's name in Validate says.
type echo struct {
	pluginv1.UnimplementedPluginServer
}

func (echo) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return &pluginv1.DescribeResponse{Manifest: &pluginv1.Manifest{Name: "echo"}}, nil
}

func (echo) Run(stream pluginv1.Plugin_RunServer) error {
	for {
		var f wire.Frame
		if err := stream.RecvMsg(&f); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := stream.SendMsg(&f); err != nil {
			return err
		}
	}
}

func (echo) Validate(_ context.Context, req *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	var text string
	switch req.GetComponent() {
	case "last words":
		fmt.Println("on standard output")
		fmt.Fprintln(os.Stderr, "on standard error")
		os.Exit(5)
	case "collect":
		for range 5 {
			runtime.GC()
			time.Sleep(10 * time.Millisecond)
		}
	case "child": // what a program that this one runs is given
		out, err := exec.Command("/bin/sh", "-c", "env; ls -l /proc/self/fd").Output()
		if err != nil {
			return nil, err
		}
		text = string(out)
	}
	return &pluginv1.ValidateResponse{Faults: []*pluginv1.Fault{{Message: text}}}, nil
}

// running is a plugin process and the host's ends of it.
type running struct {
	cmd      *exec.Cmd
	lifeline *os.File
	lock     *os.File
	stdout   *bufio.Reader
	stderr   *bytes.Buffer
	conn     *grpc.ClientConn
}

// command runs this binary as a plugin, as a host would.
func command(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	shake := wire.Handshake()
	sockets, err := os.MkdirTemp("", "weir-") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envPlugin+"=1", "GORACE=atexit_sleep_ms=0", "PLUGIN_PROTOCOL_VERSIONS=1",
		"PLUGIN_UNIX_SOCKET_DIR="+sockets, shake.MagicCookieKey+"="+shake.MagicCookieValue)
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// start runs the plugin and shakes hands with it.
func start(t *testing.T) *running {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	p := &running{cmd: command(t, "WEIR_LIFELINE_FD=3", "WEIR_LOCK_FD=4", "WEIR_STDOUT_FD=5"), lifeline: w, lock: lock, stderr: &bytes.Buffer{}}
	out, err := os.Create(filepath.Join(t.TempDir(), "hosts-output"))
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.ExtraFiles = []*os.File{r, lock, out}
	p.cmd.Stderr = p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		_, _ = w.Close(), lock.Close()
	})
	_, _ = r.Close(), out.Close()
	p.stdout = bufio.NewReader(stdout)
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(strings.TrimSpace(line), "|")
	if len(parts) < 5 || parts[0] != "1" || parts[1] != strconv.Itoa(wire.ProtocolVersion) || parts[2] != "unix" || parts[4] != "grpc" {
		t.Fatalf("handshake %q", line)
	}
	p.conn, err = grpc.NewClient("passthrough:///localhost", append(wire.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", parts[3])
		}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.conn.Close() })
	return p
}

func (p *running) do(t *testing.T, what string) string {
	t.Helper()
	res, err := pluginv1.NewPluginClient(p.conn).Validate(t.Context(), &pluginv1.ValidateRequest{Component: what})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetFaults()[0].GetMessage()
}

// wait returns the exit status and what was written to standard error.
func wait(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the plugin has not ended")
	}
	return cmd.ProcessState.ExitCode()
}

func TestFramesPassUntouched(t *testing.T) {
	p := start(t)
	stream, err := pluginv1.NewPluginClient(p.conn).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// No protobuf message, so that unmarshalling it anywhere would fail.
	raw := bytes.Repeat([]byte{0xff}, 1<<20)
	if err := stream.SendMsg(&wire.Frame{Data: mem.BufferSlice{mem.SliceBuffer(raw)}}); err != nil {
		t.Fatal(err)
	}
	var back wire.Frame
	if err := stream.RecvMsg(&back); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.Data.Materialize(), raw) {
		t.Error("the frame came back changed")
	}
	back.Free()
	if m, err := pluginv1.NewPluginClient(p.conn).Describe(t.Context(), &pluginv1.DescribeRequest{}); err != nil || m.GetManifest().GetName() != "echo" {
		t.Errorf("%v, %v", m, err)
	}
}

func TestThePluginEndsWithItsLifeline(t *testing.T) {
	p := start(t)
	p.do(t, "nothing")
	if err := p.lifeline.Close(); err != nil {
		t.Fatal(err)
	}
	if status := wait(t, p.cmd); status != 0 {
		t.Errorf("status %d", status)
	}
}

func TestServeReturnsWhenTheHostSaysSo(t *testing.T) {
	p := start(t)
	_ = p.conn.Invoke(t.Context(), "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
	if status := wait(t, p.cmd); status != 0 || !strings.Contains(p.stderr.String(), "main goes on") {
		t.Errorf("status %d, standard error %q", status, p.stderr)
	}
}

func TestLastWordsReachTheHost(t *testing.T) {
	p := start(t)
	_, _ = pluginv1.NewPluginClient(p.conn).Validate(t.Context(), &pluginv1.ValidateRequest{Component: "last words"})
	rest, _ := io.ReadAll(p.stdout)
	status := wait(t, p.cmd)
	if got := p.stderr.String(); status != 5 || !strings.Contains(got, "on standard output\non standard error\n") || len(rest) > 0 {
		t.Errorf("status %d, standard error %q, standard output %q", status, got, rest)
	}
}

func TestStandardOutputIsTheHandshakesAlone(t *testing.T) {
	stdout, stderr := os.Stdout, os.Stderr
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	s := newStdio()
	if os.Stdout != stderr {
		t.Error("what is printed before the handshake does not go to standard error")
	}
	s.handshake()
	if os.Stdout != stdout {
		t.Error("the handshake does not go to standard output")
	}
	os.Stdout, os.Stderr = os.Stdin, os.Stdin // go-plugin's pipes
	s.restore()
	if os.Stdout != stderr || os.Stderr != stderr {
		t.Error("what is printed later does not go to standard error")
	}
}

func TestAProgramThatCannotServeSaysWhy(t *testing.T) {
	for _, c := range []struct {
		name   string
		env    []string
		status int
		says   []string
	}{
		{"by hand", []string{wire.Handshake().MagicCookieKey + "="}, 2, []string{"is a Weir plugin", "weir plugin describe", "plugins: {"}},
		{"lifeline", []string{"WEIR_LIFELINE_FD=abc"}, 1, []string{`WEIR_LIFELINE_FD="abc" is not the number of a file`}},
		{"no such file", []string{"WEIR_LIFELINE_FD=77"}, 1, []string{"file 77"}},
		{"socket", []string{"PLUGIN_UNIX_SOCKET_DIR=/no/such/folder"}, 1, []string{"/no/such/folder"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := command(t, c.env...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if status := wait(t, cmd); status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			for _, want := range c.says {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("standard error %q, want %q in it", &stderr, want)
				}
			}
		})
	}
}

func TestTheMessageByHandNamesThePlugin(t *testing.T) {
	var b bytes.Buffer
	byHand(&b, "/opt/bin/weir-plugin-acme")
	for _, want := range []string{"weir-plugin-acme is a Weir plugin", "plugins: {acme: {path: /opt/bin/weir-plugin-acme}}", "describe acme "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s\nwant %q in it", b.String(), want)
		}
	}
}

func TestLogLinesHaveTheFormThatHostsRead(t *testing.T) {
	var b bytes.Buffer
	log := Logger(&b, slog.LevelInfo)
	log.Debug("left out")
	log.With("node", "mask").Warn("slow", "took", 5, slog.Group("g", slog.String("level", "kept")))
	got := b.String()
	for _, want := range []string{`"@level":"warn"`, `"@message":"slow"`, `"node":"mask"`, `"took":5`, `"g":{"level":"kept"}`, `"@timestamp":"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwant %s in it", got, want)
		}
	}
	if strings.Contains(got, "left out") {
		t.Error("the level is not kept")
	}
}

// TestTheImportClosureIsSmall keeps a plugin's binary small: grpc, protobuf,
// go-plugin and what these need.
func TestTheImportClosureIsSmall(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{
		"github.com/weirstream/weir",
		"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis/rpc",
		"golang.org/x/net", "golang.org/x/sys", "golang.org/x/text",
		"github.com/hashicorp/go-plugin", "github.com/hashicorp/go-hclog", "github.com/hashicorp/yamux",
		"github.com/golang/protobuf", "github.com/oklog/run", "github.com/fatih/color",
		"github.com/mattn/go-colorable", "github.com/mattn/go-isatty",
	}
	for _, module := range strings.Fields(string(out)) {
		if !slices.Contains(allowed, module) {
			t.Errorf("a plugin would contain %s", module)
		}
	}
}
