package engine

import (
	"context"
	"encoding/json"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// shapeOf is what a node's stored state depends on, as text that is kept beside
// the state.
func shapeOf(n *pipeline.Node) string {
	b, err := json.Marshal(n.State)
	if err != nil { // a struct of strings and numbers
		panic(err)
	}
	return string(b)
}

// IncompatibleError says which nodes cannot take over what a checkpoint holds.
type IncompatibleError struct {
	Checkpoint uint64
	Reasons    []string
}

func (e *IncompatibleError) Error() string {
	msg := fmt.Sprintf("the pipeline file has changed and cannot take over the state of checkpoint %d:", e.Checkpoint)
	for _, r := range e.Reasons {
		msg += "\n  " + r
	}
	return msg + "\nrun the file as it was, or start over with --fresh"
}

// compatible checks that every node of the manifest that holds anything is in
// the pipeline and can take it over.
func compatible(p *pipeline.Pipeline, m *checkpoint.Manifest) error {
	if m == nil {
		return nil
	}
	byID := map[string]*pipeline.Node{}
	for _, n := range p.Nodes {
		byID[n.ID] = n
	}
	var reasons []string
	for _, old := range m.Nodes {
		if !holdsState(old) {
			continue
		}
		n := byID[old.Name]
		if n == nil {
			reasons = append(reasons, fmt.Sprintf("node %s (%s) is gone, and the checkpoint holds state of it", old.Name, old.Component))
			continue
		}
		var shape pipeline.StateShape
		if err := json.Unmarshal([]byte(old.Fingerprint), &shape); err != nil {
			reasons = append(reasons, fmt.Sprintf("node %s: its stored description cannot be read: %v", n.Name, err))
			continue
		}
		if why := n.State.Conflict(shape); why != "" {
			reasons = append(reasons, fmt.Sprintf("node %s: %s", n.Name, why))
		}
	}
	if len(reasons) > 0 {
		return &IncompatibleError{Checkpoint: m.N, Reasons: reasons}
	}
	return nil
}

func holdsState(n checkpoint.NodeState) bool {
	for _, t := range n.Tasks {
		if len(t.Entries)+len(t.Objects)+len(t.Writer)+len(t.Committables) > 0 {
			return true
		}
	}
	return n.Enumerator != nil
}

// restored is what a checkpoint holds for each new task, and for no task.
type restored struct {
	entries map[task.ID][]*pluginv1.Entry
	// held are the splits that readers of a source node hold, by node id.
	held map[string][]string
}

// route reads the state of every node and deals it out to the new tasks.
func (g *generation) route(ctx context.Context, m *checkpoint.Manifest) (*restored, error) {
	out := &restored{entries: map[task.ID][]*pluginv1.Entry{}, held: map[string][]string{}}
	if m == nil {
		return out, nil
	}
	old := map[string]checkpoint.NodeState{}
	for _, n := range m.Nodes {
		old[n.Name] = n
	}
	for i := range g.plan.chains {
		c := &g.plan.chains[i]
		var follow map[string]int
		for at, n := range c.Members {
			state, ok := old[n.ID]
			if !ok {
				continue
			}
			router := checkpoint.NewRouter(state.Parallelism, n.Parallelism, g.pipeline.MaxParallelism, follow)
			for _, t := range state.Tasks {
				for e, err := range checkpoint.ReadEntries(ctx, g.storage, t) {
					if err != nil {
						return nil, fmt.Errorf("read the state of node %s, task %d: %w", n.Name, t.Index, err)
					}
					e.Component = uint32(at)
					if e.Kind == pluginv1.Entry_KIND_SPLIT {
						out.held[n.ID] = append(out.held[n.ID], e.Id)
					}
					for _, to := range router.Route(t.Index, e) {
						id := task.ID{Node: c.Name(), Index: to}
						out.entries[id] = append(out.entries[id], e)
					}
				}
			}
			follow = router.Splits()
			if state.Enumerator != nil {
				id := task.ID{Node: c.Name(), Role: pluginv1.Role_ROLE_ENUMERATOR}
				for e, err := range checkpoint.ReadEntries(ctx, g.storage, *state.Enumerator) {
					if err != nil {
						return nil, fmt.Errorf("read the state of node %s, enumerator: %w", n.Name, err)
					}
					e.Component = 0
					out.entries[id] = append(out.entries[id], e)
				}
			}
		}
	}
	return out, nil
}

// settle publishes what the restored checkpoint lists and then removes what
// earlier epochs left, sink by sink. Nothing is swept before every commit has
// been answered and that is durable.
func (g *generation) settle(ctx context.Context, h checkpoint.History, c checkpoint.Choice) error {
	if c.Manifest != nil {
		g.step(StepRecommitting)
		if err := g.commitRestored(ctx, h, c.Manifest); err != nil {
			return err
		}
		g.step(StepRecommitted)
		if err := g.ledger.SaveCommitted(ctx, c.Record.N); err != nil {
			return fmt.Errorf("note what is committed: %w", err)
		}
	}
	if len(h.Lineage.Generations) <= 1 {
		return nil // the first epoch: nobody was here before
	}
	g.step(StepSweeping)
	if err := g.sweep(ctx, h, c); err != nil {
		return err
	}
	g.step(StepSwept)
	if err := g.ledger.Swept(ctx, g.epoch); err != nil {
		return fmt.Errorf("note what is swept: %w", err)
	}
	return nil
}

func (g *generation) commitRestored(ctx context.Context, h checkpoint.History, m *checkpoint.Manifest) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, state := range m.Nodes {
		var due []*pluginv1.Entry
		for _, t := range state.Tasks {
			for _, e := range t.Committables {
				if e.Checkpoint > h.Committed {
					due = append(due, e)
				}
			}
		}
		if len(due) == 0 {
			continue
		}
		sortByCheckpoint(due)
		committer := g.committers[state.Name]
		if committer == nil {
			return fmt.Errorf("checkpoint %d lists output of node %s, which is no sink of this pipeline", m.N, state.Name)
		}
		group.Go(func() error { return committer.commit(ctx, due) })
	}
	return group.Wait()
}

// sweep lets every sink remove what earlier epochs left. What the writer entries
// of any record that stays name is spared.
func (g *generation) sweep(ctx context.Context, h checkpoint.History, c checkpoint.Choice) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range g.plan.sinks() {
		if !n.Capabilities.GetExactlyOnce() {
			continue
		}
		r := &pluginv1.SweepRequest{
			Keep: c.Keep[n.ID], RestoredCheckpoint: c.N(), Retract: c.Retract && n.Capabilities.GetRetract(),
		}
		for _, old := range h.Lineage.Generations {
			p, ran := old.Parallelism[n.ID]
			if old.Epoch >= g.epoch || !ran {
				continue
			}
			r.Earlier = append(r.Earlier, &pluginv1.Generation{Epoch: old.Epoch, Parallelism: uint32(p), Pool: uint32(old.Pool)})
		}
		group.Go(func() error { return g.committers[n.ID].sweep(ctx, r) })
	}
	return group.Wait()
}
