package task

import (
	"context"
	"fmt"
	"slices"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
	"github.com/weirstream/weir/sdk/internal/eventtime"
)

// duePoll is how often sinks are asked whether output waits to be rolled.
const duePoll = 250 * time.Millisecond

// work is the loop of a worker: it alone runs the chain.
func (t *task) work() error {
	defer func() {
		for _, m := range t.members {
			m.release()
		}
	}()
	t.linger = time.NewTimer(time.Hour)
	t.linger.Stop()
	defer t.linger.Stop()
	defer t.alarm.off()
	due := time.NewTicker(duePoll)
	defer due.Stop()
	if t.members[0].isSource() {
		if err := t.startReading(); err != nil {
			return err
		}
		defer t.reading.halt()
	}
	for _, m := range t.members {
		if m.timing != nil && m.spec.GetEnded() {
			m.timing.finish()
		}
	}
	if err := t.passTimes(); err != nil {
		return err
	}
	t.setAlarm()
	for {
		if err := t.turn(due.C); err != nil {
			return err
		}
		if err := t.passTimes(); err != nil {
			return err
		}
		if err := t.settle(); err != nil {
			return err
		}
		t.setAlarm()
	}
}

// turn waits for one thing to happen and treats it. To a source, what the host
// sends comes before what readers have read, so that a barrier does not wait in
// line.
func (t *task) turn(due <-chan time.Time) error {
	// A timer that is due comes before what came after.
	select {
	case <-t.alarm.reached:
		t.alarm.off()
		return t.onTime()
	default:
	}
	var read <-chan *handover
	if t.reading != nil {
		select {
		case f := <-t.in:
			return t.receive(f)
		default:
		}
		if !t.halted {
			read = t.reading.handovers
		}
	}
	select {
	case f := <-t.in:
		return t.receive(f)
	case h := <-read:
		return t.reading.take(h)
	case <-t.sender.idle:
		return t.flushOutlets()
	case <-t.linger.C:
		return t.flushOutlets()
	case <-t.alarm.reached:
		t.alarm.off()
		return t.onTime()
	case <-t.late:
		return t.settleLate()
	case <-t.finished.ready:
		t.outcomes()
		return nil
	case <-due:
		if err := t.onTime(); err != nil {
			return err
		}
		if err := t.tickTimes(); err != nil {
			return err
		}
		return t.askDue()
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	}
}

// settle ends a turn: what was put out is sent at once when nothing is in flight,
// and otherwise when that is over or the linger is.
func (t *task) settle() error {
	gathered := false
	for _, m := range t.members {
		for _, o := range m.outlets {
			gathered = gathered || o.gather.Len() > 0
		}
	}
	switch {
	case !gathered:
		t.linger.Stop()
		t.lingers = false
	case !t.sender.busy():
		return t.flushOutlets()
	case !t.lingers && t.limits.linger > 0:
		t.linger.Reset(t.limits.linger)
		t.lingers = true
	}
	return nil
}

// flushOutlets sends all that was gathered, in the order of the chain.
func (t *task) flushOutlets() error {
	t.lingers = false
	for _, m := range t.members {
		if err := m.flushOutlets(); err != nil {
			return err
		}
	}
	return nil
}

func (m *member) flushOutlets() error {
	for _, o := range m.outlets {
		if err := o.flush(); err != nil {
			return err
		}
	}
	return nil
}

// receive treats a frame of the host.
func (t *task) receive(f inFrame) error {
	defer f.release()
	if t.halted && !f.halts() {
		return protocolErrorf("%s after a barrier with halt", f.name())
	}
	if f.batch != nil {
		if t.ended {
			return protocolErrorf("Batch after the end of input")
		}
		if err := t.relieve(); err != nil {
			return err
		}
		t.change()
		return t.members[0].process(f.port, f.batch)
	}
	switch k := f.message.GetKind().(type) {
	case *pluginv1.Frame_Barrier:
		return t.barrier(k.Barrier)
	case *pluginv1.Frame_Watermark:
		t.change()
		return t.members[0].onWatermark(k.Watermark.GetTime())
	case *pluginv1.Frame_Idle:
		return t.members[0].onIdle(k.Idle.GetNoSplit())
	case *pluginv1.Frame_SplitOpened:
		return t.members[0].onSplit(k.SplitOpened.GetId(), k.SplitOpened.GetOrdinal(), false)
	case *pluginv1.Frame_SplitEnded:
		return t.members[0].onSplit(k.SplitEnded.GetId(), 0, true)
	case *pluginv1.Frame_Assign:
		return t.reading.assign(k.Assign.GetSplits())
	case *pluginv1.Frame_NoMoreSplits:
		t.reading.noMoreSplits()
		return nil
	}
	return protocolErrorf("%s to task %s", f.name(), t)
}

