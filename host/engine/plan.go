package engine

import (
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/task"
	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// plan is what a generation runs, derived from the pipeline alone: which tasks
// there are, in which process each runs, and what connects them.
type plan struct {
	pipeline *pipeline.Pipeline
	chains   []pipeline.Chain
	tasks    []*taskPlan
	// member says where a node's tasks run.
	member map[string]place
	// readRecords is how many records each reader may read; 0 for any number.
	readRecords uint64
}

// place is a node's place in a chain.
type place struct {
	chain *pipeline.Chain
	index int
}

// taskPlan is one task.
type taskPlan struct {
	id      task.ID
	chain   *pipeline.Chain
	process processKey
	source  bool // a reader or an enumerator
}

// processKey names a plugin process of this host. Nodes whose tasks share a
// process have equal keys.
type processKey struct {
	plugin string
	node   string // empty under isolation plugin
	task   int    // 0 unless each task has its own
}

// String is the plugin's name, with what the process is reserved for.
func (k processKey) String() string {
	if k.node == "" {
		return k.plugin
	}
	return fmt.Sprintf("%s(%s[%d])", k.plugin, k.node, k.task)
}

func newPlan(p *pipeline.Pipeline, readRecords uint64) *plan {
	pl := &plan{pipeline: p, readRecords: readRecords, chains: pipeline.Chains(p), member: map[string]place{}}
	for i := range pl.chains {
		c := &pl.chains[i]
		for at, n := range c.Members {
			pl.member[n.Name] = place{chain: c, index: at}
		}
		head := c.Members[0]
		source := head.Kind == pluginv1.Kind_KIND_SOURCE
		for t := range c.Parallelism {
			pl.tasks = append(pl.tasks, &taskPlan{
				id:      task.ID{Node: head.Name, Index: t},
				chain:   c,
				process: keyOf(head, t),
				source:  source,
			})
		}
		if source {
			pl.tasks = append(pl.tasks, &taskPlan{
				id:      task.ID{Node: head.Name, Role: pluginv1.Role_ROLE_ENUMERATOR},
				chain:   c,
				process: enumeratorKey(head),
				source:  true,
			})
		}
	}
	return pl
}

func keyOf(n *pipeline.Node, index int) processKey {
	switch {
	case n.Isolation == pipeline.IsolationTask || n.OneTaskPerProcess:
		return processKey{plugin: n.Plugin, node: n.Name, task: index}
	case n.Isolation == pipeline.IsolationNode:
		return processKey{plugin: n.Plugin, node: n.Name}
	default:
		return processKey{plugin: n.Plugin}
	}
}

// enumeratorKey puts the enumerator beside the first reader, save where a
// process takes one task only.
func enumeratorKey(n *pipeline.Node) processKey {
	k := keyOf(n, 0)
	if n.OneTaskPerProcess {
		k.task = -1
	}
	return k
}

// node returns the node of that id, or nil.
func (pl *plan) node(id string) *pipeline.Node {
	for _, n := range pl.pipeline.Nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// taskOf is the task that runs a node's task of that index.
func (pl *plan) taskOf(n *pipeline.Node, index int) task.ID {
	return task.ID{Node: pl.member[n.Name].chain.Name(), Index: index}
}

// sinks lists the sink nodes in the order of the pipeline.
func (pl *plan) sinks() []*pipeline.Node {
	var out []*pipeline.Node
	for _, n := range pl.pipeline.Nodes {
		if n.Kind == pluginv1.Kind_KIND_SINK {
			out = append(out, n)
		}
	}
	return out
}

// members describes a task's chain to the plugin. An enumerator is a chain of
// its source alone. ended says, by id, which nodes' input had ended in the
// restored checkpoint. A member is told its node's id and not its name, since
// that is what it puts into the names of what it makes outside: a node that was
// given another name goes on with what it made under the old one.
func (pl *plan) members(t *taskPlan, ended map[string]bool) []*pluginv1.Member {
	nodes := t.chain.Members
	if t.id.Role == pluginv1.Role_ROLE_ENUMERATOR {
		nodes = nodes[:1]
	}
	out := make([]*pluginv1.Member, len(nodes))
	for i, n := range nodes {
		m := &pluginv1.Member{
			Node:        n.ID,
			Component:   n.Component,
			Config:      n.Config,
			SecretPaths: n.SecretPaths,
			OnFailure:   n.OnFailure,
			EventTime:   n.EventTime,
			Guarantee:   n.Guarantee.Wire(),
			Ended:       ended[n.ID],
		}
		if n.Capabilities.GetKeyedState() {
			first, last := keygroup.Range(t.id.Index, pl.pipeline.MaxParallelism, n.Parallelism)
			if n.StateOnDisk {
				m.State = pluginv1.StateBackend_STATE_BACKEND_ON_DISK
			}
			m.KeyGroups = &pluginv1.KeyGroups{First: uint32(first), Last: uint32(last)}
		}
		for _, in := range n.Inputs {
			m.Inputs = append(m.Inputs, &pluginv1.Inlet{Port: in.Port, Partition: in.Partition})
		}
		for _, o := range n.Outputs {
			m.Outputs = append(m.Outputs, outlet(t.chain, i, o))
		}
		out[i] = m
	}
	return out
}

// outlet describes one output of member i. What leads to the next member alone
// never leaves the plugin.
func outlet(c *pipeline.Chain, i int, o pipeline.Output) *pluginv1.Outlet {
	out := &pluginv1.Outlet{Output: o.Name, Origin: o.Origin}
	if i < len(c.Links) && c.Links[i].Output == o.Name {
		out.Chained = true
		out.ChainedPort = c.Links[i].Port
		out.Exclusive = len(o.Edges) == 1
	}
	if len(o.Edges) > 0 {
		out.Partition = o.Edges[0].Partition
	}
	return out
}

// limits are the same for every task.
func (pl *plan) limits() *pluginv1.Limits {
	p := pl.pipeline
	return &pluginv1.Limits{
		BatchBytes:     uint32(p.Batch.Size),
		Linger:         durationpb.New(p.Batch.Linger),
		MaxRecordBytes: uint32(p.MaxRecord),
		MemoryBytes:    taskMemory,
		ReadRecords:    pl.readRecords,
	}
}

// taskMemory is what a plugin's task may hold in batches past their call.
const taskMemory = 64 << 20
