package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

const (
	// openTimeout bounds the opening of one task.
	openTimeout = time.Minute
	// closeTimeout is how long a task may take to answer Close; then its process
	// is killed.
	closeTimeout = 5 * time.Second
	// closeHurry is the same where the host is to end at once.
	closeHurry = time.Second
	// deathGrace is how long a failed task waits to learn that its process died,
	// which explains more.
	deathGrace = time.Second
)

// generation is one epoch of a pipeline: from its beginning in the ledger until
// every task is closed again.
type generation struct {
	engine   *Engine
	pipeline *pipeline.Pipeline
	plan     *plan
	storage  *storage.Storage
	ledger   *checkpoint.Ledger
	log      *slog.Logger
	uid      string
	epoch    uint64
	restored uint64 // number of the restored checkpoint, or 0

	committers map[string]*committer // by sink node id
	publishers map[string]*publisher
	snapshots  *snapshots
	leader     *leader
	wiring     *wiring
	tasks      map[task.ID]*task.Task
	plans      map[task.ID]*taskPlan

	ctx    context.Context
	cancel context.CancelCauseFunc
	group  sync.WaitGroup
	// settled is closed when what was restored is published, and flowing when data
	// flows.
	settled, flowing chan struct{}

	mu sync.Mutex
	// early are requests for an enumerator that is not open yet.
	early    map[task.ID][]*pluginv1.SplitRequest
	answered map[string]uint64 // by sink node id
	now      checkpoint.Status
	begun    map[uint64]time.Time // barriers that have no outcome yet, and when they were sent
}

// Causes with which an epoch's goroutines end in good order. With errStopped no
// data has flowed, so that there is nothing to checkpoint.
var (
	errEnded   = errors.New("epoch ended")
	errStopped = errors.New("stopped before data flowed")
)

// generation runs one epoch and returns how it stopped, or why it failed.
func (e *Engine) generation(parent context.Context) (checkpoint.Stop, error) {
	e.setState(StateRestoring)
	g := &generation{
		engine: e, pipeline: e.Pipeline, plan: e.plan, storage: e.Storage, ledger: e.ledger, log: e.Log,
		committers: map[string]*committer{},
		publishers: map[string]*publisher{},
		tasks:      map[task.ID]*task.Task{},
		plans:      map[task.ID]*taskPlan{},
		early:      map[task.ID][]*pluginv1.SplitRequest{},
		answered:   map[string]uint64{},
		begun:      map[uint64]time.Time{},
		settled:    make(chan struct{}),
		flowing:    make(chan struct{}),
	}
	g.ctx, g.cancel = context.WithCancelCause(parent)
	defer func() {
		g.cancel(errEnded)
		g.group.Wait()
	}()
	g.spawn(g.stopBeforeData)
	stop, err := g.live()
	if err != nil && errors.Is(context.Cause(g.ctx), errStopped) {
		stop = checkpoint.Stop{Uncommitted: len(g.unpublished()) > 0, Waiting: []string{hostName}}
		return stop, nil
	}
	return stop, err
}

// stopBeforeData ends the epoch if the pipeline is told to stop before data flows:
// everything up to the restored checkpoint is safe. Only what that one lists has
// the drain timeout to be published.
func (g *generation) stopBeforeData() {
	select {
	case <-g.ctx.Done():
		return
	case <-g.flowing:
		return
	case <-g.engine.stopping:
	}
	g.engine.setState(StateStopping)
	select {
	case <-g.ctx.Done():
	case <-g.settled:
	case <-time.After(g.pipeline.Checkpoint.DrainTimeout):
	}
	select {
	case <-g.flowing: // it is drive that stops it
	default:
		g.cancel(errStopped)
	}
}