// halts says that the frame is a barrier with halt. Where the checkpoint of one
// fails, another follows it, and nothing else.
func (f inFrame) halts() bool { return f.batch == nil && f.message.GetBarrier().GetHalt() }

func (f inFrame) name() string {
	if f.batch != nil {
		return "Batch"
	}
	k := f.message.ProtoReflect().WhichOneof(f.message.ProtoReflect().Descriptor().Oneofs().ByName("kind"))
	if k == nil {
		return "an empty frame"
	}
	return string(k.Message().Name())
}

// settleLate treats records that failed outside of any call.
func (t *task) settleLate() error {
	for _, m := range t.members {
		if err := m.settleFailures(); err != nil {
			return err
		}
	}
	return nil
}

// askDue tells the host of output that waits to be rolled.
func (t *task) askDue() error {
	if t.changed || t.halted {
		return nil
	}
	for _, m := range t.members {
		if m.sink == nil {
			continue
		}
		due := false
		if err := guard(func() error { due = m.sink.Due(); return nil }); err != nil {
			return m.fault("Due", err)
		}
		if due {
			t.change()
		}
	}
	return nil
}

// outcomes treats what became of checkpoints.
func (t *task) outcomes() {
	for _, o := range t.finished.take() {
		if t.reading != nil {
			t.reading.outcome(o)
		}
		for _, m := range t.members {
			if m.stateful != nil {
				m.stateful.Concluded(o.checkpoint, o.completed)
			}
		}
	}
}

// onWatermark tells the member, and then passes the watermark on behind all that
// came of it, unless the member makes watermarks of its own. It never goes back;
// the smallest is none and only ends idleness.
func (m *member) onWatermark(w int64) error {
	if m.timing != nil && w == eventtime.End {
		m.timing.finish()
	}
	if w == wire.NoTime || m.hasWatermark && w <= m.watermark {
		if !m.idle || m.timing != nil {
			return nil
		}
		// Those behind wait for a word that this member counts again.
		m.idle = false
		if !m.hasWatermark {
			return m.passWatermark(wire.NoTime)
		}
		m.stats.hasWatermark.Store(true)
		return m.passWatermark(m.watermark)
	}
	m.watermark, m.hasWatermark, m.idle = w, true, false
	if m.timing == nil {
		m.stats.watermark.Store(w)
		m.stats.hasWatermark.Store(true)
	}
	if m.operator != nil {
		err := m.call("OnWatermark", func(ctx context.Context, out *Output) error { return m.operator.OnWatermark(ctx, w, out) })
		if err != nil {
			return err
		}
	}
	if err := m.settleFailures(); err != nil {
		return err
	}
	if m.timing != nil {
		return nil
	}
	return m.passWatermark(w)
}

func (m *member) passWatermark(w int64) error {
	return m.passOn(
		func(next *member) error { return next.onWatermark(w) },
		func(f *pluginv1.Frame) { f.Kind = &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: w}} },
	)
}

// onIdle passes on that there is no watermark to wait for.
func (m *member) onIdle(noSplit bool) error {
	if m.timing != nil {
		if noSplit {
			return m.noSplit()
		}
		return nil
	}
	m.idle = true
	m.stats.hasWatermark.Store(false)
	return m.passIdle(noSplit)
}

func (m *member) passIdle(noSplit bool) error {
	return m.passOn(
		func(next *member) error { return next.onIdle(noSplit) },
		func(f *pluginv1.Frame) { f.Kind = &pluginv1.Frame_Idle{Idle: &pluginv1.Idle{NoSplit: noSplit}} },
	)
}

// passOn sends what was gathered and then a signal on every output: once to each
// member behind, and as a frame of each output that leads to the host.
func (m *member) passOn(inside func(*member) error, outside func(*pluginv1.Frame)) error {
	if err := m.flushOutlets(); err != nil {
		return err
	}
	if err := m.tellNext(inside); err != nil {
		return err
	}
	for _, o := range m.outlets {
		if o.exclusive {
			continue
		}
		f := &pluginv1.Frame{Component: uint32(m.index), Port: o.port}
		outside(f)
		if err := m.task.send(f); err != nil {
			return fmt.Errorf("output %q: %w", o.name, err)
		}
	}
	return nil
}

// tellNext tells each member behind once.
func (m *member) tellNext(tell func(*member) error) error {
	var told []*member
	for _, o := range m.outlets {
		if o.next != nil && !slices.Contains(told, o.next) {
			told = append(told, o.next)
			if err := tell(o.next); err != nil {
				return err
			}
		}
	}
	return nil
}
