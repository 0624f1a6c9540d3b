package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Topology is what a leader needs to know about a pipeline: its graph and its
// settings, but no configuration of a component, so that it holds no secret and
// may be stored. It is the same for every host that loads the same file.
type Topology struct {
	Name           string `json:"name"`
	MaxParallelism int    `json:"max_parallelism"`
	// MaxParallelismChosen: the file leaves it open, so that a checkpoint's holds.
	MaxParallelismChosen bool                `json:"max_parallelism_chosen,omitempty"`
	Pool                 int                 `json:"pool"` // names that a sink task may keep in use
	Checkpoint           pipeline.Checkpoint `json:"checkpoint"`
	Restart              pipeline.Restart    `json:"restart"`
	Nodes                []TopologyNode      `json:"nodes"` // in topological order
	// Chains are what is placed on hosts: nodes whose tasks of one index go
	// together.
	Chains []TopologyChain `json:"chains"`
	// Guarantees are those of the sinks, for whoever asks.
	Guarantees []pipeline.SinkGuarantee `json:"guarantees"`
}

// NodeNames returns the names of the nodes, in the order of the data.
func (t Topology) NodeNames() []string {
	names := make([]string, len(t.Nodes))
	for i, n := range t.Nodes {
		names[i] = n.Name
	}
	return names
}

// TopologyNode is one node of a Topology.
type TopologyNode struct {
	Name        string              `json:"name"`
	ID          string              `json:"id"`
	Kind        string              `json:"kind"`
	Component   string              `json:"component"`         // with its plugin: acme/mask
	Version     string              `json:"version,omitempty"` // of the plugin
	Parallelism int                 `json:"parallelism"`
	Inputs      []string            `json:"inputs,omitempty"`  // ids of the nodes that it reads from
	Outputs     []string            `json:"outputs,omitempty"` // that lead anywhere
	Retract     bool                `json:"retract,omitempty"`
	State       pipeline.StateShape `json:"state"`
	// Backend is where its state by key is kept: memory or disk; empty where there is
	// none.
	Backend string `json:"state_backend,omitempty"`
	// MemoryAlone: it cannot keep it on disk, nor read what was kept there.
	MemoryAlone bool `json:"memory_alone,omitempty"`
}

// TopologyChain is one chain of a Topology.
type TopologyChain struct {
	Name        string   `json:"name"` // of its first node
	Nodes       []string `json:"nodes"`
	Plugin      string   `json:"plugin"`
	Parallelism int      `json:"parallelism"`
	Source      bool     `json:"source,omitempty"` // it has an enumerator too
	// From are the chains that send to this one.
	From []string `json:"from,omitempty"`
}

// TopologyOf derives a pipeline's topology.
func TopologyOf(p *pipeline.Pipeline) Topology { return newPlan(p, 0).topology() }

func (pl *plan) topology() Topology {
	p := pl.pipeline
	t := Topology{
		Name: p.Name, MaxParallelism: p.MaxParallelism, MaxParallelismChosen: p.MaxParallelismChosen, Checkpoint: p.Checkpoint, Restart: p.Restart,
		Guarantees: p.Guarantees, Pool: p.NamePool(),
	}
	ids := map[string]string{}
	for _, n := range p.Nodes {
		ids[n.Name] = n.ID
	}
	for _, n := range p.Nodes {
		node := TopologyNode{
			Name: n.Name, ID: n.ID, Kind: pipeline.KindName(n.Kind), Component: n.Plugin + "/" + n.Component,
			Version: n.PluginVersion, Parallelism: n.Parallelism, Retract: n.Capabilities.GetRetract(), State: n.State,
			Backend: n.Backend(), MemoryAlone: n.Capabilities.GetKeyedState() && !n.Capabilities.GetDiskState(),
		}
		for _, in := range n.Inputs {
			for _, e := range in.Edges {
				node.Inputs = append(node.Inputs, ids[e.From])
			}
		}
		for _, o := range n.Outputs {
			node.Outputs = append(node.Outputs, o.Name)
		}
		t.Nodes = append(t.Nodes, node)
	}
	for i := range pl.chains {
		c := &pl.chains[i]
		chain := TopologyChain{
			Name: c.Name(), Plugin: c.Plugin, Parallelism: c.Parallelism,
			Source: c.Members[0].Kind == pluginv1.Kind_KIND_SOURCE,
		}
		for at, n := range c.Members {
			chain.Nodes = append(chain.Nodes, n.Name)
			for _, in := range n.Inputs {
				for _, e := range in.Edges {
					if at == 0 || e != c.Links[at-1] {
						chain.From = append(chain.From, pl.member[e.From].chain.Name())
					}
				}
			}
		}
		t.Chains = append(t.Chains, chain)
	}
	return t
}

