// Package window is an operator that groups the records of each key into windows of
// time, or of a number of records, and sends aggregates of each.
//
// A window [start, end) of event time is complete when the watermark has reached its
// end: its result leaves then. Records that come later, within the allowed
// lateness, are counted and the result leaves anew; those that come later still
// leave on the output "late". No record does both.
//
// Results depend on the records alone, not on the order in which they come: see
// package aggregate.
package window

import (
	"context"
	"fmt"
	"time"

	"github.com/weirstream/weir/plugins/internal/aggregate"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/diskstate"
)

// Config is the operator's configuration.
type Config struct {
	Size            *time.Duration      `weir:"size,required" xor:"window" min:"1ms" max:"87600h" doc:"Windows of this length, one after the other; with slide they overlap."`
	Slide           *time.Duration      `weir:"slide" min:"1ms" max:"87600h" doc:"Windows begin so far apart; divides size."`
	Gap             *time.Duration      `weir:"gap" xor:"window" min:"1ms" max:"87600h" doc:"A session: a window ends when nothing has come for so long."`
	Count           *int64              `weir:"count" xor:"window" min:"1" doc:"A window is so many records of a key. What is left at the end of input is one too."`
	Time            string              `weir:"time" default:"event" enum:"event,processing" doc:"event: by the records' times. processing: by the clock; results then differ from run to run."`
	Offset          time.Duration       `weir:"offset" default:"0s" min:"-24h" max:"24h" doc:"Moves where windows begin: by default at multiples of slide, or size, since 1970 in UTC."`
	AllowedLateness time.Duration       `weir:"allowed_lateness" default:"0s" min:"0s" max:"8760h" doc:"For so long after its end a window still takes records, and its result leaves anew."`
	Early           *time.Duration      `weir:"early" min:"10ms" doc:"How often results of windows that are not complete leave, with the header weir.window: early."`
	Aggregates      map[string]sdk.Expr `weir:"aggregates,required" doc:"Field of the result to aggregate: count(), count(x), sum(x), avg(x), min(x), max(x), first(x), last(x), distinct(x), approx_distinct(x), collect(x), quantile(x, 0.99), each over an expression. A nil is no value."`
	Having          sdk.Expr            `weir:"having" doc:"A result leaves where this is true. Variables: key, start, end and the aggregates."`
}

// lateOutput gets the records that came too late.
const lateOutput = "late"

// Operator returns the component.
func Operator() sdk.Component {
	return sdk.NewKeyedOperator("window", "Aggregates the records of each key by windows of time.",
		open,
		sdk.ByEventTime(),
		sdk.DiskState(diskstate.Pebble()),
		sdk.Outputs(sdk.Output{Name: lateOutput, Summary: "Records that came after the allowed lateness, as they were."}),
		sdk.Description(`A result is a JSON object with key, start and end (milliseconds, end excluded) and
the aggregates by name. Its key is that of the records, its time the last of the
window. Results do not depend on the order in which records come: sums are exact
and rounded once, first and last go by the records' times, collect is sorted by
time.

A window of event time is complete when the watermark reaches its end, so the
sources need event_time.`),
		sdk.Example("Requests and their 99th percentile, per host and minute",
			"size: 1m\nallowed_lateness: 10s\naggregates: {n: count(), p99: 'quantile(json.ms, 0.99)'}\nhaving: n > 10\n"),
		sdk.Example("Sessions", "gap: 30m\naggregates: {pages: count(), first: first(json.path)}\n"))
}

// Capabilities implements [sdk.Claimer].
func (c *Config) Capabilities(caps *sdk.Capabilities) {
	if c.Time == "processing" || c.Count != nil {
		caps.ByEventTime = false
	}
}

// Validate implements [sdk.Validator].
func (c *Config) Validate() []sdk.FieldError {
	_, faults := aggregate.Compile(c.Aggregates, c.Having)
	if c.Slide != nil {
		switch {
		case c.Size == nil:
			faults = append(faults, sdk.Faultf("slide", "goes with size"))
		case *c.Slide > *c.Size:
			faults = append(faults, sdk.Faultf("slide", "must not be above size (%v): records between two windows would be in none", *c.Size))
		case *c.Size%*c.Slide != 0:
			faults = append(faults, sdk.Faultf("slide", "must divide size (%v)", *c.Size))
		case *c.Size / *c.Slide > maxOverlap:
			faults = append(faults, sdk.Faultf("slide", "must be at least a %dth of size (%v)", maxOverlap, *c.Size))
		}
	}
	if c.Offset != 0 && c.Size == nil {
		faults = append(faults, sdk.Faultf("offset", "goes with size"))
	}
	if c.AllowedLateness > 0 && (c.Time == "processing" || c.Count != nil) {
		faults = append(faults, sdk.Faultf("allowed_lateness", "goes with windows of event time: by others no record is late"))
	}
	if c.Count != nil && c.Time == "processing" {
		faults = append(faults, sdk.Faultf("time", "means nothing to a window of so many records"))
	}
	return faults
}

// maxOverlap is in how many windows a record may be.
const maxOverlap = 10_000

// open opens the operator with the kind of window that is configured.
func open(_ context.Context, cfg *Config, t *sdk.Task) (*operator, error) {
	set, faults := aggregate.Compile(cfg.Aggregates, cfg.Having)
	if len(faults) > 0 {
		return nil, sdk.Fatal(faults[0])
	}
	o := &operator{
		task: t, set: set, early: cfg.Early, domain: sdk.EventTime, lateness: cfg.AllowedLateness.Nanoseconds(),
		elements: sdk.Map[string, uint64](t, "elements"),
		earlySet: sdk.Value[int64](t, "early"),
		late:     t.Metrics.Counter("late_records", "Records that came after the allowed lateness.", "1"),
	}
	if cfg.Time == "processing" {
		o.domain = sdk.ProcessingTime
	}
	switch {
	case cfg.Gap != nil:
		o.windows = &sessions{operator: o, gap: cfg.Gap.Nanoseconds(), state: sdk.Map[int64, session](t, "sessions", sdk.WithCodec(sessionCodec(set)))}
	case cfg.Count != nil:
		o.windows = &counts{operator: o, size: uint64(*cfg.Count), state: sdk.Value[counted](t, "count", sdk.WithCodec(countCodec(set)))}
	case cfg.Size != nil:
		p := &panes{operator: o, size: cfg.Size.Nanoseconds(), offset: cfg.Offset.Nanoseconds(), state: sdk.Map[int64, *aggregate.State](t, "panes", sdk.WithCodec(set.Codec()))}
		if p.slide = p.size; cfg.Slide != nil {
			p.slide = cfg.Slide.Nanoseconds()
		}
		o.windows = p
	default:
		return nil, sdk.Fatal(fmt.Errorf("one of size, gap and count must be set"))
	}
	return o, nil
}
