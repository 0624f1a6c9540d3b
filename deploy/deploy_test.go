// Package deploy holds what runs Weir somewhere: a dashboard, alert rules, a unit. Its
// tests hold the queries against what a real pipeline tells.
package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"go.yaml.in/yaml/v3"
)

const pipeline = `name: shop
checkpoint: {interval: 200ms}
nodes:
  orders: {source: generator, config: {count: 10000000, rate: 2000, time: now}, event_time: {from: record}}
  clean:
    operator: expr
    input: orders
    on_error: {dead_letter: bad}
    config: {set: {half: 'json.seq % 2 == 0 ? json.seq / 2 : int(json.key)'}}
  out: {sink: file, input: clean, config: {path: out/}}
  bad: {sink: file, config: {path: bad/}}
`

// interval is the time between two scrapes, as far as the queries know.
const interval = 15 * time.Second

// empty are the panels that have nothing to show of the pipeline above: its source knows
// no lag, and its sinks commit at once.
var empty = []string{"Lag", "Output not committed"}

// Every query of the dashboard finds something in what a running pipeline tells.
func TestTheDashboardShowsSomething(t *testing.T) {
	scraped := scrapes(t)
	data, err := os.ReadFile("grafana/weir.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			n++
			query := strings.NewReplacer("$__rate_interval", "1m", "$pipeline", ".*").Replace(target.Expr)
			if got := evaluate(t, scraped, query); len(got) == 0 && !slices.Contains(empty, p.Title) {
				t.Errorf("%s: nothing for %s", p.Title, query)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d queries", n)
	}
}

type rule struct {
	Alert, Expr string
	Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	data, err := os.ReadFile("prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// firing is what makes each alert fire, fifteen seconds apart.
var firing = map[string]string{
	"WeirPipelineFailed":     `weir_pipeline_state{pipeline="p",state="failed"} 1x80`,
	"WeirRestartsNearlyUsed": "weir_pipeline_restarts_used{pipeline=\"p\"} 4x80\n  weir_pipeline_restarts_allowed{pipeline=\"p\"} 5x80",
	"WeirCheckpointsFail":    `weir_checkpoints_failed_in_row{pipeline="p"} 2x80`,
	"WeirCheckpointOverdue": "weir_checkpoint_last_time_seconds{pipeline=\"p\"} 100x80\n  weir_checkpoint_interval_seconds{pipeline=\"p\"} 5x80\n" +
		"  weir_pipeline_state{pipeline=\"p\",state=\"running\"} 1x80",
	"WeirOutputNotCommitted": `weir_sink_uncommitted{pipeline="p",node="out"} 3x80`,
	"WeirRecordsFail": "weir_node_failed_records_skipped_total{pipeline=\"p\",node=\"n\"} 0+1x80\n" +
		"  weir_node_failed_records_dead_lettered_total{pipeline=\"p\",node=\"n\"} 0x80",
	"WeirLagGrows":        `weir_node_lag_records{pipeline="p",node="n"} 20000+100x80`,
	"WeirEventTimeBehind": `weir_node_watermark_lag_seconds{pipeline="p",node="n"} 4000x80`,
}

// An alert fires where something is wrong, and not for a pipeline that is well.
func TestAlertsFireWhereTheyShould(t *testing.T) {
	scraped := scrapes(t)
	for _, r := range rules(t) {
		series, ok := firing[r.Alert]
		if !ok {
			t.Errorf("nothing here makes %s fire", r.Alert)
			continue
		}
		if got := evaluate(t, "load 15s\n  "+series, r.Expr); len(got) == 0 {
			t.Errorf("%s does not fire", r.Alert)
		}
		// Of the pipeline records fail on purpose.
		if got := evaluate(t, scraped, r.Expr); len(got) > 0 && r.Alert != "WeirRecordsFail" {
			t.Errorf("%s fires for a pipeline that is well: %v", r.Alert, got)
		}
		for _, what := range []string{"summary", "action"} {
			if r.Annotations[what] == "" {
				t.Errorf("%s has no %s", r.Alert, what)
			}
		}
	}
}

// evaluate runs a query at the end of the series.
func evaluate(t *testing.T, series, query string) promql.Vector {
	t.Helper()
	store := promqltest.LoadedStorage(t, series)
	defer store.Close()
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	at := time.Unix(0, 0).Add(interval)
	if strings.Contains(series, "x80") {
		at = time.Unix(0, 0).Add(80 * interval)
	}
	q, err := engine.NewInstantQuery(t.Context(), store, nil, query, at)
	if err != nil {
		t.Errorf("%s: %v", query, err)
		return nil
	}
	defer q.Close()
	result := q.Exec(t.Context())
	if result.Err != nil {
		t.Errorf("%s: %v", query, result.Err)
		return nil
	}
	v, err := result.Vector()
	if err != nil {
		t.Errorf("%s: %v", query, err)
	}
	return slices.Clone(v)
}

var (
	once    sync.Once
	scraped string
)

// scrapes are two scrapes of a pipeline that runs, as series to load.
func scrapes(t *testing.T) string {
	t.Helper()
	once.Do(func() { scraped = scrape(t) })
	if scraped == "" {
		t.Fatal("there is no scrape")
	}
	return scraped
}

func scrape(t *testing.T) string {
	dir := t.TempDir()
	weir := filepath.Join(dir, "weir")
	build := exec.Command("go", "build", "-o", weir, "./cmd/weir")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "shop.yaml"), []byte(pipeline), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, weir, "run", "shop.yaml", "--state-dir", "state", "--listen", "127.0.0.1:0", "--progress", "none")
	cmd.Dir = dir
	var out buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}()
	address := regexp.MustCompile(`the API is served" address=(\S+)`)
	poll := func(what string, done func() bool) {
		for !done() {
			select {
			case <-ctx.Done():
				t.Fatalf("no %s\n%s", what, out.String())
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	poll("address", func() bool { return address.MatchString(out.String()) })
	url := "http://" + address.FindStringSubmatch(out.String())[1] + "/metrics"
	var first, second map[string]string
	poll("checkpoint and watermark", func() bool {
		first = get(t, url)
		return first[`weir_checkpoints_completed_total{pipeline="shop"}`] != "" && first[`weir_checkpoints_completed_total{pipeline="shop"}`] != "0" &&
			first[`weir_node_watermark_lag_seconds{node="out",pipeline="shop"}`] != "" && first[`weir_node_failed_records_dead_lettered_total{node="clean",pipeline="shop"}`] != "0"
	})
	poll("another", func() bool {
		second = get(t, url)
		name := `weir_node_records_out_total{node="orders",pipeline="shop"}`
		return second[name] != first[name]
	})
	var b strings.Builder
	b.WriteString("load 15s\n")
	for _, series := range slices.Sorted(maps.Keys(second)) {
		before, ok := first[series]
		if !ok {
			before = "_"
		}
		if strings.HasSuffix(series, "}") {
			series = strings.TrimSuffix(series, "}") + `,instance="host:4567"}`
		} else {
			series += `{instance="host:4567"}`
		}
		fmt.Fprintf(&b, "  %s %s %s\n", series, before, second[strings.NewReplacer(`,instance="host:4567"}`, "}", `{instance="host:4567"}`, "").Replace(series)])
	}
	return b.String()
}

// get scrapes once: value by series.
func get(t *testing.T, url string) map[string]string {
	t.Helper()
	res, err := (&http.Client{Timeout: 30 * time.Second}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", res.Status, err)
	}
	series := map[string]string{}
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSpace(line)
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			series[line[:i]] = line[i+1:]
		}
	}
	return series
}

// buffer is read while a process writes to it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *buffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *buffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
