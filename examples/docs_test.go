package examples_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// block is a fenced block of a document: what stands behind its fence, and its text.
type block struct{ language, file, text string }

func blocksOf(t *testing.T, file string) []block {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	for _, m := range regexp.MustCompile("(?ms)^```(\\w+)(?: (\\S+))?\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		all = append(all, block{m[1], m[2], m[3]})
	}
	return all
}

// blocks returns the texts of a language.
func blocks(t *testing.T, file, language string) []string {
	t.Helper()
	var all []string
	for _, b := range blocksOf(t, file) {
		if b.language == language {
			all = append(all, b.text)
		}
	}
	return all
}

// masked hides of a summary what differs from run to run. A dead letter says where it
// comes from, so that the size of their sink's output depends on paths.
func masked(summary, deadLetters string) string {
	for _, m := range []struct{ re, by string }{
		{`finished in \S+`, "finished in TIME"},
		{`took [0-9.]+(µs|ms|s)`, "took TIME"},
		{`(?m)^(` + deadLetters + `  .*?) +[0-9.]+ (B|KiB)$`, "$1 SIZE"},
		{`\([0-9.]+( [kM])?/s\)`, "(RATE)"},
		{`\d+ checkpoints?\n`, "CHECKPOINTS\n"},
	} {
		summary = regexp.MustCompile(m.re).ReplaceAllString(summary, m.by)
	}
	return summary
}

// The plugin that the README shows is what it says: short, complete, and good for the
// pipeline that stands above it.
func TestThePluginOfTheREADME(t *testing.T) {
	source := blocks(t, "../README.md", "go")
	if len(source) != 1 || strings.Count(source[0], "\n") > 40 {
		t.Fatalf("%d blocks of Go, the first of %d lines", len(source), strings.Count(source[0], "\n"))
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "plugins"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	// It is built as if it lay in this module, which needs no network.
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(root, "examples", "readme", "main.go"): write("main.go", source[0])},
	})
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "plugins", "weir-plugin-acme")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	build := exec.Command("go", "build", "-overlay", write("overlay.json", string(overlay)), "-o", binary, "./examples/readme")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	var pipeline string
	for _, b := range blocks(t, "../README.md", "yaml") {
		if strings.Contains(b, "acme/prefix") {
			pipeline = b
		}
	}
	write("pipeline.yaml", pipeline)
	write("logs/a.log", `{"status":500,"host":"A.Example","ip":"192.0.2.1"}`+"\n"+`{"status":200}`+"\n"+`{"stat`+"\n")
	l := &lab{t: t, root: dir}
	if out, err := l.command("run", "pipeline.yaml").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for folder, want := range map[string][]string{"out": {`! {"status":500,"host":"a.example"}`}, "bad": {`{"stat`}} {
		files, err := filepath.Glob(filepath.Join(dir, folder, "*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s holds %q, %v", folder, files, err)
		}
		same(t, folder, linesOf(t, files[0]), want)
	}
}

// The README shows what the first example really prints.
func TestTheSummaryOfTheREADME(t *testing.T) {
	var shown string
	for _, b := range blocks(t, "../README.md", "text") {
		if strings.HasPrefix(b, "access-log finished in") {
			shown = b
		}
	}
	if got := newLab(t, "access-log").run(); masked(got, "unreadable") != masked(shown, "unreadable") {
		t.Errorf("the README shows\n%s\nand it is\n%s", shown, got)
	}
}

// The file that shows every field is sound.
func TestThePipelineWithEveryField(t *testing.T) {
	for _, b := range blocks(t, "../docs/pipeline.md", "yaml") {
		if !strings.Contains(b, "\nnodes:") || !strings.Contains(b, "name:") {
			continue
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "pipeline.yaml"), []byte(b), 0o644); err != nil {
			t.Fatal(err)
		}
		l := &lab{t: t, root: dir}
		if out, err := l.command("validate", "pipeline.yaml").CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	t.Error("no pipeline was found")
}
