package cluster

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/engine"
)

const (
	// balanceInterval is how often the leader looks whether tasks should move.
	balanceInterval = 500 * time.Millisecond
	// settleTime is how long hosts must have been there before tasks move to them
	// without need: one that comes and goes reshuffles nothing.
	settleTime = 10 * time.Second
)

// leadership is what the host that leads does: it looks after every pipeline.
type leadership struct {
	host     string
	store    coordination.Store
	lead     *coordination.Leadership
	registry *registry
	board    *board
	rifts    *rifts
	log      *slog.Logger
	// storage opens the checkpoint storage of a pipeline; release closes it.
	storage func(ctx context.Context, s Spec) (st *storage.Storage, release func(), err error)
	// failover is how long a host that was lost may take to come back.
	failover time.Duration
	settle   time.Duration
	trace    func(engine.CheckpointTrace)

	mu      sync.Mutex
	jobs    map[string]*job
	touch   map[string]chan struct{}
	movedAt time.Time
}

// run leads until the leadership is lost or ctx ends.
func (l *leadership) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	group.Go(func() {
		select {
		case <-l.lead.Lost():
			cancel()
		case <-ctx.Done():
		}
	})
	group.Go(func() {
		if err := l.registry.follow(ctx, l.store); err != nil && ctx.Err() == nil {
			l.log.Warn("the hosts of the cluster cannot be followed", "cause", err)
			cancel() // with the session, or soon after it
		}
	})
	if err := l.registry.ready(ctx); err != nil {
		return err
	}
	if err := persist(ctx, l.load); err != nil {
		return err
	}
	group.Go(func() { l.balance(ctx) })
	running := map[string]context.CancelFunc{}
	ended := make(chan string)
	pipelines := l.store.WatchChildren(ctx, pipelinesDir)
	var names []string
	for {
		now := map[string]bool{}
		for _, name := range names {
			now[name] = true
			if running[name] != nil {
				continue
			}
			jobCtx, stop := context.WithCancel(ctx)
			running[name] = stop
			j := newJob(l, name)
			l.mu.Lock()
			l.jobs[name] = j
			l.mu.Unlock()
			group.Go(func() {
				if err := j.run(jobCtx); err != nil && jobCtx.Err() == nil {
					j.log.Error("the pipeline is not looked after for the moment", "error", err)
					select {
					case <-time.After(time.Second):
					case <-jobCtx.Done():
					}
				}
				stop()
				select {
				case ended <- name:
				case <-ctx.Done():
				}
			})
		}
		for name, stop := range running {
			if !now[name] {
				stop()
			}
		}
		select {
		case c, ok := <-pipelines:
			if !ok || c.Err != nil {
				return c.Err
			}
			names = c.Names
		case name := <-ended:
			delete(running, name)
			l.mu.Lock()
			delete(l.jobs, name)
			l.mu.Unlock()
		case <-ctx.Done():
			return l.lead.Err()
		}
	}
}

// load reads what is assigned everywhere, so that nothing is placed on top of it.
func (l *leadership) load(ctx context.Context) error {
	names, err := l.store.Children(ctx, pipelinesDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		a, _, found, err := read[Assignment](ctx, l.store, assignmentPath(name))
		if err != nil {
			return err
		}
		if found && a.Phase != engine.PhaseClose {
			l.board.set(name, a.Tasks)
			for id := range a.Hosts {
				l.registry.expected(id)
			}
		}
	}
	return nil
}

// place places a pipeline's tasks and notes where. With a wait it is not to be used
// yet: a host that had tasks was lost and may come back.
func (l *leadership) place(j *job, s Spec, before engine.Placement) (p engine.Placement, wait time.Duration, err error) {
	if l.failover > 0 {
		for _, host := range before {
			if at, lost := l.registry.lostSince(host); lost {
				wait = max(wait, l.failover-time.Since(at))
			}
		}
		if wait > 0 {
			return nil, wait, nil
		}
	}
	p, err = l.board.place(j.name, func(used map[string]int) (engine.Placement, error) {
		return Schedule(s.Topology, l.rooms(j, s, used), before)
	})
	return p, 0, err
}

// rooms are the hosts as the scheduler sees them, for one pipeline.
func (l *leadership) rooms(j *job, s Spec, used map[string]int) []Room {
	var rooms []Room
	hosts := l.registry.all()
	for id, h := range hosts {
		rooms = append(rooms, Room{
			ID: id, Slots: h.Slots, Used: used[id], Closed: h.Draining,
			Unable: j.unable.why(id, h, s.Revision), Apart: l.rifts.apart(id, hosts),
		})
	}
	return rooms
}

// balance moves tasks off hosts that drain, and to hosts that have joined, one
// pipeline at a time.
func (l *leadership) balance(ctx context.Context) {
	ticker := time.NewTicker(balanceInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		hosts := l.registry.all()
		l.mu.Lock()
		jobs := maps.Clone(l.jobs)
		l.mu.Unlock()
		crowded := l.registry.settled(l.settle) && time.Since(l.movedAt) > l.settle
		for name, j := range jobs {
			before := l.board.get(name)
			_, s, known := j.wish()
			if before == nil || !known {
				continue
			}
			draining := ""
			for _, host := range before {
				if hosts[host].Draining {
					draining = host
				}
			}
			if draining != "" {
				j.move("host " + draining + " drains")
				continue
			}
			if !crowded {
				continue
			}
			after, err := Schedule(s.Topology, l.rooms(j, s, l.board.used(name)), before)
			if err == nil && Moves(before, after) > 0 {
				l.movedAt = time.Now()
				j.move("another host has room")
				break
			}
		}
	}
}

// touches returns the channel that says that a pipeline's status has changed.
func (l *leadership) touches(name string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.touch[name] == nil {
		l.touch[name] = make(chan struct{}, 1)
	}
	return l.touch[name]
}

func (l *leadership) touched(name string) {
	l.touches(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.touch[name] <- struct{}{}:
	default:
	}
}
