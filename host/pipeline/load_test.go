package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

func load(t *testing.T, file string, opts pipeline.Options) (*pipeline.Pipeline, pipeline.Report) {
	t.Helper()
	return pipeline.LoadBytes(context.Background(), "test.yaml", []byte(file), opts)
}

func mustLoad(t *testing.T, file string, opts pipeline.Options) *pipeline.Pipeline {
	t.Helper()
	p, report := load(t, file, opts)
	if !report.OK() {
		t.Fatalf("refused:\n%s", report)
	}
	return p
}

// A file that cannot be read is a fault like any other: with a position, and not
// an error of another kind.
func TestAFileThatCannotBeReadIsAFault(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, bytes.Repeat([]byte("# x\n"), 1<<19), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "absent.yaml"), dir, large} {
		p, report := pipeline.Load(context.Background(), path, testOptions())
		if p != nil || len(report.Faults) != 1 || report.Faults[0].Code != pipeline.CodeUnreadable {
			t.Errorf("%s: %v", path, report)
		}
		if s := report.String(); !strings.HasPrefix(s, path+":1:1: the file cannot be read: ") {
			t.Errorf("%s: %s", path, s)
		}
	}
}

// The folder of the file is where its relative paths begin, and the environment
// is that of the process, unless the caller says otherwise.
func TestRelativePathsBeginAtTheFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("WEIR_TEST_COUNT", "12")
	for name, text := range map[string]string{
		"secret": "from-the-file\r\n",
		"p.yaml": `
name: p
plugins: {acme: {path: bin/acme}}
nodes:
  in: {source: generator, config: {count: "${WEIR_TEST_COUNT}"}}
  mask: {operator: acme/mask, input: in, config: {token: "${file:secret}"}}
  out: {sink: stdout, input: mask}
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, report := pipeline.Load(context.Background(), filepath.Join(dir, "p.yaml"), pipeline.Options{Catalog: newCatalog()})
	if !report.OK() {
		t.Fatal(report)
	}
	if got, want := p.Plugins[0].Path, filepath.Join(dir, "bin", "acme"); got != want {
		t.Errorf("plugin at %s, want %s", got, want)
	}
	if got := string(p.Node("mask").Config); got != `{"token":"from-the-file"}` {
		t.Errorf("config %s", got)
	}
	if got := string(p.Node("in").Config); got != `{"count":12}` {
		t.Errorf("config %s", got)
	}
	if bytes.Contains(p.Source, []byte("from-the-file")) || !bytes.Contains(p.Source, []byte("${file:secret}")) {
		t.Errorf("the source is not as it was written:\n%s", p.Source)
	}
}

const secretFile = `
name: secrets
plugins: {acme: {path: bin/acme, env: {KEY: "${file:key}"}}}
nodes:
  in: {source: generator}
  mask:
    operator: acme/mask
    input: in
    config:
      token: ${file:key}
      table: ${file:key}
      password: plain-password
      labels: {short: "${file:short}"}
  out: {sink: stdout, input: mask}
`

func secretOptions(c *fakeCatalog) pipeline.Options {
	return pipeline.Options{Catalog: c, BaseDir: "/", ReadFile: func(path string) ([]byte, error) {
		return map[string][]byte{"/key": []byte("kéy\"of_the_realm\n"), "/short": []byte("zq")}[path], nil
	}}
}

// A component learns which fields are secret. Should it repeat their values all
// the same, in faults or errors, the report does not.
func TestNoReportTellsASecret(t *testing.T) {
	c := newCatalog()
	c.manifests["acme"].Components[0].Parameters = slices.DeleteFunc(c.manifests["acme"].Components[0].Parameters,
		func(p *pluginv1.Parameter) bool { return p.Name == "table" })
	c.manifests["acme"].Components[0].Parameters = append(c.manifests["acme"].Components[0].Parameters, param("table", typString))
	for name, answer := range map[string]struct {
		faults []*pluginv1.Fault
		err    error
	}{
		"as it is":   {faults: []*pluginv1.Fault{{Path: "token", Message: "kéy\"of_the_realm is wrong", Offset: -1}}},
		"quoted":     {faults: []*pluginv1.Fault{{Path: "labels", Message: fmt.Sprintf("%q is wrong", `kéy"of_the_realm`), Offset: -1}}},
		"elsewhere":  {faults: []*pluginv1.Fault{{Path: "", Message: "login with plain-password failed", Offset: -1}}},
		"short":      {faults: []*pluginv1.Fault{{Path: "labels.short", Message: "zq is too short", Offset: 1}}},
		"as warning": {faults: []*pluginv1.Fault{{Path: "password", Message: "plain-password is weak", Offset: 3, Warning: true}}},
		"in error":   {err: errors.New(`rpc error: config {"password":"plain-password"} crashed me`)},
	} {
		t.Run(name, func(t *testing.T) {
			c.validate = func(p pipeline.Plugin, req *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
				if p.Name != "acme" {
					return &pluginv1.ValidateResponse{}, nil
				}
				if want := []string{"labels.short", "password", "table", "token"}; !slices.Equal(req.SecretPaths, want) {
					t.Errorf("secret paths %q, want %q", req.SecretPaths, want)
				}
				return &pluginv1.ValidateResponse{Faults: answer.faults}, answer.err
			}
			_, report := load(t, secretFile, secretOptions(c))
			if len(report.Faults) != 1 {
				t.Fatalf("%d faults:\n%s", len(report.Faults), report)
			}
			js, err := json.Marshal(report)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"realm", "plain-password", "zq"} {
				if strings.Contains(report.String(), secret) || bytes.Contains(js, []byte(secret)) {
					t.Errorf("tells %q: %s", secret, js)
				}
			}
		})
	}
}

