package sdk

import (
	"iter"

	"github.com/weirstream/weir/proto/wire"
)

// Record is one record of a [Batch]: a view that costs nothing and lives as long
// as the batch.
type Record struct {
	batch *wire.Batch
	index int
}

// Key returns the key: nil is null, empty is empty. Read-only.
func (r Record) Key() []byte { return r.batch.Key(r.index) }

// Value returns the value: nil is null (a tombstone), empty is empty. Read-only.
func (r Record) Value() []byte { return r.batch.Value(r.index) }

// Time returns the record's time; the zero Time where it has none.
func (r Record) Time() Time { return UnixNano(r.batch.Time(r.index)) }

// Headers returns the headers.
func (r Record) Headers() Headers { return Headers(r.batch.Headers(r.index)) }

// Header returns the value of the last header of that name, and whether there is
// one. A null value is nil.
func (r Record) Header(name string) (value []byte, ok bool) {
	return r.batch.Headers(r.index).Get(name)
}

// Origin returns the id of the split that the record comes from and its ordinal
// there. The split is empty where it is not known: behind an aggregate, or where
// no later node needs it.
func (r Record) Origin() (split string, ordinal int64) { return r.batch.Origin(r.index) }

// Row is a record to be made. Everything in it is copied when it is appended,
// save a value that was appended to [Collector.AvailableBuffer].
type Row struct {
	// Key and Value: nil is null, empty is empty.
	Key, Value []byte
	Time       Time
	Headers    Headers
	// Origin is the record's ordinal in its split, such as an offset or a line
	// number. Only a [Reader] sets it.
	Origin int64
}

// Row returns the record's fields, to be changed and given to
// [Collector.EmitRow]. Nothing is copied.
func (r Record) Row() Row {
	return Row{Key: r.Key(), Value: r.Value(), Time: r.Time(), Headers: r.Headers()}
}

// Headers are a record's headers, in order; names may repeat and values may be
// null. They are kept as they travel, so that passing them on costs nothing. Nil
// is none.
//
//	h := sdk.Headers(nil).Add("content-type", []byte("text/plain"))
type Headers []byte

// Add returns h with one header more, like append: h's memory is used where it
// has room, so that buf[:0] of an earlier record serves for the next. Never add
// to headers of a [Record] of a batch. A nil value is null.
func (h Headers) Add(name string, value []byte) Headers {
	return Headers(wire.AppendHeader(wire.Headers(h), name, value))
}

// AddBytes is Add for a name that is not a string, which it copies too.
func (h Headers) AddBytes(name, value []byte) Headers {
	return Headers(wire.AppendHeader(wire.Headers(h), name, value))
}

// Get returns the value of the last header of that name, and whether there is
// one. A null value is nil.
func (h Headers) Get(name string) (value []byte, ok bool) { return wire.Headers(h).Get(name) }

// Len is the number of headers.
func (h Headers) Len() int { return wire.Headers(h).Len() }

// All yields names and values in order. The names are copies, the values are not.
func (h Headers) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for name, value := range wire.Headers(h).All() {
			if !yield(string(name), value) {
				return
			}
		}
	}
}
