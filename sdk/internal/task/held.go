package task

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/weirstream/weir/proto/wire"
)

// Held counts the batches that a component keeps past its calls. It safe for
// concurrent use; a nil one counts nothing.
type Held struct{ bytes atomic.Int64 }

// Hold keeps a batch until one more Release.
func (h *Held) Hold(b *wire.Batch) {
	b.Hold()
	if h != nil {
		h.bytes.Add(int64(b.Size()))
	}
}

// Release gives up what Hold kept.
func (h *Held) Release(b *wire.Batch) {
	if h != nil {
		h.bytes.Add(-int64(b.Size())) // before the batch may become another
	}
	b.Release()
}

// relieve keeps what the components hold within the task's memory: above it, they
// flush before more comes in. Waiting for them instead could wait for ever, since
// one that gives up its batches at the next barrier only would never see it.
func (t *task) relieve() error {
	if !t.holdsTooMuch() {
		return nil
	}
	for _, m := range t.members {
		if err := m.flush(false); err != nil {
			return err
		}
		if err := m.flushOutlets(); err != nil {
			return err
		}
	}
	if !t.holdsTooMuch() {
		return nil
	}
	worst := slices.MaxFunc(t.members, func(a, b *member) int {
		return cmp.Compare(a.held.bytes.Load(), b.held.bytes.Load())
	})
	return worst.fault("Flush", fmt.Errorf("%d bytes of batches are still held after it, and the task may hold %d", worst.held.bytes.Load(), t.limits.memory))
}

func (t *task) holdsTooMuch() bool {
	var total int64
	for _, m := range t.members {
		total += m.held.bytes.Load()
	}
	return t.limits.memory > 0 && total > t.limits.memory
}

// flush tells a member to leave nothing undone of what came before.
func (m *member) flush(final bool) error {
	var err error
	switch {
	case m.operator != nil:
		err = m.call("Flush", func(ctx context.Context, out *Output) error { return m.operator.Flush(ctx, final, out) })
	case m.sink != nil:
		err = m.call("Flush", func(ctx context.Context, _ *Output) error { return m.sink.Flush(ctx) })
	}
	if err != nil {
		return err
	}
	return m.settleFailures()
}
