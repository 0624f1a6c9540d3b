package catalog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/process"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// fake is a process that lives in this one.
type fake struct {
	cmd      process.Command
	opts     process.Options
	manifest *pluginv1.Manifest

	mu      sync.Mutex
	stopped int
	done    chan struct{}
	exit    *process.ExitError
}

func (f *fake) Client() pluginv1.PluginClient { return fakeClient{f: f} }
func (f *fake) Name() string                  { return f.cmd.Name }
func (f *fake) Path() string                  { return f.cmd.Args[0] }
func (f *fake) PID() int                      { return 1 }
func (f *fake) Protocol() int                 { return 1 }
func (f *fake) Manifest() *pluginv1.Manifest  { return f.manifest }
func (f *fake) Done() <-chan struct{}         { return f.done }
func (f *fake) Err() *process.ExitError       { return f.exit }
func (f *fake) Kill(string)                   {}
func (f *fake) Stop(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped++
	return nil
}

func (f *fake) die(status int) {
	f.exit = &process.ExitError{Plugin: f.cmd.Name, Status: status}
	close(f.done)
}

// fakeClient answers Validate with the name of the process's program, or lets the
// process die over it.
type fakeClient struct {
	pluginv1.PluginClient
	f *fake
}

func (c fakeClient) Validate(_ context.Context, req *pluginv1.ValidateRequest, _ ...grpc.CallOption) (*pluginv1.ValidateResponse, error) {
	switch req.GetComponent() {
	case "die":
		c.f.die(3)
		return nil, status.Error(codes.Unavailable, "connection closed")
	case "refuse":
		return nil, status.Error(codes.InvalidArgument, "no such component")
	}
	return &pluginv1.ValidateResponse{Faults: []*pluginv1.Fault{{Message: c.f.Path()}}}, nil
}

// launcher starts fakes. What a program says is looked up by its file's name.
type launcher struct {
	manifests map[string]*pluginv1.Manifest

	mu      sync.Mutex
	started []*fake
}

