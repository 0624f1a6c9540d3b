package format

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// csvEncoder makes a record of each object, without a line's end.
type csvEncoder struct {
	delimiter byte
	null      []byte
	drop      bool
	columns   []string
	index     map[string]int
	values    []gjson.Result // of the record at hand
}

// Encoder returns an encoder of values with the configured columns.
func (c *CSV) Encoder() (Encoder, error) {
	if len(c.Columns) == 0 {
		return nil, errors.New("columns: what is written needs their names and order")
	}
	e := &csvEncoder{
		delimiter: c.delimiter(), null: []byte(c.Null), drop: c.Unknown == "drop", columns: c.Columns,
		index: map[string]int{}, values: make([]gjson.Result, len(c.Columns)),
	}
	for i, name := range c.Columns {
		e.index[name] = i
	}
	return e, nil
}

// HeaderRecord returns the record that names the configured columns, with its
// line's end.
func (c *CSV) HeaderRecord() []byte {
	var b []byte
	for i, name := range c.Columns {
		if i > 0 {
			b = append(b, c.delimiter())
		}
		b = appendCSV(b, []byte(name), c.delimiter(), []byte(c.Null))
	}
	return append(b, '\n')
}

// Encode implements [Encoder].
func (e *csvEncoder) Encode(_ context.Context, dst, value []byte) ([]byte, error) {
	if err := checkJSON(value); err != nil {
		return dst, err
	}
	object := gjson.Parse(string(value))
	if !object.IsObject() {
		return dst, fmt.Errorf("the value is no JSON object, but %s", kindOf(object))
	}
	clear(e.values)
	var unknown error
	object.ForEach(func(key, v gjson.Result) bool {
		if i, ok := e.index[key.Str]; ok {
			e.values[i] = v
		} else if !e.drop {
			unknown = fmt.Errorf("the field %s is no column: add it to columns, or set unknown_fields: drop", clip(key.Raw))
		}
		return unknown == nil
	})
	if unknown != nil {
		return dst, unknown
	}
	start := len(dst)
	for i, v := range e.values {
		if i > 0 {
			dst = append(dst, e.delimiter)
		}
		switch {
		case v.Type == gjson.Null: // or not there
			dst = append(dst, e.null...)
		case v.Type == gjson.String:
			dst = appendCSV(dst, []byte(v.Str), e.delimiter, e.null)
		default:
			dst = appendCSV(dst, []byte(v.Raw), e.delimiter, e.null)
		}
	}
	if !utf8.Valid(dst[start:]) {
		return dst[:start], errNotJSON
	}
	return dst, nil
}

// appendCSV appends a value, in quotes where it needs them.
func appendCSV(dst, text []byte, delimiter byte, null []byte) []byte {
	if !bytes.Equal(text, null) && bytes.IndexByte(text, delimiter) < 0 && bytes.IndexByte(text, '"') < 0 &&
		bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for {
		i := bytes.IndexByte(text, '"')
		if i < 0 {
			return append(append(dst, text...), '"')
		}
		dst = append(append(dst, text[:i+1]...), '"')
		text = text[i+1:]
	}
}
