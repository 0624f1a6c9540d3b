package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/journal"
	"github.com/weirstream/weir/host/peer"
)

// hostPause is the least time between two commits of a host about its tasks: what
// it has to say of all its pipelines travels together.
const hostPause = 50 * time.Millisecond

// agent runs what is assigned to this host, in one session.
type agent struct {
	store  coordination.Store
	id     peer.Identity
	peers  engine.Peers
	lease  time.Duration
	load   Loader
	log    *slog.Logger
	lapses *lapses
	// journal says what log takes; nil for all.
	journal *journal.Journal

	mu      sync.Mutex
	workers map[string]*engine.Worker
	busy    map[string]bool // pipelines with tasks here
	runs    map[engine.Run]Assignment
}

func newAgent(store coordination.Store, id peer.Identity, load Loader, log *slog.Logger, gone *lapses) *agent {
	return &agent{
		store: store, id: id, lease: store.Lease().Timeout, load: load, log: log, lapses: gone,
		workers: map[string]*engine.Worker{}, busy: map[string]bool{}, runs: map[engine.Run]Assignment{},
	}
}

// run follows the pipelines in which this host has a part until ctx ends, and
// returns when all tasks here are closed.
func (a *agent) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	following := map[string]context.CancelFunc{}
	ended := make(chan string)
	assigned := a.store.WatchChildren(ctx, assignedDir(a.id.Host))
	group.Go(func() { a.measure(ctx) })
	var names []string
	for {
		for _, name := range names {
			if following[name] != nil {
				continue
			}
			followed, stop := context.WithCancel(ctx)
			following[name] = stop
			f := &follower{
				agent: a, name: name, log: a.log.With("pipeline", name),
				ledger: checkpoint.NewLedger(a.store, nil, name),
			}
			group.Go(func() {
				f.follow(followed)
				stop()
				select {
				case ended <- name:
				case <-ctx.Done():
				}
			})
		}
		for name, stop := range following {
			if !slices.Contains(names, name) {
				stop() // a later epoch has no part for this host
			}
		}
		select {
		case l, ok := <-assigned:
			if !ok || l.Err != nil {
				return
			}
			names = l.Names
		case name := <-ended:
			delete(following, name)
		case <-ctx.Done():
			return
		}
	}
}

// leveled notes what is to be logged of a pipeline.
func (a *agent) leveled(name string, l journal.Levels) {
	if a.journal == nil {
		return
	}
	a.journal.SetLevels(name, l)
	a.mu.Lock()
	w := a.workers[name]
	a.mu.Unlock()
	if w != nil {
		w.LevelsChanged()
	}
}

// taking notes the epoch that this host has a part in, so that its peers are found.
func (a *agent) taking(as Assignment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.runs[engine.Run{UID: as.UID, Epoch: as.Epoch}] = as
}

// left forgets an epoch.
func (a *agent) left(as Assignment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.runs, engine.Run{UID: as.UID, Epoch: as.Epoch})
}

// find implements [peer.Directory]: whoever assigns an epoch says where its hosts are.
func (a *agent) find(r engine.Run, host string) (peer.Address, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	as, ok := a.runs[r]
	if !ok || as.Hosts[host] == "" {
		return peer.Address{}, fmt.Errorf("host %s has no part in epoch %d", host, r.Epoch)
	}
	return peer.Address{Address: as.Addresses[host], Instance: as.Hosts[host]}, nil
}

// running notes the worker of a pipeline, or that there is none.
func (a *agent) running(name string, w *engine.Worker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w == nil {
		delete(a.workers, name)
	} else {
		a.workers[name] = w
	}
}

// occupied notes whether a pipeline has tasks here.
func (a *agent) occupied(name string, busy bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if busy {
		a.busy[name] = true
	} else {
		delete(a.busy, name)
	}
}

// idle says that no pipeline has tasks here.
func (a *agent) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.busy) == 0
}

// all returns the workers that there are, by pipeline.
func (a *agent) all() map[string]*engine.Worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.workers)
}

// progressInterval is the least time between two writes of a pipeline's progress.
const progressInterval = 2 * time.Second

// measure writes down how far each pipeline's tasks here have come, as long as that
// changes.
func (a *agent) measure(ctx context.Context) {
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	written := map[string]string{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		workers := a.all()
		maps.DeleteFunc(written, func(name, _ string) bool { return workers[name] == nil })
		var group sync.WaitGroup
		var mu sync.Mutex
		for name, w := range workers {
			p := Progress{WorkerStatus: w.Status(), Tasks: w.Tasks(), Instance: a.id.Instance, Epoch: w.Epoch()}
			p.Nodes = w.Own(p.Nodes)
			state := string(encode(p))
			if written[name] == state {
				continue
			}
			p.At = time.Now()
			group.Go(func() { // side by side, so that they travel together
				if coordination.Put(ctx, a.store, progressPath(name, a.id.Host), encode(p)) == nil {
					mu.Lock()
					written[name] = state
					mu.Unlock()
				}
			})
		}
		group.Wait()
	}
}
