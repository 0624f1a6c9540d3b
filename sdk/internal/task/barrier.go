package task

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// barrier is the task's part of a checkpoint. The synchronous part brings every
// member, in the order of the chain, to where nothing that came before is left
// undone; then the barrier passes, and the snapshot follows on Control.
func (t *task) barrier(b *pluginv1.Barrier) error {
	if b.GetCheckpoint() <= t.passed {
		return protocolErrorf("Barrier of checkpoint %d after that of %d", b.GetCheckpoint(), t.passed)
	}
	if t.ended && !b.GetEnd() {
		return protocolErrorf("Barrier of checkpoint %d without the end of input, which an earlier one had", b.GetCheckpoint())
	}
	if b.GetEnd() && t.reading != nil && len(t.reading.splits) > 0 {
		return protocolErrorf("Barrier of checkpoint %d with the end of input, but %d splits are held", b.GetCheckpoint(), len(t.reading.splits))
	}
	start := time.Now()
	t.ended = t.ended || b.GetEnd()
	if b.GetHalt() && t.reading != nil {
		t.reading.halt()
	}
	var prepared []*pluginv1.Entry
	for _, m := range t.members {
		entries, err := m.synchronous(b)
		if err != nil {
			return err
		}
		prepared = append(prepared, entries...)
	}
	t.halted = b.GetHalt()
	if err := t.send(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: b}}); err != nil {
		return err
	}
	t.passed, t.changed = b.GetCheckpoint(), false
	return t.snapshot(b.GetCheckpoint(), start, prepared)
}

// synchronous flushes a member and prepares what a sink has written.
func (m *member) synchronous(b *pluginv1.Barrier) ([]*pluginv1.Entry, error) {
	final := b.GetEnd() && !m.finalTold && !m.spec.GetEnded()
	m.finalTold = m.finalTold || b.GetEnd()
	if err := m.flush(final); err != nil {
		return nil, err
	}
	if m.sink == nil {
		if m.timing != nil && b.GetEnd() {
			m.timing.finish()
			if err := m.timing.pass(); err != nil {
				return nil, err
			}
		}
		return nil, m.flushOutlets()
	}
	var entries []*pluginv1.Entry
	err := m.call("Prepare", func(ctx context.Context, _ *Output) (err error) {
		entries, err = m.sink.Prepare(ctx, Barrier{
			Checkpoint: b.GetCheckpoint(),
			// After a halt nobody may be left to finish what is unfinished.
			Roll:  b.GetRoll() || b.GetHalt(),
			Final: b.GetEnd(),
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := m.own(entries, func(k pluginv1.Entry_Kind) bool { return k == pluginv1.Entry_KIND_COMMITTABLE }); err != nil {
		return nil, m.fault("Prepare", err)
	}
	// A failure that came late still leaves before the barrier.
	if err := m.settleFailures(); err != nil {
		return nil, err
	}
	return entries, m.flushOutlets()
}

// snapshot asks every member for its state. The entries are plain data, and those
// of keyed state are made as they are sent: the loop goes on meanwhile.
func (t *task) snapshot(checkpoint uint64, start time.Time, entries []*pluginv1.Entry) error {
	var later []memberLater
	for _, m := range t.members {
		if m.stateful != nil {
			err := m.call("Snapshot", func(context.Context, *Output) error {
				l, err := m.stateful.Capture(checkpoint)
				if err == nil {
					later = append(later, memberLater{m, l})
				}
				return err
			})
			if err != nil {
				releaseAll(later)
				return err
			}
		}
		own, err := m.snapshot()
		if err != nil {
			releaseAll(later)
			return err
		}
		entries = append(entries, own...)
		if m.timing != nil {
			times, err := m.timing.snapshot()
			if err != nil {
				releaseAll(later)
				return m.fault("Snapshot", err)
			}
			entries = append(entries, times...)
		}
	}
	if t.reading != nil {
		splits, err := t.reading.snapshot(checkpoint)
		if err != nil {
			releaseAll(later)
			return err
		}
		entries = append(entries, splits...)
	}
	t.out.putSnapshot(&snapshot{
		entries: entries,
		later:   later,
		done: &pluginv1.SnapshotDone{
			Checkpoint:  checkpoint,
			Synchronous: durationpb.New(time.Since(start)),
		},
	})
	return nil
}

func (m *member) snapshot() (entries []*pluginv1.Entry, err error) {
	var ask func(context.Context) ([]*pluginv1.Entry, error)
	switch {
	case m.source != nil:
		ask = m.source.Snapshot
	case m.operator != nil:
		ask = m.operator.Snapshot
	default:
		ask = m.sink.Snapshot
	}
	err = m.call("Snapshot", func(ctx context.Context, _ *Output) (err error) {
		entries, err = ask(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := m.own(entries, m.stateKind); err != nil {
		return nil, m.fault("Snapshot", err)
	}
	return entries, nil
}

// stateKind says whether a component of this kind keeps entries of that kind.
func (m *member) stateKind(k pluginv1.Entry_Kind) bool {
	switch k {
	case pluginv1.Entry_KIND_LIST, pluginv1.Entry_KIND_BROADCAST:
		return true
	case pluginv1.Entry_KIND_KEY_GROUP, pluginv1.Entry_KIND_FILE:
		return m.operator != nil
	case pluginv1.Entry_KIND_WRITER:
		return m.sink != nil
	}
	return false
}

// own marks entries as the member's.
func (m *member) own(entries []*pluginv1.Entry, allowed func(pluginv1.Entry_Kind) bool) error {
	for _, e := range entries {
		if !allowed(e.GetKind()) {
			return fmt.Errorf("%s does not belong there", describeEntry(e))
		}
		e.Component = uint32(m.index)
	}
	return nil
}
