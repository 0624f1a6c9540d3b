package engine

import (
	"context"
	"errors"
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
	// closeTimeout is how long a task may take to answer Close; then its process
	// is killed.
	closeTimeout = 5 * time.Second
	// closeHurry is the same where the host is to end at once.
	closeHurry = time.Second
	// deathGrace is how long a failed task waits to learn that its process died,
	// which explains more.
	deathGrace = time.Second
)

// generation is one epoch of a pipeline on this host: from its beginning until
// every task here is closed again.
type generation struct {
	worker   *Worker
	pipeline *pipeline.Pipeline
	plan     *plan
	storage  *storage.Storage
	log      *slog.Logger
	restore  Restore
	up       Upward
	uid      string
	epoch    uint64
	restored uint64 // number of the restored checkpoint, or 0

	placement  Placement
	own        []*taskPlan           // the tasks of this host
	committers map[string]*committer // by id, of the sink nodes that have tasks here
	publishers map[string]*publisher
	snapshots  *snapshots
	wiring     *wiring // set in PhaseOpen
	tasks      map[task.ID]*task.Task
	plans      map[task.ID]*taskPlan

	ctx    context.Context
	cancel context.CancelCauseFunc
	group  sync.WaitGroup
	ended  bool

	mu sync.Mutex
	// early are requests for an enumerator that is not open yet.
	early     map[task.ID][]*pluginv1.SplitRequest
	answered  map[string]uint64 // by sink node id
	awaiting  map[task.ID]bool  // tasks that take no data until commits are answered
	begun     uint64            // newest barrier that was sent
	failed    bool
	held      map[string]bool // sources with splits in the restored checkpoint
	exhausted map[task.ID]bool
	tapped    map[insideTap]bool // the outputs inside plugins that are
}

// errEnded is the cause with which an epoch's goroutines end in good order.
var errEnded = errors.New("epoch ended")

func newGeneration(w *Worker, r Restore, placement Placement, up Upward) *generation {
	p, plan := w.Pipeline, w.plan
	if groups := fixedGroups(p.MaxParallelism, p.MaxParallelismChosen, r.Choice.Manifest); groups != p.MaxParallelism {
		p = withGroups(p, groups)
		plan = newPlan(p, w.ReadRecords)
	}
	g := &generation{
		worker: w, pipeline: p, plan: plan, storage: w.Storage, restore: r, up: up,
		log: w.Log.With("epoch", r.Epoch()),
		uid: r.UID(), epoch: r.Epoch(), restored: r.Choice.N(),
		placement:  placement,
		committers: map[string]*committer{},
		publishers: map[string]*publisher{},
		tasks:      map[task.ID]*task.Task{},
		plans:      map[task.ID]*taskPlan{},
		early:      map[task.ID][]*pluginv1.SplitRequest{},
		answered:   map[string]uint64{},
		awaiting:   map[task.ID]bool{},
		held:       map[string]bool{},
		exhausted:  map[task.ID]bool{},
	}
	for _, t := range g.plan.tasks {
		if g.hostOf(t.id) == w.Host {
			g.own = append(g.own, t)
			g.plans[t.id] = t
		}
	}
	g.ctx, g.cancel = context.WithCancelCause(context.Background())
	g.snapshots = newSnapshots(g)
	return g
}

// name names the epoch to other hosts.
func (g *generation) name() Run { return Run{UID: g.uid, Epoch: g.epoch} }

// hostOf says where a task runs.
func (g *generation) hostOf(id task.ID) string {
	if g.placement == nil {
		return g.worker.Host
	}
	return g.placement[id.String()]
}

