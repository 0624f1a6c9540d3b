package config

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

var (
	stringScalar = &Scalar{
		Type:   pluginv1.Parameter_TYPE_STRING,
		Expect: "a string",
		Set: func(v reflect.Value, raw json.RawMessage, _ string) error {
			s, err := String(raw)
			v.SetString(s)
			return err
		},
	}
	boolScalar = &Scalar{
		Type:   pluginv1.Parameter_TYPE_BOOL,
		Expect: "true or false",
		Set: func(v reflect.Value, raw json.RawMessage, _ string) error {
			v.SetBool(string(raw) == "true")
			if raw[0] != 't' && raw[0] != 'f' {
				return errKind
			}
			return nil
		},
	}
	intScalar   = &Scalar{Type: pluginv1.Parameter_TYPE_INT, Expect: "an integer", Set: setInt}
	uintScalar  = &Scalar{Type: pluginv1.Parameter_TYPE_INT, Expect: "an integer", Set: setUint}
	floatScalar = &Scalar{
		Type:   pluginv1.Parameter_TYPE_FLOAT,
		Expect: "a number",
		Set: func(v reflect.Value, raw json.RawMessage, _ string) error {
			f, err := strconv.ParseFloat(string(raw), 64)
			if err == nil && v.OverflowFloat(f) {
				return errKind
			}
			v.SetFloat(f)
			return err
		},
	}
	// textScalar is for types with an UnmarshalText of their own.
	textScalar = &Scalar{
		Type:   pluginv1.Parameter_TYPE_STRING,
		Expect: "a string",
		Set: func(v reflect.Value, raw json.RawMessage, _ string) error {
			s, err := String(raw)
			if err != nil {
				return err
			}
			if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
				return &ValueError{err}
			}
			return nil
		},
	}
	anyScalar = &Scalar{
		Type:   pluginv1.Parameter_TYPE_ANY,
		Expect: "a value",
		Set: func(v reflect.Value, raw json.RawMessage, _ string) error {
			if v.Type() == rawMessage {
				v.SetBytes(bytes.Clone(raw))
				return nil
			}
			decoded, err := Any(raw)
			if decoded != nil {
				v.Set(reflect.ValueOf(decoded))
			}
			return err
		},
	}

	errKind = errors.New("another kind of value")
)

// ValueError is an error of [Scalar.Set] about a value of the right kind: its text
// says more than the Scalar's Expect.
type ValueError struct{ Err error }

func (e *ValueError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ValueError) Unwrap() error { return e.Err }

func kindScalar(k reflect.Kind) *Scalar {
	switch k {
	case reflect.String:
		return stringScalar
	case reflect.Bool:
		return boolScalar
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return intScalar
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return uintScalar
	case reflect.Float32, reflect.Float64:
		return floatScalar
	}
	return nil
}

func setInt(v reflect.Value, raw json.RawMessage, _ string) error {
	n, err := strconv.ParseInt(wholeNumber(raw), 10, 64)
	if errors.Is(err, strconv.ErrRange) || err == nil && v.OverflowInt(n) {
		lowest := int64(-1) << (v.Type().Bits() - 1)
		return &rangeError{strconv.FormatInt(lowest, 10), strconv.FormatInt(-lowest-1, 10)}
	}
	if err == nil {
		v.SetInt(n)
	}
	return err
}

func setUint(v reflect.Value, raw json.RawMessage, _ string) error {
	text := wholeNumber(raw)
	n, err := strconv.ParseUint(text, 10, 64)
	if _, signed := strconv.ParseInt(text, 10, 64); signed == nil && err != nil ||
		errors.Is(err, strconv.ErrRange) || err == nil && v.OverflowUint(n) {
		highest := ^uint64(0) >> (64 - v.Type().Bits())
		return &rangeError{"0", strconv.FormatUint(highest, 10)}
	}
	if err == nil {
		v.SetUint(n)
	}
	return err
}

// rangeError is a number that its Go type cannot hold.
type rangeError struct{ min, max string }

func (e *rangeError) Error() string { return "must be between " + e.min + " and " + e.max }

// wholeNumber returns a JSON number without a fraction of zeros, as encoders write
// for a float that is whole.
func wholeNumber(raw json.RawMessage) string {
	whole, fraction, found := strings.Cut(string(raw), ".")
	if found && strings.Trim(fraction, "0") == "" {
		return whole
	}
	return string(raw)
}

// String decodes a JSON string.
func String(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", errKind
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// Any decodes any JSON value, with whole numbers that fit as int64.
func Any(raw json.RawMessage) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return exact(v), nil
}

func exact(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return v // beyond a float64: its digits are better than infinity
		}
		return f
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = exact(v[k])
		}
	}
	return v
}
