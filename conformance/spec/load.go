package spec

import (
	"os"
	"path/filepath"
	"time"

	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/yamlfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Codes of the faults that a conformance.yaml can have.
const (
	CodeUnreadable   pipeline.Code = "conformance.unreadable"
	CodeSyntax       pipeline.Code = "conformance.syntax"
	CodeReference    pipeline.Code = "conformance.reference"
	CodeVersion      pipeline.Code = "conformance.future_version"
	CodeUnknownField pipeline.Code = "conformance.unknown_field"
	CodeRequired     pipeline.Code = "conformance.required"
	CodeType         pipeline.Code = "conformance.wrong_type"
	CodeValue        pipeline.Code = "conformance.invalid_value"
	CodeKind         pipeline.Code = "conformance.component_kind"
	CodeDuplicate    pipeline.Code = "conformance.duplicate"
	CodeRecord       pipeline.Code = "conformance.record"
)

// Version is the newest version of the file's form that this package knows.
const Version = 1

// Defaults of the two bounds.
const (
	DefaultCaseTimeout    = 30 * time.Second
	DefaultCommandTimeout = 30 * time.Second
)

// Source is the text of a conformance.yaml.
type Source struct {
	name, dir string
	data      []byte
}

// Open reads the file. Its faults come with [Source.Parse].
func Open(name string) (*Source, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	return &Source{name: name, dir: filepath.Dir(abs), data: data}, nil
}

// Dir is the folder of the file.
func (s *Source) Dir() string { return s.dir }

// Name is the file's name as it was given.
func (s *Source) Name() string { return s.name }

// Parse resolves the file for a case. The File is complete where the report is
// OK, and not for use otherwise.
func (s *Source) Parse(vars Vars) (*File, pipeline.Report) {
	r := &reader{}
	f := r.file(s, vars)
	for i := range r.faults {
		r.faults[i].File = s.name
	}
	report := pipeline.Report{Faults: r.faults}
	report.Sort()
	return f, report
}

func (r *reader) problems(all []yamlfile.Problem) {
	for _, p := range all {
		code := CodeSyntax
		switch p.Class {
		case yamlfile.Reference, yamlfile.Unset, yamlfile.File:
			code = CodeReference
		case yamlfile.Duplicate:
			code = CodeDuplicate
		}
		r.fault(p.Pos, p.Path, code, p.Hint, "%s", p.Message)
	}
}

func (r *reader) file(s *Source, vars Vars) *File {
	f := &File{Name: s.name, Dir: s.dir, CaseTimeout: DefaultCaseTimeout, CommandTimeout: DefaultCommandTimeout}
	root, problems := yamlfile.Parse(s.data)
	r.problems(problems)
	if root == nil {
		return f
	}
	problems, _ = yamlfile.Resolve(root, yamlfile.Resolver{
		Env: func(name string) (string, bool) {
			switch name {
			case "CASE_ID":
				return vars.CaseID, true
			case "TMP":
				return vars.TMP, true
			case "N":
				return NumberMark, true
			}
			return os.LookupEnv(name)
		},
		ReadFile: os.ReadFile, Dir: s.dir,
	})
	r.problems(problems)
	top := node{key: yamlfile.Pos{Line: 1, Column: 1}, Value: root}
	fs := r.fields(top, "version", "env", "timeouts", "components")
	if v := fs["version"]; v.present() && r.integer(v, 1, 1<<30) > Version {
		r.fault(v.pos(), v.path, CodeVersion, "use a newer weir", "this is version %s of the form; this weir knows up to %d", v.Text, Version)
		return f
	}
	f.Env = make(map[string]string)
	for _, e := range r.entries(fs["env"]) {
		if e.Kind == yamlfile.List || e.Kind == yamlfile.Map {
			r.wrongType(e, "a string")
			continue
		}
		f.Env[e.path[len("env."):]] = e.Text
	}
	times := r.fields(fs["timeouts"], "case", "command")
	f.CaseTimeout = r.duration(times["case"], f.CaseTimeout)
	f.CommandTimeout = r.duration(times["command"], f.CommandTimeout)
	components := fs["components"]
	if !components.present() {
		r.fault(top.key, "components", CodeRequired, "", "`components` is missing: what to test, a list")
	}
	type entry struct {
		kind        pluginv1.Kind
		name, label string
	}
	seen := make(map[entry]bool)
	for _, n := range r.list(components, "components") {
		c := r.component(n)
		f.Components = append(f.Components, c)
		if e := (entry{c.Kind, c.Name, c.Label}); c.Name != "" && seen[e] {
			r.fault(n.pos(), n.path, CodeDuplicate, "give each a `label`", "a second entry for %s %s", pipeline.KindName(c.Kind), c.Name)
		} else {
			seen[e] = true
		}
	}
	if components.present() && components.Kind == yamlfile.List && len(components.Items) == 0 {
		r.fault(components.pos(), components.path, CodeRequired, "", "must list at least one component")
	}
	return f
}
