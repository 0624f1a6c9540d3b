package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// snapshots gathers what this host's tasks report for each checkpoint, stores
// it, and acks once when all of them have.
type snapshots struct {
	g *generation

	mu sync.Mutex
	// open holds the checkpoints that some task has not delivered; begun is the
	// newest that was ever in it.
	open  map[uint64]*hostSnapshot
	begun uint64
	// uncommitted is by sink node id.
	uncommitted map[string]*checkpoint.Uncommitted
	// acked holds the state of checkpoints that have no outcome yet.
	acked map[uint64]map[stateKey]checkpoint.TaskState
	// newest is the state of each task in the newest completed checkpoint, whose
	// number is n; entries may refer to it.
	newest map[stateKey]checkpoint.TaskState
	n      uint64
}

// stateKey names a task's state of one node.
type stateKey struct {
	node       string // id
	task       int
	enumerator bool
}

type hostSnapshot struct {
	n       uint64
	waiting map[task.ID]*taskProgress
	state   map[stateKey]checkpoint.TaskState
	failed  bool
}

func newSnapshots(g *generation) *snapshots {
	s := &snapshots{
		g:           g,
		open:        map[uint64]*hostSnapshot{},
		uncommitted: map[string]*checkpoint.Uncommitted{},
		acked:       map[uint64]map[stateKey]checkpoint.TaskState{},
		newest:      map[stateKey]checkpoint.TaskState{},
	}
	for _, n := range g.plan.sinks() {
		s.uncommitted[n.ID] = &checkpoint.Uncommitted{}
	}
	return s
}

// begin expects checkpoint n of every task of this host. Its barrier may come
// from another host before the word of it.
func (s *snapshots) begin(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expect(n)
}

func (s *snapshots) expect(n uint64) {
	if n <= s.begun {
		return
	}
	s.begun = n
	h := &hostSnapshot{n: n, waiting: map[task.ID]*taskProgress{}, state: map[stateKey]checkpoint.TaskState{}}
	for _, t := range s.g.own {
		h.waiting[t.id] = &taskProgress{}
	}
	s.open[n] = h
}

// remember makes the restored checkpoint the newest.
func (s *snapshots) remember(m *checkpoint.Manifest) {
	if m == nil {
		return
	}
	s.n = m.N
	for _, n := range m.Nodes {
		for _, t := range n.Tasks {
			s.newest[stateKey{node: n.Name, task: t.Index}] = t
		}
		if n.Enumerator != nil {
			s.newest[stateKey{node: n.Name, enumerator: true}] = *n.Enumerator
		}
	}
}

// complete makes checkpoint n the newest that entries may refer to.
func (s *snapshots) complete(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state, ok := s.acked[n]; ok {
		s.newest, s.n = state, n
	}
	s.forget(n)
}

// abort forgets the state of a checkpoint whose record will never be written.
// Its output stays.
func (s *snapshots) abort(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.acked, n)
	if h := s.open[n]; h != nil && h.failed {
		delete(s.open, n)
		s.discard(h.state)
	}
}

// discard deletes the stored state of a checkpoint that this host has declined:
// it never acks it, so nobody else will.
func (s *snapshots) discard(states map[stateKey]checkpoint.TaskState) {
	ack := checkpoint.Ack{Host: s.g.worker.Host, Nodes: s.g.nodeStates(states)}
	s.g.spawn(func() { s.g.discarded(ack.Discard(s.g.ctx, s.g.storage)) })
}

// forget drops the state of checkpoints up to n.
func (s *snapshots) forget(n uint64) {
	for k := range s.acked {
		if k <= n {
			delete(s.acked, k)
		}
	}
}

// deliver takes a task's snapshot. What it prepared is noted at once, in the
// order of the task's barriers; storing goes on beside the task.
func (s *snapshots) deliver(ctx context.Context, t *taskPlan, snap task.Snapshot) {
	nodes := t.chain.Members
	byNode := make([][]*pluginv1.Entry, len(nodes))
	s.mu.Lock()
	s.expect(snap.Checkpoint)
	for _, e := range snap.Entries {
		node := nodes[e.Component]
		if e.Kind == pluginv1.Entry_KIND_COMMITTABLE {
			if s.uncommitted[node.ID] == nil {
				s.mu.Unlock()
				s.g.fail(fmt.Errorf("node %s (task %s, plugin %s): the plugin broke the protocol: a committable from a component that is no sink", node.Name, t.id, node.Plugin))
				return
			}
			s.uncommitted[node.ID].Prepared(t.id.Index, snap.Checkpoint, checkpoint.Entries{e})
			continue
		}
		byNode[e.Component] = append(byNode[e.Component], e)
	}
	committables := make([]checkpoint.Entries, len(nodes))
	for i, n := range nodes {
		if u := s.uncommitted[n.ID]; u != nil {
			committables[i] = u.Snapshot(t.id.Index, snap.Checkpoint)
		}
	}
	s.mu.Unlock()
	if snap.Err != nil {
		s.fail(snap.Checkpoint, t.id, snap.Err)
		return
	}
	s.g.worker.step(StepSnapshot)
	timing := s.delivered(t.id, snap)
	s.g.spawn(func() {
		states := map[stateKey]checkpoint.TaskState{}
		for i, n := range nodes {
			key := stateKey{node: n.ID, task: t.id.Index, enumerator: t.id.Role == pluginv1.Role_ROLE_ENUMERATOR}
			if key.enumerator && i > 0 {
				break
			}
			began := time.Now()
			state, err := s.store(ctx, snap.Checkpoint, key, byNode[i], s.g.readFile(t))
			if err != nil {
				s.fail(snap.Checkpoint, t.id, fmt.Errorf("store the state of task %s: %w", t.id, err))
				return
			}
			state.Index = t.id.Index
			state.Committables = committables[i]
			state.Timing = timing
			state.Timing.Upload = time.Since(began)
			states[key] = state
		}
		s.g.worker.step(StepStored)
		s.stored(ctx, snap.Checkpoint, t.id, states)
	})
}

