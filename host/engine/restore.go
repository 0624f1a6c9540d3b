package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// fixedGroups is the number of key groups of a restored checkpoint, where the file
// leaves it open: it is fixed at the first checkpoint, also where the default of
// the file would be another since its parallelism has changed.
func fixedGroups(max int, chosen bool, m *checkpoint.Manifest) int {
	if m == nil || len(m.Nodes) == 0 || !chosen {
		return max
	}
	return m.Nodes[0].MaxParallelism
}

// withGroups is the pipeline with that number of key groups.
func withGroups(p *pipeline.Pipeline, groups int) *pipeline.Pipeline {
	q := *p
	q.MaxParallelism = groups
	q.Nodes = make([]*pipeline.Node, len(p.Nodes))
	for i, n := range p.Nodes {
		n := *n
		if n.State.KeyGroups > 0 {
			n.State.KeyGroups = groups
		}
		q.Nodes[i] = &n
	}
	return &q
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
	return msg + "\nrun the file as it was; or, where a node has another name now, give it its old one as id; or drop a node's state with --allow-dropped-state NODE; or start over with --fresh"
}

// CodeIncompatible is the stable code of an IncompatibleError.
const CodeIncompatible = "restore.incompatible"

// ErrorCode implements explain.Coded.
func (e *IncompatibleError) ErrorCode() string { return CodeIncompatible }

// compatible checks that every node of the manifest that holds anything is in
// the pipeline and can take it over, or may be dropped: those it returns, by id.
func compatible(t Topology, m *checkpoint.Manifest, mayDrop []string) (dropped []string, err error) {
	if m == nil {
		return nil, nil
	}
	groups := fixedGroups(t.MaxParallelism, t.MaxParallelismChosen, m)
	byID := map[string]*TopologyNode{}
	for i := range t.Nodes {
		byID[t.Nodes[i].ID] = &t.Nodes[i]
	}
	var reasons []string
	for _, old := range m.Nodes {
		if !holdsState(old) {
			continue
		}
		n := byID[old.Name]
		if slices.Contains(mayDrop, old.Name) || n != nil && slices.Contains(mayDrop, n.Name) {
			if n == nil || conflict(t, n, old, m) != "" {
				dropped = append(dropped, old.Name)
			}
			continue
		}
		if n == nil {
			reasons = append(reasons, fmt.Sprintf("node %s (%s) is gone, and the checkpoint holds state of it", old.Name, old.Component))
			continue
		}
		if why := conflict(t, n, old, m); why != "" {
			reasons = append(reasons, fmt.Sprintf("node %s: %s", n.Name, why))
		}
	}
	for _, n := range t.Nodes {
		if n.Parallelism > groups {
			reasons = append(reasons, fmt.Sprintf("node %s: parallelism %d is above max_parallelism, which the first checkpoint has fixed at %d", n.Name, n.Parallelism, groups))
		}
	}
	if len(reasons) > 0 {
		return nil, &IncompatibleError{Checkpoint: m.N, Reasons: reasons}
	}
	return dropped, nil
}

// conflict says why a node cannot take over its state in a manifest; empty where it
// can.
func conflict(t Topology, n *TopologyNode, old checkpoint.NodeState, m *checkpoint.Manifest) string {
	var shape pipeline.StateShape
	if err := json.Unmarshal([]byte(old.Fingerprint), &shape); err != nil {
		return fmt.Sprintf("its stored description cannot be read: %v", err)
	}
	now := n.State
	if now.KeyGroups > 0 {
		now.KeyGroups = fixedGroups(now.KeyGroups, t.MaxParallelismChosen, m)
	}
	if why := now.Conflict(shape); why != "" {
		return why
	}
	if old.Backend == pipeline.StateDisk && n.MemoryAlone {
		return fmt.Sprintf("its state was kept on disk, and this version of %s can keep it in memory alone", n.Component)
	}
	return ""
}

