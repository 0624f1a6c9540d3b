package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weirstream/weir/conformance"
	"github.com/weirstream/weir/conformance/spec"
	"github.com/weirstream/weir/host/process"
)

// asPlugin is the argument with which the test binary is the plugin; the fault
// stands behind it.
const asPlugin = "__mutant"

func TestMain(m *testing.M) {
	if len(os.Args) >= 2 && os.Args[1] == asPlugin {
		serve(os.Args[2:])
		return
	}
	os.Exit(m.Run())
}

func command(t *testing.T, fault ...string) process.Command {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return process.Command{Name: "mutant", Args: append([]string{self, asPlugin}, fault...)}
}

// config is a copy of conformance.yaml, with so much time for a case: what a mutant
// leaves in the folder in which it works goes with the test.
func config(t *testing.T, caseTime string) *spec.Source {
	t.Helper()
	data, err := os.ReadFile("conformance.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const asWritten = "case: 30s"
	if !bytes.Contains(data, []byte(asWritten)) {
		t.Fatalf("conformance.yaml does not say %q", asWritten)
	}
	data = bytes.Replace(data, []byte(asWritten), []byte("case: "+caseTime), 1)
	path := filepath.Join(t.TempDir(), "conformance.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := spec.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What the mutants are made from passes every case: so that a mutant fails by its
// fault and nothing else.
func TestTheGoodPluginPasses(t *testing.T) {
	older := command(t)
	report, err := conformance.Run(t.Context(), conformance.Options{Command: command(t), Previous: &older, Config: config(t, "2m"), Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Status == conformance.Fail || r.Status == conformance.Broken {
			t.Error(r.Text())
		}
	}
}

// Every mutant fails each case that names its fault. With WEIR_MUTANTS=all each runs
// all cases of its component, and what else it fails is told.
func TestEveryMutantIsFound(t *testing.T) {
	if len(mutants) < 40 {
		t.Fatalf("%d mutants are too few", len(mutants))
	}
	slots := make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))
	var wg sync.WaitGroup
	for _, m := range mutants {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			try(t, m)
		})
	}
	wg.Wait()
}

func TestOneFaultOneName(t *testing.T) {
	for _, m := range mutants {
		if f := find(m.Name); f.Wire != m.Wire {
			t.Errorf("%s is put in between, and it is not", m.Name)
		}
	}
}

// try runs the cases that name a mutant's fault. What hangs costs the time of a case,
// so that is short; where the commands that feed a case were too slow for it, they
// have more in a second run.
func try(t *testing.T, m mutant) {
	failed, broken := run(t, m, "10s")
	if len(broken) > 0 {
		failed, broken = run(t, m, "2m")
	}
	for _, text := range broken {
		t.Errorf("%s: %s", m.Name, text)
	}
	for _, c := range m.Cases {
		if !slices.Contains(failed, c) {
			t.Errorf("%s passes %s; it fails %v", m.Name, c, failed)
		}
	}
}

// run returns the cases that a mutant fails, and what is told of those whose means
// failed.
func run(t *testing.T, m mutant, caseTime string) (failed, broken []string) {
	opts := conformance.Options{Command: command(t, m.Name), Config: config(t, caseTime), Seed: 1, Parallel: 1}
	if m.On != "" {
		opts.Components = []string{m.On}
	}
	if os.Getenv("WEIR_MUTANTS") != "all" {
		opts.Run = regexp.MustCompile("^(" + strings.Join(m.Cases, "|") + ") ")
	}
	if m.Upgrade {
		older := command(t)
		opts.Previous = &older
	}
	report, err := conformance.Run(t.Context(), opts)
	if err != nil {
		return nil, []string{err.Error()}
	}
	for _, r := range report.Results {
		switch r.Status {
		case conformance.Fail:
			failed = append(failed, r.Case)
			t.Logf("%s: %s %s: %s", m.Name, r.Case, r.Target, firstLine(r.Message))
		case conformance.Broken:
			broken = append(broken, r.Text())
		}
	}
	return failed, broken
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// Every case is shown to fail by a mutant, or says here why not.
func TestEveryCaseHasAMutant(t *testing.T) {
	without := map[string]string{
		"WC-LIF-005": "what does not drain fails WC-LIF-003 first",
		"WC-LIF-009": "what mixes tasks up fails WC-OPR-009 and WC-SNK-011",
		"WC-SRC-024": "as WC-SRC-020", "WC-SRC-025": "as WC-SRC-020", "WC-SRC-028": "as WC-SRC-020, at random",
		"WC-SNK-014": "changed-is-not-said, of a source",
		"WC-SNK-024": "as WC-SNK-020, at random moments", "WC-SNK-025": "as WC-SNK-020, at random",
	}
	has := map[string]bool{}
	for _, m := range mutants {
		for _, c := range m.Cases {
			has[c] = true
		}
	}
	for _, c := range conformance.Cases() {
		if !has[c.ID] && without[c.ID] == "" {
			t.Errorf("no mutant fails %s: %s", c.ID, c.Title)
		}
	}
}
