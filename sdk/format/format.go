// Package format turns what records are outside, in files and topics, into the
// values that they have inside a pipeline, and back. Inside, a value is JSON: what
// expressions read, and what aggregates put out. docs/formats.md says what each
// format decodes to.
//
// The package lies beside the SDK and not in it: a plugin that needs no format has
// nothing of this in its binary. A component embeds the configurations ([CSV],
// [Avro], [Registry]) in its own and builds a [Decoder] or [Encoder] from them.
//
// No number passes through floating point on its way: integers and decimals keep
// every digit, or the record fails.
package format

import (
	"context"
	"errors"
	"fmt"
)

// Decoder turns one record as it is outside into its value. It is used by one
// goroutine.
//
// Null is not its affair: a caller leaves a null value null.
type Decoder interface {
	// Decode appends the value of in, as JSON, to dst, and returns the extended
	// slice; with an error it returns dst as it was. An error is about this record
	// and no other, unless [IsOutside] says otherwise.
	Decode(ctx context.Context, dst, in []byte) ([]byte, error)
}

// Encoder turns a value into one record as it is outside. It is used by one
// goroutine. Null is not its affair either.
type Encoder interface {
	// Encode appends value, which should be JSON, to dst in the encoder's format,
	// and returns the extended slice; with an error it returns dst as it was. An
	// error is about this record and no other, unless [IsOutside] says otherwise.
	Encode(ctx context.Context, dst, value []byte) ([]byte, error)
}

// MaxDepth is how deep a value may be nested.
const MaxDepth = 512

var errDeep = fmt.Errorf("is nested more than %d levels deep", MaxDepth)

// outsideError is an error of something that records need, such as the schema
// registry.
type outsideError struct{ err error }

func (e *outsideError) Error() string { return e.err.Error() }
func (e *outsideError) Unwrap() error { return e.err }

// IsOutside reports whether an error of a Decoder or Encoder is not the record's
// fault: what the record needs could not be had. Such an error is marked with
// [sdk.Retry] or [sdk.Fatal], and nothing has become of the record.
func IsOutside(err error) bool {
	var o *outsideError
	return errors.As(err, &o)
}

// placed is an error of a part of a value.
type placed struct {
	path string
	err  error
}

func (e *placed) Error() string { return e.path + ": " + e.err.Error() }
func (e *placed) Unwrap() error { return e.err }

// at says in which part an error is: a field's name, or an index as "[3]".
func at(part string, err error) error {
	if part == "" {
		part = `""`
	}
	var inner *placed
	if !errors.As(err, &inner) || inner != err {
		return &placed{part, err}
	}
	const long = 200
	if len(inner.path) > long {
		return inner // the innermost parts tell most
	}
	if inner.path[0] != '[' {
		part += "."
	}
	return &placed{part + inner.path, inner.err}
}

// shown is a text as errors show it: quoted, and not too long.
func shown(text []byte) string {
	const most = 60
	if len(text) > most {
		return fmt.Sprintf("%q...", text[:most])
	}
	return fmt.Sprintf("%q", text)
}
