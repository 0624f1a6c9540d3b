package sdk

import (
	"fmt"
	"iter"

	"github.com/weirstream/weir/sdk/internal/state"
)

// MapState is a map a key. Each entry is read and written by itself.
type MapState[K comparable, V any] struct {
	h   handle[V]
	key Codec[K]
	sub []byte
}

// Map opens a map by key, while the operator opens; see [Value].
func Map[K comparable, V any](t *Task, name string, options ...StateOption) *MapState[K, V] {
	m := &MapState[K, V]{}
	m.h = open[V](t, name, state.Map, options, func(o *stateOptions) (string, error) {
		var ok bool
		if o.keyCodec == nil {
			m.key, ok = CodecOf[K](), true
		} else {
			m.key, ok = o.keyCodec.(Codec[K])
		}
		if !ok {
			return "", fmt.Errorf("WithKeyCodec of %T is not for keys of %T", o.keyCodec, *new(K))
		}
		return m.key.Name(), nil
	})
	return m
}

func (s *MapState[K, V]) encodeKey(k K) ([]byte, bool) {
	b, err := s.key.Append(s.sub[:0], k)
	if err != nil {
		s.h.fail(err)
		return nil, false
	}
	s.sub = b
	return b, true
}

// Get returns the value under k, and whether there is one.
func (s *MapState[K, V]) Get(k K) (v V, ok bool) {
	if sub, ok := s.encodeKey(k); ok {
		return s.h.get(sub)
	}
	return v, false
}

// Set sets the value under k.
func (s *MapState[K, V]) Set(k K, v V) {
	if sub, ok := s.encodeKey(k); ok {
		s.h.set(sub, v)
	}
}

// Delete removes the value under k.
func (s *MapState[K, V]) Delete(k K) {
	if sub, ok := s.encodeKey(k); ok {
		s.h.state.Delete(sub)
	}
}

// entries copies the map of the key at hand, so that whoever comes by it may write.
func (s *MapState[K, V]) entries() (keys []K, values []V) {
	s.h.state.Each(func(sub, stored []byte) bool {
		b := s.h.alive(stored)
		if b == nil {
			return true
		}
		k, err := s.key.Decode(sub)
		if err != nil {
			s.h.fail(err)
			return false
		}
		keys, values = append(keys, k), append(values, s.h.decode(b))
		return true
	})
	return keys, values
}

// All yields the map as it is when All is begun, in no certain order. The map may
// be changed meanwhile.
func (s *MapState[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		keys, values := s.entries()
		for i, k := range keys {
			if !yield(k, values[i]) {
				return
			}
		}
	}
}

// Empty reports whether the map has no entry.
func (s *MapState[K, V]) Empty() bool {
	empty := true
	s.h.state.Each(func(_, stored []byte) bool {
		empty = s.h.alive(stored) == nil
		return empty
	})
	return empty
}

// Clear removes all entries.
func (s *MapState[K, V]) Clear() {
	var subs [][]byte
	s.h.state.Each(func(sub, _ []byte) bool {
		subs = append(subs, append([]byte{}, sub...))
		return true
	})
	for _, sub := range subs {
		s.h.state.Delete(sub)
	}
}
