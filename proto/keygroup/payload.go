package keygroup

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
)

// Shapes of state by key.
const (
	ShapeValue  = "value"
	ShapeList   = "list"
	ShapeMap    = "map"
	ShapeTimers = "timers"
)

// TimersID is the id of the entries that hold timers and the watermark. It is no
// name that a state may have.
const TimersID = "weir.timers"

// Header begins the payload of a KEY_GROUP entry: a uvarint length and this as
// JSON. Rows follow it; in each, uvarint lengths stand before bytes:
//
//	value    key, [deadline], value
//	list     key, [deadline], items: length and bytes of each, one after the other
//	map      key, uvarint count, and for each: map key, [deadline], value
//	timers   domain (1 byte: 0 event time, 1 processing time), time (8 bytes),
//	         uvarint tag, key
//
// A deadline is there where the header says ttl: 8 bytes, milliseconds since the
// Unix epoch, after which the value counts as absent; it is part of the value's
// bytes. All integers of fixed size are little endian.
type Header struct {
	Version int    `json:"v"`
	Shape   string `json:"shape"`
	// Codec names the encoding of values or items, KeyCodec that of map keys.
	Codec    string `json:"codec,omitempty"`
	KeyCodec string `json:"key_codec,omitempty"`
	TTL      bool   `json:"ttl,omitempty"`
	// Watermark is how far event time had come for this group; of timers only.
	Watermark *int64 `json:"watermark,omitempty"`
}

// FormatVersion is the version that this package writes, and the newest it reads.
const FormatVersion = 1

// AppendHeader appends the header to b.
func AppendHeader(b []byte, h Header) []byte {
	h.Version = FormatVersion
	j, err := json.Marshal(h)
	if err != nil { // a struct of strings and numbers
		panic(err)
	}
	return AppendBytes(b, j)
}

// AppendBytes appends the length of v and v.
func AppendBytes(b, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// BytesLen is the number of bytes that AppendBytes appends for n bytes.
func BytesLen(n int) int {
	l := 1
	for m := n; m >= 0x80; m >>= 7 {
		l++
	}
	return l + n
}

// ErrFormat says that bytes are not what they should be.
var ErrFormat = errors.New("malformed state")

// CutBytes reads what AppendBytes wrote and returns what follows.
func CutBytes(b []byte) (v, rest []byte, err error) {
	n, l := binary.Uvarint(b)
	if l <= 0 || n > uint64(len(b)-l) {
		return nil, nil, ErrFormat
	}
	return b[l : l+int(n) : l+int(n)], b[l+int(n):], nil
}

// CutHeader reads the header and returns the rows that follow it.
func CutHeader(payload []byte) (Header, []byte, error) {
	var h Header
	j, rest, err := CutBytes(payload)
	if err != nil {
		return h, nil, err
	}
	if err := json.Unmarshal(j, &h); err != nil {
		return h, nil, fmt.Errorf("%w: header: %w", ErrFormat, err)
	}
	if h.Version < 1 || h.Version > FormatVersion {
		return h, nil, fmt.Errorf("state of format %d, this version reads up to %d: use a plugin that is as new as the one that wrote it", h.Version, FormatVersion)
	}
	switch h.Shape {
	case ShapeValue, ShapeList, ShapeMap, ShapeTimers:
	default:
		return h, nil, fmt.Errorf("%w: shape %q", ErrFormat, h.Shape)
	}
	return h, rest, nil
}

// Row is one value of state by key, or one timer.
type Row struct {
	Key []byte
	// Sub is the key within a map; nil for other shapes.
	Sub []byte
	// Value is as stored, the deadline in front where there is one. All items of a
	// list are one value.
	Value []byte
	// Of timers.
	Domain byte
	Time   int64
	Tag    uint32
}

// Rows yields the rows behind a header. They are views. It stops at the first
// error.
func Rows(h Header, rows []byte) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for len(rows) > 0 {
			var err error
			switch h.Shape {
			case ShapeTimers:
				var r Row
				if r, rows, err = cutTimer(rows); err == nil && !yield(r, nil) {
					return
				}
			case ShapeMap:
				var more bool
				if rows, more, err = mapRows(rows, yield); err == nil && !more {
					return
				}
			default:
				var r Row
				if r.Key, rows, err = CutBytes(rows); err == nil {
					r.Value, rows, err = CutBytes(rows)
				}
				if err == nil && !yield(r, nil) {
					return
				}
			}
			if err != nil {
				yield(Row{}, err)
				return
			}
		}
	}
}

func mapRows(b []byte, yield func(Row, error) bool) (rest []byte, more bool, err error) {
	var r Row
	if r.Key, b, err = CutBytes(b); err != nil {
		return nil, false, err
	}
	n, l := binary.Uvarint(b)
	if l <= 0 {
		return nil, false, ErrFormat
	}
	b = b[l:]
	for range n {
		if r.Sub, b, err = CutBytes(b); err != nil {
			return nil, false, err
		}
		if r.Value, b, err = CutBytes(b); err != nil {
			return nil, false, err
		}
		if !yield(r, nil) {
			return nil, false, nil
		}
	}
	return b, true, nil
}

// AppendTimer appends a row of timers.
func AppendTimer(b []byte, domain byte, at int64, tag uint32, key []byte) []byte {
	b = append(b, domain)
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = binary.AppendUvarint(b, uint64(tag))
	return AppendBytes(b, key)
}

func cutTimer(b []byte) (r Row, rest []byte, err error) {
	if len(b) < 9 {
		return r, nil, ErrFormat
	}
	r.Domain, r.Time = b[0], int64(binary.LittleEndian.Uint64(b[1:]))
	tag, l := binary.Uvarint(b[9:])
	if l <= 0 || tag > 1<<32-1 {
		return r, nil, ErrFormat
	}
	r.Tag = uint32(tag)
	r.Key, rest, err = CutBytes(b[9+l:])
	return r, rest, err
}
