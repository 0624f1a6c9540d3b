package sdktest

import (
	"fmt"
	"strings"

	"github.com/weirstream/weir/proto/wire"
	"github.com/weirstream/weir/sdk"
)

// Record is a record as a test writes or sees it: a copy that stays.
type Record struct {
	// Key and Value: nil is null, empty is empty.
	Key, Value []byte
	Time       sdk.Time
	Headers    []Header
	// Split and Ordinal say where the record comes from.
	Split   string
	Ordinal int64
}

// Header is one header of a Record. A nil value is null.
type Header struct {
	Name  string
	Value []byte
}

// Failed is a record that a component failed.
type Failed struct {
	Record
	// Err is the error's text.
	Err string
	// Length is the record's whole length where only its beginning is left.
	Length string
}

// Values returns records with these values.
func Values(values ...string) []Record {
	records := make([]Record, len(values))
	for i, v := range values {
		records[i] = Record{Value: []byte(v)}
	}
	return records
}

// KV returns a record with a key and a value.
func KV(key, value string) Record { return Record{Key: []byte(key), Value: []byte(value)} }

// ValuesOf returns the records' values; null is "<null>".
func ValuesOf(records []Record) []string {
	return each(records, func(r Record) []byte { return r.Value })
}

// KeysOf returns the records' keys; null is "<null>".
func KeysOf(records []Record) []string { return each(records, func(r Record) []byte { return r.Key }) }

func each(records []Record, column func(Record) []byte) []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = text(column(r))
	}
	return out
}

func text(b []byte) string {
	if b == nil {
		return "<null>"
	}
	return string(b)
}

// String returns the record for a test's message.
func (r Record) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{%q: %q", text(r.Key), text(r.Value))
	if !r.Time.IsZero() {
		fmt.Fprintf(&b, " @%s", r.Time)
	}
	for _, h := range r.Headers {
		fmt.Fprintf(&b, " %s=%q", h.Name, text(h.Value))
	}
	if r.Split != "" {
		fmt.Fprintf(&b, " from %s#%d", r.Split, r.Ordinal)
	}
	return b.String() + "}"
}

// encode returns the records as a batch of pool.
func encode(pool *wire.Pool, records []Record) *wire.Batch {
	b := pool.NewBuilder(1 << 30)
	for _, r := range records {
		var headers wire.Headers
		for _, h := range r.Headers {
			headers = wire.AppendHeader(headers, h.Name, h.Value)
		}
		b.Append(r.Key, r.Value, r.Time.UnixNano(), headers, r.Split, r.Ordinal)
	}
	return b.Freeze()
}

// decode copies the records of a batch.
func decode(b *wire.Batch) []Record {
	records := make([]Record, b.Len())
	for i := range records {
		r := &records[i]
		r.Key, r.Value = clone(b.Key(i)), clone(b.Value(i))
		r.Time = sdk.UnixNano(b.Time(i))
		for name, value := range b.Headers(i).All() {
			r.Headers = append(r.Headers, Header{string(name), clone(value)})
		}
		r.Split, r.Ordinal = b.Origin(i)
		r.Split = strings.Clone(r.Split)
	}
	return records
}

// clone keeps null and empty apart.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}
