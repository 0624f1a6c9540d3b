package pipetest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/proto/wire"
)

func load(t *testing.T, text string) (*Suite, []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "p.test.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s, report := Load(file)
	var faults []string
	for _, f := range report.Faults {
		faults = append(faults, strings.TrimPrefix(f.String(), file+":"))
	}
	return s, faults
}

func TestEveryFaultOfAFileIsToldAtOnce(t *testing.T) {
	_, faults := load(t, `
pipelin: x.yaml
env: [a]
cases:
  - name: a
    expect: {out: [{value: 1, jsn: {}}, {time: yesterday}, [x], {value: a, json: {}}]}
  - name: a
    in: {src: {value: a}}
    any_order: sometimes
  - expect: {}
`)
	want := []string{
		`2:1: pipelin: unknown field "pipelin" (did you mean "pipeline"?)`,
		`3:6: env: must be a map, not a list`,
		`6:20: cases[0].expect.out[0]: is no record: `,
		`6:41: cases[0].expect.out[1]: is no record: "time" is an integer, nanoseconds since the Unix epoch, or RFC 3339`,
		`6:60: cases[0].expect.out[2]: is no record: it is a text, or a map with key, value or json, time and headers`,
		`6:65: cases[0].expect.out[3]: is no record: "value" and "json" exclude each other`,
		`7:5: cases[1]: two cases are called "a"`,
		`7:5: cases[1]: ` + "`expect` is missing",
		`8:15: cases[1].in.src: must be a list of records, not a map`,
		`9:16: cases[1].any_order: must be true or false, not a string`,
		`10:5: cases[2]: ` + "`name` is missing",
	}
	for _, w := range want {
		if !slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, w) }) {
			t.Errorf("no fault %s", w)
		}
	}
	if len(faults) != len(want) {
		t.Errorf("got %d faults, want %d:\n%s", len(faults), len(want), strings.Join(faults, "\n"))
	}
}

func TestAFileWithoutCasesIsAFault(t *testing.T) {
	for text, want := range map[string]string{
		"env: {A: b}":          "`cases` is missing",
		"version: 2\ncases: x": "this is version 2 of the form; this weir knows version 1",
		"cases: [":             "",
		"":                     "",
	} {
		if _, faults := load(t, text); len(faults) != 1 || !strings.Contains(faults[0], want) {
			t.Errorf("%q: %q, want one fault with %q", text, faults, want)
		}
	}
}

func TestRecordsInTheirForms(t *testing.T) {
	s, faults := load(t, `
cases:
  - name: a
    in:
      src:
        - plain
        - 17
        - {key: k, value: null, time: 2024-01-01T00:00:00.5Z, headers: [[a, b], [a, null]]}
        - {value: {base64: /w==}, time: 7}
        - {json: {b: 9007199254740993, a: [1.50, true, null, "x"]}}
    expect: {}
`)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	want := []exchange.Record{
		{Value: []byte("plain"), Time: wire.NoTime},
		{Value: []byte("17"), Time: wire.NoTime},
		{Key: []byte("k"), Time: 1704067200500000000, Headers: []exchange.Header{{Name: "a", Value: []byte("b")}, {Name: "a"}}},
		{Value: []byte{0xff}, Time: 7},
		{Value: []byte(`{"a":[1.50,true,null,"x"],"b":9007199254740993}`), Time: wire.NoTime},
	}
	got := s.Cases[0].In["src"]
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		if d := exchange.Differ(got[i], want[i], exchange.AllFields); d != "" {
			t.Errorf("record %d: the %s of %v is not that of %v", i, d, got[i], want[i])
		}
	}
}

// expectation reads what a case expects of `out`.
func expectation(t *testing.T, text string) Expectation {
	t.Helper()
	s, faults := load(t, "cases:\n  - name: a\n    expect:\n      out: "+text+"\n")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return s.Cases[0].Expect[0]
}

