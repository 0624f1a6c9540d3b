package cluster

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// riftFailures is how many epochs must have failed, within riftWindow, because
	// one host did not reach another, until the two are kept apart for riftTime.
	riftFailures = 3
	riftWindow   = 10 * time.Minute
	riftTime     = 5 * time.Minute
)

// rifts knows which hosts do not reach each other although both are there. A host
// that starts again has a new chance.
type rifts struct {
	log *slog.Logger

	mu    sync.Mutex
	pairs map[[2]string]*rift // sorted ids
}

// rift is between two instances.
type rift struct {
	instances [2]string
	failures  []time.Time
	counted   map[string]uint64 // epoch by pipeline: each epoch counts once
	until     time.Time
}

func newRifts(log *slog.Logger) *rifts { return &rifts{log: log, pairs: map[[2]string]*rift{}} }

// note counts an epoch that has failed since one host did not reach another. The
// instances are those that the epoch was for.
func (r *rifts) note(pipeline string, f Failure, instances map[string]string) {
	if f.Peer == "" || instances[f.Host] == "" || instances[f.Peer] == "" {
		return
	}
	pair := [2]string{min(f.Host, f.Peer), max(f.Host, f.Peer)}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := [2]string{instances[pair[0]], instances[pair[1]]}
	p := r.pairs[pair]
	if p == nil || p.instances != now {
		p = &rift{instances: now, counted: map[string]uint64{}}
		r.pairs[pair] = p
	}
	if p.counted[pipeline] == f.Epoch {
		return
	}
	p.counted[pipeline] = f.Epoch
	var recent []time.Time
	for _, at := range p.failures {
		if time.Since(at) < riftWindow {
			recent = append(recent, at)
		}
	}
	p.failures = append(recent, time.Now())
	if len(p.failures) >= riftFailures {
		p.until = time.Now().Add(riftTime)
		r.log.Warn("two hosts do not reach each other: the tasks of a pipeline are on one of them at most", "hosts", pair, "for", riftTime, "cause", f.Error)
	}
}

// apart names the hosts, of those that are there, that do not reach one.
func (r *rifts) apart(id string, there map[string]Host) (others []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for pair, p := range r.pairs {
		a, b := pair[0], pair[1]
		if id != a && id != b || time.Now().After(p.until) || there[a].Instance != p.instances[0] || there[b].Instance != p.instances[1] {
			continue
		}
		if id == a {
			others = append(others, b)
		} else {
			others = append(others, a)
		}
	}
	return others
}
