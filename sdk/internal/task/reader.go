package task

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/weirstream/weir/proto/wire"
)

// handover is what one Read returned, on its way to the loop.
type handover struct {
	split    *split
	reader   Reader
	parts    []part
	failed   failedBatch
	dropped  uint64
	position any
	eof      bool
	call     string // of err
	err      error
}

// part is a batch for one output.
type part struct {
	outlet *outlet
	batch  *wire.Batch
}

func (h *handover) release() {
	for _, p := range h.parts {
		if p.batch != nil {
			p.batch.Release()
		}
	}
	h.parts = nil
	h.failed.release()
	h.failed = failedBatch{}
}

// start reads a split in a goroutine of its own, until its end.
func (r *reading) start(s *split) {
	data, start := Split{ID: s.id, Data: s.data}, s.start
	r.task.group.Go(func() {
		call, err := r.read(s, data, start)
		if err == nil || r.ctx.Err() != nil {
			return
		}
		r.give(&handover{split: s, call: call, err: err})
	})
}

// give hands over to the loop; it waits while the loop has enough.
func (r *reading) give(h *handover) bool {
	select {
	case r.handovers <- h:
		return true
	case <-r.ctx.Done():
		h.release()
		return false
	}
}

// read opens the split and reads it to its end.
func (r *reading) read(s *split, data Split, start []byte) (call string, err error) {
	var reader Reader
	err = r.member.again(r.ctx, "OpenSplit", func() error {
		return guard(func() (err error) {
			reader, err = r.member.source.OpenSplit(r.ctx, data, start)
			return err
		})
	}, "split", s.id)
	if err != nil {
		return "OpenSplit", err
	}
	defer func() {
		if err := guard(reader.Close); err != nil {
			r.member.log().Warn("closing a reader failed", "split", s.id, "error", err)
		}
	}()
	c := newCollector(r.member, s.id)
	c.failures = newFailures(r.task.pool, nil)
	defer c.drop()
	defer c.failures.drop()
	var idle idleReads
	for {
		h := &handover{split: s, reader: reader}
		before := c.count
		if !r.allow(c) {
			return "", nil
		}
		began := time.Now()
		err := r.member.again(r.ctx, "Read", func() error { return c.read(r.ctx, reader, h) }, "split", s.id)
		if err != nil {
			return "Read", err
		}
		r.task.read.Add(int64(c.count - before))
		worked := c.worked(began)
		empty := !c.collect(h)
		took := time.Since(began)
		if !empty {
			r.task.readBusy.Add(int64(worked))
		}
		eof := h.eof
		if !r.give(h) || eof {
			return "", nil
		}
		if err := idle.wait(r.ctx, empty, took); err != nil {
			return "Read", err
		}
	}
}

// allow lets a reader read as many records as are left of the limit, if there is one.
// Where none is left it waits until the task halts, and returns false.
func (r *reading) allow(c *collector) bool {
	limit := r.task.limits.read
	if limit == 0 {
		return true
	}
	left := limit - r.task.read.Load()
	if left <= 0 {
		<-r.ctx.Done()
		return false
	}
	c.most = c.count + uint64(left)
	return true
}

// read calls Read once. On an error but io.EOF nothing of it stays.
func (c *collector) read(ctx context.Context, reader Reader, h *handover) error {
	before := c.count
	c.from = before
	err := guard(func() (err error) {
		h.position, err = reader.Read(ctx, c.output())
		return err
	})
	h.eof = errors.Is(err, io.EOF)
	if c.err != nil {
		err = c.err
	} else if h.eof {
		err = nil
	}
	if err != nil {
		c.drop()
		c.failures.drop()
		c.count = before
	}
	return err
}

// worked is how long the read that began then has worked. One that comes back before it
// has a batch had no more to read, and before its first record it waited for that.
func (c *collector) worked(began time.Time) time.Duration {
	if !c.full && c.count > c.from {
		began = c.first
	}
	return time.Since(began)
}

// collect moves what Read appended into the hand-over, and says whether that was
// anything.
func (c *collector) collect(h *handover) bool {
	for _, l := range c.lanes {
		l.freeze(c)
		h.dropped += l.dropped
		l.dropped = 0
		for i, b := range l.staged {
			h.parts = append(h.parts, part{l.outlet, b})
			l.staged[i] = nil
		}
		l.staged = l.staged[:0]
	}
	c.reset()
	h.failed = c.failures.take()
	return len(h.parts) > 0 || h.failed.records != nil
}

// again repeats a call of the source while it asks for that. Barriers do not wait
// for it, so there is no bound.
func (m *member) again(ctx context.Context, call string, f func() error, attrs ...any) error {
	for try := 0; ; try++ {
		err := f()
		if err == nil {
			return nil
		}
		retry, ok := asRetry(err)
		if !ok || ctx.Err() != nil {
			return err
		}
		d := backoff(retry.After, try)
		m.stats.retries.Add(1)
		m.log().With(attrs...).Warn("a call is repeated", "call", call, "error", err, "after", d)
		if err := wait(ctx, d); err != nil {
			return err
		}
	}
}

// idleReads slows down a reader that returns at once without a record, again and
// again.
type idleReads struct{ pause time.Duration }

func (i *idleReads) wait(ctx context.Context, empty bool, took time.Duration) error {
	if !empty || took >= time.Millisecond {
		// A Read that waits for records by itself is not slowed down.
		i.pause = 0
		return nil
	}
	i.pause = min(max(2*i.pause, time.Millisecond), 20*time.Millisecond)
	return wait(ctx, i.pause)
}
