package aggregate

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"math/bits"
)

// scalar is a number, a text or a boolean, which can be compared.
type scalar struct {
	tag  byte   // 'i', 'u', 'f', 's', 'b'; 0 for none
	bits uint64 // of a number or boolean
	text string
}

func scalarOf(v any) (scalar, bool) {
	switch v := v.(type) {
	case string:
		return scalar{tag: 's', text: v}, true
	case bool:
		if v {
			return scalar{tag: 'b', bits: 1}, true
		}
		return scalar{tag: 'b'}, true
	}
	return numberOf(v)
}

// numberOf takes integers and finite floating-point numbers.
func numberOf(v any) (scalar, bool) {
	switch v := v.(type) {
	case int:
		return scalar{tag: 'i', bits: uint64(v)}, true
	case int64:
		return scalar{tag: 'i', bits: uint64(v)}, true
	case uint64:
		if v <= math.MaxInt64 {
			return scalar{tag: 'i', bits: v}, true
		}
		return scalar{tag: 'u', bits: v}, true
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return scalar{}, false
		}
		return scalar{tag: 'f', bits: math.Float64bits(v)}, true
	}
	return scalar{}, false
}

// value is the scalar as an expression gives it.
func (s scalar) value() any {
	switch s.tag {
	case 'i':
		return int(s.bits)
	case 'u':
		return s.bits
	case 'f':
		return math.Float64frombits(s.bits)
	case 's':
		return s.text
	case 'b':
		return s.bits == 1
	}
	return nil
}

func (s scalar) float() float64 {
	switch s.tag {
	case 'i':
		return float64(int64(s.bits))
	case 'u':
		return float64(s.bits)
	}
	return math.Float64frombits(s.bits)
}

// kind orders scalars of different types: booleans, numbers, texts.
func (s scalar) kind() int {
	switch s.tag {
	case 'b':
		return 0
	case 's':
		return 2
	}
	return 1
}

// compare orders scalars; numbers by value, exactly.
func (s scalar) compare(t scalar) int {
	if c := cmp.Compare(s.kind(), t.kind()); c != 0 {
		return c
	}
	switch {
	case s.tag == 's':
		return cmp.Compare(s.text, t.text)
	case s.tag == 'i' && t.tag == 'i':
		return cmp.Compare(int64(s.bits), int64(t.bits))
	case s.tag == t.tag && s.tag != 'f':
		return cmp.Compare(s.bits, t.bits)
	case s.tag == 'f' && t.tag == 'f':
		return cmp.Compare(s.float(), t.float())
	}
	return s.big().Cmp(t.big())
}

func (s scalar) big() *big.Float {
	switch s.tag {
	case 'i':
		return new(big.Float).SetInt64(int64(s.bits))
	case 'u':
		return new(big.Float).SetUint64(s.bits)
	}
	return new(big.Float).SetFloat64(s.float())
}

func (s scalar) append(b []byte) []byte {
	b = append(b, s.tag)
	switch s.tag {
	case 0:
	case 's':
		b = binary.AppendUvarint(b, uint64(len(s.text)))
		b = append(b, s.text...)
	default:
		b = binary.LittleEndian.AppendUint64(b, s.bits)
	}
	return b
}

var errDamaged = errors.New("the state of an aggregate is damaged")

func readScalar(b []byte) (scalar, []byte, error) {
	if len(b) == 0 {
		return scalar{}, nil, errDamaged
	}
	s := scalar{tag: b[0]}
	b = b[1:]
	switch s.tag {
	case 0:
	case 's':
		text, rest, err := readBytes(b)
		if err != nil {
			return s, nil, err
		}
		s.text, b = string(text), rest
	default:
		if len(b) < 8 {
			return s, nil, errDamaged
		}
		s.bits, b = binary.LittleEndian.Uint64(b), b[8:]
	}
	return s, b, nil
}

