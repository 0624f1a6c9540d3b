package pipeline

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// finish turns the drafts into the pipeline, unless something is wrong.
func (l *loader) finish() {
	if slices.ContainsFunc(l.faults, func(f Fault) bool { return f.Severity == SeverityFault }) {
		return
	}
	order := topological(l.nodes)
	nodes := make(map[*draft]*Node, len(order))
	for _, d := range order {
		n := l.node(d)
		nodes[d] = n
		l.p.Nodes = append(l.p.Nodes, n)
	}
	for _, d := range order {
		l.edges(d, nodes)
	}
	slices.SortFunc(l.p.Guarantees, func(a, b SinkGuarantee) int {
		at := func(sink string) int {
			return slices.IndexFunc(l.p.Nodes, func(n *Node) bool { return n.Name == sink })
		}
		return cmp.Compare(at(a.Sink), at(b.Sink))
	})
	for _, d := range slices.Backward(order) {
		outputs(d, nodes)
	}
	l.usedPlugins()
}

// topological orders the nodes of an acyclic graph: always the first node of the
// file whose inputs have all been placed.
func topological(drafts []*draft) []*draft {
	index, open := make(map[*draft]int), make(map[*draft]int)
	var ready []*draft
	for i, d := range drafts {
		index[d], open[d] = i, len(d.in)
		if len(d.in) == 0 {
			ready = append(ready, d)
		}
	}
	var order []*draft
	for len(ready) > 0 {
		d := ready[0]
		ready = ready[1:]
		order = append(order, d)
		for _, k := range d.out {
			if open[k.to]--; open[k.to] == 0 {
				at, _ := slices.BinarySearchFunc(ready, k.to, func(a, b *draft) int { return cmp.Compare(index[a], index[b]) })
				ready = slices.Insert(ready, at, k.to)
			}
		}
	}
	return order
}

func (l *loader) node(d *draft) *Node {
	n := &Node{
		Name: d.name, ID: d.id, Kind: d.kind, Line: d.at.key.Line, Column: d.at.key.Column,
		Plugin: d.component.plugin.Name, PluginVersion: d.component.manifest.GetVersion(),
		Component: d.component.spec.GetName(), ComponentVersion: d.component.spec.GetVersion(),
		OneTaskPerProcess: d.component.manifest.GetOneTaskPerProcess(),
		NoChains:          d.component.manifest.GetNoChains(),
		Config:            d.json, SecretPaths: d.secretPaths, Capabilities: d.capabilities,
		Parallelism: d.parallelism, Isolation: d.isolation, StateOnDisk: d.onDisk,
		OnFailure: proto.CloneOf(d.failure.policy), DeadLetter: d.failure.target,
		EventTime: d.time, Guarantee: d.guarantee,
	}
	n.State = StateShape{ID: n.ID, Kind: KindName(n.Kind), Plugin: n.Plugin, Component: n.Component}
	if n.Capabilities.GetKeyedState() {
		n.State.KeyGroups = l.p.MaxParallelism
	}
	return n
}

// edges makes the edges into a node and its connected ports.
func (l *loader) edges(d *draft, nodes map[*draft]*Node) {
	n := nodes[d]
	for _, port := range d.portNames() {
		in := Input{Port: port}
		for _, k := range d.in {
			if k.port != port {
				continue
			}
			e := &Edge{Index: len(l.p.Edges), From: k.from.name, To: d.name, Output: k.output, Port: port, Partition: k.partition}
			l.p.Edges = append(l.p.Edges, e)
			if len(in.Edges) == 0 {
				in.Partition = e.Partition
			} else if in.Partition != e.Partition {
				in.Partition = pluginv1.Partition_PARTITION_UNSPECIFIED
			}
			in.Edges = append(in.Edges, e)
			from := nodes[k.from]
			i := slices.IndexFunc(from.Outputs, func(o Output) bool { return o.Name == e.Output })
			if i < 0 {
				i = len(from.Outputs)
				from.Outputs = append(from.Outputs, Output{Name: e.Output})
			}
			from.Outputs[i].Edges = append(from.Outputs[i].Edges, e)
		}
		if len(in.Edges) > 0 {
			n.Inputs = append(n.Inputs, in)
		}
	}
}

// outputs orders a node's outputs and says which must carry the origin, and whether
// it must know of splits. The nodes behind it have been through here.
func outputs(d *draft, nodes map[*draft]*Node) {
	n := nodes[d]
	names := d.outputNames()
	slices.SortStableFunc(n.Outputs, func(a, b Output) int {
		return cmp.Compare(slices.Index(names, a.Name), slices.Index(names, b.Name))
	})
	for i := range n.Outputs {
		n.Outputs[i].Origin = slices.ContainsFunc(d.out, func(k *link) bool {
			return k.output == n.Outputs[i].Name && needsOrigin(nodes[k.to])
		})
	}
	if n.Kind == pluginv1.Kind_KIND_OPERATOR {
		n.TellSplits = n.EventTime != nil || slices.ContainsFunc(d.out, func(k *link) bool {
			return k.partition == pluginv1.Partition_PARTITION_FORWARD && nodes[k.to].TellSplits
		})
	}
}

// needsOrigin says whether a node or one behind it sends records to dead letters, or
// sets event time by their split.
func needsOrigin(n *Node) bool {
	return n.EventTime != nil || n.OnFailure.GetAction() == pluginv1.FailurePolicy_ACTION_DEAD_LETTER ||
		slices.ContainsFunc(n.Outputs, func(o Output) bool { return o.Origin })
}

// usedPlugins lists the plugins of the nodes.
func (l *loader) usedPlugins() {
	seen := make(map[string]bool)
	for _, d := range l.nodes {
		if p := d.component.plugin; !seen[p.Name] {
			seen[p.Name] = true
			l.p.Plugins = append(l.p.Plugins, p)
		}
	}
	slices.SortFunc(l.p.Plugins, func(a, b Plugin) int { return cmp.Compare(a.Name, b.Name) })
}