func (s *snapshots) store(ctx context.Context, n uint64, key stateKey, entries []*pluginv1.Entry,
	readFile func(*pluginv1.LocalFile) ([]byte, error),
) (checkpoint.TaskState, error) {
	name := fmt.Sprint(key.task)
	if key.enumerator {
		name = "enumerator"
	}
	s.mu.Lock()
	var earlier *checkpoint.Earlier
	if st, ok := s.newest[key]; ok {
		earlier = &checkpoint.Earlier{N: s.n, State: st}
	}
	s.mu.Unlock()
	w := checkpoint.NewSnapshotWriter(s.g.storage, checkpoint.TaskName{
		UID: s.g.uid, N: n, Epoch: s.g.epoch, Node: key.node, Task: name,
	}, earlier)
	w.ReadFile = readFile
	if err := w.Add(ctx, entries...); err != nil {
		return checkpoint.TaskState{}, err
	}
	return w.Finish(ctx)
}

// fail declines a checkpoint, once.
func (s *snapshots) fail(n uint64, id task.ID, err error) {
	s.mu.Lock()
	h := s.open[n]
	first := h != nil && !h.failed
	if first {
		h.failed = true
	}
	s.mu.Unlock()
	if first {
		s.g.up.Report(checkpoint.Declined{N: n, Host: s.g.worker.Host, Err: s.g.mask(err)})
	}
}

// stored notes a task's state and acks when it was the last.
func (s *snapshots) stored(ctx context.Context, n uint64, id task.ID, states map[stateKey]checkpoint.TaskState) {
	s.mu.Lock()
	h := s.open[n]
	if h == nil {
		s.mu.Unlock()
		s.discard(states)
		return
	}
	delete(h.waiting, id)
	for k, st := range states {
		h.state[k] = st
	}
	complete := len(h.waiting) == 0 && !h.failed
	if len(h.waiting) == 0 {
		delete(s.open, n)
	}
	s.mu.Unlock()
	if !complete {
		return
	}
	ack := checkpoint.Ack{Host: s.g.worker.Host, N: n, Nodes: s.g.nodeStates(h.state)}
	sealed, err := checkpoint.SealAck(ctx, s.g.storage, s.g.uid, s.g.epoch, ack)
	if err != nil {
		s.g.up.Report(checkpoint.Declined{N: n, Host: s.g.worker.Host, Err: fmt.Errorf("store the acknowledgement: %w", err)})
		return
	}
	s.mu.Lock()
	s.acked[n] = h.state
	s.mu.Unlock()
	s.g.up.Report(checkpoint.Acked{Ack: sealed})
}

// nodeStates arranges the states of this host's tasks by node.
func (g *generation) nodeStates(states map[stateKey]checkpoint.TaskState) []checkpoint.NodeState {
	var out []checkpoint.NodeState
	for _, n := range g.pipeline.Nodes {
		ns := checkpoint.NodeState{
			Name:           n.ID,
			Component:      n.Plugin + "/" + n.Component,
			Version:        n.PluginVersion,
			Parallelism:    n.Parallelism,
			MaxParallelism: g.pipeline.MaxParallelism,
			Fingerprint:    shapeOf(n),
			Backend:        n.Backend(),
		}
		for i := range n.Parallelism {
			if st, ok := states[stateKey{node: n.ID, task: i}]; ok {
				ns.Tasks = append(ns.Tasks, st)
			}
		}
		if st, ok := states[stateKey{node: n.ID, enumerator: true}]; ok {
			ns.Enumerator = &st
		}
		if len(ns.Tasks) > 0 || ns.Enumerator != nil {
			out = append(out, ns)
		}
	}
	slices.SortFunc(out, func(a, b checkpoint.NodeState) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
	return out
}

// discarded notes that state of a failed checkpoint could not be deleted. It is
// collected later.
func (g *generation) discarded(err error) {
	if err != nil && g.ctx.Err() == nil {
		g.log.Warn("state of a failed checkpoint stays until the next start", "error", err)
	}
}

// publisher commits the output of one sink node, record after record.
type publisher struct {
	committer *committer
	node      *pipeline.Node
	through   *mailbox[uint64] // numbers of completed checkpoints
}

// run commits what each completed checkpoint lists and reports the answer.
func (p *publisher) run(ctx context.Context, s *snapshots, answered func(n uint64)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.through.ready:
			numbers := p.through.take()
			n := numbers[len(numbers)-1]
			s.mu.Lock()
			due := s.uncommitted[p.node.ID].Due(n)
			s.mu.Unlock()
			s.g.worker.step(StepCommitting)
			if err := p.committer.commit(ctx, due); err != nil {
				return err
			}
			s.g.worker.step(StepCommitted)
			s.mu.Lock()
			s.uncommitted[p.node.ID].Answered(n)
			s.mu.Unlock()
			answered(n)
		}
	}
}
