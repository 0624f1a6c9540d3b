package conformance

import (
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// all joins several needs: the first that is missing counts.
func all(needs ...func(*Target) Missing) func(*Target) Missing {
	return func(t *Target) Missing {
		for _, n := range needs {
			if m := n(t); m != "" {
				return m
			}
		}
		return ""
	}
}

var (
	sources   = []pluginv1.Kind{pluginv1.Kind_KIND_SOURCE}
	operators = []pluginv1.Kind{pluginv1.Kind_KIND_OPERATOR}
	sinks     = []pluginv1.Kind{pluginv1.Kind_KIND_SINK}
	// takers are the kinds with an input.
	takers = []pluginv1.Kind{pluginv1.Kind_KIND_OPERATOR, pluginv1.Kind_KIND_SINK}
)

// claims needs a capability that the configuration leaves.
func claims(name string, held func(*pluginv1.Capabilities) bool) func(*Target) Missing {
	return func(t *Target) Missing {
		if !held(t.Left) {
			return notClaimed(name)
		}
		return ""
	}
}

var (
	exactlyOnce = claims("exactly_once", (*pluginv1.Capabilities).GetExactlyOnce)
	retracts    = claims("retract", (*pluginv1.Capabilities).GetRetract)
	replayable  = claims("replayable", (*pluginv1.Capabilities).GetReplayable)
	isBounded   = claims("bounded", (*pluginv1.Capabilities).GetBounded)
)

func isRead(t *Target) Missing {
	if t.Entry.Read == nil {
		return notConfigured("`read`, which tells what the sink has committed")
	}
	return ""
}

func isFed(t *Target) Missing {
	if t.Entry.Feed == nil {
		return notConfigured("`feed`, which puts records where the source reads them")
	}
	return ""
}

func unbounded(t *Target) Missing {
	if t.Left.GetBounded() {
		return notClaimed("with this configuration the source is bounded: nothing appears later")
	}
	return ""
}

func hasBad(t *Target) Missing {
	if len(t.Entry.Bad) == 0 {
		return notConfigured("`bad`, records that the component must fail")
	}
	return ""
}

func several(t *Target) Missing {
	if t.Parallelism() < 2 {
		return notClaimed("the component runs one task alone")
	}
	return ""
}

func hidesUncommitted(t *Target) Missing {
	if t.Entry.Read != nil && t.Entry.Read.ShowsUncommitted {
		return notConfigured("`read` shows what is not committed")
	}
	return ""
}

func shared(t *Target) Missing {
	if t.Entry.Exclusive {
		return notConfigured("by `exclusive` one process at a time writes there")
	}
	return ""
}

func repeatable(t *Target) Missing {
	if t.Entry.Varies {
		return notConfigured("by `varies` the output is not a function of the input")
	}
	return ""
}
