package format

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
)

var (
	errShort  = errors.New("the data ends too early")
	errVarint = errors.New("is no variable-length integer")
)

// defaultMost bounds a value where no bound is given.
const defaultMost = 64 << 20

// avroDecoder turns Avro's binary encoding into JSON.
type avroDecoder struct {
	root *avroNode
	most int
	end  int // where dst may not be longer, for the record at hand
}

// Decode implements [Decoder].
func (d *avroDecoder) Decode(_ context.Context, dst, in []byte) ([]byte, error) {
	most := d.most
	if most <= 0 {
		most = defaultMost
	}
	d.end = len(dst) + most
	out, rest, err := d.value(dst, in, d.root, 0)
	switch {
	case err != nil:
	case len(rest) > 0:
		err = fmt.Errorf("%d bytes are left behind the value: it was written with another schema", len(rest))
	case len(out) > d.end:
		err = d.large()
	}
	if err != nil {
		return dst, fmt.Errorf("avro: %w", err)
	}
	return out, nil
}

func (d *avroDecoder) large() error {
	return errors.New("the value has more bytes, as JSON, than a record may have")
}

// value appends the value at the beginning of in, and returns what follows it.
func (d *avroDecoder) value(dst, in []byte, n *avroNode, depth int) (out, rest []byte, err error) {
	if depth > MaxDepth {
		return dst, in, errDeep
	}
	switch n.kind {
	case avroNull:
		return append(dst, "null"...), in, nil
	case avroBoolean:
		if len(in) == 0 {
			return dst, in, errShort
		}
		if in[0] > 1 {
			return dst, in, fmt.Errorf("%d is neither true nor false", in[0])
		}
		return strconv.AppendBool(dst, in[0] == 1), in[1:], nil
	case avroInt, avroLong:
		v, rest, err := takeLong(in)
		if err == nil && n.kind == avroInt && int64(int32(v)) != v {
			err = fmt.Errorf("%d does not fit 32 bits", v)
		}
		if err != nil {
			return dst, in, err
		}
		return appendTime(dst, n, v), rest, nil
	case avroFloat:
		if len(in) < 4 {
			return dst, in, errShort
		}
		return appendFloat(dst, float64(math.Float32frombits(binary.LittleEndian.Uint32(in))), 32), in[4:], nil
	case avroDouble:
		if len(in) < 8 {
			return dst, in, errShort
		}
		return appendFloat(dst, math.Float64frombits(binary.LittleEndian.Uint64(in)), 64), in[8:], nil
	case avroBytes, avroString:
		v, rest, err := takeBytes(in)
		if err != nil {
			return dst, in, err
		}
		if n.kind == avroString {
			out, err = appendString(dst, v)
		} else {
			out, err = appendBinary(dst, v, n)
		}
		return out, rest, err
	case avroFixed:
		if len(in) < n.size {
			return dst, in, errShort
		}
		out, err = appendBinary(dst, in[:n.size], n)
		return out, in[n.size:], err
	case avroEnum:
		i, rest, err := takeLong(in)
		if err == nil && (i < 0 || i >= int64(len(n.symbols))) {
			err = fmt.Errorf("%v has no symbol %d", n, i)
		}
		if err != nil {
			return dst, in, err
		}
		dst = append(append(append(dst, '"'), n.symbols[i]...), '"')
		return dst, rest, nil
	case avroUnion:
		i, rest, err := takeLong(in)
		if err == nil && (i < 0 || i >= int64(len(n.branches))) {
			err = fmt.Errorf("the union has no branch %d", i)
		}
		if err != nil {
			return dst, in, err
		}
		return d.value(dst, rest, n.branches[i], depth+1)
	case avroRecord:
		return d.record(dst, in, n, depth)
	}
	return d.items(dst, in, n, depth)
}

func (d *avroDecoder) record(dst, in []byte, n *avroNode, depth int) (out, rest []byte, err error) {
	dst = append(dst, '{')
	for i := range n.fields {
		f := &n.fields[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, in, err = d.value(append(dst, f.before...), in, f.node, depth+1); err != nil {
			return dst, in, at(f.name, err)
		}
		if len(dst) > d.end {
			return dst, in, d.large()
		}
	}
	return append(dst, '}'), in, nil
}

// items appends an array or a map, which come in blocks.
func (d *avroDecoder) items(dst, in []byte, n *avroNode, depth int) (out, rest []byte, err error) {
	brackets := "[]"
	if n.kind == avroMap {
		brackets = "{}"
	}
	dst = append(dst, brackets[0])
	for total := 0; ; {
		var count int64
		if count, in, err = takeLong(in); err != nil {
			return dst, in, err
		}
		switch {
		case count == 0:
			return append(dst, brackets[1]), in, nil
		case count == math.MinInt64:
			return dst, in, fmt.Errorf("a block of %d items", count)
		case count < 0: // the block's size follows
			count = -count
			if _, in, err = takeLong(in); err != nil {
				return dst, in, err
			}
		}
		for ; count > 0; count-- {
			if total > 0 {
				dst = append(dst, ',')
			}
			part := "[" + strconv.Itoa(total) + "]"
			if n.kind == avroMap {
				var key []byte
				if key, in, err = takeBytes(in); err == nil {
					part = string(key)
					dst, err = appendString(dst, key)
				}
				if err != nil {
					return dst, in, err
				}
				dst = append(dst, ':')
			}
			if dst, in, err = d.value(dst, in, n.element, depth+1); err != nil {
				return dst, in, at(part, err)
			}
			if total++; len(dst) > d.end {
				return dst, in, d.large()
			}
		}
	}
}

func takeLong(in []byte) (v int64, rest []byte, err error) {
	// encoding/binary has the same zigzag.
	v, n := binary.Varint(in)
	switch {
	case n > 0:
		return v, in[n:], nil
	case n == 0:
		return 0, in, errShort
	}
	return 0, in, errVarint
}

func takeBytes(in []byte) (v, rest []byte, err error) {
	size, in, err := takeLong(in)
	switch {
	case err != nil:
		return nil, in, err
	case size < 0:
		return nil, in, fmt.Errorf("a length of %d", size)
	case size > int64(len(in)):
		return nil, in, errShort
	}
	return in[:size], in[size:], nil
}

// appendFloat appends the shortest number that is read back as f. What JSON has no
// number for is a string, as Java's Avro has it.
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	// A whole number keeps a point, so that it stays a floating-point number.
	form := byte('g')
	if a := math.Abs(f); a == 0 || a >= 1e-6 && a < 1e21 {
		form = 'f'
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, form, -1, bits)
	for _, c := range dst[start:] {
		if c == '.' || c == 'e' {
			return dst
		}
	}
	return append(dst, '.', '0')
}

// appendBinary appends bytes or a fixed as their logical type says, or in base64.
func appendBinary(dst, v []byte, n *avroNode) ([]byte, error) {
	switch n.logical {
	case logicalDecimal:
		return appendDecimal(dst, v, n.scale)
	case logicalUUID:
		return append(appendUUID(append(dst, '"'), v), '"'), nil
	case logicalDuration:
		part := func(name string, i int) {
			dst = strconv.AppendUint(append(dst, name...), uint64(binary.LittleEndian.Uint32(v[i:])), 10)
		}
		part(`{"months":`, 0)
		part(`,"days":`, 4)
		part(`,"milliseconds":`, 8)
		return append(dst, '}'), nil
	}
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), v)
	return append(dst, '"'), nil
}