func (l *launcher) launch(_ context.Context, cmd process.Command, opts process.Options) (Process, error) {
	m := l.manifests[filepath.Base(cmd.Args[0])]
	if m == nil {
		return nil, &process.StartError{Plugin: cmd.Name, Path: cmd.Args[0], Reason: process.ErrNotPlugin, Detail: "is no plugin"}
	}
	f := &fake{cmd: cmd, opts: opts, manifest: m, done: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = append(l.started, f)
	return f, nil
}

func (l *launcher) running() (names []string) {
	for _, f := range l.started {
		if f.stopped == 0 {
			names = append(names, f.cmd.Name)
		}
	}
	return names
}

func manifest(name string, components ...string) *pluginv1.Manifest {
	kinds := map[string]pluginv1.Kind{
		"source": pluginv1.Kind_KIND_SOURCE, "operator": pluginv1.Kind_KIND_OPERATOR, "sink": pluginv1.Kind_KIND_SINK,
	}
	m := &pluginv1.Manifest{Name: name, Version: "1.0.0"}
	for _, c := range components {
		kind, name, _ := strings.Cut(c, " ")
		m.Components = append(m.Components, &pluginv1.Component{Kind: kinds[kind], Name: name})
	}
	return m
}

// fixture is a catalog over two folders:
//
//	first/   acme (mask, redact; a sink), solo (one operator), broken, odd (says "even")
//	second/  acme (shadowed), solo2, Bad_Name, weir, a folder
func fixture(t *testing.T) (*Catalog, *launcher, string) {
	t.Helper()
	dir := t.TempDir()
	for _, f := range []string{
		"first/weir-plugin-acme", "first/weir-plugin-solo", "first/weir-plugin-broken", "first/weir-plugin-odd",
		"second/weir-plugin-acme", "second/weir-plugin-solo2", "second/weir-plugin-Bad_Name", "second/weir-plugin-weir",
		"second/weir-plugin-folder/main.go", "second/other",
	} {
		path := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l := &launcher{manifests: map[string]*pluginv1.Manifest{
		"weir":              manifest("weir", "source file", "sink file", "source generator", "operator expr", "sink stdout"),
		"weir-plugin-acme":  manifest("acme", "operator mask", "operator redact", "sink vault"),
		"weir-plugin-solo":  manifest("solo", "operator one"),
		"weir-plugin-solo2": manifest("solo2", "source two"),
		"weir-plugin-odd":   manifest("even"),
		"python":            manifest("py", "sink tape"),
	}}
	c := New(Config{
		BuiltIn: process.Command{Args: []string{"/bin/weir", "plugin", "serve"}},
		Dir:     dir,
		Path:    []string{filepath.Join(dir, "first"), filepath.Join(dir, "none"), filepath.Join(dir, "second"), filepath.Join(dir, "first")},
		Launch:  l.launch,
	})
	return c, l, dir
}

func closed(t *testing.T, c *Catalog) {
	t.Helper()
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAProcessThatDescribedIsHandedOver(t *testing.T) {
	c, l, dir := fixture(t)
	acme := pipeline.Plugin{Name: "acme", Dir: dir}
	m, err := c.Manifest(t.Context(), acme)
	if err != nil || m.GetName() != "acme" {
		t.Fatalf("%v, %v", m, err)
	}
	first, err := c.Start(t.Context(), acme, nil)
	if err != nil || first != Process(l.started[0]) {
		t.Fatalf("%v, %v: not the process that described", first, err)
	}
	second, err := c.Start(t.Context(), acme, nil)
	if err != nil || second == first || len(l.started) != 2 {
		t.Fatalf("%v, %v: not a process of its own", second, err)
	}
	if _, err := c.Manifest(t.Context(), acme); err != nil || len(l.started) != 2 {
		t.Errorf("asked again: %v", err)
	}
	closed(t, c)
	if got := l.running(); len(got) != 2 {
		t.Errorf("Close stopped what is not the catalog's: %q still run", got)
	}
}

func TestCloseStopsWhatNobodyTook(t *testing.T) {
	c, l, dir := fixture(t)
	c.Warm(t.Context(), pipeline.Plugin{Name: "acme", Dir: dir}, pipeline.Plugin{Name: "solo", Dir: dir}, pipeline.Plugin{Name: "weir", Dir: dir})
	if got := l.running(); len(got) != 3 {
		t.Fatalf("%q run", got)
	}
	closed(t, c)
	if got := l.running(); len(got) != 0 {
		t.Errorf("%q still run", got)
	}
	if _, err := c.Start(t.Context(), pipeline.Plugin{Name: "acme", Dir: dir}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a start after Close: %v", err)
	}
}

func TestADeadProcessIsNotHandedOver(t *testing.T) {
	c, l, dir := fixture(t)
	defer closed(t, c)
	acme := pipeline.Plugin{Name: "acme", Dir: dir}
	if _, err := c.Manifest(t.Context(), acme); err != nil {
		t.Fatal(err)
	}
	l.started[0].die(1)
	p, err := c.Start(t.Context(), acme, nil)
	if err != nil || p != Process(l.started[1]) {
		t.Errorf("%v, %v", p, err)
	}
}

func TestAProcessWithoutTheLockIsNotHandedOver(t *testing.T) {
	c, l, dir := fixture(t)
	defer closed(t, c)
	acme := pipeline.Plugin{Name: "acme", Dir: dir}
	if _, err := c.Manifest(t.Context(), acme); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	p, err := c.Start(t.Context(), acme, lock)
	if err != nil || p != Process(l.started[1]) || l.started[1].opts.Inherit != lock || l.started[0].stopped != 1 {
		t.Errorf("%v, %v; the first was stopped %d times", p, err, l.started[0].stopped)
	}
}

func TestManyAskAndOneProcessIsStarted(t *testing.T) {
	c, l, dir := fixture(t)
	defer closed(t, c)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.Manifest(t.Context(), pipeline.Plugin{Name: "solo", Dir: dir}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(l.started) != 1 {
		t.Errorf("%d started", len(l.started))
	}
}

func TestAWaitingCallEndsWithItsContext(t *testing.T) {
	c, _, dir := fixture(t)
	defer closed(t, c)
	began, goOn := make(chan struct{}), make(chan struct{})
	launch := c.config.Launch
	c.config.Launch = func(ctx context.Context, cmd process.Command, opts process.Options) (Process, error) {
		close(began)
		<-goOn
		return launch(ctx, cmd, opts)
	}
	solo := pipeline.Plugin{Name: "solo", Dir: dir}
	go func() { _, _ = c.Manifest(context.Background(), solo) }()
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := c.Manifest(ctx, solo); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	close(goOn)
}

func TestValidateSaysWhyTheProcessDied(t *testing.T) {
	c, l, dir := fixture(t)
	defer closed(t, c)
	acme := pipeline.Plugin{Name: "acme", Dir: dir}
	validate := func(what string) (*pluginv1.ValidateResponse, error) {
		return c.Validate(t.Context(), acme, &pluginv1.ValidateRequest{Component: what})
	}
	if res, err := validate("fine"); err != nil || res.GetFaults()[0].GetMessage() != filepath.Join(dir, "first/weir-plugin-acme") {
		t.Errorf("%v, %v", res, err)
	}
	var exit *process.ExitError
	if _, err := validate("die"); !errors.As(err, &exit) || exit.Status != 3 {
		t.Errorf("%v, want how the process ended", err)
	}
	if _, err := validate("refuse"); err == nil || !strings.Contains(err.Error(), "plugin acme: ") || !strings.Contains(err.Error(), "no such component") {
		t.Errorf("%v", err)
	}
	if len(l.started) != 2 {
		t.Errorf("%d started: one for each life", len(l.started))
	}
}

func TestHowAPluginIsStarted(t *testing.T) {
	c, _, dir := fixture(t)
	c.config.BuiltIn.Env = map[string]string{"A": "1"}
	script := filepath.Join(dir, "tape.py")
	if err := os.WriteFile(script, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	sum := strings.Repeat("ab", 32)
	for _, tc := range []struct {
		plugin pipeline.Plugin
		want   string
	}{
		{pipeline.Plugin{Name: "weir"}, "weir [/bin/weir plugin serve] map[A:1] DIR []"},
		{pipeline.Plugin{Name: "weir", Dir: "/elsewhere", Env: []string{"A=2", "B=x=y"}}, "weir [/bin/weir plugin serve] map[A:2 B:x=y] /elsewhere []"},
		{pipeline.Plugin{Name: "acme"}, "acme [DIR/first/weir-plugin-acme] map[] DIR []"},
		{pipeline.Plugin{Name: "acme", Path: "bin/acme", SHA256: sum}, "acme [bin/acme] map[] DIR [{ " + sum + "}]"},
		{pipeline.Plugin{Name: "py", Command: []string{"python", "tape.py"}, SHA256: sum}, "py [python tape.py] map[] DIR [{DIR/tape.py " + sum + "}]"},
		{pipeline.Plugin{Name: "py", Command: []string{"python", "-m", "tape"}, SHA256: sum}, "py [python -m tape] map[] DIR [{ " + sum + "}]"},
	} {
		cmd, err := c.Command(tc.plugin)
		got := strings.ReplaceAll(fmt.Sprint(cmd.Name, " ", cmd.Args, " ", cmd.Env, " ", cmd.Dir, " ", cmd.Checksums), dir, "DIR")
		if err != nil || got != tc.want {
			t.Errorf("%+v\n got %s, %v\nwant %s", tc.plugin, got, err, tc.want)
		}
	}
	if c.config.BuiltIn.Env["A"] != "1" {
		t.Error("the built-in command was changed")
	}
}

func TestTheFirstOfANameIsUsedAndTheRestSaysWhyNot(t *testing.T) {
	c, l, dir := fixture(t)
	py := pipeline.Plugin{Name: "py", Command: []string{"python", "tape.py"}, Dir: dir}
	solo := pipeline.Plugin{Name: "solo", Path: filepath.Join(dir, "first/weir-plugin-acme"), Dir: dir} // an alias
	var got []string
	for _, x := range c.List(t.Context(), py, solo) {
		line := fmt.Sprintf("%s | %s | %s | %s %d | %s", x.Name, x.Origin, x.Path, x.Manifest.GetVersion(), x.Protocol, x.Ignored)
		got = append(got, strings.ReplaceAll(line, dir, "DIR"))
		if (x.Err != nil || x.Ignored != "") != (x.Manifest == nil) {
			t.Errorf("%+v", x)
		}
	}
	want := []string{
		"weir | built in | /bin/weir plugin serve | 1.0.0 1 | ",
		"py | declared | python tape.py | 1.0.0 1 | ",
		"solo | declared | DIR/first/weir-plugin-acme | 1.0.0 1 | ",
		"acme | plugin path | DIR/first/weir-plugin-acme | 1.0.0 1 | ",
		"broken | plugin path | DIR/first/weir-plugin-broken |  0 | plugin broken: is no plugin (DIR/first/weir-plugin-broken)",
		"odd | plugin path | DIR/first/weir-plugin-odd |  0 | plugin odd: DIR/first/weir-plugin-odd describes itself as \"even\": rename the file to weir-plugin-even, or declare it under `plugins:`",
		"solo | plugin path | DIR/first/weir-plugin-solo |  0 | the pipeline file declares another plugin of this name",
		"Bad_Name | plugin path | DIR/second/weir-plugin-Bad_Name |  0 | \"Bad_Name\" is no name for a plugin: lower-case letters, digits and hyphens, beginning with a letter",
		"acme | plugin path | DIR/second/weir-plugin-acme |  0 | another of this name comes first on the plugin path: DIR/first/weir-plugin-acme",
		"solo2 | plugin path | DIR/second/weir-plugin-solo2 | 1.0.0 1 | ",
		"weir | plugin path | DIR/second/weir-plugin-weir |  0 | \"weir\" is the plugin that comes with weir",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if running := l.running(); len(running) != 0 {
		t.Errorf("%q still run after the listing", running)
	}
	if got := c.Installed(t.Context()); !slices.Equal(got, []string{"acme", "broken", "odd", "solo", "solo2"}) {
		t.Errorf("installed %q", got)
	}
}

func TestAFoldersNameIsNoPattern(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[b]*?")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "weir-plugin-acme"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := find([]string{dir}); len(got) != 1 || got[0].name != "acme" {
		t.Errorf("%+v", got)
	}
}

func TestTheDefaultPath(t *testing.T) {
	t.Setenv(EnvPath, strings.Join([]string{"/a", "", "/b"}, string(os.PathListSeparator)))
	got := DefaultPath("/work")
	if len(got) != 6 || !slices.Equal(got[:4], []string{"/a", "/b", "/work/plugins", "/work/bin"}) || !strings.HasSuffix(got[4], "weir/plugins") {
		t.Errorf("%q", got)
	}
	self, err := os.Executable()
	if err != nil || got[5] != filepath.Dir(self) {
		t.Errorf("%q, want the folder of %s", got[5], self)
	}
}

func TestAComponentIsFoundByTheNameInAPipelineFile(t *testing.T) {
	c, _, dir := fixture(t)
	defer closed(t, c)
	py := pipeline.Plugin{Name: "py", Command: []string{"python"}, Dir: dir}
	for _, tc := range []struct {
		kind pluginv1.Kind
		ref  string
		want string // components, or the error
	}{
		{pluginv1.Kind_KIND_SOURCE, "file", "source file"},
		{pluginv1.Kind_KIND_UNSPECIFIED, "file", "source file, sink file"},
		{pluginv1.Kind_KIND_SINK, "weir/file", "sink file"},
		{pluginv1.Kind_KIND_OPERATOR, "acme/mask", "operator acme/mask"},
		{pluginv1.Kind_KIND_SINK, "acme", "sink acme/vault"},
		{pluginv1.Kind_KIND_UNSPECIFIED, "acme", "operator acme/mask, operator acme/redact, sink acme/vault"},
		{pluginv1.Kind_KIND_SINK, "py", "sink py/tape"},
		{pluginv1.Kind_KIND_OPERATOR, "acme", "plugin acme has more than one operator: say which of operator acme/mask, operator acme/redact"},
		{pluginv1.Kind_KIND_SOURCE, "acme", `there is no source "acme": plugin acme has none; it has operator acme/mask, operator acme/redact, sink acme/vault`},
		{pluginv1.Kind_KIND_OPERATOR, "file", `there is no operator "file": file is a source and a sink`},
		{pluginv1.Kind_KIND_OPERATOR, "acme/vault", `there is no operator "acme/vault": acme/vault is a sink`},
		{pluginv1.Kind_KIND_OPERATOR, "acme/maks", `there is no operator "acme/maks": did you mean "acme/mask"?`},
		{pluginv1.Kind_KIND_OPERATOR, "acme/", `there is no operator "acme/": the component's name is missing behind the slash`},
		{pluginv1.Kind_KIND_SOURCE, "generater", `there is no source "generater": did you mean "generator"?`},
		{pluginv1.Kind_KIND_OPERATOR, "acmee", `there is no operator "acmee": did you mean "acme"?`},
		{pluginv1.Kind_KIND_OPERATOR, "zzzzzz", `there is no operator "zzzzzz": weir has expr; plugins: acme, broken, odd, py, solo, solo2`},
		{pluginv1.Kind_KIND_OPERATOR, "acne/mask", `there is no plugin "acne": did you mean "acme"?`},
		{pluginv1.Kind_KIND_OPERATOR, "broken/x", `plugin broken: is no plugin (` + dir + `/first/weir-plugin-broken)`},
	} {
		found, err := c.Components(t.Context(), tc.kind, tc.ref, py)
		var got []string
		for _, f := range found {
			got = append(got, kindName(f.Component.GetKind())+" "+f.Ref())
		}
		text := strings.Join(got, ", ")
		if err != nil {
			text = err.Error()
		}
		if text != tc.want {
			t.Errorf("%v %q\n got %s\nwant %s", tc.kind, tc.ref, text, tc.want)
		}
	}
	_, err := c.Manifest(t.Context(), pipeline.Plugin{Name: "nowhere", Dir: dir})
	if !errors.Is(err, pipeline.ErrUnknownPlugin) || !strings.Contains(err.Error(), "no weir-plugin-nowhere in "+filepath.Join(dir, "first")) {
		t.Errorf("%v", err)
	}
	var unknown *UnknownError
	if _, err := c.Components(t.Context(), pluginv1.Kind_KIND_SINK, "nowhere"); !errors.As(err, &unknown) || errors.Is(err, pipeline.ErrUnknownPlugin) {
		t.Errorf("%v: an unknown component is not an unknown plugin", err)
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"flie", "file"}, {"fil", "file"}, {"stdot", "stdout"}, {"kafkaa", "kafka"}, {"x", ""}, {"", ""}, {"elephant", ""},
	} {
		if got := nearest(c.name, []string{"stdout", "kafka", "file"}); got != c.want {
			t.Errorf("nearest(%q) = %q, want %q", c.name, got, c.want)
		}
	}
}
