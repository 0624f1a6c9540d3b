package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/weirstream/weir/host/api"
)

// scraped is what /metrics says of pipelines, without what differs from run to run.
func scraped(t *testing.T) string {
	t.Helper()
	r := ask(t, api.New(config(newFake())), "GET", "/metrics", "")
	if r.StatusCode != 200 {
		t.Fatal(r.Status, body(t, r))
	}
	var b strings.Builder
	for line := range strings.Lines(body(t, r)) {
		if !strings.Contains(line, "weir_") {
			continue
		}
		if strings.HasPrefix(line, "weir_checkpoint_in_flight_seconds{") {
			line = strings.TrimSuffix(line[:strings.Index(line, "}")+1], "\n") + " AGE\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

func TestMetrics(t *testing.T) {
	golden := filepath.Join("testdata", "metrics.txt")
	got := scraped(t)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s", got)
	}
}

// Names, help and units are as Prometheus wants them.
func TestMetricsPassTheLinterOfPrometheus(t *testing.T) {
	r := ask(t, api.New(config(newFake())), "GET", "/metrics", "")
	problems, err := promlint.New(r.Body).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// docs/metrics.md is made of what is sent.
func TestMetricsAreDocumented(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Metrics

What ` + "`/metrics`" + ` tells Prometheus, beside the usual metrics of a Go process (` + "`go_*`, `process_*`" + `). The sum over
all hosts counts nothing twice. This page is made from the code: ` + "`go test ./host/api -run Metrics -update`" + `.

| metric | kind | labels | what |
|---|---|---|---|
`)
	for _, m := range api.MetricSpecs() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, strings.Join(m.Labels, ", "), m.Help)
	}
	b.WriteString(`
A metric that a component's author registers is ` + "`weir_component_<name>`" + `, with its unit and, for a counter,
` + "`_total`" + ` behind it, the labels ` + "`pipeline` and `node`" + ` and its own.
`)
	page := filepath.Join("..", "..", "docs", "metrics.md")
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Error("docs/metrics.md is not what is sent: go test ./host/api -run Metrics -update")
	}
	sent := scraped(t)
	for _, m := range api.MetricSpecs() {
		help := fmt.Sprintf("# HELP %s %s\n", m.Name, m.Help)
		if strings.Contains(m.Name, "lag") || strings.Contains(m.Name, "watermark") {
			continue // only where there is one
		}
		if !strings.Contains(sent, help) {
			t.Errorf("%s is documented and not sent", m.Name)
		}
	}
}
