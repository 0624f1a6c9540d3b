// Package exchange reads and writes records as JSON lines, the one form in which
// the conformance kit exchanges them with commands and in which conformance.yaml
// holds them. docs/conformance.md describes it for authors.
package exchange

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/weirstream/weir/proto/wire"
)

// Record is one record. A nil key or value is null, an empty one is empty; a
// Time of [wire.NoTime] is none.
type Record struct {
	Key, Value []byte
	Time       int64
	Headers    []Header
}

// Header is one header; a nil value is null.
type Header struct {
	Name  string
	Value []byte
}

// Fields are the parts of a record that say something.
type Fields struct{ Key, Value, Time, Headers bool }

// AllFields compares whole records.
var AllFields = Fields{Key: true, Value: true, Time: true, Headers: true}

// Expected is a record of which some fields are given, and the others may be
// anything.
type Expected struct {
	Record
	Has Fields
}

// Equal says whether two records are the same in the given fields.
func Equal(a, b Record, f Fields) bool { return Differ(a, b, f) == "" }

// Differ names the first of the given fields in which two records differ, or
// nothing.
func Differ(a, b Record, f Fields) string {
	same := func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
	switch {
	case f.Key && !same(a.Key, b.Key):
		return "key"
	case f.Value && !same(a.Value, b.Value):
		return "value"
	case f.Time && a.Time != b.Time:
		return "time"
	case f.Headers && !slices.EqualFunc(a.Headers, b.Headers, func(a, b Header) bool { return a.Name == b.Name && same(a.Value, b.Value) }):
		return "headers"
	}
	return ""
}

// Select is the record with null, no time and no headers for what f leaves out.
func (r Record) Select(f Fields) Record {
	out := Record{Time: wire.NoTime}
	if f.Key {
		out.Key = r.Key
	}
	if f.Value {
		out.Value = r.Value
	}
	if f.Time {
		out.Time = r.Time
	}
	if f.Headers {
		out.Headers = r.Headers
	}
	return out
}

// Size is the number of bytes that the record holds.
func (r Record) Size() int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return n
}

// longest is how much of a key or value a message shows.
const longest = 60

// String shows the record to a person, long parts cut.
func (r Record) String() string {
	var b bytes.Buffer
	b.WriteByte('{')
	if r.Key != nil {
		b.WriteString("key " + show(r.Key) + ", ")
	}
	b.WriteString("value " + show(r.Value))
	if r.Time != wire.NoTime {
		fmt.Fprintf(&b, ", time %d", r.Time)
	}
	for i, h := range r.Headers {
		if i == 4 {
			fmt.Fprintf(&b, " and %d more", len(r.Headers)-i)
			break
		}
		fmt.Fprintf(&b, ", header %q %s", h.Name, show(h.Value))
	}
	b.WriteByte('}')
	return b.String()
}

func show(v []byte) string {
	switch {
	case v == nil:
		return "null"
	case len(v) > longest:
		return fmt.Sprintf("%s… (%d bytes)", quote(v[:longest]), len(v))
	}
	return quote(v)
}

func quote(v []byte) string {
	if !utf8.Valid(v) {
		return fmt.Sprintf("0x%x", v)
	}
	return fmt.Sprintf("%q", v)
}