// live takes the steps of the epoch.
func (g *generation) live() (checkpoint.Stop, error) {
	e := g.engine
	g.step(StepBeginning)
	history, choice, err := g.begin()
	if err != nil {
		return checkpoint.Stop{}, err
	}
	g.step(StepAdopted)
	if err := e.pool.ensure(g.ctx, g.plan); err != nil {
		return checkpoint.Stop{}, g.explain(err)
	}
	g.step(StepProcesses)
	g.watchProcesses()
	g.makeCommitters()
	finishing := choice.Record != nil && choice.Record.State == checkpoint.Finishing
	if !finishing { // nothing will be read any more, and the input may be gone
		if err := g.probe(); err != nil {
			return checkpoint.Stop{}, g.explain(err)
		}
	}
	if err := g.settle(g.ctx, history, choice); err != nil {
		return checkpoint.Stop{}, g.explain(err)
	}
	if finishing {
		g.step(StepMarkingFinish)
		if err := g.ledger.MarkFinished(g.ctx, choice.Record.N); err != nil {
			return checkpoint.Stop{}, fmt.Errorf("note that the pipeline has finished: %w", err)
		}
		g.step(StepMarkedFinished)
		return checkpoint.Stop{N: choice.Record.N, Finished: true}, nil
	}
	close(g.settled)
	return g.run(history, choice)
}

// begin makes the new epoch and picks the checkpoint that it starts from.
func (g *generation) begin() (checkpoint.History, checkpoint.Choice, error) {
	generation := checkpoint.Generation{Parallelism: map[string]int{}, Pool: g.pipeline.Checkpoint.ToleratedFailures + 4}
	for _, n := range g.pipeline.Nodes {
		generation.Parallelism[n.ID] = n.Parallelism
	}
	history, err := g.ledger.Begin(g.ctx, generation)
	if err != nil {
		return history, checkpoint.Choice{}, fmt.Errorf("begin an epoch of pipeline %s: %w", g.pipeline.Name, err)
	}
	g.uid, g.epoch = history.Lineage.UID, history.Lineage.Epoch
	g.log = g.log.With("epoch", g.epoch)
	g.step(StepBegun)
	g.engine.mu.Lock()
	g.engine.epoch = g.epoch
	g.engine.mu.Unlock()

	choice, err := checkpoint.Choose(g.ctx, g.storage, history, checkpoint.RestoreOptions{
		Retract:          g.allRetract(),
		AcceptDuplicates: g.engine.AcceptDuplicates,
	})
	if err != nil {
		return history, choice, err
	}
	for _, p := range choice.Passed {
		g.log.Error("a damaged checkpoint was passed over", "checkpoint", p.Record.N, "error", p.Err)
	}
	if err := compatible(g.pipeline, choice.Manifest); err != nil {
		return history, choice, err
	}
	if err := g.ledger.Adopt(g.ctx, g.epoch, choice); err != nil {
		return history, choice, fmt.Errorf("note the restored checkpoint: %w", err)
	}
	if choice.Record != nil {
		g.log.Info("restoring", "checkpoint", choice.Record.N, "of", choice.Record.CompletedAt.Local().Format(time.DateTime))
	}
	return history, choice, nil
}

func (g *generation) allRetract() bool {
	for _, n := range g.plan.sinks() {
		if !n.Capabilities.GetRetract() {
			return false
		}
	}
	return true
}

func (g *generation) owner(n *pipeline.Node) *pluginv1.Owner {
	return &pluginv1.Owner{
		Cluster: g.engine.Cluster, Pipeline: g.pipeline.Name, Uid: g.uid, Node: n.ID, Epoch: g.epoch,
	}
}

func (g *generation) makeCommitters() {
	for _, n := range g.plan.sinks() {
		c := &committer{node: n, client: g.engine.pool.get(g.plan.processOf(n)).Client(), owner: g.owner(n), log: g.log}
		g.committers[n.ID] = c
		g.publishers[n.ID] = &publisher{committer: c, node: n, through: newMailbox[uint64]()}
	}
}

// spawn starts a goroutine of this epoch; it must end when g.ctx does.
func (g *generation) spawn(run func()) { g.group.Go(run) }

