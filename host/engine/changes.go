package engine

import (
	"fmt"

	"github.com/weirstream/weir/checkpoint"
)

// Change is what becomes of one node when a pipeline takes over a checkpoint.
type Change struct {
	Node string     `json:"node"`
	Kind ChangeKind `json:"change"`
	// What is different, in a sentence; empty where nothing is.
	What string `json:"what,omitempty"`
	// Refused: a run does not do it unless a person allows it.
	Refused bool `json:"refused,omitempty"`
}

// ChangeKind is what becomes of a node.
type ChangeKind string

// The kinds of changes.
const (
	ChangeKept     ChangeKind = "kept"     // it goes on with its state
	ChangeNew      ChangeKind = "new"      // it begins without state
	ChangeUpgraded ChangeKind = "upgraded" // its state goes on under another version of the plugin
	ChangeRescaled ChangeKind = "rescaled" // its state is dealt out to another number of tasks
	ChangeReplaced ChangeKind = "replaced" // it is another component now, and cannot take its state over
	ChangeRemoved  ChangeKind = "removed"  // it is gone, and had no state
	ChangeDropped  ChangeKind = "dropped"  // it is gone, and had state
)

// Changes lists what becomes of every node when a pipeline of this topology takes
// over a checkpoint, in the order of the data, then what is gone. Without a
// checkpoint all are new. The error is an *IncompatibleError where a run refuses.
func Changes(t Topology, m *checkpoint.Manifest) ([]Change, error) {
	var out []Change
	old := map[string]checkpoint.NodeState{}
	if m != nil {
		for _, n := range m.Nodes {
			old[n.Name] = n
		}
	}
	for i := range t.Nodes {
		n := &t.Nodes[i]
		state, ok := old[n.ID]
		delete(old, n.ID)
		switch why := ""; {
		case !ok:
			c := Change{Node: n.Name, Kind: ChangeNew}
			if n.Kind == sourceKind && m != nil {
				c.What = "it reads its input from the start"
			}
			out = append(out, c)
		default:
			if holdsState(state) {
				why = conflict(t, n, state, m)
			}
			out = append(out, changeOf(n, state, why))
		}
	}
	if m != nil {
		for _, n := range m.Nodes {
			if _, gone := old[n.Name]; !gone {
				continue
			}
			if holdsState(n) {
				out = append(out, Change{Node: n.Name, Kind: ChangeDropped, Refused: true, What: n.Component + " is gone, and its state would be lost"})
			} else {
				out = append(out, Change{Node: n.Name, Kind: ChangeRemoved, What: n.Component + " had no state"})
			}
		}
	}
	_, err := compatible(t, m, nil)
	return out, err
}

func changeOf(n *TopologyNode, old checkpoint.NodeState, conflict string) Change {
	c := Change{Node: n.Name, Kind: ChangeKept}
	switch {
	case conflict != "":
		c.Kind, c.What, c.Refused = ChangeReplaced, conflict, true
	case old.Parallelism != n.Parallelism:
		c.Kind, c.What = ChangeRescaled, fmt.Sprintf("from %d to %d tasks", old.Parallelism, n.Parallelism)
	case old.Version != n.Version:
		c.Kind, c.What = ChangeUpgraded, fmt.Sprintf("its plugin from %s to %s", old.Version, n.Version)
	}
	if c.Kind == ChangeRescaled && old.Version != n.Version {
		c.What += fmt.Sprintf(", its plugin from %s to %s", old.Version, n.Version)
	}
	return c
}
