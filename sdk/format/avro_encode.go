package format

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// avroEncoder turns JSON into Avro's binary encoding.
type avroEncoder struct {
	root *avroNode
	drop bool
	// fields are those of the records that are being encoded, the outermost first.
	fields []gjson.Result
	// exact: a number must be the schema's to the last digit, since another branch
	// of a union may hold it.
	exact bool
	tries int
}

// maxTries bounds how often a branch of a union is tried for one value: nested
// unions multiply.
const maxTries = 10000

// Encode implements [Encoder].
func (e *avroEncoder) Encode(_ context.Context, dst, value []byte) ([]byte, error) {
	if err := checkJSON(value); err != nil {
		return dst, err
	}
	e.fields, e.exact, e.tries = e.fields[:0], false, 0
	out, err := e.value(dst, gjson.Parse(string(value)), e.root)
	if err != nil {
		return dst, fmt.Errorf("avro: %w", err)
	}
	return out, nil
}

// mismatch says that a value is not of the schema's type.
func mismatch(r gjson.Result, n *avroNode) error {
	return fmt.Errorf("the schema has %v here, and the value is %s", n, kindOf(r))
}

// value appends r. The recursion is no deeper than the value, whose depth has been
// checked, and a union and a record each.
func (e *avroEncoder) value(dst []byte, r gjson.Result, n *avroNode) ([]byte, error) {
	switch n.kind {
	case avroUnion:
		return e.union(dst, r, n)
	case avroNull:
		if r.Type != gjson.Null {
			return dst, mismatch(r, n)
		}
		return dst, nil
	case avroBoolean:
		switch r.Type {
		case gjson.True:
			return append(dst, 1), nil
		case gjson.False:
			return append(dst, 0), nil
		}
		return dst, mismatch(r, n)
	case avroInt, avroLong:
		return appendInteger(dst, r, n)
	case avroFloat, avroDouble:
		return e.float(dst, r, n)
	case avroRecord:
		return e.record(dst, r, n)
	case avroArray:
		return e.array(dst, r, n)
	case avroMap:
		return e.mapping(dst, r, n)
	}
	return appendText(dst, r, n)
}

// appendInteger appends an int or a long; a time may be text.
func appendInteger(dst []byte, r gjson.Result, n *avroNode) ([]byte, error) {
	var v int64
	var err error
	switch {
	case r.Type == gjson.Number:
		bits := 64
		if n.kind == avroInt {
			bits = 32
		}
		if v, err = parseInteger(r.Raw, bits); err != nil {
			return dst, fmt.Errorf("%s %w", clip(r.Raw), err)
		}
	case r.Type == gjson.String && n.logical != logicalNone:
		if v, err = parseTime(n, r.Str); err != nil {
			return dst, err
		}
	default:
		return dst, mismatch(r, n)
	}
	return appendLong(dst, v), nil
}

func (e *avroEncoder) float(dst []byte, r gjson.Result, n *avroNode) ([]byte, error) {
	bits := 64
	if n.kind == avroFloat {
		bits = 32
	}
	var f float64
	switch {
	case r.Type == gjson.Number:
		var err error
		if f, err = parseFloat(r.Raw, bits); err != nil {
			return dst, fmt.Errorf("%s %w", clip(r.Raw), err)
		}
		if e.exact {
			got, _ := parseDecimal(strconv.FormatFloat(f, 'g', -1, bits))
			if want, _ := parseDecimal(r.Raw); got != want {
				return dst, fmt.Errorf("%s is not exact as %v", clip(r.Raw), n)
			}
		}
	case r.Type == gjson.String && r.Str == "NaN":
		f = math.NaN()
	case r.Type == gjson.String && r.Str == "Infinity":
		f = math.Inf(1)
	case r.Type == gjson.String && r.Str == "-Infinity":
		f = math.Inf(-1)
	default:
		return dst, mismatch(r, n)
	}
	switch {
	case math.IsNaN(f) && bits == 32:
		return binary.LittleEndian.AppendUint32(dst, nan32), nil
	case math.IsNaN(f):
		return binary.LittleEndian.AppendUint64(dst, nan64), nil
	case bits == 32:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(f))), nil
	}
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f)), nil
}

