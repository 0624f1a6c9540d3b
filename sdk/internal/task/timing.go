package task

import (
	"encoding/json"
	"fmt"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
	"github.com/weirstream/weir/sdk/internal/eventtime"
)

// watermarkInterval is the least time between two watermarks of a stage.
const watermarkInterval = 200 * time.Millisecond

// timing is the event_time stage of a member: it stands where its batches leave,
// sets their times and makes watermarks. It belongs to the loop.
type timing struct {
	member  *member
	extract *eventtime.Extractor
	tracker *eventtime.Tracker
	// split is where the batches at hand come from, of a source; of an operator
	// they say it themselves.
	split string
	times []int64 // reused
	kept  []uint32
	rest  *wire.Builder

	told     int64 // the last watermark that was passed on
	idle     bool  // Idle was passed on last
	empty    bool  // for want of a split
	none     bool  // it was told that there is no split at present
	began    bool  // it has been looked at
	dirty    bool  // splits came or went, or time has passed
	toldAt   time.Time
	passedAt time.Time     // the last time that Pass was told of
	blocked  time.Duration // of the sender, then
}

func newTiming(m *member) (*timing, error) {
	spec := m.spec.GetEventTime()
	extract, err := eventtime.NewExtractor(spec.GetFrom(), spec.GetUnit())
	if err != nil {
		return nil, err
	}
	rest := m.task.pool.NewBuilder(m.task.limits.batch)
	rest.SetOrigin(true)
	return &timing{
		member: m, extract: extract, rest: rest, told: wire.NoTime,
		tracker: eventtime.NewTracker(spec.GetOutOfOrderness().AsDuration(), spec.GetIdle().AsDuration()),
	}, nil
}

// splitTime is the state of a split in a snapshot.
type splitTime struct {
	// Greatest is the greatest time of its records, in nanoseconds.
	Greatest int64 `json:"greatest"`
}

func (s *timing) restore(e *pluginv1.Entry) error {
	var t splitTime
	if err := json.Unmarshal(e.GetPayload(), &t); err != nil {
		return fmt.Errorf("event time of split %q in the checkpoint: %w", e.GetId(), err)
	}
	s.tracker.Restore(e.GetId(), t.Greatest)
	return nil
}

func (s *timing) snapshot() ([]*pluginv1.Entry, error) {
	var out []*pluginv1.Entry
	for id, greatest := range s.tracker.Splits {
		raw, err := json.Marshal(splitTime{greatest})
		if err != nil {
			return nil, err
		}
		out = append(out, &pluginv1.Entry{
			Kind: pluginv1.Entry_KIND_SPLIT_TIME, Component: uint32(s.member.index), Id: id, Content: payload(raw),
		})
	}
	return out, nil
}

// apply sets the times of a batch, which it consumes. Records whose time cannot be
// found are failed. It returns nil where none is left.
func (s *timing) apply(b *wire.Batch) *wire.Batch {
	n := b.Len()
	if cap(s.times) < n {
		s.times = make([]int64, n)
	}
	s.times, s.kept = s.times[:n], s.kept[:0]
	failed := 0
	for i := range n {
		t, err := s.extract.Time(b, i)
		if err != nil {
			if failed == 0 {
				for k := range i {
					s.kept = append(s.kept, uint32(k))
				}
			}
			failed++
			s.member.failures.add(b, i, err)
			continue
		}
		s.times[i-failed] = t
		if failed > 0 {
			s.kept = append(s.kept, uint32(i))
		}
	}
	if failed > 0 {
		s.rest.AppendSelected(b, s.kept)
		b.Release()
		if b = s.rest.Freeze(); b == nil {
			return nil
		}
	}
	times := s.times[:n-failed]
	s.observe(b, times)
	if s.extract.Keeps() {
		return b
	}
	timed := b.WithTimes(times)
	b.Release()
	return timed
}

// observe notes the greatest time of each split.
func (s *timing) observe(b *wire.Batch, times []int64) {
	if s.member.source != nil {
		s.tracker.Observe(s.split, greatest(times))
		return
	}
	runs, splits := b.Runs(), b.Splits()
	if len(runs) == 0 {
		s.tracker.Observe("", greatest(times))
		return
	}
	for _, r := range runs {
		s.tracker.Observe(splits[r.Split], greatest(times[r.Start:r.Start+r.Count]))
	}
}

