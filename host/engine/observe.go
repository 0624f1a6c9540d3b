package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/edge"
	"github.com/weirstream/weir/host/secret"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// A generation is the observer of its tasks. None of these calls blocks.
var _ task.Observer = (*generation)(nil)

// Snapshot implements [task.Observer].
func (g *generation) Snapshot(id task.ID, s task.Snapshot) {
	g.snapshots.deliver(g.ctx, g.plans[id], s)
}

// SplitRequest implements [task.Observer].
func (g *generation) SplitRequest(id task.ID, r *pluginv1.SplitRequest) {
	enumerator := task.ID{Node: id.Node, Role: pluginv1.Role_ROLE_ENUMERATOR}
	if g.plans[enumerator] != nil {
		g.splitRequest(enumerator, r)
		return
	}
	g.spawn(func() {
		err := g.worker.Peers.Split(g.ctx, g.hostOf(enumerator), g.name(), enumerator, r)
		if err != nil && g.ctx.Err() == nil {
			g.fail(err)
		}
	})
}

// splitRequest hands a reader's request, of this host or of another, to an
// enumerator here.
func (g *generation) splitRequest(enumerator task.ID, r *pluginv1.SplitRequest) {
	g.mu.Lock()
	e := g.tasks[enumerator]
	if e == nil {
		g.early[enumerator] = append(g.early[enumerator], r)
	}
	g.mu.Unlock()
	if e != nil {
		e.SplitRequest(r)
	}
}

// Exhausted implements [task.Observer].
func (g *generation) Exhausted(id task.ID) {
	g.mu.Lock()
	g.exhausted[id] = true
	g.mu.Unlock()
	g.up.Report(checkpoint.Exhausted{Node: g.plans[id].chain.Members[0].ID, Task: id.Index})
}

// Changed implements [task.Observer].
func (g *generation) Changed(_ task.ID, after uint64) {
	g.up.Report(checkpoint.Changed{After: max(after, g.restored)})
}

// AwaitingCommits implements [task.Observer].
func (g *generation) AwaitingCommits(id task.ID, waiting bool) {
	g.mu.Lock()
	before := len(g.awaiting) > 0
	if waiting {
		g.awaiting[id] = true
	} else {
		delete(g.awaiting, id)
	}
	now := len(g.awaiting) > 0
	g.mu.Unlock()
	if now != before {
		g.up.Report(checkpoint.PoolWaiting{Host: g.worker.Host, Waiting: now})
	}
	if waiting {
		g.log.Warn("the sink takes no more data until earlier output is committed", "node", id.Node, "task", id.Index)
	}
}

// Tapped implements [task.Observer].
func (g *generation) Tapped(id task.ID, s *pluginv1.Tapped) {
	sample := s.GetSample()
	members := g.plans[id].chain.Members
	if int(sample.GetComponent()) >= len(members) {
		return
	}
	n := members[sample.GetComponent()]
	if int(sample.GetPort()) >= len(n.Outputs) {
		return
	}
	f, err := wire.FrameOf(&pluginv1.Frame{Kind: sample.GetKind()})
	if err != nil {
		return
	}
	defer f.Free()
	if h, err := f.Header(); err == nil && h.Kind == wire.KindBatch {
		g.worker.taps.offer(TapPoint{n.Name, n.Outputs[sample.GetPort()].Name}, id.Index, &f, h, int(h.Records), s.GetDropped())
	}
}

// Report implements [task.Observer].
func (g *generation) Report(id task.ID, r *pluginv1.Report) {
	if k := g.wiring.keyless[id]; k != nil {
		k.complete(r)
	}
	maskReport(g.worker.Pipeline.Secrets(), r)
	g.worker.meter.report(id, g.plans[id].chain.Members, r, time.Now())
}

