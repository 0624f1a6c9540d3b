package sdk

import (
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/state"
)

// Option says more about a component than its types do.
type Option func(*declaration)

// declaration is what a constructor knows of a component beside its functions.
type declaration struct {
	spec   *pluginv1.Component
	claims Capabilities
	faults []error
	disk   state.Disk // nil where state by key is kept in memory alone
}

// Port is an input of an operator or sink.
type Port struct {
	// Name as a pipeline file writes it: lower-case letters, digits, _ and -,
	// beginning with a letter.
	Name    string
	Summary string
	// Optional: the port may stay unconnected.
	Optional bool
	// Partition is the only way in which an edge into the port may be partitioned;
	// the zero value leaves it to the pipeline.
	Partition Partition
}

// Partition is how an edge spreads records over the tasks that it leads to.
type Partition int

// The partitions of a [Port].
const (
	AnyPartition Partition = iota
	// Forward: task i sends to task i.
	Forward
	// Key: records of one key go to one task.
	Key
	// Rebalance: round robin.
	Rebalance
	// Broadcast: every record to every task.
	Broadcast
)

// Output is an output beside "out" and "errors", which every source and operator
// has.
type Output struct {
	// Name as for a [Port].
	Name    string
	Summary string
}

// Inputs declares the input ports of an operator or sink. Without it there is
// one, named "in".
func Inputs(ports ...Port) Option {
	return func(d *declaration) {
		d.only("Inputs", pluginv1.Kind_KIND_OPERATOR, pluginv1.Kind_KIND_SINK)
		for _, p := range ports {
			d.spec.Inputs = append(d.spec.Inputs, &pluginv1.Port{
				Name: p.Name, Summary: p.Summary, Optional: p.Optional, Partition: pluginv1.Partition(p.Partition),
			})
		}
	}
}

// Outputs declares outputs of a source or operator beside "out".
func Outputs(outputs ...Output) Option {
	return func(d *declaration) {
		d.only("Outputs", pluginv1.Kind_KIND_SOURCE, pluginv1.Kind_KIND_OPERATOR)
		for _, o := range outputs {
			d.spec.Outputs = append(d.spec.Outputs, &pluginv1.Output{Name: o.Name, Summary: o.Summary})
		}
	}
}

// Version sets the component's version. Without it, the plugin's counts.
func Version(v string) Option {
	return func(d *declaration) { d.spec.Version = v }
}

// Description sets the component's description, in Markdown, for the generated
// documentation.
func Description(markdown string) Option {
	return func(d *declaration) { d.spec.Description = markdown }
}

// Example adds a complete, working configuration as YAML, for the generated
// documentation.
func Example(title, config string) Option {
	return func(d *declaration) {
		d.spec.Examples = append(d.spec.Examples, &pluginv1.Example{Title: title, Config: config})
	}
}

// Bounded says that every split of the source has an end.
func Bounded() Option {
	return func(d *declaration) {
		d.only("Bounded", pluginv1.Kind_KIND_SOURCE)
		d.claims.Bounded = true
	}
}

// NotReplayable says that the source cannot give records again: it starts where
// the input is, whatever the position (a socket, say). Then nothing behind it is
// exactly once.
func NotReplayable() Option {
	return func(d *declaration) {
		d.only("NotReplayable", pluginv1.Kind_KIND_SOURCE)
		d.claims.Replayable = false
	}
}

// ConcurrentSplits bounds the splits that one task of the source reads at the
// same time.
func ConcurrentSplits(n int) Option {
	return func(d *declaration) {
		d.only("ConcurrentSplits", pluginv1.Kind_KIND_SOURCE)
		d.claims.ConcurrentSplits = n
		if n < 0 {
			d.fault("ConcurrentSplits(%d): a negative number", n)
		}
	}
}

// PreservesOrder says that each record that the operator sends stems from one
// that came in, and that they leave in the same order.
func PreservesOrder() Option {
	return func(d *declaration) {
		d.only("PreservesOrder", pluginv1.Kind_KIND_OPERATOR)
		d.claims.PreservesOrder = true
	}
}

// PreservesKey says that each record that the operator sends has the key of the
// record that it stems from.
func PreservesKey() Option {
	return func(d *declaration) {
		d.only("PreservesKey", pluginv1.Kind_KIND_OPERATOR)
		d.claims.PreservesKey = true
	}
}

// ByEventTime says that the operator works by event time: a pipeline that does not
// set it on what leads to the operator is refused, rather than waiting for
// watermarks that never come.
func ByEventTime() Option {
	return func(d *declaration) {
		d.only("ByEventTime", pluginv1.Kind_KIND_OPERATOR)
		d.claims.ByEventTime = true
	}
}

// DiskState lets a pipeline keep the operator's state by key on disk, with `state:
// disk`, for state that is larger than memory; diskstate.Pebble is what to give. The
// operator does not notice: all that changes is how long reading and writing takes.
func DiskState(on state.Disk) Option {
	return func(d *declaration) {
		d.only("DiskState", pluginv1.Kind_KIND_OPERATOR)
		d.disk, d.claims.diskState = on, true
		if !d.claims.keyedState {
			d.fault("DiskState is for a KeyedOperator: no other has state by key")
		}
	}
}

// Retract says that the sink's Sweep can withdraw what was published after the
// restored checkpoint.
func Retract() Option {
	return func(d *declaration) {
		d.only("Retract", pluginv1.Kind_KIND_SINK)
		d.claims.Retract = true
		if !d.claims.ExactlyOnce {
			d.fault("Retract is for two-phase sinks: no other has a Sweep")
		}
	}
}

// SingleTask says that the sink needs parallelism 1.
func SingleTask() Option {
	return func(d *declaration) {
		d.only("SingleTask", pluginv1.Kind_KIND_SINK)
		d.claims.SingleTask = true
	}
}

// Local says that the sink needs something of this host, such as a folder, so
// that its tasks cannot move to another.
func Local() Option {
	return func(d *declaration) {
		d.only("Local", pluginv1.Kind_KIND_SINK)
		d.claims.Local = true
	}
}

// Discards says that the sink keeps nothing, so that no guarantee means anything
// for what it gets.
func Discards() Option {
	return func(d *declaration) {
		d.only("Discards", pluginv1.Kind_KIND_SINK)
		d.claims.Discards = true
	}
}
