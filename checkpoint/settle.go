package checkpoint

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// settling is what follows a record: its commits, savepoints, retention, and the
// end of the pipeline.
type settling struct {
	newest *Record
	// outputs are the checkpoints that list prepared output and that
	// committed_through does not cover, oldest first.
	outputs []uint64
	// answered is up to where each host has committed.
	answered  map[string]uint64
	committed uint64 // durable
	saving    repeated
	// unstored savepoints have their record, but not yet a place of their own.
	unstored map[string]uint64
	keeping  repeated
	keptName string
	// retention
	retaining, retainAgain bool
	// last: no checkpoint follows the newest.
	last    bool
	drain   time.Time
	marking repeated
}

// repeated is a write that is repeated until it succeeds.
type repeated struct {
	busy  bool
	retry time.Time // not before
}

// ready says that it may be tried now.
func (w repeated) ready(now time.Time) bool { return !w.busy && !now.Before(w.retry) }

// again plans another try.
func (w *repeated) again(now time.Time) { w.busy, w.retry = false, now.Add(recordRetry) }

func newSettling(s Start) settling {
	t := settling{
		newest: s.Newest, committed: s.Committed,
		answered: map[string]uint64{}, unstored: maps.Clone(s.Savepoints),
	}
	if t.unstored == nil {
		t.unstored = map[string]uint64{}
	}
	if r := s.Newest; r != nil && r.Committables > 0 && r.N > s.Committed {
		t.outputs = []uint64{r.N}
	}
	return t
}

func (t *settling) newestN() uint64 {
	if t.newest == nil {
		return 0
	}
	return t.newest.N
}

// answer notes how far a host has committed.
func (t *settling) answer(host string, through uint64) {
	t.answered[host] = max(t.answered[host], through)
}

// recorded notes and announces a new record, and lets older ones go.
func (c *Coordinator) recorded(r Record) {
	c.newest = &r
	if r.Committables > 0 {
		c.outputs = append(c.outputs, r.N)
	}
	if r.Savepoint != "" {
		c.unstored[r.Savepoint] = r.N
	}
	c.do(AnnounceCompleted{r})
	if c.retaining {
		c.retainAgain = true
		return
	}
	c.retaining = true
	c.do(Retain{})
}

// endsAt says that no checkpoint follows.
func (c *Coordinator) endsAt(r Record) {
	c.last, c.drain = true, c.now.Add(c.cfg.DrainTimeout)
	if r.State == Finished {
		c.finish(Stop{N: r.N, Finished: true})
	}
}

// through is up to where all hosts have committed.
func (c *Coordinator) through() uint64 {
	lowest := c.newestN()
	for _, h := range c.cfg.Hosts {
		lowest = min(lowest, c.answered[h])
	}
	return lowest
}

// waiting are the hosts that have not committed up to n.
func (c *Coordinator) waiting(n uint64) []string {
	var names []string
	if len(c.outputs) > 0 {
		for _, h := range slices.Sorted(slices.Values(c.cfg.Hosts)) {
			if c.answered[h] < n {
				names = append(names, h)
			}
		}
	}
	return names
}

// settle does what the answered commits make possible: first committed_through,
// then savepoints, then the end.
func (c *Coordinator) settle() {
	if len(c.outputs) > 0 && c.through() >= c.outputs[0] && c.saving.ready(c.now) {
		c.saving = repeated{busy: true}
		c.do(SaveCommitted{c.through()})
	}
	if c.keeping.ready(c.now) {
		if name, n, ok := c.storable(); ok {
			c.keeping, c.keptName = repeated{busy: true}, name
			c.do(StoreSavepoint{name, n})
		}
	}
	if !c.last {
		return
	}
	switch settled := len(c.outputs) == 0 && len(c.unstored) == 0; {
	case settled && c.newest.State == Finishing:
		if c.marking.ready(c.now) {
			c.marking = repeated{busy: true}
			c.do(MarkFinished{c.newestN()})
		}
	case settled:
		c.finish(Stop{N: c.newestN()})
		return
	}
	if !c.now.Before(c.drain) {
		waiting := c.waiting(c.newestN())
		c.finish(Stop{N: c.newestN(), Uncommitted: len(c.outputs) > 0, Waiting: waiting})
	}
}

// storable is the oldest savepoint whose output is all committed.
func (c *Coordinator) storable() (name string, n uint64, ok bool) {
	for s, at := range c.unstored {
		if (len(c.outputs) == 0 || at < c.outputs[0]) && (!ok || at < n || at == n && s < name) {
			name, n, ok = s, at, true
		}
	}
	return name, n, ok
}

func (c *Coordinator) committedSaved(ev CommittedSaved) {
	c.saving.busy = false
	if ev.Err != nil {
		if c.refused(ev.Err) {
			c.saving.again(c.now)
		}
		return
	}
	c.committed = max(c.committed, ev.Through)
	c.outputs = slices.DeleteFunc(c.outputs, func(n uint64) bool { return n <= c.committed })
	c.do(AnnounceCommitted{c.committed})
}

func (c *Coordinator) savepointStored(ev SavepointStored) {
	n, ok := c.unstored[ev.Name]
	if !ok || !c.keeping.busy || ev.Name != c.keptName {
		return
	}
	c.keeping.busy = false
	if ev.Err != nil && !errors.Is(ev.Err, ErrSavepointExists) {
		if c.refused(ev.Err) {
			c.keeping.again(c.now)
		}
		return
	}
	delete(c.unstored, ev.Name)
	c.do(SavepointDone{Name: ev.Name, N: n, Err: ev.Err})
}

func (c *Coordinator) markedFinished(ev MarkedFinished) {
	if !c.marking.busy {
		return
	}
	c.marking.busy = false
	switch {
	case ev.Err == nil:
		c.finish(Stop{N: c.newestN(), Finished: true})
	case c.refused(ev.Err):
		c.marking.again(c.now)
	}
}

func (c *Coordinator) retained(ev Retained) {
	c.retaining = false
	if ev.Err != nil {
		c.refused(ev.Err)
		return // the next record tries again
	}
	if c.retainAgain {
		c.retainAgain, c.retaining = false, true
		c.do(Retain{})
	}
}

// deadlines are when settle has something to do.
func (t *settling) deadlines() []time.Time {
	var at []time.Time
	for _, w := range []repeated{t.saving, t.keeping, t.marking} {
		if !w.busy && !w.retry.IsZero() {
			at = append(at, w.retry)
		}
	}
	if t.last {
		at = append(at, t.drain)
	}
	return at
}
