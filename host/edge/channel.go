package edge

import (
	"context"
	"fmt"
	"time"

	"github.com/weirstream/weir/proto/wire"
)

// Channel is the queue from one task to another on one edge. The receiver's
// [Input.Open] makes it; one goroutine pushes.
type Channel struct {
	id   ID
	port uint32
	in   *Input // its lock guards what follows

	queue  queue
	own    int  // queued bytes in the channel's own room
	common int  // queued bytes at the expense of the common budget
	closed bool // by its sender
	turn   bool // is in the input's round
	held   bool // waits for the other channels' barrier
	full   bool // a Push waits for room
	room   chan struct{}

	watermark int64
	idle      idleness

	records, batches, bytes uint64
	blocked, waited         stopwatch // Push for room; the queue for alignment
}

// idleness is why a channel has no watermark to wait for.
type idleness uint8

const (
	waited  idleness = iota // it has: its watermark counts
	quiet                   // nothing comes
	noSplit                 // its source has given it no split
)

// ID returns the channel's name.
func (c *Channel) ID() ID { return c.id }

// Port is the receiving component's input port.
func (c *Channel) Port() uint32 { return c.port }

// Push queues an item. It takes the item's frame over, also when it fails. A
// batch waits for room, everything else goes at once. The error is [ErrClosed]
// or ctx's.
func (c *Channel) Push(ctx context.Context, it Item) error {
	e := entry{Item: it}
	if it.Kind == wire.KindBatch {
		e.size = it.Frame.Len()
	}
	in := c.in
	in.mu.Lock()
	defer in.mu.Unlock()
	for !c.closed && !in.closed && !c.admit(&e) {
		if err := c.awaitRoom(ctx); err != nil {
			it.Frame.Free()
			return err
		}
	}
	if c.closed || in.closed {
		it.Frame.Free()
		return ErrClosed
	}
	if e.size > 0 {
		c.batches++
		c.records += uint64(it.Records)
		c.bytes += uint64(e.size)
	}
	c.queue.push(e)
	in.arrived(c)
	return nil
}

// awaitRoom waits, with the lock given up, for a reason to try again.
func (c *Channel) awaitRoom(ctx context.Context) error {
	c.full = true
	c.blocked.start()
	c.in.mu.Unlock()
	defer func() {
		c.in.mu.Lock()
		c.full = false
		c.blocked.stop()
	}()
	select {
	case <-c.room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// admit charges a batch to the channel's own room or to the common budget. It
// reports whether either had room.
func (c *Channel) admit(e *entry) bool {
	in := c.in
	switch {
	case e.size == 0:
	case c.own == 0 || c.own+e.size <= in.opts.Reserve:
		c.own += e.size
	case c.common+e.size <= in.opts.Channel-in.opts.Reserve && in.common+e.size <= in.opts.Common:
		e.common = true
		c.common += e.size
		in.common += e.size
	default:
		return false
	}
	return true
}

// release gives back what admit charged, and wakes whom that helps.
func (c *Channel) release(e *entry) {
	switch {
	case e.size == 0:
		return
	case e.common:
		c.common -= e.size
		c.in.common -= e.size
		for _, other := range c.in.channels {
			other.wake()
		}
	default:
		c.own -= e.size
		c.wake()
	}
}

func (c *Channel) wake() {
	if c.full {
		signal(c.room)
	}
}

// Empty reports whether nothing is queued: whatever was pushed has left for the
// plugin.
func (c *Channel) Empty() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.queue.len() == 0
}

// Blocked is the time for which Push has waited for room.
func (c *Channel) Blocked() time.Duration {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.blocked.read()
}

// Close says that the sender is gone. A Push that waits returns [ErrClosed], and
// so does the receiver's Next, naming the channel: without this channel no
// barrier will ever be complete. It may be called again.
func (c *Channel) Close() {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.closed = true
	if c.in.failed == nil {
		c.in.failed = fmt.Errorf("%s: %w", c.id, ErrClosed)
	}
	c.wake()
	signal(c.in.arrival)
}

// signal leaves one wake-up in ch, which has room for one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// entry is a queued item and where its bytes are charged.
type entry struct {
	Item
	size   int
	common bool
}

// queue is a ring of entries; its length is a power of two, or zero.
type queue struct {
	ring       []entry
	head, tail uint
}

func (q *queue) len() int { return int(q.tail - q.head) }

func (q *queue) at(i uint) *entry { return &q.ring[i&uint(len(q.ring)-1)] }

// push appends e. Of watermarks and idleness that nobody has seen yet only the
// newest counts, so that no number of them fills the memory.
func (q *queue) push(e entry) {
	for q.len() > 0 {
		last := q.at(q.tail - 1).Kind
		superseded := last == wire.KindIdle && (e.Kind == wire.KindIdle || e.Kind == wire.KindWatermark) ||
			last == wire.KindWatermark && e.Kind == wire.KindWatermark
		if !superseded {
			break
		}
		q.tail--
	}
	if q.len() == len(q.ring) {
		grown := make([]entry, max(8, 2*len(q.ring)))
		n := uint(q.len())
		for i := range n {
			grown[i] = *q.at(q.head + i)
		}
		q.ring, q.head, q.tail = grown, 0, n
	}
	*q.at(q.tail) = e
	q.tail++
}

func (q *queue) pop() entry {
	at := q.at(q.head)
	e := *at
	*at = entry{}
	q.head++
	return e
}

// stopwatch adds up time. The zero value stands at zero, stopped.
type stopwatch struct {
	total time.Duration
	since time.Time
}

func (s *stopwatch) start() {
	if s.since.IsZero() {
		s.since = time.Now()
	}
}

func (s *stopwatch) stop() {
	s.total, s.since = s.read(), time.Time{}
}

func (s *stopwatch) read() time.Duration {
	if s.since.IsZero() {
		return s.total
	}
	return s.total + time.Since(s.since)
}