// within returns a context that ends with ctx, and with the epoch.
func (g *generation) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(g.ctx, func() { cancel(context.Cause(g.ctx)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// prepare starts the plugin processes and lets the components ask the outside.
func (g *generation) prepare(ctx context.Context) error {
	if err := g.clearScratch(); err != nil {
		return err
	}
	if err := g.worker.pool.ensure(ctx, g.plan, g.processes()); err != nil {
		return err
	}
	g.worker.step(StepProcesses)
	g.watchProcesses()
	g.makeCommitters()
	if g.restore.Finishing() { // nothing will be read any more, and the input may be gone
		return nil
	}
	return g.probe(ctx)
}

// processes lists the keys of this host's processes, each once, in order of first
// use.
func (g *generation) processes() []processKey {
	var keys []processKey
	for _, t := range g.own {
		if !slices.Contains(keys, t.process) {
			keys = append(keys, t.process)
		}
	}
	return keys
}

// processOf is the process that answers what is asked of a node and not of a task:
// the one of its chain's first task here. It is false where the node has none here.
func (g *generation) processOf(n *pipeline.Node) (processKey, bool) {
	for _, t := range g.own {
		if t.chain == g.plan.member[n.Name].chain && t.id.Role != pluginv1.Role_ROLE_ENUMERATOR {
			return t.process, true
		}
	}
	return processKey{}, false
}

// settles says that this host publishes and sweeps for a sink node as a whole: it
// has the node's first task.
func (g *generation) settles(n *pipeline.Node) bool {
	return g.hostOf(task.ID{Node: g.plan.member[n.Name].chain.Name()}) == g.worker.Host
}

func (g *generation) owner(n *pipeline.Node) *pluginv1.Owner {
	return &pluginv1.Owner{
		Cluster: g.worker.Cluster, Pipeline: g.pipeline.Name, Uid: g.uid, Node: n.ID, Epoch: g.epoch,
	}
}

func (g *generation) makeCommitters() {
	for _, n := range g.plan.sinks() {
		key, ok := g.processOf(n)
		if !ok {
			continue
		}
		c := &committer{node: n, client: g.worker.pool.get(key).Client(), owner: g.owner(n), log: g.log, mask: g.worker.Pipeline.Secrets()}
		g.mu.Lock()
		g.committers[n.ID] = c
		g.mu.Unlock()
		g.publishers[n.ID] = &publisher{committer: c, node: n, through: newMailbox[uint64]()}
	}
}

// spawn starts a goroutine of this epoch; it must end when g.ctx does.
func (g *generation) spawn(run func()) { g.group.Go(run) }

// fail ends the epoch with its first cause, and tells the leader once it is known
// what lies behind it.
func (g *generation) fail(err error) {
	g.mu.Lock()
	first := !g.failed && g.ctx.Err() == nil
	g.failed = true
	g.mu.Unlock()
	if !first {
		return
	}
	g.cancel(g.mask(err))
	g.spawn(func() { g.up.Fail(g.mask(g.explain(err))) })
}

// mask keeps the secrets out of an error that a plugin may have worded.
func (g *generation) mask(err error) error { return g.worker.Pipeline.Secrets().Error(err) }

// openAll opens every task with its state. Data does not flow yet.
func (g *generation) openAll(ctx context.Context) error {
	entries, err := g.route(ctx, g.restore.Choice.Manifest)
	if err != nil {
		return err
	}
	w, err := newWiring(g)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.wiring = w
	g.mu.Unlock()
	w.accept()
	g.snapshots.remember(g.restore.Choice.Manifest)
	g.worker.step(StepOpening)
	if err := g.openTasks(ctx, g.restore.Choice, entries); err != nil {
		return err
	}
	g.tap()
	return nil
}

// run lets data flow, and publishes what checkpoints list from now on.
func (g *generation) run(ctx context.Context) error {
	if err := g.wiring.join(ctx); err != nil {
		return err
	}
	for _, t := range g.own {
		if err := g.tasks[t.id].Run(); err != nil {
			return err
		}
	}
	g.worker.step(StepRunning)
	g.watchTasks()
	for _, p := range g.publishers {
		g.spawn(func() {
			if err := p.run(g.ctx, g.snapshots, func(n uint64) { g.publishedThrough(p.node.ID, n) }); err != nil && g.ctx.Err() == nil {
				g.up.Report(checkpoint.CommitFailed{Host: g.worker.Host, Err: err})
			}
		})
	}
	return nil
}

// end closes every task and waits for all that the epoch has started.
func (g *generation) end(hurry bool) {
	if g.ended {
		return
	}
	g.ended = true
	g.cancel(errEnded)
	if len(g.tasks) > 0 {
		g.worker.step(StepClosing)
	}
	g.closeTasks(hurry)
	if g.wiring != nil {
		g.wiring.close()
	}
	g.group.Wait()
	g.removeScratch()
}
