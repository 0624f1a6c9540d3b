//go:build unix

package examples_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// rows are the rows of a table, as read.py prints them.
func (l *lab) rows(database, table string) []string {
	l.t.Helper()
	python := strings.TrimPrefix(l.env[len(l.env)-1], "PYTHON=")
	cmd := exec.CommandContext(l.t.Context(), python, filepath.Join("examples", "python", "read.py"), database, table)
	cmd.Dir = l.root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("%v\n%s", err, &stderr)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// checkOrders checks that the table holds each record of the generator once, masked,
// and those of each of its two splits in order.
func (l *lab) checkOrders(count int) {
	l.t.Helper()
	file := filepath.Join(l.root, "reference.yaml")
	err := os.WriteFile(file, fmt.Appendf(nil, "name: reference\nnodes:\n  in: {source: generator, config: {count: %d, splits: 2}}\n  out: {sink: file, input: in, config: {path: reference.txt}}\n", count), 0o644)
	if err != nil {
		l.t.Fatal(err)
	}
	if out, err := l.command("run", "reference.yaml").CombinedOutput(); err != nil {
		l.t.Fatalf("%v\n%s", err, out)
	}
	type order struct {
		Seq int
		Key string
		Ts  int64
	}
	key := regexp.MustCompile(`k\d+`)
	want := make(map[string]string) // masked value to key
	for _, line := range linesOf(l.t, filepath.Join(l.root, "reference.txt")) {
		var o order
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			l.t.Fatal(err)
		}
		want[key.ReplaceAllStringFunc(line, func(m string) string { return strings.Repeat("-", len(m)) })] = o.Key
	}
	if len(want) != count {
		l.t.Fatalf("%d different records", len(want))
	}
	last := [2]int{-1, -1} // of each split
	for _, row := range l.rows("out/python/orders.db", "orders") {
		var r struct {
			Key, Value string
			Time       int64
			Headers    any
		}
		var o order
		if err := json.Unmarshal([]byte(row), &r); err != nil {
			l.t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(r.Value), &o); err != nil {
			l.t.Fatalf("%s: %v", row, err)
		}
		k, ok := want[r.Value]
		if !ok {
			l.t.Fatalf("%s is there twice, or is no record", row)
		}
		delete(want, r.Value)
		if r.Key != k || r.Time != o.Ts*1e6 || r.Headers != nil {
			l.t.Fatalf("%s has not key %s and the time of its ts", row, k)
		}
		if o.Seq <= last[o.Seq%2] {
			l.t.Fatalf("record %d comes behind %d", o.Seq, last[o.Seq%2])
		}
		last[o.Seq%2] = o.Seq
	}
	if len(want) > 0 {
		l.t.Errorf("%d of %d records are missing", len(want), count)
	}
	if left := l.rows("out/python/orders.db", "weir_staged"); len(left) != 1 || left[0] != "" {
		l.t.Errorf("%d rows are still staged", len(left))
	}
}

func TestPython(t *testing.T) {
	l := newLab(t, "python", "COUNT=20000", "RATE=0")
	summary := l.run()
	for _, s := range []string{"python finished in", "operator mask ×2", "exactly once: table"} {
		if !strings.Contains(summary, s) {
			t.Errorf("the summary does not say %q:\n%s", s, summary)
		}
	}
	l.checkOrders(20_000)
}

// A record that the operator fails leaves whole, and takes no other with it.
func TestPythonFailsRecordsOneByOne(t *testing.T) {
	t.Parallel()
	l := newLab(t, "python")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(l.root, "examples", "python", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("in.txt", "call 0123\nbr\xffken 1\n\nbye 9\n")
	write("p.yaml", `
name: broken
plugins: {py: {command: ['${PYTHON}', main.py]}}
nodes:
  in:     {source: file, config: {path: in.txt}}
  hidden: {operator: py/mask, input: in, config: {pattern: '\d'}, on_error: {dead_letter: broken}}
  good:   {sink: py/sqlite, input: hidden, config: {path: out.db}}
  broken: {sink: py/sqlite, config: {path: out.db, table: broken}}
`)
	if out, err := l.command("run", "examples/python/p.yaml").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	same(t, "good", l.rows("examples/python/out.db", "records"), []string{
		`{"key": null, "value": "call ****"}`, `{"key": null, "value": ""}`, `{"key": null, "value": "bye *"}`,
	})
	broken := l.rows("examples/python/out.db", "broken")
	if len(broken) != 1 || !strings.HasPrefix(broken[0], `{"key": null, "value": {"base64": "YnL/a2VuIDE="}, "headers": [["weir.error", "the value is not UTF-8"], ["weir.component", "hidden"], ["weir.origin.split", "`) ||
		!strings.HasSuffix(broken[0], `["weir.origin.ordinal", "1"]]}`) {
		t.Errorf("the dead letter is %s", broken)
	}
}

func TestPythonPassesTheConformanceKit(t *testing.T) {
	t.Parallel()
	l := newLab(t, "python")
	python := strings.TrimPrefix(l.env[len(l.env)-1], "PYTHON=")
	cmd := l.command("plugin", "test", python, "main.py")
	cmd.Dir = filepath.Join(l.root, "examples", "python")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, component := range []string{"operator mask", "sink sqlite"} {
		if !strings.Contains(string(out), component) {
			t.Errorf("the report does not know %s:\n%s", component, out)
		}
	}
}
