package window

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/weirstream/weir/plugins/internal/aggregate"
	"github.com/weirstream/weir/sdk"
)

// sessions are windows that go on while records come: each record opens a window as
// long as the gap, and windows that overlap are one.
type sessions struct {
	*operator
	gap   int64
	state *sdk.MapState[int64, session] // by the session's start
}

// session is one window.
type session struct {
	end   int64
	state []byte
}

func sessionCodec(set *aggregate.Set) sdk.Codec[session] {
	return codec[session]{
		name: "session " + set.Encoding(),
		append: func(b []byte, s session) []byte {
			return append(binary.LittleEndian.AppendUint64(b, uint64(s.end)), s.state...)
		},
		decode: func(b []byte) (session, error) {
			if len(b) < 8 {
				return session{}, errShort
			}
			return session{int64(binary.LittleEndian.Uint64(b)), slices.Clone(b[8:])}, nil
		},
	}
}

var errShort = errors.New("the state of a window is cut short")

// add implements [windows].
func (s *sessions) add(at int64, in *aggregate.Inputs, _ *sdk.Collector) (late bool, err error) {
	start, end := at, at+s.gap
	var joined []int64
	for from, w := range s.state.All() {
		if from < end && w.end > start {
			joined = append(joined, from)
		}
	}
	slices.Sort(joined)
	s.set.Reset(&s.scratch)
	old := make([]session, len(joined))
	for i, from := range joined {
		old[i], _ = s.state.Get(from)
		start, end = min(start, from), max(end, old[i].end)
		if err := s.set.Read(&s.other, old[i].state); err != nil {
			return false, err
		}
		s.set.Merge(&s.scratch, &s.other)
	}
	if s.passed(end, s.now()) {
		return true, nil
	}
	for i, from := range joined {
		s.deleteTimer(old[i].end, tagFire)
		s.deleteTimer(s.over(old[i].end), tagClean)
		if from != start {
			s.state.Delete(from)
			if s.set.Bags() {
				s.bag(from).move(&start)
			}
		}
	}
	s.set.Add(&s.scratch, in, s.into(start))
	s.buf = s.set.Append(s.buf[:0], &s.scratch)
	s.state.Set(start, session{end, s.buf})
	s.setTimer(end, tagFire)
	s.setTimer(s.over(end), tagClean)
	return false, nil
}

// fire implements [windows].
func (s *sessions) fire(tm sdk.Timer, out *sdk.Collector) error {
	at := tm.At.UnixNano()
	due := map[int64]bool{}
	for from, w := range s.state.All() {
		if tm.Tag == tagFire && w.end == at || tm.Tag == tagClean && s.over(w.end) == at {
			due[from] = true
		}
	}
	return inOrder(due, func(from int64) error {
		if tm.Tag == tagFire {
			w, err := s.window(from)
			if err != nil {
				return err
			}
			return s.send(w, nil, out)
		}
		s.state.Delete(from)
		if s.set.Bags() {
			s.bag(from).move(nil)
		}
		return nil
	})
}

func (s *sessions) window(from int64) (*result, error) {
	w, _ := s.state.Get(from)
	if err := s.set.Read(&s.scratch, w.state); err != nil {
		return nil, err
	}
	return spanOf(from, w.end, &s.scratch, s.bag(from)), nil
}

// open implements [windows].
func (s *sessions) open(yield func(*result) error) error {
	now := s.now()
	open := map[int64]bool{}
	for from, w := range s.state.All() {
		if w.end > now {
			open[from] = true
		}
	}
	return inOrder(open, func(from int64) error {
		w, err := s.window(from)
		if err != nil {
			return err
		}
		return yield(w)
	})
}

// inOrder calls f for each of the times, the earliest first.
func inOrder(times map[int64]bool, f func(int64) error) error {
	for _, at := range slices.Sorted(maps.Keys(times)) {
		if err := f(at); err != nil {
			return err
		}
	}
	return nil
}

// codec encodes a state of this package.
type codec[T any] struct {
	name   string
	append func([]byte, T) []byte
	decode func([]byte) (T, error)
}

func (c codec[T]) Name() string                         { return c.name }
func (c codec[T]) Append(b []byte, v T) ([]byte, error) { return c.append(b, v), nil }
func (c codec[T]) Decode(b []byte) (T, error)           { return c.decode(b) }
