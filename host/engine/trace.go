package engine

import (
	"time"

	"github.com/weirstream/weir/checkpoint"
)

// CheckpointTrace is what became of one checkpoint, and when.
type CheckpointTrace struct {
	Pipeline string
	N, Epoch uint64
	// Begun is when its barrier was sent, Acked when all hosts had answered, Manifest
	// when the write of its record began, Recorded when that was durable, and Committed
	// when its output was published and that noted. What was not reached is zero.
	Begun, Acked, Manifest, Recorded, Committed time.Time
	// Ended is the last of them, or when it failed.
	Ended time.Time
	// Acks hold each task's part, with its times.
	Acks []checkpoint.Ack
	// Err says why it failed, or that the epoch ended before its output was published.
	Err error
}

// traces follows the checkpoints of one epoch for OnCheckpoint. Its methods are called
// by the driver's goroutine, and do nothing where nobody wants to know.
type traces struct {
	tell func(CheckpointTrace)
	head checkpoint.Manifest
	open map[uint64]*CheckpointTrace
}

func newTraces(tell func(CheckpointTrace), head checkpoint.Manifest) *traces {
	return &traces{tell: tell, head: head, open: map[uint64]*CheckpointTrace{}}
}

// begin notes that a barrier is sent.
func (t *traces) begin(n uint64) {
	if t.tell != nil {
		t.open[n] = &CheckpointTrace{Pipeline: t.head.Pipeline, N: n, Epoch: t.head.Epoch, Begun: time.Now()}
	}
}

func (t *traces) acked(n uint64, acks []checkpoint.Ack) {
	if c := t.open[n]; c != nil {
		c.Acked, c.Acks = time.Now(), acks
	}
}

func (t *traces) recording(n uint64) {
	if c := t.open[n]; c != nil {
		c.Manifest = time.Now()
	}
}

func (t *traces) recorded(n uint64) {
	if c := t.open[n]; c != nil {
		c.Recorded = time.Now()
	}
}

// committed ends those whose output is published.
func (t *traces) committed(through uint64) {
	for n, c := range t.open {
		if n <= through && !c.Recorded.IsZero() {
			c.Committed = time.Now()
			t.end(n, nil)
		}
	}
}

// end tells what became of one.
func (t *traces) end(n uint64, err error) {
	c := t.open[n]
	if c == nil {
		return
	}
	delete(t.open, n)
	c.Ended, c.Err = time.Now(), err
	t.tell(*c)
}

// endAll tells of those that the epoch leaves behind.
func (t *traces) endAll(err error) {
	for n := range t.open {
		t.end(n, err)
	}
}
