package view

import (
	"fmt"
	"strings"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/engine"
)

// Shares from which a chain counts as busy, or as held back.
const (
	isBusy    = 0.6
	isBlocked = 0.2
)

// bottleneck names what keeps a pipeline from being faster: of the nodes that share
// their tasks, those that are busy and not themselves held back, the busiest first.
// Where none is busy although others wait, it is who they wait for: he waits for
// something outside. Where nobody is busy and nobody waits there is none.
func bottleneck(t engine.Topology, nodes []api.Node) *api.Bottleneck {
	flow := map[string]api.Flow{}
	for _, n := range nodes {
		flow[n.Name] = n.Flow
	}
	var best, waited *engine.TopologyChain
	for i := range t.Chains {
		c := &t.Chains[i]
		f := flow[c.Name]
		if f.Busy >= isBusy && f.Busy > f.Blocked && (best == nil || f.Busy > flow[best.Name].Busy) {
			best = c
		}
		if from, share := waiting(c, t, flow); len(from) > 0 && f.Blocked < isBlocked && share >= isBusy {
			waited = c
		}
	}
	switch {
	case best != nil:
		why := fmt.Sprintf("busy %.0f%% of the time", 100*flow[best.Name].Busy)
		if from, share := waiting(best, t, flow); len(from) > 0 {
			why += fmt.Sprintf("; %s wait for it (back-pressured %.0f%%)", strings.Join(from, " and "), 100*share)
			if len(from) == 1 {
				why = strings.Replace(why, " wait for it", " waits for it", 1)
			}
		}
		return &api.Bottleneck{Nodes: best.Nodes, Why: why}
	case waited != nil:
		from, share := waiting(waited, t, flow)
		return &api.Bottleneck{Nodes: waited.Nodes, Why: fmt.Sprintf(
			"%s is back-pressured %.0f%% although this is busy only %.0f%% of the time: it waits for something outside",
			strings.Join(from, " and "), 100*share, 100*flow[waited.Name].Busy)}
	}
	return nil
}

// waiting are the nodes that send to a chain and are held back, and by how much the
// most.
func waiting(c *engine.TopologyChain, t engine.Topology, flow map[string]api.Flow) (from []string, share float64) {
	for _, name := range c.From {
		if f := flow[name]; f.Blocked >= isBlocked {
			from, share = append(from, last(t, name)), max(share, f.Blocked)
		}
	}
	return from, share
}

// last is the last node of a chain: what the others of it give, it sends on.
func last(t engine.Topology, chain string) string {
	for _, c := range t.Chains {
		if c.Name == chain {
			return c.Nodes[len(c.Nodes)-1]
		}
	}
	return chain
}