// Differs says in what another topology differs from this one, or nothing.
func (t Topology) Differs(other Topology) string {
	a, b := t.canonical(), other.canonical()
	for _, what := range slices.Sorted(maps.Keys(a)) {
		if _, ok := b[what]; !ok {
			return what + " is missing"
		}
		if a[what] != b[what] {
			return fmt.Sprintf("%s is %s and not %s", what, b[what], a[what])
		}
	}
	for _, what := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[what]; !ok {
			return what + " is new"
		}
	}
	return ""
}

// canonical is everything that a topology says, by what it is about.
func (t Topology) canonical() map[string]string {
	text := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil { // the types have no value that fails
			panic(err)
		}
		return string(data)
	}
	all := map[string]string{
		"name": t.Name, "max_parallelism": fmt.Sprint(t.MaxParallelism),
		"checkpoint": text(t.Checkpoint), "restart": text(t.Restart),
	}
	for _, n := range t.Nodes {
		n.Version, n.Outputs, n.Backend, n.MemoryAlone = "", nil, "", false // hosts are upgraded one by one
		all["node "+n.Name] = text(n)
	}
	for _, c := range t.Chains {
		all["chain "+c.Name] = text(c)
	}
	return all
}

// Tasks lists the names of all tasks, as task.ID.String gives them, chain by
// chain.
func (t Topology) Tasks() []string {
	var names []string
	for _, c := range t.Chains {
		if c.Source {
			names = append(names, EnumeratorOf(c.Name))
		}
		for i := range c.Parallelism {
			names = append(names, TaskOf(c.Name, i))
		}
	}
	return names
}

// TaskOf is the name of a chain's task.
func TaskOf(chain string, index int) string { return task.ID{Node: chain, Index: index}.String() }

// EnumeratorOf is the name of a source's enumerator.
func EnumeratorOf(chain string) string {
	return task.ID{Node: chain, Role: pluginv1.Role_ROLE_ENUMERATOR}.String()
}

// retracts says that every sink can withdraw what it has published.
func (t Topology) retracts() bool {
	for _, n := range t.Nodes {
		if n.Kind == sinkKind && !n.Retract {
			return false
		}
	}
	return true
}

var (
	sinkKind   = pipeline.KindName(pluginv1.Kind_KIND_SINK)
	sourceKind = pipeline.KindName(pluginv1.Kind_KIND_SOURCE)
)

// generation is what the ledger keeps of an epoch of these tasks.
func (t Topology) generation() checkpoint.Generation {
	g := checkpoint.Generation{Parallelism: map[string]int{}, Pool: t.Pool}
	for _, n := range t.Nodes {
		g.Parallelism[n.ID] = n.Parallelism
	}
	return g
}

// coordinator is what a checkpoint coordinator needs to know.
func (t Topology) coordinator(hosts []string) checkpoint.Config {
	spec := t.Checkpoint
	cfg := checkpoint.Config{
		Interval: spec.Interval, MinPause: spec.MinPause, Timeout: spec.Timeout,
		Tolerated: spec.ToleratedFailures, DrainTimeout: spec.DrainTimeout, Hosts: hosts,
	}
	for _, n := range t.Nodes {
		cfg.Nodes = append(cfg.Nodes, checkpoint.Node{Name: n.ID, Parallelism: n.Parallelism, Inputs: n.Inputs})
	}
	return cfg
}