// without leaves nodes out of a restored manifest, and says what that costs.
func (e *epoch) without(m *checkpoint.Manifest, dropped []string) *checkpoint.Manifest {
	if len(dropped) == 0 {
		return m
	}
	rest := *m
	rest.Nodes = nil
	for _, n := range m.Nodes {
		if !slices.Contains(dropped, n.Name) {
			rest.Nodes = append(rest.Nodes, n)
			continue
		}
		prepared := 0
		for _, t := range n.Tasks {
			prepared += len(t.Committables)
		}
		e.log.Warn("the state of a node is dropped", "node", n.Name, "checkpoint", m.N, "unpublished", prepared)
	}
	return &rest
}

// advise says which flag allows a start that is refused.
func (l *Leader) advise(err error) error {
	var from *checkpoint.FromError
	if !errors.As(err, &from) || !from.Published {
		return err
	}
	var cannot []string
	for _, n := range l.Topology.Nodes {
		if n.Kind == sinkKind && !n.Retract {
			cannot = append(cannot, n.Name)
		}
	}
	if len(cannot) == 0 {
		return fmt.Errorf("%w\nevery sink can withdraw what it has published: --retract lets them, --accept-duplicates leaves it there", err)
	}
	return fmt.Errorf("%w\n%s cannot withdraw what was published; --accept-duplicates starts all the same", err, strings.Join(cannot, ", "))
}

func holdsState(n checkpoint.NodeState) bool {
	for _, t := range n.Tasks {
		if len(t.Entries)+len(t.Objects)+len(t.Files)+len(t.Writer)+len(t.Committables) > 0 {
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
	// Where the splits of the source before a node went, by the node's name.
	splits := map[string]map[string]int{}
	for i := range g.plan.chains {
		c := &g.plan.chains[i]
		for at, n := range c.Members {
			var follow map[string]int
			if n.TellSplits {
				follow = splits[n.Inputs[0].Edges[0].From]
				splits[n.Name] = follow
			}
			state, ok := old[n.ID]
			if !ok {
				continue
			}
			router := checkpoint.NewRouter(state.Parallelism, n.Parallelism, g.pipeline.MaxParallelism, follow)
			for _, t := range state.Tasks {
				if len(t.Files) > 0 {
					if err := g.place(ctx, c, at, t, router.Heirs(t.Index), out); err != nil {
						return nil, fmt.Errorf("restore the state of node %s, task %d: %w", n.Name, t.Index, err)
					}
				}
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
						if g.plans[id] != nil {
							out.entries[id] = append(out.entries[id], e)
						}
					}
				}
			}
			if n.Kind == pluginv1.Kind_KIND_SOURCE {
				splits[n.Name] = router.Splits()
			}
			id := task.ID{Node: c.Name(), Role: pluginv1.Role_ROLE_ENUMERATOR}
			if state.Enumerator != nil && g.plans[id] != nil {
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

// commitRestored publishes what the restored checkpoint lists of the sinks that
// this host settles.
func (g *generation) commitRestored(ctx context.Context) error {
	h, m := g.restore.History, g.restore.Choice.Manifest
	if m == nil {
		return nil
	}
	g.worker.step(StepRecommitting)
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
		node := g.plan.node(state.Name)
		if node == nil || node.Kind != pluginv1.Kind_KIND_SINK {
			return fmt.Errorf("checkpoint %d lists output of node %s, which is no sink of this pipeline", m.N, state.Name)
		}
		if !g.settles(node) {
			continue
		}
		committer := g.committers[node.ID]
		group.Go(func() error { return committer.commit(ctx, due) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	g.worker.step(StepRecommitted)
	return nil
}

// sweep lets the sinks that this host settles remove what earlier epochs left.
// What the writer entries of any record that stays name is spared.
func (g *generation) sweep(ctx context.Context) error {
	h, c := g.restore.History, g.restore.Choice
	g.worker.step(StepSweeping)
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range g.plan.sinks() {
		if !n.Capabilities.GetExactlyOnce() || !g.settles(n) {
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
	if err := group.Wait(); err != nil {
		return err
	}
	g.worker.step(StepSwept)
	return nil
}

func sortByCheckpoint(es []*pluginv1.Entry) {
	slices.SortStableFunc(es, func(a, b *pluginv1.Entry) int { return cmp.Compare(a.Checkpoint, b.Checkpoint) })
}
