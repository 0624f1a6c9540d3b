package engine

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// TestTheEventTimeOfASplitFollowsTheSplit: what an operator has seen of a split goes
// to the task that gets the split's records, in whatever order the tasks kept them,
// also where operators stand between and where they are in other processes.
func TestTheEventTimeOfASplitFollowsTheSplit(t *testing.T) {
	src, mid, timed := node("src", pluginv1.Kind_KIND_SOURCE), node("mid", pluginv1.Kind_KIND_OPERATOR), node("timed", pluginv1.Kind_KIND_OPERATOR)
	snk := node("snk", pluginv1.Kind_KIND_SINK)
	nodes := []*pipeline.Node{src, mid, timed, snk}
	timed.Plugin, timed.TellSplits, timed.EventTime, mid.TellSplits = "other", true, &pluginv1.EventTime{From: "record"}, true
	p := &pipeline.Pipeline{Name: "test", MaxParallelism: 16, Nodes: nodes}
	for i, n := range nodes {
		n.Parallelism = 3
		if i == 0 {
			continue
		}
		e := &pipeline.Edge{From: nodes[i-1].Name, Output: "out", To: n.Name, Partition: pluginv1.Partition_PARTITION_FORWARD}
		nodes[i-1].Outputs = []pipeline.Output{{Name: "out", Edges: []*pipeline.Edge{e}}}
		n.Inputs = []pipeline.Input{{Edges: []*pipeline.Edge{e}}}
		p.Edges = append(p.Edges, e)
	}
	entry := func(k pluginv1.Entry_Kind, i int) *pluginv1.Entry {
		return &pluginv1.Entry{Kind: k, Id: fmt.Sprint("split ", i), Content: &pluginv1.Entry_Payload{Payload: []byte("{}")}}
	}
	m := &checkpoint.Manifest{Nodes: []checkpoint.NodeState{
		{Name: src.ID, Parallelism: 2, Tasks: make([]checkpoint.TaskState, 2)},
		{Name: mid.ID, Parallelism: 2, Tasks: make([]checkpoint.TaskState, 2)},
		{Name: timed.ID, Parallelism: 2, Tasks: make([]checkpoint.TaskState, 2)},
	}}
	const splits = 11
	for i := range splits {
		own := &m.Nodes[0].Tasks[i%2]
		own.Entries = append(own.Entries, entry(pluginv1.Entry_KIND_SPLIT, i))
		if back := splits - 1 - i; back != 4 { // of one nothing was seen yet
			seen := &m.Nodes[2].Tasks[back%2]
			seen.Entries = append(seen.Entries, entry(pluginv1.Entry_KIND_SPLIT_TIME, back))
		}
	}
	g := newGeneration(NewWorker(WorkerConfig{Host: hostName, Pipeline: p, Log: slog.New(slog.DiscardHandler)}), Restore{}, nil, Upward{})
	defer g.cancel(errEnded)
	out, err := g.route(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	seen := 0
	for _, name := range []string{src.Name, timed.Name} {
		for i := range 3 {
			for _, e := range out.entries[task.ID{Node: name, Index: i}] {
				if name == src.Name {
					at[e.Id] = i
				} else if seen++; at[e.Id] != i {
					t.Errorf("%s is read by task %d, and what was seen of it is in task %d", e.Id, at[e.Id], i)
				}
			}
		}
	}
	if len(at) != splits || seen != splits-1 {
		t.Errorf("%d splits, and what was seen of %d", len(at), seen)
	}
}
