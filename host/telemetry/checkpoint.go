package telemetry

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/engine"
)

// Checkpoint makes a trace of a checkpoint: a span for all of it, below it one for each
// task with the parts that it took (align, process, snapshot, upload), and those of the
// leader (manifest, record, commit). A nil Telemetry makes none.
func (t *Telemetry) Checkpoint(c engine.CheckpointTrace) {
	if t == nil || t.traces == nil {
		return
	}
	tracer := t.traces.Tracer("github.com/weirstream/weir")
	span := func(ctx context.Context, name string, from, to time.Time, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
		ctx, s := tracer.Start(ctx, name, trace.WithTimestamp(from), trace.WithAttributes(attrs...))
		if !to.IsZero() {
			s.End(trace.WithTimestamp(to))
		}
		return ctx, s
	}
	ctx, root := span(context.Background(), "checkpoint", c.Begun, time.Time{},
		attribute.String("weir.pipeline", c.Pipeline), attribute.Int64("weir.checkpoint", int64(c.N)), attribute.Int64("weir.epoch", int64(c.Epoch)))
	part := func(name string, from, to time.Time) {
		if !from.IsZero() && !to.IsZero() {
			span(ctx, name, from, to)
		}
	}
	for _, ack := range c.Acks {
		for _, n := range ack.Nodes {
			tasks := n.Tasks
			for i, s := range tasks {
				taskSpans(ctx, span, ack.Host, n.Name, strconv.Itoa(tasks[i].Index), s.Timing)
			}
			if n.Enumerator != nil {
				taskSpans(ctx, span, ack.Host, n.Name, "enumerator", n.Enumerator.Timing)
			}
		}
	}
	part("manifest", c.Acked, c.Manifest)
	part("record", c.Manifest, c.Recorded)
	part("commit", c.Recorded, c.Committed)
	if c.Err != nil {
		root.SetStatus(codes.Error, c.Err.Error())
	}
	root.End(trace.WithTimestamp(c.Ended))
}

type spanFunc func(ctx context.Context, name string, from, to time.Time, attrs ...attribute.KeyValue) (context.Context, trace.Span)

// taskSpans makes the spans of one task. Its times are those of its host's clock.
func taskSpans(ctx context.Context, span spanFunc, host, node, task string, t checkpoint.Timing) {
	if t.Done.IsZero() {
		return
	}
	snapshot := t.Done.Add(-t.Snapshot)
	process := snapshot.Add(-t.Process)
	align := process.Add(-t.Align)
	ctx, _ = span(ctx, "task", align, t.Done.Add(t.Upload),
		attribute.String("weir.host", host), attribute.String("weir.node", node), attribute.String("weir.task", task))
	for _, part := range []struct {
		name string
		from time.Time
		took time.Duration
	}{{"align", align, t.Align}, {"process", process, t.Process}, {"snapshot", snapshot, t.Snapshot}, {"upload", t.Done, t.Upload}} {
		span(ctx, part.name, part.from, part.from.Add(part.took))
	}
}
