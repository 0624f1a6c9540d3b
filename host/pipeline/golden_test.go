package pipeline_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// environment is what the files of testdata refer to.
func environment(name string) (string, bool) {
	v, ok := map[string]string{
		"COUNT": "1000", "TOPIC": "orders", "EMPTY": "", "LATIN1": "caf\xe9", "WORD": "abc", "RATE": "2000000",
	}[name]
	return v, ok
}

func testOptions() pipeline.Options {
	return pipeline.Options{
		Catalog: newCatalog(),
		Env:     environment,
		BaseDir: "/pipelines",
		ReadFile: func(path string) ([]byte, error) {
			switch path {
			case "/pipelines/secrets/token":
				return []byte("hunter2-token\n"), nil
			case "/pipelines/secrets/number":
				return []byte("73519\n"), nil
			}
			return nil, fmt.Errorf("open %s: %w", path, os.ErrNotExist)
		},
	}
}

// golden compares text with a file beside a test's input.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew)\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

func inputs(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	return files
}

// Every file of testdata/bad is refused with exactly the faults of its golden
// file: all of them at once, each where it stands, in the order of the file.
func TestBrokenFilesAreRefusedWithEveryFaultAtItsPlace(t *testing.T) {
	for _, file := range inputs(t, "testdata/bad/*.yaml") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			p, report := pipeline.Load(context.Background(), file, testOptions())
			if p != nil || report.OK() || report.Err() == nil {
				t.Errorf("the file was accepted")
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", faults(report))
		})
	}
}

func faults(r pipeline.Report) string {
	var b strings.Builder
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "%d:%d %s", f.Line, f.Column, f.Code)
		if f.Severity == pipeline.SeverityWarning {
			b.WriteString(" (warning)")
		}
		fmt.Fprintf(&b, " %s: %s", f.Field, f.Message)
		if f.Hint != "" {
			fmt.Fprintf(&b, " (%s)", f.Hint)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Every file of testdata/good is accepted, and means what its golden file says.
func TestSoundFilesMeanWhatTheySay(t *testing.T) {
	for _, file := range inputs(t, "testdata/good/*.yaml") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			p, report := pipeline.Load(context.Background(), file, testOptions())
			if !report.OK() {
				t.Fatalf("refused:\n%s", report)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", describe(p)+faults(report))
		})
	}
}

// describe writes down all that follows from a file.
func describe(p *pipeline.Pipeline) string {
	var b strings.Builder
	fmt.Fprintf(&b, "pipeline %s version %d parallelism %d max %d (chosen %t) floor %s isolation %s\n",
		p.Name, p.Version, p.Parallelism, p.MaxParallelism, p.MaxParallelismChosen, p.Guarantee, p.Isolation)
	fmt.Fprintf(&b, "checkpoint %+v\nrestart %+v\nbatch %+v max_record %d\n", p.Checkpoint, p.Restart, p.Batch, p.MaxRecord)
	for _, g := range p.Plugins {
		fmt.Fprintf(&b, "plugin %s path %q command %q env %q sha256 %q\n", g.Name, g.Path, g.Command, g.Env, g.SHA256)
	}
	for _, n := range p.Nodes {
		fmt.Fprintf(&b, "node %s (%d:%d) id %s: %s %s/%s x%d %s\n", n.Name, n.Line, n.Column, n.ID,
			pipeline.KindName(n.Kind), n.Plugin, n.Component, n.Parallelism, n.Isolation)
		fmt.Fprintf(&b, "  config %s secrets %q\n", n.RedactedConfig(), n.SecretPaths)
		if f := n.OnFailure; f.Action != 0 || f.Retries != 0 {
			fmt.Fprintf(&b, "  on failure %s %q retries %d backoff %s..%s limit %d in %s\n", f.Action, n.DeadLetter, f.Retries,
				f.Backoff.AsDuration(), f.MaxBackoff.AsDuration(), f.Limit, f.LimitWindow.AsDuration())
		}
		if e := n.EventTime; e != nil {
			fmt.Fprintf(&b, "  event time from %s unit %s out of orderness %s idle %s\n", e.From, e.Unit, e.OutOfOrderness.AsDuration(), e.Idle.AsDuration())
		}
		for _, in := range n.Inputs {
			fmt.Fprintf(&b, "  in %s %s from %v\n", in.Port, partition(in.Partition), in.Edges)
		}
		for _, out := range n.Outputs {
			fmt.Fprintf(&b, "  out %s origin %t to %v\n", out.Name, out.Origin, out.Edges)
		}
	}
	for i, e := range p.Edges {
		fmt.Fprintf(&b, "edge %d: %s by %s\n", i, e, partition(e.Partition))
		if e.Index != i {
			fmt.Fprintf(&b, "  but its index is %d\n", e.Index)
		}
	}
	for _, c := range pipeline.Chains(p) {
		fmt.Fprintf(&b, "chain of %s x%d: %v\n", c.Plugin, c.Parallelism, c.Members)
	}
	for _, g := range p.Guarantees {
		fmt.Fprintf(&b, "guarantee %s: %s (%q): %s\n", g.Sink, g.Guarantee, g.LoweredBy, g.Why)
	}
	return b.String()
}

func partition(p pluginv1.Partition) string { return pipeline.PartitionName(p) }