// The bits of what is no number, as Java has them.
const (
	nan32 = 0x7fc00000
	nan64 = 0x7ff8000000000000
)

// appendText appends what JSON has as a string, and decimals and durations.
func appendText(dst []byte, r gjson.Result, n *avroNode) ([]byte, error) {
	switch {
	case n.logical == logicalDecimal && (r.Type == gjson.Number || r.Type == gjson.String):
		text := r.Raw
		if r.Type == gjson.String {
			text = r.Str
		}
		v, err := parseAvroDecimal(n, text)
		if err != nil {
			return dst, err
		}
		return appendBytes(dst, v, n), nil
	case n.logical == logicalDuration && r.IsObject():
		return appendDuration(dst, r)
	case r.Type != gjson.String:
		return dst, mismatch(r, n)
	case n.kind == avroEnum:
		i, ok := n.index[r.Str]
		if !ok {
			return dst, fmt.Errorf("%v has no symbol %s", n, shown([]byte(r.Str)))
		}
		return appendLong(dst, int64(i)), nil
	case n.logical == logicalUUID:
		v, err := parseUUID(r.Str)
		if err != nil {
			return dst, fmt.Errorf("%s %w", shown([]byte(r.Str)), err)
		}
		if n.kind == avroFixed {
			return append(dst, v...), nil
		}
	}
	if n.kind == avroString {
		if !utf8.ValidString(r.Str) {
			return dst, errNotUTF8
		}
		return append(appendLong(dst, int64(len(r.Str))), r.Str...), nil
	}
	v, err := base64.StdEncoding.DecodeString(r.Str)
	switch {
	case err != nil:
		return dst, fmt.Errorf("%s is not base64, which stands for bytes", shown([]byte(r.Str)))
	case n.kind == avroFixed && len(v) != n.size:
		return dst, fmt.Errorf("%d bytes for %v, which has %d", len(v), n, n.size)
	}
	return appendBytes(dst, v, n), nil
}

// appendBytes appends bytes, or a fixed, which has no length.
func appendBytes(dst, v []byte, n *avroNode) []byte {
	if n.kind != avroFixed {
		dst = appendLong(dst, int64(len(v)))
	}
	return append(dst, v...)
}

func appendDuration(dst []byte, r gjson.Result) ([]byte, error) {
	var parts [3]uint32
	names := []string{"months", "days", "milliseconds"}
	var err error
	r.ForEach(func(key, v gjson.Result) bool {
		i := slices.Index(names, key.Str)
		if i < 0 {
			err = fmt.Errorf("a duration has %s, and not %s", strings.Join(names, ", "), clip(key.Raw))
			return false
		}
		n, parseErr := parseInteger(v.Raw, 64)
		if parseErr != nil || n < 0 || n > math.MaxUint32 {
			err = at(names[i], fmt.Errorf("%s is no whole number of 32 bits, without a sign", clip(v.Raw)))
		}
		parts[i] = uint32(n)
		return err == nil
	})
	for _, p := range parts {
		dst = binary.LittleEndian.AppendUint32(dst, p)
	}
	return dst, err
}

func (e *avroEncoder) record(dst []byte, r gjson.Result, n *avroNode) ([]byte, error) {
	if !r.IsObject() {
		return dst, mismatch(r, n)
	}
	from := len(e.fields)
	e.fields = append(e.fields, make([]gjson.Result, len(n.fields))...)
	defer func() { e.fields = e.fields[:from] }()
	var unknown error
	r.ForEach(func(key, v gjson.Result) bool {
		if i, ok := n.index[key.Str]; ok {
			e.fields[from+i] = v
		} else if !e.drop {
			unknown = fmt.Errorf("%v has no field %s: add it to the schema, or set unknown_fields: drop", n, clip(key.Raw))
		}
		return unknown == nil
	})
	if unknown != nil {
		return dst, unknown
	}
	for i := range n.fields {
		f := &n.fields[i]
		v := e.fields[from+i]
		switch {
		case v.Exists():
			var err error
			if dst, err = e.value(dst, v, f.node); err != nil {
				return dst, at(f.name, err)
			}
		case f.absent != nil:
			dst = append(dst, f.absent...)
		default:
			return dst, at(f.name, errors.New("is missing, and has no default"))
		}
	}
	return dst, nil
}

