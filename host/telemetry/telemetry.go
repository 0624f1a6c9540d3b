// Package telemetry sends what a host measures to an OpenTelemetry collector, by OTLP
// over HTTP: the metrics that /metrics has, under the same names, and a trace of each
// checkpoint.
//
// It is switched on and set up by the standard variables (OTEL_EXPORTER_OTLP_ENDPOINT,
// OTEL_EXPORTER_OTLP_HEADERS, OTEL_METRIC_EXPORT_INTERVAL, OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES, OTEL_SDK_DISABLED, ...).
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

// Enabled says that the environment names a collector for metrics or traces.
func Enabled() bool {
	return !strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") && (sends("METRICS") || sends("TRACES"))
}

// sends says whether one signal is exported by OTLP.
func sends(signal string) bool {
	switch os.Getenv("OTEL_" + signal + "_EXPORTER") {
	case "", "otlp":
	default:
		return false
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
}

// ErrProtocol says that the environment asks for another transport than this package
// has.
var ErrProtocol = errors.New("OTLP is spoken as http/protobuf alone: unset the variable, and give the collector's port for HTTP (usually 4318)")

// Telemetry sends until Close. All methods may be called concurrently.
type Telemetry struct {
	metrics *metric.MeterProvider // nil where they are not sent
	traces  *trace.TracerProvider // nil where they are not sent
}

// Start begins to send what metrics gathers. It reaches nothing yet: a collector that
// is not there is told to log, now and then, and costs no record.
func Start(ctx context.Context, metrics prometheus.Gatherer, version string, log *slog.Logger) (*Telemetry, error) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		if p := os.Getenv(name); p != "" && p != "http/protobuf" {
			return nil, fmt.Errorf("%s is %q: %w", name, p, ErrProtocol)
		}
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("telemetry cannot be sent", "error", err)
	}))
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "weir"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("OpenTelemetry: %w", err)
	}
	t := &Telemetry{}
	if sends("METRICS") {
		exporter, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("OpenTelemetry metrics: %w", err)
		}
		t.metrics = metric.NewMeterProvider(metric.WithResource(res), metric.WithReader(
			metric.NewPeriodicReader(exporter, metric.WithProducer(bridge.NewMetricProducer(bridge.WithGatherer(metrics))))))
	}
	if sends("TRACES") {
		exporter, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("OpenTelemetry traces: %w", err), t.Close(ctx))
		}
		t.traces = trace.NewTracerProvider(trace.WithResource(res), trace.WithBatcher(exporter))
	}
	return t, nil
}

// Close sends what is left, as long as ctx allows. A nil Telemetry is closed.
func (t *Telemetry) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	var errs []error
	if t.metrics != nil {
		errs = append(errs, t.metrics.Shutdown(ctx))
	}
	if t.traces != nil {
		errs = append(errs, t.traces.Shutdown(ctx))
	}
	return errors.Join(errs...)
}
