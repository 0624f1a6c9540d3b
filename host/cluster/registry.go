package cluster

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/weirstream/weir/coordination"
)

// registry knows the hosts of the cluster as they come, go and change. The leader
// keeps one.
type registry struct {
	changed broadcast

	mu     sync.Mutex
	hosts  map[string]Host
	seen   map[string]time.Time // when a host was first seen as this instance
	lost   map[string]time.Time // when a host was found gone
	loaded bool
}

func newRegistry() *registry {
	return &registry{hosts: map[string]Host{}, seen: map[string]time.Time{}, lost: map[string]time.Time{}}
}

// follow keeps the registry up to date until ctx or the session ends.
func (r *registry) follow(ctx context.Context, store coordination.Store) error {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	following := map[string]context.CancelFunc{}
	for l := range store.WatchChildren(ctx, hostsDir) {
		if l.Err != nil {
			return l.Err
		}
		now := map[string]bool{}
		for _, id := range l.Names {
			now[id] = true
			if following[id] == nil {
				// The first look is here, so that all that are listed are known.
				if err := r.look(ctx, store, id); err != nil {
					return err
				}
				hostCtx, stop := context.WithCancel(ctx)
				following[id] = stop
				group.Go(func() { r.followHost(hostCtx, store, id) })
			}
		}
		for id := range r.all() { // also those of an earlier session
			if !now[id] {
				if stop := following[id]; stop != nil {
					stop()
				}
				delete(following, id)
				r.set(id, nil)
			}
		}
		r.mu.Lock()
		r.loaded = true
		r.mu.Unlock()
		r.changed.announce()
	}
	return ctx.Err()
}

// load reads the hosts that are there now.
func (r *registry) load(ctx context.Context, store coordination.Store) error {
	var ids []string
	err := persist(ctx, func(ctx context.Context) (err error) {
		ids, err = store.Children(ctx, hostsDir)
		return err
	})
	for _, id := range ids {
		err = errors.Join(err, r.look(ctx, store, id))
	}
	return err
}

func (r *registry) look(ctx context.Context, store coordination.Store, id string) error {
	return persist(ctx, func(ctx context.Context) error {
		h, _, found, err := read[Host](ctx, store, hostPath(id))
		if err == nil && found {
			r.set(id, &h)
		}
		return err
	})
}

func (r *registry) followHost(ctx context.Context, store coordination.Store, id string) {
	for c := range store.Watch(ctx, hostPath(id)) {
		var h Host
		switch found, err := decode(c.Record, &h); {
		case c.Err != nil || err != nil:
			return
		case found && c.Found:
			r.set(id, &h)
		default:
			r.set(id, nil)
		}
	}
}

// set notes a host, or that it is gone.
func (r *registry) set(id string, h *Host) {
	r.mu.Lock()
	old, known := r.hosts[id]
	switch {
	case h == nil && known:
		delete(r.hosts, id)
		r.lost[id] = time.Now()
	case h != nil:
		if !known || old.Instance != h.Instance {
			r.seen[id] = time.Now()
		}
		r.hosts[id] = *h
		delete(r.lost, id)
	}
	r.mu.Unlock()
	r.changed.announce()
}

// ready waits until the hosts are known.
func (r *registry) ready(ctx context.Context) error {
	for {
		changed := r.changed.wait()
		r.mu.Lock()
		loaded := r.loaded
		r.mu.Unlock()
		if loaded {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// all returns every host.
func (r *registry) all() map[string]Host {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.hosts)
}

// alive says whether this instance of a host is there.
func (r *registry) alive(id, instance string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, ok := r.hosts[id]
	return ok && h.Instance == instance
}

// lostSince says when a host was lost, which is not there at present.
func (r *registry) lostSince(id string) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.lost[id]
	return at, ok
}

// settled says that every host has been there, unchanged, for this long.
func (r *registry) settled(d time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.hosts {
		if time.Since(r.seen[id]) < d {
			return false
		}
	}
	for _, at := range r.lost {
		if time.Since(at) < d {
			return false
		}
	}
	return true
}

// present says whether a host is there.
func (r *registry) present(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.hosts[id]
	return ok
}

// expected notes a host that has tasks: one that is not there was lost before anybody
// could see it, which is now as far as is known.
func (r *registry) expected(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.hosts[id]; !ok && r.lost[id].IsZero() {
		r.lost[id] = time.Now()
	}
}