func (e *avroEncoder) array(dst []byte, r gjson.Result, n *avroNode) (_ []byte, err error) {
	if !r.IsArray() {
		return dst, mismatch(r, n)
	}
	if dst = appendCount(dst, r); dst[len(dst)-1] == 0 {
		return dst, nil
	}
	i := 0
	r.ForEach(func(_, v gjson.Result) bool {
		if dst, err = e.value(dst, v, n.element); err != nil {
			err = at("["+strconv.Itoa(i)+"]", err)
		}
		i++
		return err == nil
	})
	return append(dst, 0), err
}

func (e *avroEncoder) mapping(dst []byte, r gjson.Result, n *avroNode) (_ []byte, err error) {
	if !r.IsObject() {
		return dst, mismatch(r, n)
	}
	if dst = appendCount(dst, r); dst[len(dst)-1] == 0 {
		return dst, nil
	}
	r.ForEach(func(key, v gjson.Result) bool {
		dst = append(appendLong(dst, int64(len(key.Str))), key.Str...)
		if dst, err = e.value(dst, v, n.element); err != nil {
			err = at(key.Str, err)
		}
		return err == nil
	})
	return append(dst, 0), err
}

// appendCount appends how many items a list or an object has: they are one block.
func appendCount(dst []byte, r gjson.Result) []byte {
	count := int64(0)
	r.ForEach(func(_, _ gjson.Result) bool { count++; return true })
	return appendLong(dst, count)
}

// union appends r as the first branch that holds it exactly, else as the first that
// holds it.
func (e *avroEncoder) union(dst []byte, r gjson.Result, n *avroNode) ([]byte, error) {
	if r.Type == gjson.Null {
		if n.null < 0 {
			return dst, errors.New("is null, and no branch of the union is")
		}
		return appendLong(dst, int64(n.null)), nil
	}
	only, count := 0, 0
	for i, b := range n.branches {
		if b.takes(r) {
			only, count = i, count+1
		}
	}
	switch count {
	case 0:
		return dst, fmt.Errorf("no branch of the union takes %s: there are %v", kindOf(r), n.branches)
	case 1:
		return e.value(appendLong(dst, int64(only)), r, n.branches[only])
	}
	before := e.exact
	defer func() { e.exact = before }()
	start := len(dst)
	var first error
	try := func(i int) bool {
		if e.tries++; e.tries > maxTries {
			first = errors.New("too many branches of unions would have to be tried")
			return false
		}
		var err error
		if dst, err = e.value(appendLong(dst[:start], int64(i)), r, n.branches[i]); err == nil {
			return true
		}
		if first == nil {
			first = err
		}
		return false
	}
	e.exact = true
	for i, b := range n.branches {
		if b.takes(r) && try(i) {
			return dst, nil
		}
	}
	if e.exact = before; !before {
		for _, doubles := range []bool{true, false} {
			for i, b := range n.branches {
				if b.takes(r) && (b.kind == avroDouble) == doubles && try(i) {
					return dst, nil
				}
			}
		}
	}
	return dst[:start], fmt.Errorf("no branch of the union holds the value; the first says: %w", first)
}

// takes says whether values like r may be of the type.
func (n *avroNode) takes(r gjson.Result) bool {
	switch {
	case r.IsObject():
		return n.kind == avroRecord || n.kind == avroMap || n.logical == logicalDuration
	case r.IsArray():
		return n.kind == avroArray
	case r.Type == gjson.String:
		switch n.kind {
		case avroString, avroEnum, avroBytes, avroFixed:
			return true
		case avroFloat, avroDouble:
			return r.Str == "NaN" || r.Str == "Infinity" || r.Str == "-Infinity"
		}
		return n.logical != logicalNone
	case r.Type == gjson.Number:
		return n.kind >= avroInt && n.kind <= avroDouble || n.logical == logicalDecimal
	}
	return n.kind == avroBoolean
}

// appendLong appends an int or a long: zigzag, as encoding/binary has it too.
func appendLong(dst []byte, v int64) []byte { return binary.AppendVarint(dst, v) }
