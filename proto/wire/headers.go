package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"unsafe"
)

// Headers are one record's headers as they travel: one after the other, name
// length (uint32 little endian), name, value length (uint32, 0xffffffff for
// null), value. Order is kept and names may repeat. Nil is none.
//
// Names should be UTF-8, which nothing here checks.
type Headers []byte

const nullLength = math.MaxUint32

// AppendHeader appends one header to h, which may be nil. A nil value is null.
func AppendHeader[N ~string | ~[]byte](h Headers, name N, value []byte) Headers {
	h = binary.LittleEndian.AppendUint32(h, uint32(len(name)))
	h = append(h, name...)
	if value == nil {
		return binary.LittleEndian.AppendUint32(h, nullLength)
	}
	h = binary.LittleEndian.AppendUint32(h, uint32(len(value)))
	return append(h, value...)
}

// All yields names and values in order. Names and values are views of h and live
// as long as it does.
func (h Headers) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for len(h) > 0 {
			name, value, rest, ok := cutHeader(h)
			if !ok || !yield(name, value) {
				return
			}
			h = rest
		}
	}
}

// Get returns the value of the last header of that name. A null value is nil
// and found.
func (h Headers) Get(name string) (value []byte, found bool) {
	for len(h) > 0 {
		n, v, rest, ok := cutHeader(h)
		if !ok {
			return value, found
		}
		if string(n) == name {
			value, found = v, true
		}
		h = rest
	}
	return value, found
}

// Len is the number of headers.
func (h Headers) Len() int {
	n := 0
	for range h.All() {
		n++
	}
	return n
}

// cutHeader takes the first header off h. It checks every length each time, for
// h may lie in memory that its writer can still change.
func cutHeader(h Headers) (name, value []byte, rest Headers, ok bool) {
	name, null, rest, ok := cutSized(h)
	if !ok || null {
		return nil, nil, nil, false
	}
	value, null, rest, ok = cutSized(rest)
	if null {
		value = nil
	}
	return name, value, rest, ok
}

func cutSized(b []byte) (data []byte, null bool, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, false, nil, false
	}
	n := binary.LittleEndian.Uint32(b)
	b = b[4:]
	if n == nullLength {
		return nil, true, b, true
	}
	if uint64(n) > uint64(len(b)) {
		return nil, false, nil, false
	}
	return b[:n:n], false, b[n:], true
}

func (h Headers) check() error {
	for at := h; len(at) > 0; {
		_, _, rest, ok := cutHeader(at)
		if !ok {
			return fmt.Errorf("a header at byte %d of %d is cut short", len(h)-len(at), len(h))
		}
		at = rest
	}
	return nil
}

// sameStart reports whether both slices begin at the same byte of memory.
func sameStart(a, b []byte) bool { return unsafe.SliceData(a) == unsafe.SliceData(b) }