// What is printed or logged of a pipeline shows no secret either.
func TestAPrintedPipelineTellsNoSecret(t *testing.T) {
	p := mustLoad(t, strings.Replace(secretFile, "table: ${file:key}", "", 1), secretOptions(newCatalog()))
	n := p.Node("mask")
	if !strings.Contains(string(n.Config), `"zq"`) || len(p.Plugins[0].Env) != 2 {
		t.Fatalf("the secrets are not where they are needed: %s %q", n.Config, p.Plugins[0].Env)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("loaded", "node", n, "plugin", p.Plugins[0])
	js, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %+v %s %v %+v %s %s %s", p, p, n, p.Plugins, p.Nodes, log.String(), js, n.RedactedConfig())
	for _, secret := range []string{"realm", "plain-password", "zq"} {
		if strings.Contains(printed, secret) {
			t.Errorf("shows %q: %s", secret, printed)
		}
	}
	want := `{"labels":{"short":"[secret]"},"password":"[secret]","token":"[secret]"}`
	if got := string(n.RedactedConfig()); got != want {
		t.Errorf("redacted %s, want %s", got, want)
	}
}

// A component is asked even where the file has faults for it already, so that one
// run shows all; it gets the sound fields only, and what it says about the others
// is left out.
func TestAComponentIsAskedAboutWhatIsSound(t *testing.T) {
	c := newCatalog()
	c.validate = func(_ pipeline.Plugin, req *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
		if req.Component != "mask" {
			return &pluginv1.ValidateResponse{}, nil
		}
		if got := string(req.Config); got != `{"servers":[{}],"shift":1}` {
			t.Errorf("asked about %s", got)
		}
		return &pluginv1.ValidateResponse{Faults: []*pluginv1.Fault{
			{Path: "", Message: "something is missing", Offset: -1},
			{Path: "servers[0].host", Message: "is required", Offset: -1},
			{Path: "servers", Message: "has an element that is wrong", Offset: -1},
			{Path: "ratio", Message: "is required", Offset: -1},
			{Path: "shift", Message: "is odd", Offset: -1},
			{Path: "labels.x.y", Message: "is absent", Offset: 2},
		}}, nil
	}
	_, report := load(t, `
name: a
nodes:
  in: {source: generator}
  mask: {operator: acme/mask, input: in, config: {shift: 1, ratio: many, servers: [{port: 0}]}}
  out: {sink: stdout, input: mask}
`, pipeline.Options{Catalog: c})
	want := []string{"5:42 labels.x.y", "5:58 shift", "5:68 ratio", "5:84 servers[0].host", "5:91 servers[0].port"}
	var got []string
	for _, f := range report.Faults {
		got = append(got, fmt.Sprintf("%d:%d %s", f.Line, f.Column, strings.TrimPrefix(f.Field, "nodes.mask.config.")))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q\n%s", got, want, report)
	}
}

// A configuration takes claims away and adds restrictions; it cannot claim what
// the manifest does not.
func TestAConfigurationOnlyWeakensTheManifest(t *testing.T) {
	c := newCatalog()
	c.validate = func(_ pipeline.Plugin, req *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
		return &pluginv1.ValidateResponse{Capabilities: &pluginv1.Capabilities{
			Bounded: true, ExactlyOnce: true, SingleTask: req.Kind == pluginv1.Kind_KIND_SINK, ConcurrentSplits: 2,
		}}, nil
	}
	p := mustLoad(t, `
name: a
parallelism: 3
nodes:
  in: {source: generator}
  out: {sink: acme/store, input: in}
`, pipeline.Options{Catalog: c})
	in, out := p.Node("in").Capabilities, p.Node("out").Capabilities
	if !in.Bounded || in.Replayable || in.ExactlyOnce || in.ConcurrentSplits != 2 {
		t.Errorf("source: %v", in)
	}
	if out.ExactlyOnce || !out.SingleTask || p.Node("out").Parallelism != 1 {
		t.Errorf("sink: %v, parallelism %d", out, p.Node("out").Parallelism)
	}
	if c.manifests["weir"].Components[1].Capabilities.Replayable != true {
		t.Error("the manifest was changed")
	}
}

// Equal configurations are equal bytes, however they are written.
func TestConfigurationsAreCanonical(t *testing.T) {
	write := func(config string) string {
		return "name: a\nnodes:\n  in: {source: generator}\n  mask: {operator: acme/mask, input: in, config: " + config + "}\n  out: {sink: stdout, input: mask}\n"
	}
	for _, config := range []string{
		`{shift: 16, ratio: 0.5, extra: {b: [1, "<&>"], a: null}}`,
		`{"extra": {a: ~, b: [0x1, '<&>']}, ratio: 5e-1, shift: 0o20, mode: }`,
		`{ratio: +.50, shift: +16, extra: {<<: {a: null}, b: [01, "\x3c&\x3e"]}}`,
	} {
		p := mustLoad(t, write(config), testOptions())
		want := `{"extra":{"a":null,"b":[1,"<&>"]},"ratio":0.5,"shift":16}`
		if got := string(p.Node("mask").Config); got != want {
			t.Errorf("%s is %s, want %s", config, got, want)
		}
	}
}

// warmCatalog counts what is asked for at once.
type warmCatalog struct {
	*fakeCatalog
	warmed []string
}

func (c *warmCatalog) Warm(_ context.Context, plugins ...pipeline.Plugin) {
	for _, p := range plugins {
		c.warmed = append(c.warmed, p.Name+"@"+p.Path)
	}
}

// A catalog that can is asked for all plugins at once, so that starting them
// takes as long as the slowest.
func TestPluginsAreAskedForAtOnce(t *testing.T) {
	c := &warmCatalog{fakeCatalog: newCatalog()}
	mustLoad(t, `
name: a
plugins: {lone: {path: /bin/lone}}
nodes:
  in: {source: lone}
  x: {operator: acme/mask, input: in}
  y: {operator: acme/mask, input: x}
  out: {sink: stdout, input: y}
`, pipeline.Options{Catalog: c})
	if want := []string{"weir@", "lone@/bin/lone", "acme@"}; !slices.Equal(c.warmed, want) {
		t.Errorf("asked for %q, want %q", c.warmed, want)
	}
}

// Without a catalog no component is known; that is a report, not a crash.
func TestWithoutACatalogNoComponentIsKnown(t *testing.T) {
	_, report := load(t, "name: a\nnodes: {in: {source: file}, out: {sink: acme/x, input: in}}\n", pipeline.Options{})
	var codes []pipeline.Code
	for _, f := range report.Faults {
		codes = append(codes, f.Code)
	}
	if want := []pipeline.Code{pipeline.CodeUnknownComponent, pipeline.CodeUnknownPlugin}; !slices.Equal(codes, want) {
		t.Errorf("codes %q, want %q", codes, want)
	}
}

// A fault prints as one line that editors and people understand, and its hint
// says what is allowed.
func TestAFaultPrintsWhereWhatAndWhatIsAllowed(t *testing.T) {
	_, report := load(t, "name: a\nnodes: {in: {source: generator}, out: {sink: stdout, input: in}}\nisolation: nod\n", testOptions())
	want := `test.yaml:3:12: isolation: must be one of plugin, node, task, not "nod" (did you mean "node"?)`
	if err := report.Err(); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	var asError *pipeline.FaultError
	if !errors.As(report.Err(), &asError) || len(asError.Report.Faults) != 1 {
		t.Errorf("the error is %T", report.Err())
	}
	_, report = load(t, "name: a\nplugins: {x: {path: x}}\nnodes: {in: {source: generator}, out: {sink: stdout, input: in}}\n", testOptions())
	if got := report.String(); got != "test.yaml:2:11: plugins.x: warning: no node uses this plugin\n" || report.Err() != nil || len(report.Warnings()) != 1 {
		t.Errorf("got %s", got)
	}
}

// What a component knows of a field that it does not have is the hint; it is asked by
// the field's name alone, at whatever depth.
func TestAComponentHintsAtFieldsThatPeopleBringFromElsewhere(t *testing.T) {
	opts := testOptions()
	catalog := opts.Catalog.(*fakeCatalog)
	catalog.validate = func(_ pipeline.Plugin, req *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
		resp := &pluginv1.ValidateResponse{}
		if strings.Contains(string(req.Config), `"acks":null`) {
			resp.Faults = []*pluginv1.Fault{
				{Path: "acks", Message: "unknown field: it is always all", Offset: -1},
				{Path: "roll.every", Message: "unknown field: its name is interval", Offset: -1},
				{Path: "other", Message: "unknown field; there is path", Offset: -1},
				{Path: "path", Message: "unknown field: never", Offset: -1},
			}
		}
		return resp, nil
	}
	_, report := load(t, "name: a\nnodes: {in: {source: generator}, out: {sink: file, input: in, config: {path: x/, acks: s3cret, roll: {every: 1}, other: 1}}}\n", opts)
	var hints []string
	for _, f := range report.Faults {
		hints = append(hints, fmt.Sprintf("%s: %.19s", f.Field, f.Hint))
	}
	want := []string{"nodes.out.config.acks: it is always all", "nodes.out.config.roll.every: its name is interva", "nodes.out.config.other: known: path, roll"}
	if !slices.Equal(hints, want) {
		t.Errorf("%q, want %q", hints, want)
	}
	for _, r := range catalog.requests {
		if strings.Contains(string(r.Config), "s3cret") {
			t.Errorf("the component is told %s", r.Config)
		}
	}
}
