package engine

import (
	"fmt"
	"strings"

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
	ChangeChanged  ChangeKind = "changed"  // its state goes on in another back end
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
	if conflict != "" {
		return Change{Node: n.Name, Kind: ChangeReplaced, What: conflict, Refused: true}
	}
	c := Change{Node: n.Name, Kind: ChangeKept}
	var what []string
	add := func(k ChangeKind, format string, args ...any) {
		if c.Kind == ChangeKept {
			c.Kind = k
		}
		what = append(what, fmt.Sprintf(format, args...))
	}
	if old.Parallelism != n.Parallelism {
		add(ChangeRescaled, "from %d to %d tasks", old.Parallelism, n.Parallelism)
	}
	if old.Backend != "" && n.Backend != "" && old.Backend != n.Backend {
		add(ChangeChanged, "its state goes from %s to %s", old.Backend, n.Backend)
	}
	if old.Version != n.Version {
		add(ChangeUpgraded, "its plugin from %s to %s", old.Version, n.Version)
	}
	c.What = strings.Join(what, ", ")
	return c
}
