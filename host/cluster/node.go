package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/journal"
	"github.com/weirstream/weir/host/peer"
)

// Config is what a Node works with. Everything is required unless it says
// otherwise.
type Config struct {
	ID   peer.Identity // without an instance: each session is another
	Host Host          // Instance and Since are filled in
	// Open opens a session with the coordination service.
	Open func(ctx context.Context) (coordination.Store, error)
	// Peers begins another instance of this host, which finds others so.
	Peers func(instance string, find peer.Directory) engine.Peers
	Load  Loader
	// Storage opens the checkpoint storage of a pipeline, for its leader.
	Storage func(ctx context.Context, s Spec) (st *storage.Storage, release func(), err error)
	// Failover is how long a host that was lost may take to come back before its
	// tasks go elsewhere.
	Failover time.Duration
	// Settle is how long the cluster must have been unchanged before tasks move to
	// hosts that have joined; 0 means ten seconds.
	Settle time.Duration
	// OnCheckpoint, as in [engine.LeaderConfig]. Optional.
	OnCheckpoint func(engine.CheckpointTrace)
	Log          *slog.Logger
	// Journal says from which level on Log takes records. Optional.
	Journal *journal.Journal
}

// Node is one host of a cluster. Run is called once; the other methods may be
// called at any time from any goroutine.
type Node struct {
	Config
	drain chan struct{}
	once  sync.Once

	mu    sync.Mutex
	store coordination.Store // of the present session; nil between two
	agent *agent
	leads bool
}

// newInstance is a random name for one session of a host.
func newInstance() string { return rand.Text()[:12] }

// New returns a node that has not joined.
func New(c Config) *Node {
	c.Host.Since = time.Now().UTC().Truncate(time.Millisecond)
	if c.Settle <= 0 {
		c.Settle = settleTime
	}
	return &Node{Config: c, drain: make(chan struct{})}
}

// Drain asks the node to give its tasks away, after which Run returns.
func (n *Node) Drain() { n.once.Do(func() { close(n.drain) }) }

