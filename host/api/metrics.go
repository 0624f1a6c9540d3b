package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapeTimeout bounds the gathering of one scrape.
const scrapeTimeout = 5 * time.Second

// Gatherer gathers all metrics of a host. Nothing is measured for it: it reads what the
// status tells.
func Gatherer(p Pipelines, version string) prometheus.Gatherer {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{pipelines: p, version: version},
	)
	return r
}

// metricsHandler answers scrapes.
func metricsHandler(c Config) http.Handler {
	return promhttp.HandlerFor(Gatherer(c.Pipelines, c.Version), promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(c.Log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
	})
}

// collector turns statuses into metrics. It describes nothing beforehand, since
// components bring metrics of their own.
type collector struct {
	pipelines Pipelines
	version   string
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	all, err := c.pipelines.Measured(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
		return
	}
	s := &scrape{out: out, authors: authors{}}
	s.set(buildInfo, 1, c.version)
	for _, p := range all {
		s.pipeline(p)
	}
}

// MetricSpec documents one metric.
type MetricSpec struct {
	Name   string
	Help   string
	Unit   string // "" where it has none
	Kind   string // counter or gauge
	Labels []string

	desc *prometheus.Desc
}

func metric(kind, name, unit, help string, labels ...string) *MetricSpec {
	return &MetricSpec{Name: name, Help: help, Unit: unit, Kind: kind, Labels: labels, desc: prometheus.NewDesc(name, help, labels, nil)}
}

const (
	gauge   = "gauge"
	counter = "counter"
)