// fail ends the epoch with its first cause.
func (g *generation) fail(err error) { g.cancel(err) }

// run opens every task, drives the checkpoints until the coordinator stops or
// something fails, and closes every task.
func (g *generation) run(h checkpoint.History, c checkpoint.Choice) (checkpoint.Stop, error) {
	entries, err := g.route(g.ctx, c.Manifest)
	if err != nil {
		return checkpoint.Stop{}, err
	}
	if g.wiring, err = newWiring(g.plan); err != nil {
		return checkpoint.Stop{}, err
	}
	g.snapshots = newSnapshots(g)
	g.snapshots.remember(c.Manifest)
	g.leader = newLeader(g, g.coordinator(h, c))
	for _, t := range g.plan.tasks {
		g.plans[t.id] = t
	}
	g.step(StepOpening)
	err = g.openTasks(c, entries)
	if err == nil {
		close(g.flowing)
		err = g.drive()
	}
	if err != nil {
		// While the processes are still there to be asked.
		err = g.explain(err)
	}
	g.step(StepClosing)
	g.closeTasks()
	g.wiring.close()
	return g.leader.stop, err
}

// drive carries the coordinator's actions out until it stops or anything fails.
func (g *generation) drive() error {
	g.engine.setRunning(g)
	g.step(StepRunning)
	defer g.engine.setRunning(nil)
	g.watchTasks()
	for _, p := range g.publishers {
		g.spawn(func() {
			if err := p.run(g.ctx, g.snapshots, func(n uint64) { g.publishedThrough(p.node.ID, n) }); err != nil && g.ctx.Err() == nil {
				g.leader.events.put(checkpoint.CommitFailed{Host: hostName, Err: err})
			}
		})
	}
	g.spawn(func() {
		select {
		case <-g.ctx.Done():
		case <-g.engine.stopping:
			g.engine.setState(StateStopping)
			g.leader.events.put(checkpoint.WantHalt{})
		}
	})
	g.leader.ledger.put(func(ctx context.Context) {
		if err := g.ledger.Collect(ctx, g.storage); err != nil && ctx.Err() == nil {
			g.log.Warn("state that earlier epochs left in storage stays", "error", err)
		}
	})
	return g.leader.run(g.ctx)
}

// coordinator makes the epoch's checkpoint coordinator.
func (g *generation) coordinator(h checkpoint.History, c checkpoint.Choice) *checkpoint.Coordinator {
	spec := g.pipeline.Checkpoint
	cfg := checkpoint.Config{
		Interval: spec.Interval, MinPause: spec.MinPause, Timeout: spec.Timeout,
		Tolerated: spec.ToleratedFailures, DrainTimeout: spec.DrainTimeout,
		Hosts: []string{hostName},
	}
	ids := map[string]string{}
	for _, n := range g.pipeline.Nodes {
		ids[n.Name] = n.ID
	}
	for _, n := range g.pipeline.Nodes {
		node := checkpoint.Node{Name: n.ID, Parallelism: n.Parallelism}
		for _, in := range n.Inputs {
			for _, e := range in.Edges {
				node.Inputs = append(node.Inputs, ids[e.From])
			}
		}
		cfg.Nodes = append(cfg.Nodes, node)
	}
	start := checkpoint.Start{
		UID: g.uid, Epoch: g.epoch, Leader: g.engine.Leadership.Epoch(),
		Newest: c.Record, Sequence: h.Sequence, Committed: h.Committed,
	}
	if c.Record != nil {
		start.Committed = max(start.Committed, c.Record.N)
	}
	return checkpoint.NewCoordinator(cfg, start)
}

func sortByCheckpoint(es []*pluginv1.Entry) {
	slices.SortStableFunc(es, func(a, b *pluginv1.Entry) int {
		switch {
		case a.Checkpoint < b.Checkpoint:
			return -1
		case a.Checkpoint > b.Checkpoint:
			return 1
		}
		return 0
	})
}
