package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Until says when a run stops by itself, after a final checkpoint. The zero value is
// for ever.
type Until struct {
	// Records: every source has read so many since the last restore, or has ended. A
	// task of a source reads no more than that; 0 is no limit.
	Records uint64
	// CaughtUp: every source has been at the end of its input for caughtUpFor, as it
	// says itself, or has ended.
	CaughtUp bool
}

const (
	// untilPoll is how often the sources are looked at; they report once a second.
	untilPoll = 100 * time.Millisecond
	// caughtUpFor is longer than a source may take to report what it has not read.
	caughtUpFor = 3 * time.Second
	// unknownFor is how long a source may not know how far it is behind.
	unknownFor = 10 * time.Second
)

// LagUnknownError says that nobody can tell whether a source has caught up.
type LagUnknownError struct{ Source string }

func (e *LagUnknownError) Error() string {
	return fmt.Sprintf("source %s does not say how far it is behind its input's end, so nobody can tell when it has caught up: it was stopped after a final checkpoint", e.Source)
}

// CodeLagUnknown is the stable code of a LagUnknownError.
const CodeLagUnknown = "run.lag_unknown"

// ErrorCode implements explain.Coded.
func (e *LagUnknownError) ErrorCode() string { return CodeLagUnknown }

// watchUntil stops the run once the sources are where they should be.
func (e *Engine) watchUntil(ctx context.Context) error {
	tick := time.NewTicker(untilPoll)
	defer tick.Stop()
	since := map[string]time.Time{} // sources that have been at the end, since when
	unknown := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		all, open := true, false
		for _, s := range e.worker.sources() {
			if s.ended {
				continue
			}
			open = true
			switch {
			case e.until.Records > 0:
				all = all && (s.limited || s.read >= e.until.Records)
			case e.until.CaughtUp:
				at := s.at
				if s.unknown {
					if unknown[s.name].IsZero() {
						unknown[s.name] = at
					}
					if at.Sub(unknown[s.name]) > unknownFor {
						e.Stop()
						return &LagUnknownError{Source: s.name}
					}
				} else {
					delete(unknown, s.name)
				}
				switch {
				case !s.atEnd:
					delete(since, s.name)
				case since[s.name].IsZero():
					since[s.name] = at
				}
				all = all && s.atEnd && at.Sub(since[s.name]) >= caughtUpFor
			}
		}
		// Where all have ended the run ends by itself, and has finished.
		if all && open && e.leader.Status().State == StateRunning {
			e.Stop()
			return nil
		}
	}
}

// sourceState is where a source stands.
type sourceState struct {
	name    string
	at      time.Time
	read    uint64 // records since the last restore
	limited bool   // one of its tasks has read as many as it may
	ended   bool   // there is nothing more to read
	atEnd   bool   // nothing is left to read at present
	unknown bool   // it runs and does not say how much is left
}

// sources pictures every source of the pipeline on this host.
func (w *Worker) sources() []sourceState {
	g := w.generation()
	if g == nil {
		return []sourceState{{}}
	}
	var all []sourceState
	now := time.Now()
	for _, n := range w.Pipeline.Nodes {
		if n.Kind != pluginv1.Kind_KIND_SOURCE {
			continue
		}
		s := w.meter.source(n, now)
		s.ended = g.sourceEnded(n)
		// Before it has a split, a source that is behind says nothing of it.
		reads := g.reads(n)
		s.atEnd, s.unknown = s.atEnd && reads, s.unknown && reads
		all = append(all, s)
	}
	return all
}

// sourceEnded says that every task of a source is exhausted.
func (g *generation) sourceEnded(n *pipeline.Node) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range n.Parallelism {
		if !g.exhausted[task.ID{Node: g.plan.member[n.Name].chain.Name(), Index: i}] {
			return false
		}
	}
	return true
}

// reads says that a source has had something to read in this epoch.
func (g *generation) reads(n *pipeline.Node) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	chain := g.plan.member[n.Name].chain.Name()
	if g.held[chain] {
		return true
	}
	if g.wiring == nil {
		return false
	}
	r := g.wiring.routers[task.ID{Node: chain, Role: pluginv1.Role_ROLE_ENUMERATOR}]
	return r != nil && r.Assigned()
}

// source pictures a source by the newest reports of its tasks. One that counts no lag
// is at its end when it has done all that it knows of and reads nothing.
func (m *meter) source(n *pipeline.Node, now time.Time) sourceState {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := sourceState{name: n.Name, at: now}
	tasks := m.node(n.Name).tasks
	var p *Progress
	reading := false
	for _, t := range tasks {
		s.read += t.counters.out
		s.limited = s.limited || t.limited
		p = p.plus(t.progress)
		reading = reading || t.now(now).out > 0
	}
	switch {
	case len(tasks) < n.Parallelism: // one has said nothing yet
	case p == nil:
		s.unknown = true
	case p.Lag >= 0:
		s.atEnd = p.Lag == 0
	case p.Total > 0:
		s.atEnd = p.Done >= p.Total && !reading
	default:
		s.unknown = true
	}
	return s
}
