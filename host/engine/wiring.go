package engine

import (
	"context"
	"fmt"
	"strconv"

	"github.com/weirstream/weir/host/edge"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// wiring is the data plane of one epoch: an input and a router a task, and the
// channels between them.
//
// A reader is fed by its enumerator, and an enumerator by a trigger channel into
// which the host puts barriers: so every task has an input, and barriers enter
// the graph at the enumerators and nowhere else.
type wiring struct {
	inputs   map[task.ID]*edge.Input
	routers  map[task.ID]*edge.Router
	triggers map[task.ID]*edge.Channel
}

func newWiring(pl *plan) (*wiring, error) {
	w := &wiring{
		inputs:   map[task.ID]*edge.Input{},
		routers:  map[task.ID]*edge.Router{},
		triggers: map[task.ID]*edge.Channel{},
	}
	for _, t := range pl.tasks {
		w.inputs[t.id] = edge.NewInput(edge.DefaultLimits())
	}
	pool := wire.NewPool()
	edges := map[task.ID][]edge.Edge{}
	for i := range pl.chains {
		c := &pl.chains[i]
		if c.Members[0].Kind == pluginv1.Kind_KIND_SOURCE {
			w.connectSource(c, edges)
		}
		for at, n := range c.Members {
			for port, in := range n.Inputs {
				for _, e := range in.Edges {
					if at > 0 && e == c.Links[at-1] {
						continue // inside the plugin
					}
					w.connect(pl, e, c, uint32(port), edges)
				}
			}
		}
	}
	for _, t := range pl.tasks {
		r, err := edge.NewRouter(edge.RouterOptions{
			Task:           t.id.Index,
			Edges:          edges[t.id],
			Pool:           pool,
			MaxParallelism: pl.pipeline.MaxParallelism,
			BatchBytes:     int(pl.pipeline.Batch.Size),
			Linger:         pl.pipeline.Batch.Linger,
			NullKeys:       w.nullKeys(t, pool),
		})
		if err != nil {
			return nil, fmt.Errorf("task %s: %w", t.id, err)
		}
		w.routers[t.id] = r
	}
	return w, nil
}

// connectSource joins an enumerator to its readers and to the host's trigger.
func (w *wiring) connectSource(c *pipeline.Chain, edges map[task.ID][]edge.Edge) {
	enumerator := task.ID{Node: c.Name(), Role: pluginv1.Role_ROLE_ENUMERATOR}
	w.triggers[enumerator] = w.inputs[enumerator].Open(edge.ID{Edge: "host -> " + enumerator.String()}, 0)
	splits := edge.Edge{ID: c.Name() + ".splits", Splits: true, Partition: pluginv1.Partition_PARTITION_BROADCAST}
	for i := range c.Parallelism {
		reader := task.ID{Node: c.Name(), Index: i}
		splits.Channels = append(splits.Channels, w.inputs[reader].Open(edge.ID{Edge: splits.ID, To: i}, 0))
	}
	edges[enumerator] = []edge.Edge{splits}
}

// connect makes the channels of one edge into the chain to.
func (w *wiring) connect(pl *plan, e *pipeline.Edge, to *pipeline.Chain, port uint32, edges map[task.ID][]edge.Edge) {
	from := pl.member[e.From]
	node := from.chain.Members[from.index]
	output, origin := outputIndex(node, e.Output)
	for i := range from.chain.Parallelism {
		sender := task.ID{Node: from.chain.Name(), Index: i}
		out := edge.Edge{
			ID: e.String(), Component: uint32(from.index), Output: output, Partition: e.Partition, Origin: origin,
		}
		for j := range to.Parallelism {
			if e.Partition == pluginv1.Partition_PARTITION_FORWARD && i != j {
				continue
			}
			receiver := task.ID{Node: to.Name(), Index: j}
			out.Channels = append(out.Channels, w.inputs[receiver].Open(edge.ID{Edge: e.String(), From: i, To: j}, port))
		}
		edges[sender] = append(edges[sender], out)
	}
}

func outputIndex(n *pipeline.Node, name string) (index uint32, origin bool) {
	for i, o := range n.Outputs {
		if o.Name == name {
			return uint32(i), o.Origin
		}
	}
	panic(fmt.Sprintf("engine: node %s has no output %s", n.Name, name)) // the pipeline was checked
}

// Headers of a dead letter, as the SDK gives them.
const (
	headerError         = "weir.error"
	headerComponent     = "weir.component"
	headerOriginSplit   = "weir.origin.split"
	headerOriginOrdinal = "weir.origin.ordinal"
)

// nullKeys applies the sending node's failure policy to records that a keyed
// edge cannot place.
func (w *wiring) nullKeys(t *taskPlan, pool *wire.Pool) func(context.Context, string, uint32, uint32, *wire.Batch) error {
	return func(ctx context.Context, name string, component, _ uint32, records *wire.Batch) error {
		node := t.chain.Members[component]
		cause := fmt.Errorf("%s: %w", name, edge.ErrNullKey)
		switch node.OnFailure.GetAction() {
		case pluginv1.FailurePolicy_ACTION_SKIP:
			return nil
		case pluginv1.FailurePolicy_ACTION_DEAD_LETTER:
			output, _ := outputIndex(node, pipeline.OutputErrors)
			letters := deadLetters(pool, node, records, cause)
			defer letters.Release()
			return w.routers[t.id].Emit(ctx, component, output, letters)
		default:
			return fmt.Errorf("node %s: %d records on %w", node.Name, records.Len(), cause)
		}
	}
}

// deadLetters are records with what is known of their failure.
func deadLetters(pool *wire.Pool, n *pipeline.Node, records *wire.Batch, cause error) *wire.Batch {
	w := pool.NewBuilder(records.Size())
	w.SetOrigin(true)
	for i := range records.Len() {
		split, ordinal := records.Origin(i)
		h := append(wire.Headers(nil), records.Headers(i)...)
		h = wire.AppendHeader(h, headerError, []byte(cause.Error()))
		h = wire.AppendHeader(h, headerComponent, []byte(n.ID))
		if split != "" {
			h = wire.AppendHeader(h, headerOriginSplit, []byte(split))
			h = wire.AppendHeader(h, headerOriginOrdinal, strconv.AppendInt(nil, ordinal, 10))
		}
		w.Append(records.Key(i), records.Value(i), records.Time(i), h, split, ordinal)
	}
	return w.Freeze()
}

// trigger sends a barrier into the graph.
func (w *wiring) trigger(ctx context.Context, enumerator task.ID, b edge.Barrier) error {
	return w.triggers[enumerator].Push(ctx, edge.BarrierItem(b))
}

// queued is the number of bytes that wait in all channels.
func (w *wiring) queued() int {
	total := 0
	for _, in := range w.inputs {
		for _, c := range in.Stats() {
			total += c.QueuedBytes
		}
	}
	return total
}

// close wakes everybody who waits and frees what is queued.
func (w *wiring) close() {
	for _, in := range w.inputs {
		in.Close()
	}
}

// taskInput is a task's end of the wiring.
type taskInput struct{ *edge.Input }

// Next implements [task.Input].
func (in taskInput) Next(ctx context.Context) (wire.Frame, wire.Kind, error) {
	it, err := in.Input.Next(ctx)
	return it.Frame, it.Kind, err
}
