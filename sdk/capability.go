package sdk

import (
	"context"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Capabilities is what a component claims. The host relies on a claim and the
// conformance kit tests it. Claims follow from the component's types and options;
// a configuration can only take away ([Claimer]).
type Capabilities struct {
	// Bounded: every split of the source has an end.
	Bounded bool
	// Replayable: the source gives the same records again from a position.
	Replayable bool
	// ExactlyOnce: the sink's output is prepared, and published by its committer
	// alone.
	ExactlyOnce bool
	// Retract: the sink's Sweep can withdraw what was published.
	Retract bool
	// PreservesOrder: each output record stems from one input record, and they
	// leave in the same order.
	PreservesOrder bool
	// PreservesKey: each output record has the key of its input record.
	PreservesKey bool

	// ByEventTime: the operator works by event time: what leads to it has to set it.
	ByEventTime bool

	// SingleTask: the sink needs parallelism 1. A restriction: a configuration may
	// set it.
	SingleTask bool
	// Local: the sink needs something of this host (a folder, a device). A
	// restriction.
	Local bool
	// Discards: the sink keeps nothing. A restriction.
	Discards bool
	// ConcurrentSplits is the most splits that a task of the source reads at the
	// same time; 0 leaves it unbounded. A configuration may lower it.
	ConcurrentSplits int

	// These follow from the constructor, and no configuration takes them away.
	keyedState, diskState, eventTime bool
}

// Claimer is an optional interface of a configuration that takes capabilities
// away: a file source that follows its file is not bounded. Capabilities gets
// what the component claims and changes what these values change.
type Claimer interface{ Capabilities(c *Capabilities) }

// DynamicOutputs is an optional interface of an operator's configuration that
// names outputs of its own, as a router's does. They come beside those of the
// option [Outputs].
type DynamicOutputs interface{ Outputs() []Output }

// Validator is an optional interface of a configuration, and of every struct in
// it: a check across fields that reaches nothing outside. It is called when the
// fields themselves are sound. A field path is relative to the struct.
type Validator interface{ Validate() []FieldError }

// Hinter is an optional interface of a configuration, and of every struct in it,
// that knows names which it does not have but which people bring from elsewhere.
type Hinter interface {
	// Hint says what to do instead of setting the field, or nothing. The struct is
	// not decoded yet.
	Hint(field string) string
}

// Prober is an optional interface of a configuration that asks the outside: can
// it be reached, is what is named there, is it allowed. It runs at `weir validate
// --connect` and before each start, changes nothing, and ends with ctx.
type Prober interface {
	Probe(ctx context.Context, p Probe) []FieldError
}

// Probe is what a [Prober] knows of the pipeline.
type Probe struct {
	Owner
	// CommitWithin, for a sink, is the longest that its output may stay prepared
	// before it is committed, with every failure that the pipeline tolerates; 0
	// where it is not known.
	CommitWithin time.Duration
}

func (c Capabilities) proto() *pluginv1.Capabilities {
	return &pluginv1.Capabilities{
		Bounded:          c.Bounded,
		Replayable:       c.Replayable,
		ExactlyOnce:      c.ExactlyOnce,
		Retract:          c.Retract,
		PreservesOrder:   c.PreservesOrder,
		PreservesKey:     c.PreservesKey,
		ByEventTime:      c.ByEventTime,
		SingleTask:       c.SingleTask,
		Local:            c.Local,
		Discards:         c.Discards,
		KeyedState:       c.keyedState,
		DiskState:        c.diskState,
		EventTime:        c.eventTime,
		ConcurrentSplits: uint32(c.ConcurrentSplits),
	}
}

// claimedBeyond names what c claims and limit does not.
func (c Capabilities) claimedBeyond(limit Capabilities) []string {
	var beyond []string
	for _, claim := range []struct {
		name      string
		got, most bool
	}{
		{"bounded", c.Bounded, limit.Bounded},
		{"replayable", c.Replayable, limit.Replayable},
		{"exactly once", c.ExactlyOnce, limit.ExactlyOnce},
		{"retract", c.Retract, limit.Retract},
		{"preserves order", c.PreservesOrder, limit.PreservesOrder},
		{"preserves key", c.PreservesKey, limit.PreservesKey},
		{"by event time", c.ByEventTime, limit.ByEventTime},
		{"several tasks", !c.SingleTask, !limit.SingleTask},
		{"any host", !c.Local, !limit.Local},
		{"keeps records", !c.Discards, !limit.Discards},
		{"more concurrent splits", c.ConcurrentSplits < 0 || fewer(limit.ConcurrentSplits, c.ConcurrentSplits), false},
	} {
		if claim.got && !claim.most {
			beyond = append(beyond, claim.name)
		}
	}
	return beyond
}

// fewer reports whether a limit of a splits is lower than one of b.
func fewer(a, b int) bool { return a != 0 && (b == 0 || a < b) }
