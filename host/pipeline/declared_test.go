package pipeline_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/host/pipeline"
)

func TestDeclaredPluginsAreReadFromAnUnfinishedFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "p.yaml")
	declared := func(text string) ([]pipeline.Plugin, pipeline.Report) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return pipeline.Declared(file, pipeline.Options{Env: func(name string) (string, bool) { return "from-" + name, name == "SET" }})
	}

	plugins, report := declared("nmae: x\nplugins:\n  py: {command: [./venv/python, -m, '${SET}'], env: {A: '${SET}'}}\n  acme: {path: bin/acme}\nnodes: {a: {source: '${UNSET}'}}\n")
	var got string
	for _, p := range plugins {
		got += strings.ReplaceAll(fmt.Sprintf("%s: %s%q %q in %s\n", p.Name, p.Path, p.Command, p.Env, p.Dir), dir, "DIR")
	}
	const want = `acme: DIR/bin/acme[] [] in DIR
py: ["DIR/venv/python" "-m" "from-SET"] ["A=from-SET"] in DIR
`
	if !report.OK() || got != want {
		t.Errorf("got %s, want %s\n%s", got, want, report)
	}

	for text, want := range map[string]string{
		"plugins: {acme: {pth: x}}":          `:1:18: plugins.acme.pth: `,
		"plugins: {Acme: {path: x}}":         `:1:11: plugins.Acme: `,
		"plugins: {acme: {path: '${NONE}'}}": `:1:25: plugins.acme.path: `,
	} {
		if plugins, report := declared(text); report.OK() || plugins != nil || !strings.Contains(report.String(), want) {
			t.Errorf("%s: %v, %s", text, plugins, report)
		}
	}
	if _, report := pipeline.Declared(filepath.Join(dir, "none.yaml"), pipeline.Options{}); report.OK() {
		t.Error("a file that does not exist is sound")
	}
	if _, report := declared("a: [\n"); report.OK() {
		t.Error("what is no YAML is sound")
	}
}
