package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/conformance/exchange"
)

func parse(t *testing.T, text string) (*File, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "conformance.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	f, report := s.Parse(Vars{CaseID: "wc_x_1", TMP: "/tmp/x"})
	return f, strings.ReplaceAll(report.String(), name, "c.yaml")
}

func TestEveryFaultSaysWhere(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"not YAML", "components: [", "c.yaml:1:13: not valid YAML"},
		{"empty", "", "c.yaml:1:1: the file is empty"},
		{"not a map", "- a\n", "c.yaml:1:1: must be a map, not a list"},
		{"newer", "version: 2\ncomponents: []\n", "c.yaml:1:10: version: this is version 2 of the form"},
		{"unknown field", "components:\n  - source: a\n    fed: x\n", `c.yaml:3:5: components[0].fed: unknown field "fed" (did you mean "feed"?)`},
		{"no components", "env: {}\n", "c.yaml:1:1: components: `components` is missing"},
		{"an empty list", "components: []\n", "c.yaml:1:13: components: must list at least one component"},
		{"no component named", "components:\n  - config: {}\n", "c.yaml:2:5: components[0]: the entry names no component"},
		{"two kinds", "components:\n  - source: a\n    sink: b\n", "c.yaml:3:5: components[0].sink: the entry is a source already"},
		{"a field of another kind", "components:\n  - source: a\n    read: x\n", `c.yaml:3:5: components[0].read: a source has no "read"`},
		{"twice", "components:\n  - source: a\n  - source: a\n", "c.yaml:3:5: components[1]: a second entry for source a (give each a `label`)"},
		{"feed by two", "components:\n  - source: a\n    feed: {command: x, sink: b}\n", "c.yaml:3:11: components[0].feed: must have exactly one of `command` and `sink`"},
		{"format of a component", "components:\n  - source: a\n    feed: {sink: b, format: lines}\n", "c.yaml:3:21: components[0].feed.format: a component has no `format`"},
		{"no such format", "components:\n  - source: a\n    feed: {command: x, format: csv}\n", "c.yaml:3:32: components[0].feed.format: must be one of jsonl, lines, not \"csv\""},
		{"no record", "components:\n  - operator: a\n    input: [{vlue: x}]\n", `c.yaml:3:13: components[0].input[0]: is no record: "vlue" is none of key, value, time, headers`},
		{"bad headers", "components:\n  - operator: a\n    input: [{value: x, headers: {a: b}}]\n", "is no record: \"headers\" is a list of pairs"},
		{"a step without input", "components:\n  - operator: a\n    steps: [{expect: []}]\n", "c.yaml:3:13: components[0].steps[0]: must have `records`, `watermark` or both"},
		{"no steps", "components:\n  - operator: a\n    steps: []\n", "c.yaml:3:12: components[0].steps: must list at least one step"},
		{"a step's unknown field", "components:\n  - operator: a\n    steps: [{watermark: 1, expects: []}]\n", `c.yaml:3:28: components[0].steps[0].expects: unknown field "expects" (did you mean "expect"?)`},
		{"no watermark", "components:\n  - operator: a\n    steps: [{watermark: 1s}]\n", "c.yaml:3:25: components[0].steps[0].watermark: must be nanoseconds since the Unix epoch, or `end`, not \"1s\""},
		{"watermarks that go back", "components:\n  - operator: a\n    steps: [{watermark: end}, {watermark: 5}]\n", "c.yaml:3:43: components[0].steps[1].watermark: is below the watermark of an earlier step (event time never goes back)"},
		{"order of nothing", "components:\n  - operator: a\n    steps: [{watermark: 1, ordered: true}]\n", "c.yaml:3:28: components[0].steps[0].ordered: says in which order `expect` comes, and there is no `expect`"},
		{"a step's record", "components:\n  - operator: a\n    steps: [{records: [{time: soon}]}]\n", `c.yaml:3:24: components[0].steps[0].records[0]: is no record: "time" is an integer`},
		{"steps of a sink", "components:\n  - sink: a\n    steps: [{watermark: 1}]\n", `c.yaml:3:5: components[0].steps: a sink has no "steps"`},
		{"by the clock comes nothing", "components:\n  - operator: a\n    by_clock: true\n", "c.yaml:3:5: components[0].by_clock: needs `input` and `expect`"},
		{"forgets", "components:\n  - operator: a\n    forgets: soon\n", `c.yaml:3:14: components[0].forgets: must be one of event_time, clock, not "soon"`},
		{"template without a number", "components:\n  - sink: a\n    records: {value: x}\n", "c.yaml:3:22: components[0].records.value: must hold ${N}"},
		{"carries", "components:\n  - sink: a\n    carries: [keys]\n", "c.yaml:3:15: components[0].carries[0]: must be one of key, time"},
		{"unset variable", "components:\n  - sink: a\n    config: {x: '${NOT_SET_ANYWHERE}'}\n", "the environment variable NOT_SET_ANYWHERE is not set"},
		{"time", "timeouts: {case: 5}\ncomponents: [{sink: a}]\n", "c.yaml:1:18: timeouts.case: must be a duration"},
	} {
		if _, got := parse(t, c.text); !strings.Contains(got, c.want) {
			t.Errorf("%s:\n%s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestReferencesAreTheCases(t *testing.T) {
	f, faults := parse(t, `
components:
  - sink: rows
    config: {table: "t_${CASE_ID}", file: "${TMP}/x"}
    read: 'cat "${TMP}/x"; echo $HOME'
    records: {key: 'k${N}', value: '{"id": ${N}}'}
`)
	if faults != "" {
		t.Fatal(faults)
	}
	c := f.Components[0]
	if got := c.Config.Value.Get("table").Text; got != "t_wc_x_1" {
		t.Errorf("the table is %q", got)
	}
	if got := strings.Join(c.Read.Command, " "); got != `sh -c cat "/tmp/x/x"; echo $HOME` {
		t.Errorf("the command is %q", got)
	}
	if got := *c.Records.Value; got != `{"id": `+NumberMark+`}` {
		t.Errorf("the template is %q", got)
	}
}

func TestWhatIsNotSaidIsCarried(t *testing.T) {
	f, faults := parse(t, `
components:
  - {sink: a, read: x}
  - {sink: b, read: {command: x, format: lines}}
  - {sink: c, read: x, carries: [key, binary]}
`)
	if faults != "" {
		t.Fatal(faults)
	}
	for i, want := range []Carries{
		{Key: true, Time: true, Headers: true, Null: true, Empty: true, Binary: true},
		{Empty: true},
		{Key: true, Binary: true},
	} {
		if got := f.Components[i].Carries; got != want {
			t.Errorf("%s carries %+v, want %+v", f.Components[i].Name, got, want)
		}
	}
	if f.Components[1].Read.Format != exchange.Lines {
		t.Error("the format is lost")
	}
}
