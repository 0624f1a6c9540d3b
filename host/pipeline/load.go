package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/weirstream/weir/host/secret"
	"github.com/weirstream/weir/host/yamlfile"
)

// Options are what Load needs beside the file.
type Options struct {
	// Catalog knows the plugins. Required.
	Catalog Catalog
	// Env looks an environment variable up; nil means os.LookupEnv.
	Env func(name string) (value string, ok bool)
	// ReadFile reads the file of a ${file:PATH}; nil means from disk. A relative
	// path has been joined to BaseDir.
	ReadFile func(path string) ([]byte, error)
	// BaseDir is the folder that relative paths of the file are relative to; empty
	// means the folder that the file lies in.
	BaseDir string
	// Mask is told every secret of the file, before a plugin is. Nil means one that
	// [Pipeline.Secrets] returns alone.
	Mask *secret.Mask
	// Parallelism takes the place of what the file says of these nodes.
	Parallelism map[string]int
}

// Load reads a pipeline file and checks all of it. The Pipeline is nil unless
// the report is OK; a report that is OK may still hold warnings. A file that
// cannot be read is a fault too. Load reaches nothing outside but the catalog,
// the environment and the files that the file refers to; ctx bounds the
// catalog's calls.
func Load(ctx context.Context, path string, opts Options) (*Pipeline, Report) {
	data, err := readPipelineFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return LoadBytes(ctx, path, data, opts)
}

func unreadable(path string, err error) Report {
	return Report{Faults: []Fault{{File: path, Line: 1, Column: 1, Code: CodeUnreadable, Message: "the file cannot be read: " + err.Error()}}}
}

// readPipelineFile reads no more of a file than shows that it is too large.
func readPipelineFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder", path)
	case info.Size() > yamlfile.MaxSize:
		return nil, fmt.Errorf("%s has %d bytes, a pipeline file has at most %d", path, info.Size(), yamlfile.MaxSize)
	}
	return os.ReadFile(path)
}

// LoadBytes is Load for a file that is already in memory; name stands for it in
// messages.
func LoadBytes(ctx context.Context, name string, data []byte, opts Options) (*Pipeline, Report) {
	l := newLoader(ctx, name, opts)
	p := l.load(data)
	report := l.report(name)
	if !report.OK() {
		return nil, report
	}
	p.File, p.Source = name, data
	return p, report
}

// loader is one Load. Its steps follow each other in load; each reports what it
// finds and goes on with what is left, so that a later step says nothing about
// what an earlier one has refused.
type loader struct {
	ctx    context.Context
	opts   Options
	faults []Fault
	// secrets are the values that no message may hold.
	secrets []string
	mask    *secret.Mask

	p       *Pipeline
	plugins map[string]*declaration // as the file declares them
	nodes   []*draft                // in the order of the file
	byName  map[string]*draft
	failure *failure // the default of all nodes, or nil

	guaranteeAt field // where the floor stands
	// meant are the paths of fields that seem to be there under a misspelt name: no
	// more is said about their absence.
	meant map[string]bool
}

func newLoader(ctx context.Context, name string, opts Options) *loader {
	if opts.BaseDir == "" {
		opts.BaseDir = filepath.Dir(name)
	}
	if opts.Env == nil {
		opts.Env = os.LookupEnv
	}
	if opts.ReadFile == nil {
		opts.ReadFile = os.ReadFile
	}
	if opts.Mask == nil {
		opts.Mask = &secret.Mask{}
	}
	return &loader{ctx: ctx, opts: opts, mask: opts.Mask, meant: make(map[string]bool)}
}

// load returns a pipeline that is complete if no fault was reported, and is not
// for use otherwise.
func (l *loader) load(data []byte) *Pipeline {
	file, ok := l.root(data)
	if !ok {
		return nil
	}
	l.p = &Pipeline{mask: l.mask}
	fields := l.fields(file, rootFields...)
	l.settings(file, fields)
	l.declarations(fields["plugins"])
	l.drafts(file, fields)
	l.components()
	l.connect()
	l.parallelism(fields)
	l.passTimes()
	l.deadLetters()
	l.partitions()
	l.timePaths()
	l.timesSet()
	l.checkGraph()
	l.guarantees()
	l.unusedPlugins()
	l.finish()
	return l.p
}

var rootFields = []string{
	"version", "name", "parallelism", "max_parallelism", "guarantee", "isolation", "checkpoint",
	"restart", "batch", "max_record", "on_error", "plugins", "nodes",
}

// root parses the file and resolves its references. Not ok says that nothing of it
// can be read.
func (l *loader) root(data []byte) (file field, ok bool) {
	root, problems := yamlfile.Parse(data)
	l.problems(problems)
	if root == nil {
		return file, false
	}
	file = field{Value: root}
	if root.Kind != yamlfile.Map {
		l.fault(file, CodeType, "a pipeline file begins with `name:` and `nodes:`", "a pipeline file is a map, this is %s", root.Kind)
		return file, false
	}
	if !l.knownVersion(root) {
		return file, false
	}
	problems, secrets := yamlfile.Resolve(root, yamlfile.Resolver{
		Env: l.opts.Env, ReadFile: l.opts.ReadFile, Dir: l.opts.BaseDir, SecretsAllowed: secretsAllowed,
	})
	l.keep(secrets...)
	l.problems(problems)
	return file, true
}

// keep keeps secrets out of all that is said from now on.
func (l *loader) keep(secrets ...string) {
	l.secrets = append(l.secrets, secrets...)
	l.mask.Add(secrets...)
}

// secretsAllowed keeps secrets to where the rest of the package expects them.
func secretsAllowed(path string) bool {
	section, rest, _ := strings.Cut(path, ".")
	_, rest, _ = strings.Cut(rest, ".")
	return section == "nodes" && strings.HasPrefix(rest, "config.") ||
		section == "plugins" && strings.HasPrefix(rest, "env.")
}

func (l *loader) problems(ps []yamlfile.Problem) {
	for _, p := range ps {
		f := Fault{Line: p.Pos.Line, Column: p.Pos.Column, Field: p.Path, Message: p.Message, Hint: p.Hint, Code: classCodes[p.Class]}
		switch p.Class {
		case yamlfile.Documents:
			f.Hint = "one file holds one pipeline"
		case yamlfile.Empty:
			f.Hint = "a pipeline needs at least `name` and `nodes`"
		}
		if name, ok := strings.CutPrefix(p.Path, "nodes."); ok && p.Class == yamlfile.Duplicate && !strings.Contains(name, ".") {
			f.Code, f.Message = CodeDuplicateName, fmt.Sprintf("two nodes are called %q", name)
		}
		l.faults = append(l.faults, f)
	}
}
