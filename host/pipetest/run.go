package pipetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/secret"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Runner runs a pipeline, whose state is nobody's, to the end of its input.
type Runner func(ctx context.Context, p *pipeline.Pipeline) error

// Config is what tests are run with. All fields are required.
type Config struct {
	Catalog pipeline.Catalog
	Stand   Stand
	Run     Runner
	// Timeout bounds one case.
	Timeout time.Duration
	// Env looks a variable up that the test file does not set.
	Env func(name string) (string, bool)
	// Mask is told the secrets of each pipeline; see [pipeline.Options].
	Mask *secret.Mask
}

// Result is what became of a case.
type Result struct {
	Name    string
	Seconds float64
	// Err says why the case could not be run to its end; Diffs, by what Expect
	// names, where it came out otherwise than expected.
	Err   error
	Diffs []Diff
	// Got are the records, by what Expect names.
	Got map[string][]exchange.Record
}

// Diff is one node that got or gave something else.
type Diff struct {
	Node string
	Text string // a unified diff
}

// Passed says that everything came as expected.
func (r Result) Passed() bool { return r.Err == nil && len(r.Diffs) == 0 }

// Check loads the suite's pipeline and compares the names that cases use with its
// nodes. The report is the pipeline's where that has faults, else the suite's.
func (s *Suite) Check(ctx context.Context, cfg Config) (*pipeline.Pipeline, pipeline.Report) {
	p, report := pipeline.Load(ctx, s.Pipeline, pipeline.Options{Catalog: cfg.Catalog, Env: s.lookup(Case{}, cfg), Mask: cfg.Mask})
	if p == nil {
		return nil, report
	}
	r := &reader{file: s.File}
	for _, c := range s.Cases {
		r.names(p, c)
	}
	report = pipeline.Report{Faults: r.faults}
	report.Sort()
	return p, report
}

// names checks that a case names sources, and outputs that there are.
func (r *reader) names(p *pipeline.Pipeline, c Case) {
	var sources, outputs []string
	for _, n := range p.Nodes {
		switch n.Kind {
		case pluginv1.Kind_KIND_SOURCE:
			sources = append(sources, n.Name)
		case pluginv1.Kind_KIND_SINK:
			outputs = append(outputs, n.Name)
			continue
		}
		outputs = append(outputs, n.Name)
		for _, o := range n.Outputs {
			outputs = append(outputs, n.Name+"."+o.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.In)) {
		if !slices.Contains(sources, name) {
			r.fault(c.At, "in."+name, CodeNode, pipeline.Suggest(name, sources), "case %q: the pipeline has no source %q", c.Name, name)
		}
	}
	for _, e := range c.Expect {
		if !slices.Contains(outputs, e.Node) {
			r.fault(e.At, "expect."+e.Node, CodeNode, pipeline.Suggest(e.Node, outputs), "case %q: the pipeline has no sink or output %q", c.Name, e.Node)
		}
	}
}

// lookup finds variables: of the case, of the suite, of the environment.
func (s *Suite) lookup(c Case, cfg Config) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if v, ok := c.Env[name]; ok {
			return v, true
		}
		if v, ok := s.Env[name]; ok {
			return v, true
		}
		return cfg.Env(name)
	}
}

// Run runs one case of the suite on its pipeline.
func (s *Suite) Run(ctx context.Context, cfg Config, p *pipeline.Pipeline, c Case) Result {
	began := time.Now()
	r := Result{Name: c.Name}
	r.Got, r.Err = s.run(ctx, cfg, p, c)
	if r.Err == nil {
		for _, e := range c.Expect {
			if d := compare(e, r.Got[e.Node], c.AnyOrder); d != "" {
				r.Diffs = append(r.Diffs, Diff{Node: e.Node, Text: d})
			}
		}
	}
	r.Seconds = time.Since(began).Seconds()
	return r
}

func (s *Suite) run(ctx context.Context, cfg Config, p *pipeline.Pipeline, c Case) (got map[string][]exchange.Record, err error) {
	dir, err := os.MkdirTemp("", "weir-test-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	staged, err := stage(p, c, cfg.Stand, dir)
	if err != nil {
		return nil, err
	}
	for name, path := range staged.in {
		if err := writeRecords(path, c.In[name]); err != nil {
			return nil, err
		}
	}
	test, report := pipeline.LoadBytes(ctx, s.Pipeline, staged.source, pipeline.Options{
		Catalog: cfg.Catalog, Env: s.lookup(c, cfg), BaseDir: filepath.Dir(s.Pipeline), Mask: cfg.Mask,
	})
	if test == nil {
		return nil, fmt.Errorf("the pipeline cannot be tested this way:\n%s", withoutPlaces(report))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.Timeout, fmt.Errorf("the case is not over after %v", cfg.Timeout))
	defer cancel()
	if err := cfg.Run(ctx, test); err != nil {
		return nil, err
	}
	got = map[string][]exchange.Record{}
	for name, path := range staged.out {
		if got[name], err = readRecords(path); err != nil {
			return nil, fmt.Errorf("what came to %s: %w", name, err)
		}
	}
	return got, nil
}

// withoutPlaces lists faults of a file that nobody has written.
func withoutPlaces(r pipeline.Report) string {
	var all []string
	for _, f := range r.Faults {
		if f.Severity == pipeline.SeverityFault {
			all = append(all, "  "+f.Field+": "+f.Message)
		}
	}
	return strings.Join(all, "\n")
}

func writeRecords(path string, records []exchange.Record) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(exchange.Write(f, exchange.JSONLines, records), f.Close())
}

func readRecords(path string) ([]exchange.Record, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return exchange.Read(f, exchange.JSONLines)
}