func values(all ...string) (out []exchange.Record) {
	for _, v := range all {
		out = append(out, exchange.Record{Key: []byte("k"), Value: []byte(v), Time: 1})
	}
	return out
}

func TestOnlyTheGivenFieldsAreCompared(t *testing.T) {
	for _, c := range []struct {
		expect   string
		got      []exchange.Record
		anyOrder bool
		agree    bool
	}{
		{`[a, b]`, values("a", "b"), false, true},
		{`[a, b]`, values("b", "a"), false, false},
		{`[a, b]`, values("b", "a"), true, true},
		{`[a, a]`, values("a", "b"), true, false},
		{`[a]`, values("a", "a"), true, false},
		{`[a]`, values("a", "b"), false, false},
		{`[]`, values(), false, true},
		{`[]`, values("a"), false, false},
		{`[{key: k}]`, values("whatever"), false, true},
		{`[{key: null, value: a}]`, values("a"), false, false},
		{`[{value: a, time: 1}]`, values("a"), false, true},
		{`[{value: a, time: 2}]`, values("a"), false, false},
		{`[{value: a, headers: []}]`, values("a"), false, true},
		{`[{json: {a: 1, b: 2}}]`, values(`{ "b":2, "a":1 }`), false, true},
		{`[{json: {a: 1}}]`, values(`{"a":1.0}`), false, false},
		{`[{json: {a: 1}}]`, values(`no JSON`), false, false},
		{`['{"a": 1}']`, values(`{"a":1}`), false, false},
		{`[{json: {a: 1}}, b, {key: k}]`, values("b", "c", `{"a":1}`), true, true},
	} {
		if d := compare(expectation(t, c.expect), c.got, c.anyOrder); (d == "") != c.agree {
			t.Errorf("%s, %v, in any order %v:\n%s", c.expect, c.got, c.anyOrder, d)
		}
	}
}

func TestADiffShowsWhatIsCompared(t *testing.T) {
	got := compare(expectation(t, `[{json: {b: 2, a: 1}}, x]`), values(`{"a": 1,"b": 3}`, "x", "y"), false)
	want := `--- expected
+++ got
@@ -1,2 +1,3 @@
-{"json":{"a":1,"b":2}}
+{"json":{"a":1,"b":3}}
 {"value":"x"}
+{"value":"y"}
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestUpdateKeepsTheRestOfTheFile(t *testing.T) {
	const before = `# Why these cases are here.
pipeline: p.yaml # the pipeline
cases:
  - name: first   # stays
    expect:
      out: [a]    # replaced
      other.errors:
        - {key: k, value: b}
  - name: second
    expect: {out: []}
`
	s, faults := load(t, before)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	results := []Result{
		{Name: "first", Diffs: []Diff{{Node: "out"}, {Node: "other.errors"}}, Got: map[string][]exchange.Record{
			"out":          values("a: b", "17"),
			"other.errors": {{Key: []byte{0xff}, Value: []byte("c")}},
		}},
		{Name: "second", Diffs: []Diff{{Node: "out"}}, Got: map[string][]exchange.Record{"out": {{Value: []byte("now"), Time: wire.NoTime}}}},
	}
	if n, err := s.Update(results); err != nil || n != 2 {
		t.Fatalf("%d, %v", n, err)
	}
	after, err := os.ReadFile(s.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, kept := range []string{"# Why these cases are here.", "# the pipeline", "# stays"} {
		if !strings.Contains(string(after), kept) {
			t.Errorf("%q is gone", kept)
		}
	}
	again, report := Load(s.File)
	if !report.OK() {
		t.Fatalf("%v\n%s", report.Err(), after)
	}
	for i, r := range results {
		for _, e := range again.Cases[i].Expect {
			if d := compare(e, r.Got[e.Node], false); d != "" {
				t.Errorf("case %d, %s:\n%s\n%s", i, e.Node, d, after)
			}
		}
	}
}
