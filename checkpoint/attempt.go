package checkpoint

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// lateAcks is how many numbers later an ack of an aborted checkpoint may still come
// to have its objects deleted at once.
const lateAcks = 64

// attempt is the checkpoint under way.
type attempt struct {
	Pending
	phase    phase
	deadline time.Time // while it may time out
	retry    time.Time // when the outstanding write comes again; zero if it is under way
	acks     map[string]Ack
	record   Record
	failure  error // why it is being closed
}

// phase is what an attempt waits for.
type phase int

const (
	opening    phase = iota + 1 // the pending record
	collecting                  // acks
	storing                     // the manifest
	recording                   // the record
	confirming                  // what became of the record
	closing                     // the pending record's end
)

func (p phase) String() string {
	return [...]string{"", "opening", "collecting", "storing", "recording", "confirming", "closing"}[p]
}

// deadlines are when checkCurrent has something to do.
func (p *attempt) deadlines(pool bool) []time.Time {
	switch {
	case !p.retry.IsZero():
		return []time.Time{p.retry}
	case (p.phase == collecting || p.phase == storing) && !pool:
		return []time.Time{p.deadline}
	}
	return nil
}

func (p *attempt) missing() []string {
	var names []string
	for _, h := range p.Hosts {
		if _, ok := p.acks[h]; !ok {
			names = append(names, h)
		}
	}
	return names
}

// nextID names an attempt apart from all others of any leader.
func (c *Coordinator) nextID() string {
	return fmt.Sprintf("%d-%d-%d", c.start.Leader, c.start.Epoch, c.attempts+1)
}

func (c *Coordinator) open(p Pending) {
	c.attempts++
	c.want = false
	c.periodic = c.now.Add(c.cfg.Interval)
	c.current = &attempt{Pending: p, phase: opening, deadline: c.now.Add(c.cfg.Timeout), acks: map[string]Ack{}}
	c.do(OpenPending{p})
}

// resume goes on with what an earlier leader of this epoch has opened. Its
// barrier may not have reached every host.
func (c *Coordinator) resume(p Pending, acks []Ack) {
	c.current = &attempt{Pending: p, phase: collecting, deadline: c.now.Add(c.cfg.Timeout), acks: map[string]Ack{}}
	c.do(SendBarrier{p.Barrier})
	for _, a := range acks {
		c.acked(a)
	}
}

func (c *Coordinator) opened(ev PendingOpened) {
	p := c.current
	if p == nil || p.phase != opening {
		return
	}
	switch {
	case ev.Err == nil:
		p.N, p.phase = ev.N, collecting
		for _, n := range p.Ended {
			c.ended[n] = true
		}
		c.do(SendBarrier{p.Barrier})
	case !c.refused(ev.Err):
	case passing(ev.Err):
		p.retry = c.now.Add(recordRetry)
	default: // it has no number, and nobody has heard of it
		c.current = nil
		c.failed(p, fmt.Errorf("open checkpoint: %w", ev.Err))
	}
}

func (c *Coordinator) acked(a Ack) {
	p := c.current
	if p == nil || p.N != a.N || p.phase == opening {
		// Only what was closed durably can no longer become part of a record.
		if c.aborted[a.N] {
			c.do(DiscardState{a})
		}
		return
	}
	if _, twice := p.acks[a.Host]; twice || !slices.Contains(p.Hosts, a.Host) {
		return
	}
	switch p.phase {
	case closing: // discarded with the others
		p.acks[a.Host] = a
	case collecting:
		p.acks[a.Host] = a
		if len(p.acks) == len(p.Hosts) {
			p.phase = storing
			acks := slices.SortedFunc(maps.Values(p.acks), func(a, b Ack) int { return cmp.Compare(a.Host, b.Host) })
			c.do(WriteManifest{p.N, acks})
		}
	}
}

func (c *Coordinator) declined(ev Declined) {
	if p := c.current; p != nil && p.N == ev.N && p.phase == collecting {
		c.abort(fmt.Errorf("snapshot on host %s: %w", ev.Host, ev.Err))
	}
}

func (c *Coordinator) poolWaiting(ev PoolWaiting) {
	waited := len(c.pool) > 0
	if ev.Waiting {
		c.pool[ev.Host] = true
		return
	}
	delete(c.pool, ev.Host)
	if p := c.current; p != nil && waited && len(c.pool) == 0 {
		p.deadline = c.now.Add(c.cfg.Timeout)
	}
}

