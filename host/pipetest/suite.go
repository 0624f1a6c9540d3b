package pipetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/yamlfile"
)

// Suffix ends the name of a file with test cases: NAME.test.yaml tests NAME.yaml.
const Suffix = ".test.yaml"

// Suite is a file with test cases.
type Suite struct {
	File     string
	Pipeline string // the file of the pipeline
	// Env are variables that the pipeline file may refer to, before those of the
	// environment.
	Env   map[string]string
	Cases []Case
}

// Case is one run of the pipeline.
type Case struct {
	Name string
	At   yamlfile.Pos
	Env  map[string]string
	// In are the records of each source; one that is not named has none.
	In map[string][]exchange.Record
	// Expect are the records that must reach each sink, or leave a node by an
	// output, in order.
	Expect []Expectation
	// AnyOrder says that the order of records does not matter.
	AnyOrder bool
}

// Expectation is what one node must get or give.
type Expectation struct {
	// Node is a sink, a NODE whose output "out" is meant, or NODE.OUTPUT.
	Node    string
	At      yamlfile.Pos
	Records []Expected
}

// Expected is a record of which some fields are given.
type Expected struct {
	exchange.Expected
	// JSON is set where the value is compared as JSON, whatever its spaces and the
	// order of its keys; it is canonical.
	JSON []byte
}

// Faults of the file, as codes of [pipeline.Fault].
const (
	CodeUnreadable   pipeline.Code = "test.unreadable"
	CodeSyntax       pipeline.Code = "test.syntax"
	CodeVersion      pipeline.Code = "test.future_version"
	CodeUnknownField pipeline.Code = "test.unknown_field"
	CodeRequired     pipeline.Code = "test.required"
	CodeType         pipeline.Code = "test.wrong_type"
	CodeDuplicate    pipeline.Code = "test.duplicate"
	CodeRecord       pipeline.Code = "test.record"
	CodeNode         pipeline.Code = "test.unknown_node"
)

// version is that of the file's form.
const version = 1

// Load reads a file with test cases. The Suite is complete where the report is OK.
func Load(file string) (*Suite, pipeline.Report) {
	r := &reader{file: file}
	s := &Suite{File: file}
	data, err := os.ReadFile(file)
	if err != nil {
		r.fault(yamlfile.Pos{Line: 1, Column: 1}, "", CodeUnreadable, "", "the file cannot be read: %v", err)
	} else {
		r.suite(s, data)
	}
	report := pipeline.Report{Faults: r.faults}
	report.Sort()
	return s, report
}

func (r *reader) suite(s *Suite, data []byte) {
	root, problems := yamlfile.Parse(data)
	for _, p := range problems {
		r.fault(p.Pos, p.Path, CodeSyntax, p.Hint, "%s", p.Message)
	}
	if root == nil {
		return
	}
	top := node{key: yamlfile.Pos{Line: 1, Column: 1}, Value: root}
	fs := r.fields(top, "version", "pipeline", "env", "cases")
	if v := fs["version"]; v.present() && v.Text != fmt.Sprint(version) {
		r.fault(v.Pos, v.path, CodeVersion, "use a newer weir", "this is version %s of the form; this weir knows version %d", v.Text, version)
		return
	}
	s.Pipeline = strings.TrimSuffix(s.File, Suffix) + ".yaml"
	if p, ok := r.text(fs["pipeline"]); ok {
		if s.Pipeline = p; !filepath.IsAbs(p) {
			s.Pipeline = filepath.Join(filepath.Dir(s.File), p)
		}
	}
	s.Env = r.env(fs["env"])
	cases := r.list(fs["cases"], "cases")
	if len(cases) == 0 && !r.failed() {
		r.fault(top.key, "cases", CodeRequired, "", "`cases` is missing: what to test, a list")
	}
	names := map[string]bool{}
	for _, n := range cases {
		c := r.testCase(n)
		if names[c.Name] && c.Name != "" {
			r.fault(n.pos(), n.path, CodeDuplicate, "", "two cases are called %q", c.Name)
		}
		names[c.Name] = true
		s.Cases = append(s.Cases, c)
	}
}

func (r *reader) env(n node) map[string]string {
	env := map[string]string{}
	for _, e := range r.entries(n) {
		if e.Kind == yamlfile.List || e.Kind == yamlfile.Map {
			r.wrongType(e, "a string")
			continue
		}
		env[e.name] = e.Text
	}
	return env
}

func (r *reader) testCase(n node) Case {
	c := Case{At: n.pos(), In: map[string][]exchange.Record{}}
	fs := r.fields(n, "name", "env", "in", "expect", "any_order")
	var ok bool
	if c.Name, ok = r.text(fs["name"]); !ok && !fs["name"].present() && n.Kind == yamlfile.Map {
		r.fault(n.pos(), n.path, CodeRequired, "", "`name` is missing: what the case shows")
	}
	c.Env = r.env(fs["env"])
	if f := fs["any_order"]; f.present() {
		if f.Kind != yamlfile.Bool {
			r.wrongType(f, "true or false")
		}
		c.AnyOrder = strings.EqualFold(f.Text, "true")
	}
	for _, source := range r.entries(fs["in"]) {
		records := []exchange.Record{}
		for _, e := range r.records(source) {
			records = append(records, e.Record)
		}
		c.In[source.name] = records
	}
	if f := fs["expect"]; !f.present() && n.Kind == yamlfile.Map {
		r.fault(n.pos(), n.path, CodeRequired, "write `expect: {NODE: []}` for nothing", "`expect` is missing: what must come of the input")
	}
	for _, at := range r.entries(fs["expect"]) {
		c.Expect = append(c.Expect, Expectation{Node: at.name, At: at.key, Records: r.records(at)})
	}
	return c
}