func greatest(times []int64) int64 {
	most := times[0]
	for _, t := range times[1:] {
		most = max(most, t)
	}
	return most
}

// pass passes on what has become of the watermark. It is called between the
// component's calls, so that everything that was seen has left. A watermark that
// only rose waits until the last one is watermarkInterval old.
func (s *timing) pass() error {
	if !s.dirty && time.Since(s.toldAt) < watermarkInterval {
		return nil
	}
	s.dirty = false
	w, holder, idle := s.tracker.Watermark()
	if s.tracker.Empty() && !s.none {
		idle = false // one may be on its way: who is left out now could be late then
	}
	s.member.stats.hold(holder)
	first := !s.began
	s.began = true
	switch {
	case w == s.told && idle == s.idle && (!idle || s.tracker.Empty() == s.empty):
		return nil
	case idle:
		if w != s.told {
			if err := s.tell(w); err != nil {
				return err
			}
		}
		s.idle, s.empty = true, s.tracker.Empty()
		s.member.stats.hasWatermark.Store(false)
		return s.member.passIdle(s.empty)
	case first && w == wire.NoTime:
		return nil // as it is for who has heard nothing
	case !s.idle && w != eventtime.End && time.Since(s.toldAt) < watermarkInterval:
		return nil
	}
	s.idle = false
	return s.tell(w)
}

// tell passes a watermark on.
func (s *timing) tell(w int64) error {
	s.told, s.toldAt = w, time.Now()
	if w != wire.NoTime {
		s.member.stats.watermark.Store(w)
		s.member.stats.hasWatermark.Store(true)
	}
	return s.member.passWatermark(w)
}

// noSplit hears that a task has no split and gets none at present. A stage behind it
// needs to know.
func (m *member) noSplit() error {
	if m.timing == nil {
		return m.passIdle(true)
	}
	m.timing.none, m.timing.dirty = true, true
	return m.timing.pass()
}

// finish says that no split comes any more.
func (s *timing) finish() {
	s.tracker.Finish()
	s.dirty = true
}

// tick lets time pass for splits from which nothing came while it could have.
func (s *timing) tick() error {
	t := s.member.task
	now, blocked := t.server.opts.Clock.Now(), time.Duration(t.sender.blocked.Load())
	if !s.passedAt.IsZero() {
		s.tracker.Pass(max(0, now.Sub(s.passedAt)-(blocked-s.blocked)))
	}
	s.passedAt, s.blocked, s.dirty = now, blocked, true
	return s.pass()
}

// passTimes lets every stage pass its watermark on.
func (t *task) passTimes() error {
	for _, m := range t.members {
		if m.timing != nil {
			if err := m.timing.pass(); err != nil {
				return err
			}
		}
	}
	return nil
}

// tickTimes is called now and then.
func (t *task) tickTimes() error {
	if t.halted {
		return nil
	}
	for _, m := range t.members {
		if m.timing != nil {
			if err := m.timing.tick(); err != nil {
				return err
			}
		}
	}
	return nil
}

// onSplit hears that a split was opened or has ended, behind everything that came
// of it. It tells the host, and those behind, up to the first stage: that is who
// needs to know.
func (m *member) onSplit(id string, ordinal uint64, ended bool) error {
	if err := m.flushOutlets(); err != nil {
		return err
	}
	if s := m.timing; s != nil {
		if ended {
			s.tracker.Close(id)
		} else {
			s.tracker.Open(id)
		}
		s.dirty, s.none = true, false
	} else {
		err := m.tellNext(func(next *member) error { return next.onSplit(id, ordinal, ended) })
		if err != nil {
			return err
		}
	}
	if m.timing != nil && m.source == nil {
		return nil
	}
	f := &pluginv1.Frame{Component: uint32(m.index)}
	if ended {
		f.Kind = &pluginv1.Frame_SplitEnded{SplitEnded: &pluginv1.SplitEnded{Id: id}}
	} else {
		f.Kind = &pluginv1.Frame_SplitOpened{SplitOpened: &pluginv1.SplitOpened{Id: id, Ordinal: ordinal}}
	}
	return m.task.send(f)
}