// Run takes part in the cluster until the node was drained, or ctx ends; then it
// closes its tasks at once. A session that is lost is followed by another, however
// long that takes; only where the first cannot be opened that is an error.
func (n *Node) Run(ctx context.Context) error {
	for joined := false; ; {
		err := n.session(ctx, &joined)
		switch {
		case errors.Is(err, errDrained):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrTaken), !joined:
			return err // whoever has started it is still there to read this
		}
		n.Log.Error("the session with the coordination service is over, opening another", "cause", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

var errDrained = errors.New("drained")

// ErrTaken says that another host runs under this name or address.
var ErrTaken = errors.New("another host of the cluster is in the way")

// session takes part with one session, until it ends.
func (n *Node) session(parent context.Context, joined *bool) error {
	store, err := n.Open(parent)
	if err != nil {
		return err
	}
	tasks := coordination.Combine(store, hostPause)
	defer tasks.Close()
	// The record of an earlier session may be there until the service has noticed its
	// end, and that of a process that was killed too: neither may pass for this one.
	n.ID.Instance = newInstance()
	n.Host.Instance = n.ID.Instance
	ctx, cancel := context.WithCancelCause(parent)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel(nil)
	gone := &lapses{}
	group.Go(func() { n.watchSession(ctx, store, gone, cancel) })
	if err := n.register(ctx, store); err != nil {
		return err
	}
	*joined = true
	n.Log.Info("joined the cluster", "cluster", n.ID.Cluster, "host", n.ID.Host, "instance", n.ID.Instance)
	a := newAgent(tasks, n.ID, n.Load, n.Log, gone)
	a.journal = n.Journal
	a.peers = n.Peers(n.ID.Instance, a.find)
	n.set(func() { n.store, n.agent = store, a })
	defer n.set(func() { n.store, n.agent = nil, nil })
	agentDone := make(chan struct{})
	agentCtx, stopAgent := context.WithCancel(ctx)
	defer stopAgent()
	group.Go(func() {
		defer close(agentDone)
		a.run(agentCtx)
	})
	group.Go(func() { n.obey(ctx, store) })
	leading, resign := context.WithCancel(ctx)
	defer resign()
	led := make(chan struct{})
	group.Go(func() {
		defer close(led)
		n.campaign(leading, store)
	})
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-n.drain:
	}
	n.Log.Info("draining: tasks move to other hosts")
	if err := n.leave(ctx, store, a); err != nil {
		return err
	}
	// Nothing is here any more: the next leader can do without this host.
	resign()
	<-led
	stopAgent()
	<-agentDone
	return errDrained
}

func (n *Node) set(do func()) {
	n.mu.Lock()
	do()
	n.mu.Unlock()
}

// watchSession stops the tasks when the session is no longer sure, and ends the
// session here when it is lost.
func (n *Node) watchSession(ctx context.Context, store coordination.Store, gone *lapses, cancel context.CancelCauseFunc) {
	for s := range store.WatchSession(ctx) {
		switch s {
		case coordination.SessionSuspended:
			gone.add()
		case coordination.SessionLost:
			cancel(coordination.ErrSessionLost)
			return
		}
	}
	cancel(coordination.ErrClosed) // nothing else is said of a session that was closed
}

// register makes this host known. A record of an earlier life is replaced: this
// process holds the lock of the host's name.
func (n *Node) register(ctx context.Context, store coordination.Store) error {
	hosts := newRegistry()
	if err := hosts.load(ctx, store); err != nil {
		return err
	}
	for id, h := range hosts.all() {
		if id != n.ID.Host && h.Address == n.Host.Address {
			return fmt.Errorf("%w: host %s advertises %s too: give this one another --advertise", ErrTaken, id, h.Address)
		}
	}
	return n.writeHost(ctx, store, n.Host)
}

func (n *Node) writeHost(ctx context.Context, store coordination.Store, h Host) error {
	path, data := hostPath(n.ID.Host), encode(h)
	return persist(ctx, func(ctx context.Context) error {
		for {
			old, rec, found, err := read[Host](ctx, store, path)
			if err != nil {
				return err
			}
			ops := []coordination.Op{coordination.CreateEphemeral(path, data)}
			if found {
				if same := encode(old); string(same) == string(data) {
					return nil // the reply was lost, and it was done
				}
				ops = append([]coordination.Op{coordination.Delete(path, rec.Version)}, ops...)
			}
			err = store.Commit(ctx, ops...)
			var conflict *coordination.ConflictError
			if errors.As(err, &conflict) {
				continue // it changed in between
			}
			return err
		}
	})
}

// campaign takes part in the election, over and over, and leads when it is won.
func (n *Node) campaign(ctx context.Context, store coordination.Store) {
	// What waits for one that is under way travels together; nothing waits longer.
	writing := coordination.Combine(store, 0)
	for ctx.Err() == nil {
		lead, err := coordination.Campaign(ctx, store, leaderName, encode(map[string]string{"host": n.ID.Host, "instance": n.ID.Instance}))
		if err != nil {
			if ctx.Err() == nil {
				n.Log.Warn("the election did not go well, trying again", "error", err)
				pause(ctx, time.Second)
			}
			continue
		}
		n.Log.Info("this host leads the cluster", "epoch", lead.Epoch())
		n.set(func() { n.leads = true })
		l := &leadership{
			host: n.ID.Host, store: writing, lead: lead, registry: newRegistry(), board: newBoard(), rifts: newRifts(n.Log), log: n.Log,
			storage: n.Storage, failover: n.Failover, settle: n.Settle,
			trace: n.OnCheckpoint,
			jobs:  map[string]*job{}, touch: map[string]chan struct{}{},
		}
		err = l.run(ctx)
		n.set(func() { n.leads = false })
		n.Log.Info("this host leads no more", "cause", err)
		// The context has perhaps ended, and the next leader waits for this.
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		if err := lead.Resign(rctx); err != nil {
			n.Log.Warn("the leadership ends with the session", "cause", err)
		}
		cancel()
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// leave says that this host takes no more tasks, and waits until it has none.
func (n *Node) leave(ctx context.Context, store coordination.Store, a *agent) error {
	if err := n.writeHost(ctx, store, n.host(true)); err != nil {
		return err
	}
	// Between two epochs it is empty too: the leader must have had the time to learn
	// that the next is not for this host.
	for since := time.Now(); time.Since(since) < leaveAfter; {
		if !a.idle() {
			since = time.Now()
		}
		pause(ctx, 50*time.Millisecond)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// leaveAfter is for how long a host must have been empty before it leaves.
const leaveAfter = time.Second

// host is this host's record.
func (n *Node) host(draining bool) Host {
	h := n.Host
	h.Draining = draining
	return h
}

// obey drains this host while somebody asks for it, and takes tasks again when that
// is withdrawn.
func (n *Node) obey(ctx context.Context, store coordination.Store) {
	draining := false
	for c := range store.Watch(ctx, drainPath(n.ID.Host)) {
		select {
		case <-n.drain: // it leaves for good
			return
		default:
		}
		if c.Err != nil || c.Found == draining {
			continue
		}
		draining = c.Found
		if err := n.writeHost(ctx, store, n.host(draining)); err != nil {
			n.Log.Warn("draining", "error", err)
		}
	}
}

// Store returns the present session, or why there is none.
func (n *Node) Store() (coordination.Store, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.store == nil {
		return nil, fmt.Errorf("host %s has no session with the coordination service at present", n.ID.Host)
	}
	return n.store, nil
}

// Leads says whether this host leads the cluster.
func (n *Node) Leads() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leads
}

// Workers returns what runs here, by pipeline.
func (n *Node) Workers() map[string]*engine.Worker {
	n.mu.Lock()
	a := n.agent
	n.mu.Unlock()
	if a == nil {
		return nil
	}
	return a.all()
}
