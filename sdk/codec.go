package sdk

import (
	"encoding"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
)

// Codec encodes values of state. One goroutine at a time uses it.
type Codec[T any] interface {
	// Name is kept with the state. Change it when the encoding changes: a restart
	// then refuses to read one as the other, see [Migrate].
	Name() string
	// Append appends v to b.
	Append(b []byte, v T) ([]byte, error)
	// Decode reads what Append appended. It must not keep b.
	Decode(b []byte) (T, error)
}

// CodecOf is the codec that a state has unless [WithCodec] says otherwise: that of
// [IntCodec], [FloatCodec] or [BytesCodec] for int, int32, int64, uint32, uint64,
// float64, string and []byte, and JSON for all else, types made of these included.
func CodecOf[T any]() Codec[T] {
	for _, c := range []any{
		IntCodec[int](), IntCodec[int32](), IntCodec[int64](), IntCodec[uint32](), IntCodec[uint64](),
		FloatCodec[float64](), BytesCodec[string](), BytesCodec[[]byte](),
	} {
		if c, ok := c.(Codec[T]); ok {
			return c
		}
	}
	return JSONCodec[T]()
}

// Integer is any type of integers.
type Integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// IntCodec encodes integers as eight bytes.
func IntCodec[T Integer]() Codec[T] { return intCodec[T]{} }

type intCodec[T Integer] struct{}

func (intCodec[T]) Name() string { return "int" }

func (intCodec[T]) Append(b []byte, v T) ([]byte, error) {
	return binary.LittleEndian.AppendUint64(b, uint64(v)), nil
}

func (intCodec[T]) Decode(b []byte) (T, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("an integer of %d bytes", len(b))
	}
	return T(binary.LittleEndian.Uint64(b)), nil
}

// FloatCodec encodes floating-point numbers as eight bytes.
func FloatCodec[T ~float32 | ~float64]() Codec[T] { return floatCodec[T]{} }

type floatCodec[T ~float32 | ~float64] struct{}

func (floatCodec[T]) Name() string { return "float" }

func (floatCodec[T]) Append(b []byte, v T) ([]byte, error) {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(v))), nil
}

func (floatCodec[T]) Decode(b []byte) (T, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("a floating-point number of %d bytes", len(b))
	}
	return T(math.Float64frombits(binary.LittleEndian.Uint64(b))), nil
}

// BytesCodec keeps strings and byte slices as they are. Nil becomes empty.
func BytesCodec[T ~string | ~[]byte]() Codec[T] { return bytesCodec[T]{} }

type bytesCodec[T ~string | ~[]byte] struct{}

func (bytesCodec[T]) Name() string { return "bytes" }

func (bytesCodec[T]) Append(b []byte, v T) ([]byte, error) { return append(b, v...), nil }

func (bytesCodec[T]) Decode(b []byte) (T, error) {
	return T(append([]byte{}, b...)), nil
}

// JSONCodec encodes values as JSON.
func JSONCodec[T any]() Codec[T] { return jsonCodec[T]{} }

type jsonCodec[T any] struct{}

func (jsonCodec[T]) Name() string { return "json" }

func (jsonCodec[T]) Append(b []byte, v T) ([]byte, error) {
	j, err := json.Marshal(v)
	return append(b, j...), err
}

func (jsonCodec[T]) Decode(b []byte) (v T, err error) {
	err = json.Unmarshal(b, &v)
	return v, err
}

// Binary is a type that writes and reads itself.
type Binary[T any] interface {
	*T
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// BinaryCodec encodes a type by its own methods, for what JSON is too large or too
// slow for. The name says which version of them: change it when they change.
func BinaryCodec[T any, P Binary[T]](name string) Codec[T] { return binaryCodec[T, P]{name} }

type binaryCodec[T any, P Binary[T]] struct{ name string }

func (c binaryCodec[T, P]) Name() string { return c.name }

func (binaryCodec[T, P]) Append(b []byte, v T) ([]byte, error) { return P(&v).AppendBinary(b) }

func (binaryCodec[T, P]) Decode(b []byte) (v T, err error) {
	err = P(&v).UnmarshalBinary(b)
	return v, err
}
