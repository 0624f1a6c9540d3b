package sdk

import (
	"encoding/binary"
	"iter"

	"github.com/weirstream/weir/proto/keygroup"
	"github.com/weirstream/weir/sdk/internal/state"
)

// ListState is a list a key.
type ListState[T any] struct {
	h    handle[T]
	item []byte
}

// List opens a list by key, while the operator opens; see [Value]. Adding costs
// the same however long the list is, unless it has a [TTL].
func List[T any](t *Task, name string, options ...StateOption) *ListState[T] {
	return &ListState[T]{h: open[T](t, name, state.List, options, nil)}
}

// Add adds items to the end.
func (s *ListState[T]) Add(items ...T) {
	b, ok := s.encode(s.h.buf[:0], items)
	if s.h.buf = b[:0]; !ok || len(items) == 0 {
		return
	}
	if s.h.ttl == 0 {
		s.h.state.Append(b)
		return
	}
	whole := binary.LittleEndian.AppendUint64(nil, uint64(s.h.state.Millis()+s.h.ttl))
	whole = append(whole, s.h.alive(s.h.state.Get(nil))...)
	s.h.state.Put(nil, append(whole, b...))
}

func (s *ListState[T]) encode(b []byte, items []T) ([]byte, bool) {
	for _, v := range items {
		var err error
		if s.item, err = s.h.codec.Append(s.item[:0], v); err != nil {
			s.h.fail(err)
			return b, false
		}
		b = keygroup.AppendBytes(b, s.item)
	}
	return b, true
}

// All yields the items in the order in which they were added, as they are when All
// is begun.
func (s *ListState[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, v := range s.items() {
			if !yield(v) {
				return
			}
		}
	}
}

func (s *ListState[T]) items() (items []T) {
	for b := s.h.alive(s.h.state.Get(nil)); len(b) > 0; {
		item, rest, err := keygroup.CutBytes(b)
		if err != nil {
			s.h.fail(err)
			return items
		}
		items, b = append(items, s.h.decode(item)), rest
	}
	return items
}

// Set makes these the list's items.
func (s *ListState[T]) Set(items ...T) {
	if len(items) == 0 {
		s.Clear()
		return
	}
	if b, ok := s.encode(s.h.begin(), items); ok {
		s.h.buf = b
		s.h.state.Put(nil, b)
	}
}

// Clear removes all items.
func (s *ListState[T]) Clear() { s.h.state.Delete(nil) }