func (c *Coordinator) manifestWritten(ev ManifestWritten) {
	p := c.current
	if p == nil || p.N != ev.N || p.phase != storing {
		if ev.Err == nil {
			c.do(DiscardObject{ev.Manifest})
		}
		return
	}
	if ev.Err != nil {
		c.abort(fmt.Errorf("store manifest: %w", ev.Err))
		return
	}
	p.phase = recording
	p.record = Record{
		N: p.N, UID: c.start.UID, Epoch: p.Epoch, Prev: c.newestN(), Manifest: ev.Manifest, State: Running,
		Savepoint: p.Savepoint, Ended: p.Ended, Halt: p.Halt,
		Committables: ev.Committables, Bytes: ev.Bytes, OpenedAt: p.OpenedAt, CompletedAt: c.now,
	}
	if p.Final {
		p.record.State = Finishing
	}
	c.do(WriteRecord{p.record})
}

func (c *Coordinator) recordWritten(ev RecordWritten) {
	p := c.current
	if p == nil || p.N != ev.N || p.phase != recording && p.phase != confirming {
		return
	}
	switch {
	case ev.Err == nil:
		c.complete(p)
	case !c.refused(ev.Err):
	case passing(ev.Err):
		p.phase, p.retry = confirming, c.now.Add(recordRetry)
	default:
		c.do(DiscardObject{p.record.Manifest})
		c.abort(fmt.Errorf("write record: %w", ev.Err))
	}
}

// complete is the moment from which the checkpoint exists.
func (c *Coordinator) complete(p *attempt) {
	c.current = nil
	c.failures, c.failure = 0, nil
	c.pause = c.now.Add(c.cfg.MinPause)
	c.recorded(p.record)
	for _, h := range p.Hosts {
		if part := p.acks[h].Part; part != nil {
			c.do(DiscardObject{*part})
		}
	}
	if p.Halt || p.Final {
		if p.Savepoint == c.haltName {
			c.haltName = ""
		}
		c.endsAt(p.record)
	}
}

// abort gives the checkpoint up: its record will not be written. The pending
// record goes first, since a new leader would make a checkpoint of it.
func (c *Coordinator) abort(err error) {
	p := c.current
	p.phase, p.failure, p.retry = closing, err, time.Time{}
	c.do(ClosePending{p.N})
}

func (c *Coordinator) closed(ev PendingClosed) {
	p := c.current
	if p == nil || p.N != ev.N || p.phase != closing {
		return
	}
	if ev.Err != nil {
		if c.refused(ev.Err) {
			p.retry = c.now.Add(recordRetry)
		}
		return
	}
	c.current = nil
	c.aborted[p.N] = true
	maps.DeleteFunc(c.aborted, func(n uint64, _ bool) bool { return n+lateAcks < p.N })
	c.do(AnnounceAborted{p.N, p.failure})
	for _, h := range p.Hosts {
		if a, ok := p.acks[h]; ok {
			c.do(DiscardState{a})
		}
	}
	c.failed(p, fmt.Errorf("checkpoint %d: %w", p.N, p.failure))
}

// failed counts a checkpoint that came to nothing.
func (c *Coordinator) failed(p *attempt, err error) {
	c.pause = c.now.Add(c.cfg.MinPause)
	c.retry = c.now.Add(failedRetry)
	if c.cfg.Interval > 0 {
		c.retry = c.now.Add(min(failedRetry, c.cfg.Interval))
	}
	if p.Savepoint != "" && !p.Halt {
		c.do(SavepointDone{Name: p.Savepoint, Err: err})
	}
	c.failure = err
	if len(c.pool) > 0 { // it could not have succeeded
		return
	}
	if c.failures++; c.failures > c.cfg.Tolerated {
		c.fail(fmt.Errorf("%d checkpoints failed in a row, %d are tolerated: %w", c.failures, c.cfg.Tolerated, err))
	}
}

// checkCurrent repeats writes and ends what takes too long.
func (c *Coordinator) checkCurrent() {
	p := c.current
	if p == nil {
		return
	}
	if !p.retry.IsZero() {
		if !c.now.Before(p.retry) {
			p.retry = time.Time{}
			c.again(p)
		}
		return
	}
	if (p.phase == collecting || p.phase == storing) && len(c.pool) == 0 && !c.now.Before(p.deadline) {
		c.abort(timedOut(p, c.cfg.Timeout))
	}
}

// again repeats the write whose outcome the attempt waits for.
func (c *Coordinator) again(p *attempt) {
	switch p.phase {
	case opening:
		c.do(OpenPending{p.Pending})
	case confirming:
		c.do(ConfirmRecord{p.record})
	case closing:
		c.do(ClosePending{p.N})
	}
}

func timedOut(p *attempt, after time.Duration) error {
	if missing := p.missing(); len(missing) > 0 {
		return fmt.Errorf("%w after %s, no answer from %s", ErrTimeout, after, strings.Join(missing, ", "))
	}
	return fmt.Errorf("%w after %s, its manifest is not stored", ErrTimeout, after)
}
