package engine_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// TestWhereStateIsKeptMayChange: that is said, and only a component that cannot read
// what was kept on disk is refused.
func TestWhereStateIsKeptMayChange(t *testing.T) {
	shape := pipeline.StateShape{ID: "sum", Kind: "operator", Plugin: "weir", Component: "sum", KeyGroups: 128}
	fingerprint, err := json.Marshal(shape)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(what string) engine.Change {
		return engine.Change{Node: "sum", Kind: engine.ChangeChanged, What: what}
	}
	const alone = "its state was kept on disk, and this version of weir/sum can keep it in memory alone"
	for name, c := range map[string]struct {
		was, is     string
		memoryAlone bool
		parallelism int
		want        engine.Change
	}{
		"to disk":              {was: "memory", is: "disk", want: changed("its state goes from memory to disk")},
		"to memory":            {was: "disk", is: "memory", want: changed("its state goes from disk to memory")},
		"the same":             {was: "disk", is: "disk", want: engine.Change{Node: "sum", Kind: engine.ChangeKept}},
		"not known":            {is: "disk", want: engine.Change{Node: "sum", Kind: engine.ChangeKept}},
		"always in memory":     {was: "memory", is: "memory", memoryAlone: true, want: engine.Change{Node: "sum", Kind: engine.ChangeKept}},
		"more tasks, on disk":  {was: "memory", is: "disk", parallelism: 3, want: engine.Change{Node: "sum", Kind: engine.ChangeRescaled, What: "from 1 to 3 tasks, its state goes from memory to disk"}},
		"no disk in this one":  {was: "disk", is: "memory", memoryAlone: true, want: engine.Change{Node: "sum", Kind: engine.ChangeReplaced, What: alone, Refused: true}},
		"and more tasks of it": {was: "disk", is: "memory", memoryAlone: true, parallelism: 3, want: engine.Change{Node: "sum", Kind: engine.ChangeReplaced, What: alone, Refused: true}},
	} {
		t.Run(name, func(t *testing.T) {
			topology := engine.Topology{MaxParallelism: 128, Nodes: []engine.TopologyNode{{
				Name: "sum", ID: "sum", Kind: "operator", Component: "weir/sum", Parallelism: max(c.parallelism, 1),
				State: shape, Backend: c.is, MemoryAlone: c.memoryAlone,
			}}}
			m := &checkpoint.Manifest{N: 7, Nodes: []checkpoint.NodeState{{
				Name: "sum", Component: "weir/sum", Parallelism: 1, MaxParallelism: 128, Fingerprint: string(fingerprint), Backend: c.was,
				Tasks: []checkpoint.TaskState{{Entries: checkpoint.Entries{{Kind: pluginv1.Entry_KIND_KEY_GROUP, Id: "x"}}}},
			}}}
			got, err := engine.Changes(topology, m)
			if !slices.Equal(got, []engine.Change{c.want}) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			var refused *engine.IncompatibleError
			if errors.As(err, &refused) != c.want.Refused || err != nil && !c.want.Refused {
				t.Errorf("refused: %v", err)
			}
		})
	}
}
