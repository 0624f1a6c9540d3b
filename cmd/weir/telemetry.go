package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/telemetry"
)

// telemetryShutdown is how long a collector has to take what is left at the end.
const telemetryShutdown = 3 * time.Second

// startTelemetry begins to send metrics and traces to the OpenTelemetry collector that
// the environment names, if it names one; nil if not.
func startTelemetry(ctx context.Context, p api.Pipelines, log *slog.Logger) (*telemetry.Telemetry, error) {
	if !telemetry.Enabled() {
		return nil, nil
	}
	return telemetry.Start(ctx, api.Gatherer(p, currentVersion()), currentVersion(), log)
}

func closeTelemetry(ctx context.Context, t *telemetry.Telemetry, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), telemetryShutdown)
	defer cancel()
	if err := t.Close(ctx); err != nil {
		log.Warn("the last metrics and traces were not sent", "error", err)
	}
}
