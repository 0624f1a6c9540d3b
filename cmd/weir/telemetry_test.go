package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A run sends its metrics and a trace of each checkpoint to the collector that the
// environment names, the last of them before it ends.
func TestARunSendsTelemetry(t *testing.T) {
	var mu sync.Mutex
	got := map[string]*strings.Builder{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if got[r.URL.Path] == nil {
			got[r.URL.Path] = &strings.Builder{}
		}
		got[r.URL.Path].Write(body)
	}))
	defer collector.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "pipeline.yaml")
	text := "name: traced\nnodes:\n  in: {source: generator, config: {count: 100}}\n  out: {sink: file, input: in, config: {path: out/}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "weir", "run", file, "--state-dir", filepath.Join(dir, "state"), "--progress", "none")
	cmd.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mu.Lock()
	defer mu.Unlock()
	for path, words := range map[string][]string{
		"/v1/metrics": {"weir_node_records_out_total", "weir_checkpoints_completed_total", "traced"},
		"/v1/traces":  {"checkpoint", "align", "snapshot", "record", "commit", "weir.node", "traced"},
	} {
		for _, word := range words {
			if got[path] == nil || !strings.Contains(got[path].String(), word) {
				t.Errorf("%s got nothing of %s", path, word)
			}
		}
	}
}