// The metrics, in the order of the documentation.
var (
	buildInfo = metric(gauge, "weir_build_info", "", "1, with the version of the host.", "version")

	pipelineState       = metric(gauge, "weir_pipeline_state", "", "1 for the state that the pipeline is in, 0 for the others.", "pipeline", "state")
	pipelineStarted     = metric(gauge, "weir_pipeline_start_time_seconds", "seconds", "When this run began, in Unix time.", "pipeline")
	pipelineEpoch       = metric(gauge, "weir_pipeline_epoch", "", "Counts the starts and restarts of the pipeline's tasks.", "pipeline")
	pipelineRestarts    = metric(counter, "weir_pipeline_restarts_total", "", "Rollbacks to a checkpoint since this run began.", "pipeline")
	pipelineUsed        = metric(gauge, "weir_pipeline_restarts_used", "", "Restarts within the window of the restart policy.", "pipeline")
	pipelineAllowed     = metric(gauge, "weir_pipeline_restarts_allowed", "", "Restarts that the policy allows within its window; one more fails the pipeline.", "pipeline")
	pipelineInFlight    = metric(gauge, "weir_pipeline_in_flight_bytes", "bytes", "What waits between tasks.", "pipeline")
	checkpointsDone     = metric(counter, "weir_checkpoints_completed_total", "", "Checkpoints of this run that completed.", "pipeline")
	checkpointsFailed   = metric(counter, "weir_checkpoints_failed_total", "", "Checkpoints of this run that failed.", "pipeline")
	checkpointsInRow    = metric(gauge, "weir_checkpoints_failed_in_row", "", "Checkpoints that failed since the last that completed.", "pipeline")
	checkpointsAllowed  = metric(gauge, "weir_checkpoints_failed_tolerated", "", "Checkpoints that may fail in a row; one more fails the pipeline.", "pipeline")
	checkpointLast      = metric(gauge, "weir_checkpoint_last_number", "", "Number of the newest checkpoint.", "pipeline")
	checkpointAt        = metric(gauge, "weir_checkpoint_last_time_seconds", "seconds", "When the newest checkpoint completed, in Unix time.", "pipeline")
	checkpointTook      = metric(gauge, "weir_checkpoint_last_duration_seconds", "seconds", "How long the newest checkpoint took, from its barrier to its record.", "pipeline")
	checkpointSize      = metric(gauge, "weir_checkpoint_last_size_bytes", "bytes", "How large the newest checkpoint is.", "pipeline")
	checkpointAge       = metric(gauge, "weir_checkpoint_in_flight_seconds", "seconds", "For how long the checkpoint under way has been; 0 where none is.", "pipeline")
	checkpointAwaited   = metric(gauge, "weir_checkpoint_awaited_tasks", "", "Tasks that the checkpoint under way waits for.", "pipeline")
	checkpointInterval  = metric(gauge, "weir_checkpoint_interval_seconds", "seconds", "The interval between checkpoints, as the pipeline file has it.", "pipeline")
	uncommittedSink     = metric(gauge, "weir_sink_uncommitted", "", "Prepared pieces of output whose commit the sink does not answer.", "pipeline", "node")
	nodeParallelism     = metric(gauge, "weir_node_parallelism", "", "Tasks of the node.", "pipeline", "node", "kind", "component")
	nodeIn              = metric(counter, "weir_node_records_in_total", "", "Records that the node took in.", "pipeline", "node")
	nodeOut             = metric(counter, "weir_node_records_out_total", "", "Records that the node gave out.", "pipeline", "node")
	nodeBytesIn         = metric(counter, "weir_node_in_bytes_total", "bytes", "Bytes that the node took in.", "pipeline", "node")
	nodeBytesOut        = metric(counter, "weir_node_out_bytes_total", "bytes", "Bytes that the node gave out.", "pipeline", "node")
	nodeSkipped         = metric(counter, "weir_node_failed_records_skipped_total", "", "Failed records that were skipped.", "pipeline", "node")
	nodeDead            = metric(counter, "weir_node_failed_records_dead_lettered_total", "", "Failed records that left as dead letters.", "pipeline", "node")
	nodeRetries         = metric(counter, "weir_node_retries_total", "", "Times that a failed record was tried again.", "pipeline", "node")
	nodeBusy            = metric(gauge, "weir_node_busy_ratio", "ratio", "Share of the last seconds spent in the component's calls, save what a source waits for input. Nodes that share their tasks share it too.", "pipeline", "node")
	nodeBlocked         = metric(gauge, "weir_node_back_pressured_ratio", "ratio", "Share of the last seconds spent waiting for those who receive.", "pipeline", "node")
	nodeLag             = metric(gauge, "weir_node_lag_records", "records", "Records behind the end of the input, where the source knows.", "pipeline", "node")
	nodeWatermark       = metric(gauge, "weir_node_watermark_seconds", "seconds", "The node's watermark, in Unix time.", "pipeline", "node")
	nodeWatermarkBehind = metric(gauge, "weir_node_watermark_lag_seconds", "seconds", "How far the node's watermark is behind the clock.", "pipeline", "node")
)

// MetricSpecs lists the metrics of this package, for documentation.
func MetricSpecs() []*MetricSpec {
	return []*MetricSpec{
		buildInfo,
		pipelineState, pipelineStarted, pipelineEpoch, pipelineRestarts, pipelineUsed, pipelineAllowed, pipelineInFlight,
		checkpointsDone, checkpointsFailed, checkpointsInRow, checkpointsAllowed,
		checkpointLast, checkpointAt, checkpointTook, checkpointSize, checkpointAge, checkpointAwaited, checkpointInterval,
		uncommittedSink,
		nodeParallelism, nodeIn, nodeOut, nodeBytesIn, nodeBytesOut, nodeSkipped, nodeDead, nodeRetries,
		nodeBusy, nodeBlocked, nodeLag, nodeWatermark, nodeWatermarkBehind,
	}
}

// scrape sends the metrics of one scrape.
type scrape struct {
	out     chan<- prometheus.Metric
	authors authors
}

func (s *scrape) set(m *MetricSpec, v float64, labels ...string) {
	kind := prometheus.GaugeValue
	if m.Kind == counter {
		kind = prometheus.CounterValue
	}
	s.send(prometheus.NewConstMetric(m.desc, kind, v, labels...))
}

