package cluster

import (
	"slices"
	"testing"

	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/pipeline"
)

// TestASubmissionSaysWhatBecomesOfEachNode, where its state is kept included.
func TestASubmissionSaysWhatBecomesOfEachNode(t *testing.T) {
	node := func(name, component string, parallelism int, backend string) engine.TopologyNode {
		return engine.TopologyNode{
			Name: name, ID: name, Parallelism: parallelism, Backend: backend,
			State: pipeline.StateShape{ID: name, Kind: "operator", Plugin: "weir", Component: component},
		}
	}
	old := engine.Topology{Nodes: []engine.TopologyNode{
		node("same", "sum", 1, "disk"), node("moved", "sum", 1, "memory"), node("unsaid", "sum", 1, ""),
		node("wider", "sum", 1, "disk"), node("other", "sum", 1, "disk"), node("gone", "sum", 1, "disk"),
	}}
	now := engine.Topology{Nodes: []engine.TopologyNode{
		node("same", "sum", 1, "disk"), node("moved", "sum", 1, "disk"), node("unsaid", "sum", 1, "disk"),
		node("wider", "sum", 3, "disk"), node("other", "join", 1, "disk"), node("more", "sum", 1, "memory"),
	}}
	want := []string{
		"kept: same, with its state", "changed: moved, its state goes from memory to disk", "kept: unsaid, with its state",
		"rescaled: wider, from 1 tasks to 3, with its state",
		"refused if it holds state: other (its state was written by weir/sum and it is weir/join now)",
		"new: more", "dropped: gone (refused if it holds state)",
	}
	if got := changes(old, now); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}