func readBytes(b []byte) (part, rest []byte, err error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || uint64(len(b)-k) < n {
		return nil, nil, errDamaged
	}
	return b[k : k+int(n)], b[k+int(n):], nil
}

// total is an exact sum: integers in 128 bits, floating-point numbers as a sum of
// parts that do not overlap (Shewchuk, Adaptive Precision Floating-Point Arithmetic
// and Fast Robust Geometric Predicates, 1997). It does not depend on the order.
type total struct {
	high  int64
	low   uint64
	parts []float64
}

func (t *total) add(s scalar) {
	switch s.tag {
	case 'i':
		t.addInt(int64(s.bits)>>63, s.bits)
	case 'u':
		t.addInt(0, s.bits)
	default:
		t.addFloat(s.float())
	}
}

func (t *total) addInt(high int64, low uint64) {
	var carry uint64
	t.low, carry = bits.Add64(t.low, low, 0)
	t.high += high + int64(carry)
}

func (t *total) addFloat(x float64) {
	n := 0
	for _, y := range t.parts {
		if math.Abs(x) < math.Abs(y) {
			x, y = y, x
		}
		high := x + y
		if math.IsInf(high, 0) { // stays in two parts, which is exact too
			t.parts[n] = y
			n++
			continue
		}
		if low := y - (high - x); low != 0 {
			t.parts[n] = low
			n++
		}
		x = high
	}
	t.parts = append(t.parts[:n], x)
}

func (t *total) merge(o *total) {
	t.addInt(o.high, o.low)
	for _, x := range o.parts {
		t.addFloat(x)
	}
}

// integer is the sum of the integers.
func (t *total) integer() *big.Int {
	n := new(big.Int).Lsh(big.NewInt(t.high), 64)
	return n.Add(n, new(big.Int).SetUint64(t.low))
}

// exact is the whole sum; nil where it is beyond all bounds.
func (t *total) exact() *big.Rat {
	r := new(big.Rat).SetInt(t.integer())
	for _, x := range t.parts {
		part := new(big.Rat)
		if part.SetFloat64(x) == nil {
			return nil
		}
		r.Add(r, part)
	}
	return r
}

// result is the sum, rounded once: an integer where all values were.
func (t *total) result() any {
	if len(t.parts) == 0 {
		n := t.integer()
		if n.IsInt64() {
			return int(n.Int64())
		}
		return n
	}
	return float(t.exact())
}

// mean is the sum divided by n.
func (t *total) mean(n uint64) any {
	r := t.exact()
	if n == 0 || r == nil {
		return nil
	}
	return float(r.Quo(r, new(big.Rat).SetInt(new(big.Int).SetUint64(n))))
}

// float rounds; nil where the result is beyond all bounds, since JSON has no such
// number.
func float(r *big.Rat) any {
	if r == nil {
		return nil
	}
	f, _ := r.Float64()
	if math.IsInf(f, 0) {
		return nil
	}
	return f
}

func (t *total) append(b []byte) []byte {
	b = binary.AppendVarint(b, t.high)
	b = binary.AppendUvarint(b, t.low)
	b = binary.AppendUvarint(b, uint64(len(t.parts)))
	for _, x := range t.parts {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	return b
}

func (t *total) read(b []byte) ([]byte, error) {
	var k int
	if t.high, k = binary.Varint(b); k <= 0 {
		return nil, errDamaged
	}
	b = b[k:]
	if t.low, k = binary.Uvarint(b); k <= 0 {
		return nil, errDamaged
	}
	b = b[k:]
	n, k := binary.Uvarint(b)
	if b = b[max(0, k):]; k <= 0 || uint64(len(b)) < 8*n {
		return nil, errDamaged
	}
	t.parts = t.parts[:0]
	for ; n > 0; n-- {
		t.parts = append(t.parts, math.Float64frombits(binary.LittleEndian.Uint64(b)))
		b = b[8:]
	}
	return b, nil
}
