package kafka

import (
	"context"
	"sync"

	"github.com/weirstream/weir/sdk"
)

// backlog counts the bytes of batches that are not delivered, and keeps the first
// error that ends the writer. It is safe for concurrent use.
type backlog struct {
	limit int

	mu      sync.Mutex
	bytes   int
	batches int
	err     error
	changed chan struct{} // closed and made anew when something is delivered, or fails
}

func newBacklog(limit int) *backlog {
	return &backlog{limit: limit, changed: make(chan struct{})}
}

// add waits for room and takes it; one batch always has room.
func (b *backlog) add(ctx context.Context, size int) error {
	err := b.await(ctx, func() bool {
		if b.batches > 0 && b.bytes+size > b.limit {
			return false
		}
		b.bytes += size
		b.batches++
		return true
	})
	return err
}

// empty waits until everything is delivered.
func (b *backlog) empty(ctx context.Context) error {
	return b.await(ctx, func() bool { return b.batches == 0 })
}

// await waits until ready, which is called with the lock held, says so.
func (b *backlog) await(ctx context.Context, ready func() bool) error {
	for {
		b.mu.Lock()
		err, changed := b.err, b.changed
		done := err == nil && ready()
		b.mu.Unlock()
		if err != nil || done {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *backlog) remove(size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes -= size
	b.batches--
	b.wake()
}

// fail ends all waits with an error.
func (b *backlog) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.wake()
}

func (b *backlog) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// settled reports that nothing is on its way and nothing has failed.
func (b *backlog) settled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err == nil && b.batches == 0
}

// held is a batch that is kept until all of its records are settled.
type held struct {
	batch  *sdk.Batch
	failed *sdk.Collector
	size   int
	log    *backlog
	// encoded are the values, where a format makes others of them.
	encoded *encoded

	mu    sync.Mutex
	spans int
}

// retain adds a span; the loop holds one itself while it adds them.
func (h *held) retain() {
	h.mu.Lock()
	h.spans++
	h.mu.Unlock()
}

// settle gives a span up.
func (h *held) settle() {
	h.mu.Lock()
	h.spans--
	last := h.spans == 0
	h.mu.Unlock()
	if last {
		h.batch.Release()
		h.log.remove(h.size)
	}
}

// span is a run of a batch's records that go to one partition.
type span struct {
	*held
	// index are the records; nil is all from at to end.
	index   []uint32
	at, end int
}

func (s *span) len() int { return s.end - s.at }

// value returns the value at place i as it is written.
func (s *span) value(i int, r sdk.Record) []byte {
	v := r.Value()
	if s.encoded == nil || v == nil {
		return v
	}
	if s.index != nil {
		i = int(s.index[i])
	}
	return s.encoded.value(i)
}

// record returns the record at place i, from at to end.
func (s *span) record(i int) sdk.Record {
	if s.index != nil {
		i = int(s.index[i])
	}
	return s.batch.At(i)
}