// send leaves out what Prometheus would refuse, such as a label that is no UTF-8:
// the rest of the scrape stays.
func (s *scrape) send(m prometheus.Metric, err error) {
	if err == nil {
		s.out <- m
	}
}

func (s *scrape) pipeline(p Status) {
	for _, state := range states {
		in := 0.0
		if p.State == state {
			in = 1
		}
		s.set(pipelineState, in, p.Name, string(state))
	}
	s.set(pipelineStarted, seconds(p.Started), p.Name)
	s.set(pipelineEpoch, float64(p.Epoch), p.Name)
	s.set(pipelineRestarts, float64(p.Restarts.Total), p.Name)
	s.set(pipelineUsed, float64(p.Restarts.Used), p.Name)
	s.set(pipelineAllowed, float64(p.Restarts.Allowed), p.Name)
	s.set(pipelineInFlight, float64(p.BytesInFlight), p.Name)
	s.checkpoints(p.Name, p.Checkpoints)
	for _, u := range p.Uncommitted {
		s.set(uncommittedSink, float64(u.Committables), p.Name, u.Sink)
	}
	for _, n := range p.Nodes {
		s.node(p.Name, n)
	}
}

func (s *scrape) checkpoints(name string, c Checkpoints) {
	s.set(checkpointsDone, float64(c.Completed), name)
	s.set(checkpointsFailed, float64(c.Failed), name)
	s.set(checkpointsInRow, float64(c.FailedInRow), name)
	s.set(checkpointsAllowed, float64(c.Tolerated), name)
	s.set(checkpointInterval, c.Interval, name)
	if l := c.Last; l != nil {
		s.set(checkpointLast, float64(l.Number), name)
		s.set(checkpointAt, seconds(l.At), name)
		s.set(checkpointTook, l.Duration, name)
		s.set(checkpointSize, float64(l.Bytes), name)
	}
	age, awaited := 0.0, 0
	if now := c.InFlight; now != nil {
		age, awaited = time.Since(now.Since).Seconds(), len(now.Awaited)
	}
	s.set(checkpointAge, age, name)
	s.set(checkpointAwaited, float64(awaited), name)
}

func (s *scrape) node(pipeline string, n Node) {
	s.set(nodeParallelism, float64(n.Parallelism), pipeline, n.Name, n.Kind, n.Component)
	s.set(nodeIn, float64(n.RecordsIn), pipeline, n.Name)
	s.set(nodeOut, float64(n.RecordsOut), pipeline, n.Name)
	s.set(nodeBytesIn, float64(n.BytesIn), pipeline, n.Name)
	s.set(nodeBytesOut, float64(n.BytesOut), pipeline, n.Name)
	s.set(nodeSkipped, float64(n.Failed.Skipped), pipeline, n.Name)
	s.set(nodeDead, float64(n.Failed.DeadLettered), pipeline, n.Name)
	s.set(nodeRetries, float64(n.Failed.Retries), pipeline, n.Name)
	s.set(nodeBusy, n.Busy, pipeline, n.Name)
	s.set(nodeBlocked, n.Blocked, pipeline, n.Name)
	if n.Progress != nil && n.Progress.Lag != nil {
		s.set(nodeLag, float64(*n.Progress.Lag), pipeline, n.Name)
	}
	if w := n.Watermark; w != nil {
		s.set(nodeWatermark, seconds(w.Time), pipeline, n.Name)
		s.set(nodeWatermarkBehind, w.Lag, pipeline, n.Name)
	}
	for _, m := range n.Metrics {
		s.author(pipeline, n.Name, m)
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

var states = []State{
	StatePending, StateRestoring, StateRunning, StateStopping, StateFinishing,
	StateFinished, StateStopped, StateWaiting, StateFailed,
}
