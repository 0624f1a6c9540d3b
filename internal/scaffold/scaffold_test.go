package scaffold_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/scaffold"
)

const root = "../.."

// weir is the binary under test.
var weir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "weir-scaffold")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		weir = filepath.Join(dir, "weir")
		if out, err := exec.Command("go", "build", "-o", weir, root+"/cmd/weir").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// made is a module as an author gets it.
type made struct {
	t   *testing.T
	dir string
}

// keyed is the scaffold of `--kind operator --keyed`.
const keyed = "keyed"

// newModule makes a module by the command, without a network.
func newModule(t *testing.T, kind string, flags ...string) *made {
	t.Helper()
	name := "my-" + kind
	if kind == keyed {
		kind, flags = "operator", append(flags, "--keyed")
	}
	m := &made{t, filepath.Join(t.TempDir(), "weir-plugin-"+name)}
	args := append([]string{"plugin", "new", name, "--kind", kind, "--dir", m.dir, "--sdk", root}, flags...)
	if out, err := m.command(".", weir, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return m
}

func (m *made) command(dir, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(m.t.Context(), 5*time.Minute)
	m.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOWORK=off", "GOFLAGS=", "WEIR="+weir, "XDG_STATE_HOME="+filepath.Join(m.dir, "..", "state"))
	return cmd
}

// make runs a target of its Makefile and returns what it printed.
func (m *made) make(target string) string {
	m.t.Helper()
	var stderr bytes.Buffer
	cmd := m.command(m.dir, "make", "-s", target)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		m.t.Fatalf("make %s: %v\n%s%s", target, err, out, &stderr)
	}
	return string(out)
}

// lines are those of all published files in a folder of the module.
func (m *made) lines(folder string) []string {
	m.t.Helper()
	files, err := filepath.Glob(filepath.Join(m.dir, folder, "[^.]*"))
	if err != nil {
		m.t.Fatal(err)
	}
	var lines []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			m.t.Fatal(err)
		}
		lines = append(lines, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")...)
	}
	return lines
}

// Each scaffold is what an author would call working: it is formatted, builds, passes
// its tests and the conformance kit, and its pipeline runs.
func TestEachScaffoldWorks(t *testing.T) {
	ran := map[string]func(*testing.T, *made){
		"source": func(t *testing.T, m *made) {
			lines := m.lines("out")
			slices.Sort(lines)
			if !slices.Equal(lines, []string{"apples", "pears", "plums"}) {
				t.Errorf("the pipeline has written %q", lines)
			}
		},
		"operator": func(t *testing.T, m *made) {
			want := []string{`{"email":"ada@example.org","name":"Ada"}`, `{"name": "Grace", "email": "grace@example.org"}`}
			if good := m.lines("out/good"); !slices.Equal(good, want) {
				t.Errorf("the pipeline has written %q", good)
			}
			if failed := m.lines("out/failed"); !slices.Equal(failed, []string{"Alan, alan@example.org"}) {
				t.Errorf("the dead letters are %q", failed)
			}
		},
		keyed: func(t *testing.T, m *made) {
			lines := m.lines("out/counts")
			slices.Sort(lines)
			want := []string{`{"end":1790000040000,"count":1}`, `{"end":1790000040000,"count":3}`, `{"end":1790000100000,"count":1}`}
			if late := m.lines("out/late"); !slices.Equal(lines, want) || len(late) > 0 {
				t.Errorf("the pipeline has written %q, late %q", lines, late)
			}
		},
		"sink": func(t *testing.T, m *made) {
			lines := m.lines("out")
			slices.Sort(lines)
			if n := len(slices.Compact(slices.Clone(lines))); n != 1000 || len(lines) != n {
				t.Errorf("%d records, %d of them different", len(lines), n)
			}
		},
	}
	for _, kind := range append(slices.Clone(scaffold.Kinds), keyed) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m := newModule(t, kind)
			if out, err := m.command(m.dir, "gofmt", "-l", ".").CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("gofmt: %v\n%s", err, out)
			}
			m.make("test")
			m.make("build")
			described := m.describe()
			component := kind
			if kind == keyed {
				component = "operator"
			}
			if want := fmt.Sprintf("%s my-%s/my-%s 0.1.0 (plugin my-%s 0.1.0)", component, kind, kind, kind); !strings.HasPrefix(described, want) {
				t.Errorf("it describes itself as\n%s", described)
			}
			if report := m.make("conformance"); !strings.Contains(report, "passed") {
				t.Errorf("the kit says\n%s", report)
			}
			if summary := m.make("run"); !strings.Contains(summary, "my-"+kind+"-sample finished in") {
				t.Errorf("the pipeline says\n%s", summary)
			}
			ran[kind](t, m)
		})
	}
}

