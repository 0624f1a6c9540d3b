package pipeline

import pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"

// Chain is one or more nodes whose tasks of one index share one task of one
// plugin process: records pass from member to member in memory, in order,
// barriers included.
type Chain struct {
	// Plugin serves every member.
	Plugin string
	// Parallelism and Isolation are those of every member.
	Parallelism int
	Isolation   Isolation
	// Members in the order of the data; the first gives the chain its name.
	Members []*Node
	// Links[i] is the edge from Members[i] to Members[i+1].
	Links []*Edge
}

// Name is the name of the first member.
func (c Chain) Name() string { return c.Members[0].Name }

// Chains divides the nodes of a pipeline into chains: every node is in exactly
// one, and the chains are in topological order of their first members.
//
// A node B goes on the chain of A when all of these hold:
//   - an edge leads from A to B, it is a forward edge (so both have the same
//     parallelism) and it is B's only input;
//   - A and B are components of the same plugin, which does not decline chains;
//   - both have isolation plugin: with any other a node is a chain of its own;
//   - the edge is not one for dead letters: failed records are rare, and a
//     chain so ends with its sink;
//   - no other node goes on A's chain already. Where several could, the first
//     output of A wins ("out" before others), and on one output the node that
//     comes first in the pipeline.
//
// A member may have any number of further edges that leave the chain, from the
// chained output too.
func Chains(p *Pipeline) []Chain {
	nodes := make(map[string]*Node, len(p.Nodes))
	for _, n := range p.Nodes {
		nodes[n.Name] = n
	}
	next := make(map[string]*Edge)
	chained := make(map[string]bool)
	for _, n := range p.Nodes {
		if e := successor(n, nodes); e != nil {
			next[n.Name] = e
			chained[e.To] = true
		}
	}
	var chains []Chain
	for _, n := range p.Nodes {
		if chained[n.Name] {
			continue
		}
		c := Chain{Plugin: n.Plugin, Parallelism: n.Parallelism, Isolation: n.Isolation, Members: []*Node{n}}
		for e := next[n.Name]; e != nil; e = next[e.To] {
			c.Links = append(c.Links, e)
			c.Members = append(c.Members, nodes[e.To])
		}
		chains = append(chains, c)
	}
	return chains
}

// successor returns the edge on which the chain of n goes on, or nil.
func successor(n *Node, nodes map[string]*Node) *Edge {
	if n.Isolation != IsolationPlugin || n.NoChains {
		return nil
	}
	for _, out := range n.Outputs {
		for _, e := range out.Edges {
			to := nodes[e.To]
			if e.Partition == pluginv1.Partition_PARTITION_FORWARD && !e.DeadLetter() &&
				to.Isolation == IsolationPlugin && to.Plugin == n.Plugin &&
				len(to.Inputs) == 1 && len(to.Inputs[0].Edges) == 1 {
				return e
			}
		}
	}
	return nil
}
