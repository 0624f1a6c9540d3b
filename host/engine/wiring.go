package engine

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/weirstream/weir/host/edge"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// wiring is the data plane of one epoch on this host: an input and a router a
// task, and the channels between them. A channel that leads to another host begins
// in an outlet here and ends in an inlet there.
//
// A reader is fed by its enumerator, and an enumerator by a trigger channel into
// which the host puts barriers: so every task has an input, and barriers enter
// the graph at the enumerators and nowhere else.
type wiring struct {
	inputs   map[task.ID]*edge.Input
	routers  map[task.ID]*edge.Router
	keyless  map[task.ID]*keyless
	triggers map[task.ID]*edge.Channel
	inlets   map[edge.ID]*edge.Channel // into which tasks of other hosts send
	outlets  []*outletTo
	endInlet func()

	g *generation
}

// outletTo is a channel to another host: what is pushed into its input is sent
// there.
type outletTo struct {
	id    edge.ID
	host  string
	input *edge.Input
}

func newWiring(g *generation) (*wiring, error) {
	pl := g.plan
	w := &wiring{
		g:        g,
		inlets:   map[edge.ID]*edge.Channel{},
		inputs:   map[task.ID]*edge.Input{},
		routers:  map[task.ID]*edge.Router{},
		keyless:  map[task.ID]*keyless{},
		triggers: map[task.ID]*edge.Channel{},
	}
	for _, t := range g.own {
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
	for _, t := range g.own {
		keyless := newKeyless(t.chain.Members, pool)
		r, err := edge.NewRouter(edge.RouterOptions{
			Task:           t.id.Index,
			Edges:          edges[t.id],
			Pool:           pool,
			MaxParallelism: pl.pipeline.MaxParallelism,
			BatchBytes:     int(pl.pipeline.Batch.Size),
			Linger:         pl.pipeline.Batch.Linger,
			NullKeys: func(ctx context.Context, name string, component, _ uint32, records *wire.Batch) error {
				return keyless.handle(ctx, name, component, records, w.routers[t.id].Emit)
			},
		})
		if err != nil {
			return nil, fmt.Errorf("task %s: %w", t.id, err)
		}
		w.routers[t.id], w.keyless[t.id] = r, keyless
	}
	return w, nil
}

// connectSource joins an enumerator to its readers and to the host's trigger.
func (w *wiring) connectSource(c *pipeline.Chain, edges map[task.ID][]edge.Edge) {
	enumerator := task.ID{Node: c.Name(), Role: pluginv1.Role_ROLE_ENUMERATOR}
	if in := w.inputs[enumerator]; in != nil {
		w.triggers[enumerator] = in.Open(edge.ID{Edge: "host -> " + enumerator.String()}, 0)
	}
	splits := edge.Edge{ID: c.Name() + ".splits", Splits: true, Partition: pluginv1.Partition_PARTITION_BROADCAST}
	for i := range c.Parallelism {
		reader := task.ID{Node: c.Name(), Index: i}
		if ch := w.channel(edge.ID{Edge: splits.ID, To: i}, enumerator, reader, 0); ch != nil {
			splits.Channels = append(splits.Channels, ch)
		}
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
			TellSplits: to.Members[0].TellSplits,
		}
		for j := range to.Parallelism {
			if e.Partition == pluginv1.Partition_PARTITION_FORWARD && i != j {
				continue
			}
			receiver := task.ID{Node: to.Name(), Index: j}
			if ch := w.channel(edge.ID{Edge: e.String(), From: i, To: j}, sender, receiver, port); ch != nil {
				out.Channels = append(out.Channels, ch)
			}
		}
		edges[sender] = append(edges[sender], out)
	}
}

// channel opens a channel's end on this host, and returns it where the sender is
// here too.
func (w *wiring) channel(id edge.ID, sender, receiver task.ID, port uint32) *edge.Channel {
	from, to := w.g.plans[sender] != nil, w.g.plans[receiver] != nil
	switch {
	case from && to:
		return w.inputs[receiver].Open(id, port)
	case to:
		w.inlets[id] = w.inputs[receiver].Open(id, port)
	case from:
		out := &outletTo{id: id, host: w.g.hostOf(receiver), input: edge.NewInput(edge.OutletLimits())}
		w.outlets = append(w.outlets, out)
		return out.input.Open(id, port)
	}
	return nil
}

func outputIndex(n *pipeline.Node, name string) (index uint32, origin bool) {
	for i, o := range n.Outputs {
		if o.Name == name {
			return uint32(i), o.Origin
		}
	}
	panic(fmt.Sprintf("engine: node %s has no output %s", n.Name, name)) // the pipeline was checked
}

// trigger sends a barrier into the graph.
func (w *wiring) trigger(ctx context.Context, enumerator task.ID, b edge.Barrier) error {
	return w.triggers[enumerator].Push(ctx, edge.BarrierItem(b))
}

// queued is the number of bytes that wait in all channels.
func (w *wiring) queued() int {
	total := 0
	for in := range w.all() {
		for _, c := range in.Stats() {
			total += c.QueuedBytes
		}
	}
	return total
}

// close wakes everybody who waits and frees what is queued.
func (w *wiring) close() {
	for in := range w.all() {
		in.Close()
	}
	if w.endInlet != nil {
		w.endInlet()
	}
}

// all yields every input of this host.
func (w *wiring) all() iter.Seq[*edge.Input] {
	return func(yield func(*edge.Input) bool) {
		for _, in := range w.inputs {
			if !yield(in) {
				return
			}
		}
		for _, o := range w.outlets {
			if !yield(o.input) {
				return
			}
		}
	}
}

// accept lets other hosts send into the channels that end here.
func (w *wiring) accept() {
	if w.g.placement != nil {
		w.endInlet = w.g.worker.Peers.Accept(w.g.name(), Inlets{
			Channels: w.inlets, Split: w.g.splitRequest, Broken: w.g.fail,
		})
	}
}

// join connects the channels that lead to other hosts, and returns when all are. A
// channel that breaks fails the epoch.
func (w *wiring) join(ctx context.Context) error {
	var ready sync.WaitGroup
	for _, o := range w.outlets {
		ready.Add(1)
		once := sync.OnceFunc(ready.Done)
		w.g.spawn(func() {
			defer once()
			err := w.g.worker.Peers.Send(w.g.ctx, o.host, w.g.name(), o.id, o.input, once)
			if err != nil && w.g.ctx.Err() == nil {
				w.g.fail(err)
			}
		})
	}
	joined := make(chan struct{})
	go func() {
		ready.Wait()
		close(joined)
	}()
	select {
	case <-joined:
		return context.Cause(ctx) // one that could not be joined has failed the epoch
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// taskInput is a task's end of the wiring.
type taskInput struct {
	*edge.Input
	aligned func(checkpoint uint64, took time.Duration)
}

// Next implements [task.Input].
func (in taskInput) Next(ctx context.Context) (wire.Frame, wire.Kind, error) {
	it, err := in.Input.Next(ctx)
	if err == nil && it.Kind == wire.KindBarrier {
		in.aligned(it.Barrier.Checkpoint, it.Alignment.Took)
	}
	return it.Frame, it.Kind, err
}
