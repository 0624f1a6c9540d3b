package telemetry_test

import (
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/telemetry"
)

// receiver is a collector that keeps what it is sent.
type receiver struct {
	mu      sync.Mutex
	metrics map[string]float64 // by name, the newest value
	service string
	spans   []*tracev1.Span
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	data, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch req.URL.Path {
	case "/v1/metrics":
		var m collectormetrics.ExportMetricsServiceRequest
		if err = proto.Unmarshal(data, &m); err == nil {
			r.keep(&m)
		}
	case "/v1/traces":
		var t collectortrace.ExportTraceServiceRequest
		if err = proto.Unmarshal(data, &t); err == nil {
			for _, rs := range t.ResourceSpans {
				for _, ss := range rs.ScopeSpans {
					r.spans = append(r.spans, ss.Spans...)
				}
			}
		}
	default:
		err = errors.New("no such path")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (r *receiver) keep(m *collectormetrics.ExportMetricsServiceRequest) {
	for _, rm := range m.ResourceMetrics {
		for _, a := range rm.GetResource().GetAttributes() {
			if a.Key == "service.name" {
				r.service = a.Value.GetStringValue()
			}
		}
		for _, sm := range rm.ScopeMetrics {
			for _, metric := range sm.Metrics {
				for _, p := range append(metric.GetSum().GetDataPoints(), metric.GetGauge().GetDataPoints()...) {
					r.metrics[metric.Name] = p.GetAsDouble()
				}
			}
		}
	}
}

func collector(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{metrics: map[string]float64{}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_SERVICE_NAME", "orders")
	return r
}

func TestMetricsAndTracesReachACollector(t *testing.T) {
	got := collector(t)
	if !telemetry.Enabled() {
		t.Fatal("a collector is named, and nothing is to be sent")
	}
	registry := prometheus.NewRegistry()
	restarts := prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_pipeline_restarts_total", Help: "Restarts."})
	restarts.Add(3)
	registry.MustRegister(restarts)
	sent, err := telemetry.Start(t.Context(), registry, "1.2.3", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Unix(1_700_000_000, 0)
	at := func(d time.Duration) time.Time { return begun.Add(d * time.Millisecond) }
	sent.Checkpoint(engine.CheckpointTrace{
		Pipeline: "orders", N: 7, Epoch: 2, Begun: begun, Acked: at(60), Manifest: at(70), Recorded: at(80), Committed: at(95), Ended: at(95),
		Acks: []checkpoint.Ack{{Host: "local", Nodes: []checkpoint.NodeState{{Name: "out", Tasks: []checkpoint.TaskState{{Index: 0, Timing: checkpoint.Timing{
			Done: at(50), Align: 10 * time.Millisecond, Process: 20 * time.Millisecond, Snapshot: 5 * time.Millisecond, Upload: 4 * time.Millisecond,
		}}}}}}},
	})
	if err := sent.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if got.metrics["weir_pipeline_restarts_total"] != 3 || got.service != "orders" {
		t.Errorf("metrics %v of service %q", got.metrics, got.service)
	}
	byName, ids := map[string]*tracev1.Span{}, map[string]string{}
	for _, s := range got.spans {
		byName[s.Name] = s
		ids[string(s.SpanId)] = s.Name
	}
	for name, want := range map[string]struct {
		parent   string
		from, to time.Duration
	}{
		"checkpoint": {"", 0, 95}, "task": {"checkpoint", 15, 54},
		"align": {"task", 15, 25}, "process": {"task", 25, 45}, "snapshot": {"task", 45, 50}, "upload": {"task", 50, 54},
		"manifest": {"checkpoint", 60, 70}, "record": {"checkpoint", 70, 80}, "commit": {"checkpoint", 80, 95},
	} {
		s := byName[name]
		if s == nil {
			t.Errorf("there is no span %s", name)
			continue
		}
		if parent := ids[string(s.ParentSpanId)]; parent != want.parent {
			t.Errorf("%s is below %q, not %q", name, parent, want.parent)
		}
		if s.StartTimeUnixNano != uint64(at(want.from).UnixNano()) || s.EndTimeUnixNano != uint64(at(want.to).UnixNano()) {
			t.Errorf("%s is from %v to %v", name, time.Unix(0, int64(s.StartTimeUnixNano)).Sub(begun), time.Unix(0, int64(s.EndTimeUnixNano)).Sub(begun))
		}
	}
	if len(got.spans) != 9 {
		t.Errorf("%d spans", len(got.spans))
	}
}

func TestACheckpointThatFailedSaysSo(t *testing.T) {
	got := collector(t)
	sent, err := telemetry.Start(t.Context(), prometheus.NewRegistry(), "1.2.3", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	sent.Checkpoint(engine.CheckpointTrace{Pipeline: "p", N: 1, Begun: now, Ended: now.Add(time.Second), Err: errors.New("it took too long")})
	if err := sent.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if len(got.spans) != 1 || got.spans[0].GetStatus().GetMessage() != "it took too long" {
		t.Errorf("got %v", got.spans)
	}
}

func TestWithoutACollectorNothingIsSent(t *testing.T) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		t.Setenv(name, "")
	}
	if telemetry.Enabled() {
		t.Error("enabled without a collector")
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
	t.Setenv("OTEL_SDK_DISABLED", "true")
	if telemetry.Enabled() {
		t.Error("enabled although it is switched off")
	}
	var none *telemetry.Telemetry
	none.Checkpoint(engine.CheckpointTrace{})
	if err := none.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnotherProtocolIsRefusedByName(t *testing.T) {
	collector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
	_, err := telemetry.Start(t.Context(), prometheus.NewRegistry(), "1.2.3", slog.New(slog.DiscardHandler))
	if !errors.Is(err, telemetry.ErrProtocol) || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") {
		t.Errorf("got %v", err)
	}
}