// maskReport hides secrets in what of a report people read.
func maskReport(m *secret.Mask, r *pluginv1.Report) {
	for _, c := range r.GetComponents() {
		c.WatermarkSplit = m.Text(c.WatermarkSplit)
		for _, s := range c.Samples {
			s.Error, s.Split = m.Text(s.Error), m.Text(s.Split)
			s.Key, s.Value = m.Bytes(s.Key), m.Bytes(s.Value)
		}
		for _, metric := range c.Metrics {
			metric.Help = m.Text(metric.Help)
			for name, value := range metric.Labels {
				metric.Labels[name] = m.Text(value)
			}
		}
	}
}

// barrier gives a barrier to every enumerator of this host, and expects every task
// to answer it. One that was sent is not sent again.
func (g *generation) barrier(b checkpoint.Barrier) {
	g.mu.Lock()
	again := b.N <= g.begun
	g.begun = max(g.begun, b.N)
	g.mu.Unlock()
	if again {
		return
	}
	queued := g.queued()
	g.worker.mu.Lock()
	g.worker.peak = max(g.worker.peak, queued)
	g.worker.mu.Unlock()
	g.snapshots.begin(b.N)
	for _, t := range g.own {
		if t.id.Role != pluginv1.Role_ROLE_ENUMERATOR {
			continue
		}
		err := g.wiring.trigger(g.ctx, t.id, edge.Barrier{
			Checkpoint: b.N, Halt: b.Halt, Roll: b.Roll,
			End: slices.Contains(b.Ended, t.chain.Members[0].ID),
		})
		if err != nil {
			g.fail(fmt.Errorf("send barrier %d to %s: %w", b.N, t.id, err))
		}
	}
}

// completed tells the tasks that a record is durable and commits what it lists.
func (g *generation) completed(r checkpoint.Record) {
	g.snapshots.complete(r.N)
	if !g.worker.DryRun { // sources would tell the outside how far they have come
		for _, t := range g.tasks {
			t.Completed(r.N)
		}
	}
	if len(g.publishers) == 0 {
		g.up.Report(checkpoint.CommitsAnswered{Host: g.worker.Host, Through: r.N})
	}
	for _, p := range g.publishers {
		p.through.put(r.N)
	}
}

// committed tells the tasks how far output is published for good.
func (g *generation) committed(through uint64) {
	for _, t := range g.tasks {
		t.Committed(through)
	}
}

// aborted tells the tasks that a record will never be written.
func (g *generation) aborted(n uint64, reason error) {
	g.snapshots.abort(n)
	for _, t := range g.tasks {
		t.Aborted(n)
	}
	g.log.Warn("checkpoint failed; its output stays pending for the next", "checkpoint", n, "cause", reason)
}

// publishedThrough notes a sink's answer and tells the coordinator how far all
// sinks have come.
func (g *generation) publishedThrough(node string, n uint64) {
	g.mu.Lock()
	g.answered[node] = n
	through := n
	for id := range g.publishers {
		through = min(through, g.answered[id])
	}
	g.mu.Unlock()
	if through > 0 {
		g.up.Report(checkpoint.CommitsAnswered{Host: g.worker.Host, Through: through})
	}
}

// queued is what waits in all channels of this host, in bytes.
func (g *generation) queued() int {
	g.mu.Lock()
	w := g.wiring
	g.mu.Unlock()
	if w == nil {
		return 0
	}
	return w.queued()
}

// unpublished says which sinks do not answer, and why.
func (g *generation) unpublished() []UncommittedStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	awaiting := map[string]bool{}
	for id := range g.awaiting {
		for _, n := range g.plans[id].chain.Members {
			awaiting[n.ID] = true
		}
	}
	var out []UncommittedStatus
	for _, n := range g.plan.sinks() {
		u := UncommittedStatus{Sink: n.Name, TakesNoData: awaiting[n.ID]}
		if c := g.committers[n.ID]; c != nil {
			if since, err := c.failing(); err != nil {
				u.Error, u.Since = err.Error(), &since
			}
		}
		if u.TakesNoData && u.Error == "" {
			u.Error = "no more data is taken until earlier output is committed"
		}
		if u.Error != "" {
			u.Committables = g.snapshots.unanswered(n.ID)
			out = append(out, u)
		}
	}
	return out
}