// describe asks the plugin where a pipeline would find it.
func (m *made) describe() string {
	m.t.Helper()
	out, err := m.command(m.dir, weir, "plugin", "describe", strings.TrimPrefix(filepath.Base(m.dir), "weir-plugin-")).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// What a sink has written is there once, whatever is killed.
func TestTheSinksPipelineCanBeKilled(t *testing.T) {
	t.Parallel()
	m := newModule(t, "sink")
	m.make("build")
	for range 2 {
		cmd := m.command(m.dir, weir, "run", "pipeline.yaml")
		cmd.Env = append(cmd.Env, "RATE=100") // ten seconds, of which each kill takes one
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before := len(m.lines("out"))
		for deadline := time.Now().Add(time.Minute); len(m.lines("out")) == before; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nothing is published")
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	m.make("run")
	lines := m.lines("out")
	slices.Sort(lines)
	if n := len(slices.Compact(slices.Clone(lines))); n != 1000 || len(lines) != n {
		t.Errorf("%d records, %d of them different", len(lines), n)
	}
	if left, err := filepath.Glob(filepath.Join(m.dir, "out", ".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

func TestTheModuleIsTheAuthors(t *testing.T) {
	t.Parallel()
	m := newModule(t, "operator", "--module", "git.example.com/me/plugins/thing")
	mod, err := os.ReadFile(filepath.Join(m.dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sdk, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"module git.example.com/me/plugins/thing\n", "require github.com/weirstream/weir v0.0.0\n", "replace github.com/weirstream/weir => " + sdk + "\n"} {
		if !strings.Contains(string(mod), want) {
			t.Errorf("go.mod does not say %q:\n%s", want, mod)
		}
	}
	// What the plugin does not need is not there.
	sums, err := os.ReadFile(filepath.Join(m.dir, "go.sum"))
	if err != nil || bytes.Contains(sums, []byte("aws-sdk-go")) || !bytes.Contains(sums, []byte("google.golang.org/grpc ")) {
		t.Errorf("go.sum, %v:\n%s", err, sums)
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "operator.go")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := scaffold.New(t.Context(), scaffold.Options{Name: "a", Kind: "operator", Dir: dir, SDK: root})
	var input *scaffold.InputError
	if !errors.As(err, &input) || !strings.Contains(err.Error(), "nothing is overwritten, and there is "+file) {
		t.Errorf("%v", err)
	}
	var found []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
		if !d.IsDir() {
			found = append(found, path)
		}
		return nil
	})
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine" || len(found) != 1 {
		t.Errorf("%q, %v; there are %q", text, err, found)
	}
}

func TestWrongOptionsAreRefusedBeforeAnythingIsWritten(t *testing.T) {
	elsewhere := t.TempDir()
	if err := os.WriteFile(filepath.Join(elsewhere, "go.mod"), []byte("module example.org/other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inTheWay := filepath.Join(elsewhere, "go.mod", "below")
	for _, c := range []struct {
		options scaffold.Options
		want    string
	}{
		{scaffold.Options{Name: "Acme", Kind: "sink", SDK: root}, `"Acme" is no name for a plugin`},
		{scaffold.Options{Name: "a--b", Kind: "sink", SDK: root}, `"a--b" is no name for a plugin`},
		{scaffold.Options{Name: "../a", Kind: "sink", SDK: root}, `is no name for a plugin`},
		{scaffold.Options{Name: "weir", Kind: "sink", SDK: root}, `"weir" is the plugin that comes with weir`},
		{scaffold.Options{Name: "a", SDK: root}, `--kind says what to make: source, operator, sink`},
		{scaffold.Options{Name: "a", Kind: "sinc", SDK: root}, `--kind: "sinc" is none of source, operator, sink`},
		{scaffold.Options{Name: "a", Kind: "source", Keyed: true, SDK: root}, `--keyed goes with --kind operator: a source keeps no state by key`},
		{scaffold.Options{Name: "a", Kind: "sink", Module: "no module", SDK: root}, `--module: "no module" is no path of a Go module`},
		{scaffold.Options{Name: "a", Kind: "sink"}, `name a checkout of Weir by --sdk DIR`},
		{scaffold.Options{Name: "a", Kind: "sink", SDK: filepath.Join(elsewhere, "none")}, `is no checkout of Weir`},
		{scaffold.Options{Name: "a", Kind: "sink", SDK: elsewhere}, `its go.mod begins with "module example.org/other"`},
		{scaffold.Options{Name: "a", Kind: "sink", SDK: root, Dir: inTheWay}, `not a directory`},
	} {
		dir := filepath.Join(t.TempDir(), "new")
		if c.options.Dir == "" {
			c.options.Dir = dir
		}
		_, err := scaffold.New(t.Context(), c.options)
		var input *scaffold.InputError
		if !errors.As(err, &input) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.options, err, c.want)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v: something was written: %v", c.options, err)
		}
	}
}

// Without the modules the files are there, and it is said what to do.
func TestModulesThatCannotBeHad(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOFLAGS", "-modcacherw")
	dir := filepath.Join(t.TempDir(), "new")
	_, err := scaffold.New(t.Context(), scaffold.Options{Name: "a", Kind: "sink", Dir: dir, Version: "v1.2.3"})
	var modules *scaffold.ModulesError
	if !errors.As(err, &modules) || !strings.Contains(err.Error(), dir+" is written, but its modules are not complete: run go mod tidy in it") {
		t.Fatalf("%v", err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || string(mod) != "module example.org/weir-plugin-a\n\ngo 1.26.0\n\nrequire github.com/weirstream/weir v1.2.3\n" {
		t.Errorf("go.mod is\n%s%v", mod, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "sink.go")); err != nil {
		t.Error(err)
	}
}
