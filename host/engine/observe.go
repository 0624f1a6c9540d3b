package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/edge"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
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
	g.leader.events.put(checkpoint.Exhausted{Node: g.plans[id].chain.Members[0].ID, Task: id.Index})
}

// Changed implements [task.Observer].
func (g *generation) Changed(_ task.ID, after uint64) {
	g.leader.events.put(checkpoint.Changed{After: max(after, g.restored)})
}

// Report implements [task.Observer].
func (g *generation) Report(id task.ID, r *pluginv1.Report) {
	g.engine.meter.report(id, g.plans[id].chain.Members, r, time.Now())
}

// sendBarrier gives a barrier to every enumerator, and expects every task to
// answer it.
func (g *generation) sendBarrier(b checkpoint.Barrier) {
	g.mu.Lock()
	_, again := g.begun[b.N]
	if !again {
		g.begun[b.N] = time.Now()
	}
	g.mu.Unlock()
	if again {
		return
	}
	queued := g.wiring.queued()
	g.engine.mu.Lock()
	g.engine.peak = max(g.engine.peak, queued)
	g.engine.mu.Unlock()
	g.snapshots.begin(b.N)
	for _, t := range g.plan.tasks {
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
	for _, t := range g.tasks {
		t.Completed(r.N)
	}
	g.mu.Lock()
	begun, ok := g.begun[r.N]
	delete(g.begun, r.N)
	g.mu.Unlock()
	end := &CheckpointEnd{Number: r.N, At: time.Now()}
	if ok {
		end.Duration = time.Since(begun)
	}
	g.engine.mu.Lock()
	g.engine.last = end
	g.engine.slowest = max(g.engine.slowest, end.Duration)
	if ok { // else it is the one that was restored
		g.engine.complete++
	}
	if r.State == checkpoint.Finishing {
		g.engine.state = StateFinishing
	}
	g.engine.mu.Unlock()
	g.log.Debug("checkpoint completed", "checkpoint", r.N, "took", end.Duration, "bytes", r.Bytes)
	if len(g.publishers) == 0 {
		g.leader.events.put(checkpoint.CommitsAnswered{Host: hostName, Through: r.N})
	}
	for _, p := range g.publishers {
		p.through.put(r.N)
	}
}

// aborted tells the tasks that a record will never be written.
func (g *generation) aborted(n uint64, reason error) {
	g.snapshots.abort(n)
	for _, t := range g.tasks {
		t.Aborted(n)
	}
	g.mu.Lock()
	delete(g.begun, n)
	g.mu.Unlock()
	g.engine.mu.Lock()
	g.engine.failed++
	g.engine.mu.Unlock()
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
		g.leader.events.put(checkpoint.CommitsAnswered{Host: hostName, Through: through})
	}
}

// noteCheckpoint keeps what the coordinator says for whoever asks.
func (g *generation) noteCheckpoint(s checkpoint.Status) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = s
}

// inFlight pictures the checkpoint under way, or returns nil.
func (g *generation) inFlight() *CheckpointNow {
	g.mu.Lock()
	s := g.now
	g.mu.Unlock()
	if s.InFlight == 0 {
		return nil
	}
	return &CheckpointNow{Number: s.InFlight, Phase: s.Phase, Since: s.Since, Awaited: g.snapshots.awaited(s.InFlight)}
}

// unpublished says which sinks do not answer, and why.
func (g *generation) unpublished() []UncommittedStatus {
	var out []UncommittedStatus
	for _, n := range g.plan.sinks() {
		if c := g.committers[n.ID]; c != nil {
			if err := c.err(); err != nil {
				out = append(out, UncommittedStatus{Sink: n.Name, Error: err.Error()})
			}
		}
	}
	return out
}
