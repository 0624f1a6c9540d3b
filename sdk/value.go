package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/config"
)

const masked = "***"

// Secret is a string of a configuration that is never printed: every way to
// format, log or marshal it gives "***".
type Secret struct {
	// A pointer, so that fmt shows an address where the Secret is inside an
	// unexported field, whose methods it cannot call.
	value *string
}

// NewSecret returns a Secret, for tests and for values that do not come from a
// configuration.
func NewSecret(s string) Secret { return Secret{&s} }

// Reveal returns the secret itself; "" where it is not set.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether the secret is not set or empty.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// String returns "***".
func (s Secret) String() string { return masked }

// GoString returns "***".
func (s Secret) GoString() string { return masked }

// Format writes "***" for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, masked) }

// MarshalText returns "***".
func (s Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// MarshalJSON returns "***".
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + masked + `"`), nil }

// LogValue returns "***".
func (s Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// ByteSize is a number of bytes. A configuration writes it as a number or with a
// unit: 4096, "256KiB", "1.5MB". KiB, MiB, GiB and TiB are powers of 1024; kB, MB,
// GB and TB of 1000.
type ByteSize int64

var byteUnits = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// ParseByteSize reads a size. Case does not matter.
func ParseByteSize(s string) (ByteSize, error) {
	number, unit := strings.TrimSpace(s), int64(1)
	for _, u := range byteUnits {
		if cut := len(number) - len(u.name); cut > 0 && strings.EqualFold(number[cut:], u.name) {
			number, unit = strings.TrimSpace(number[:cut]), u.size
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n > math.MaxInt64/unit || n < math.MinInt64/unit {
			return 0, fmt.Errorf("size %q is too large", s)
		}
		return ByteSize(n * unit), nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(f) || strings.ContainsAny(number, "xXpP_") {
		return 0, fmt.Errorf("%q is not a size such as 4096 or 256KiB", s)
	}
	if f *= float64(unit); math.Abs(f) >= math.MaxInt64 {
		return 0, fmt.Errorf("size %q is too large", s)
	}
	return ByteSize(f), nil
}

// String returns the size with the largest unit that leaves it whole.
func (b ByteSize) String() string {
	for _, u := range byteUnits {
		if b != 0 && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return "0B"
}

// MarshalText returns String's text.
func (b ByteSize) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what [ParseByteSize] reads.
func (b *ByteSize) UnmarshalText(text []byte) (err error) {
	*b, err = ParseByteSize(string(text))
	return err
}

// Expr is an expression in a configuration, not yet compiled. The SDK checks that
// it is not empty; its language is the component's affair.
type Expr struct {
	Source string
	path   string
}

// IsZero reports whether the expression is not set.
func (e Expr) IsZero() bool { return e.Source == "" }

// Path is the expression's place in the configuration: "set.host".
func (e Expr) Path() string { return e.path }

// Faultf returns a FieldError about the expression, wherever it stands in the
// configuration. column is the place in Source, in bytes from 1, or 0.
func (e Expr) Faultf(column int, format string, args ...any) FieldError {
	f := Faultf(e.path, format, args...)
	f.Column, f.absolute = column, true
	return f
}

// ConstOrExpr is a field that takes a constant, or an expression as {expr: "..."}.
type ConstOrExpr struct {
	// Const is a string, bool, int64 or float64; nil where the field is an
	// expression or not set.
	Const any
	// Expr is the expression, if the field is one.
	Expr Expr
}

// IsExpr reports whether the field is an expression.
func (c ConstOrExpr) IsExpr() bool { return !c.Expr.IsZero() }

// IsZero reports whether the field is not set.
func (c ConstOrExpr) IsZero() bool { return c.Const == nil && c.Expr.IsZero() }

// scalars returns how the types of this file, and durations, are decoded.
func scalars() config.Scalars {
	return config.Scalars{
		reflect.TypeFor[time.Duration](): {
			Type:   pluginv1.Parameter_TYPE_DURATION,
			Expect: `a duration such as "1m30s"`,
			Set: set(func(raw json.RawMessage, _ string) (time.Duration, error) {
				s, err := config.String(raw)
				if err != nil {
					return 0, err
				}
				return time.ParseDuration(s)
			}),
		},
		reflect.TypeFor[ByteSize](): {
			Type:   pluginv1.Parameter_TYPE_BYTES,
			Expect: `a size such as 4096 or "256KiB"`,
			Set: set(func(raw json.RawMessage, _ string) (ByteSize, error) {
				if s, err := config.String(raw); err == nil {
					return ParseByteSize(s)
				}
				return ParseByteSize(string(raw))
			}),
		},
		reflect.TypeFor[Secret](): {
			Type:   pluginv1.Parameter_TYPE_STRING,
			Secret: true,
			Expect: "a string",
			Set: set(func(raw json.RawMessage, _ string) (Secret, error) {
				s, err := config.String(raw)
				return NewSecret(s), err
			}),
		},
		reflect.TypeFor[Expr](): {
			Type:   pluginv1.Parameter_TYPE_EXPRESSION,
			Expect: "an expression as a string",
			Set:    set(decodeExpr),
		},
		reflect.TypeFor[ConstOrExpr](): {
			Type:   pluginv1.Parameter_TYPE_CONSTANT_OR_EXPRESSION,
			Expect: `a constant or {expr: "..."}`,
			Set:    set(decodeConstOrExpr),
		},
	}
}

func set[T any](decode func(raw json.RawMessage, path string) (T, error)) func(reflect.Value, json.RawMessage, string) error {
	return func(v reflect.Value, raw json.RawMessage, path string) error {
		t, err := decode(raw, path)
		v.Set(reflect.ValueOf(t))
		return err
	}
}

var errEmptyExpr = &config.ValueError{Err: errors.New("is an empty expression")}

func decodeExpr(raw json.RawMessage, path string) (Expr, error) {
	s, err := config.String(raw)
	if err == nil && strings.TrimSpace(s) == "" {
		err = errEmptyExpr
	}
	return Expr{s, path}, err
}

func decodeConstOrExpr(raw json.RawMessage, path string) (ConstOrExpr, error) {
	switch raw[0] {
	case '{':
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			return ConstOrExpr{}, err
		}
		source, ok := members["expr"]
		if !ok || len(members) != 1 {
			return ConstOrExpr{}, errors.New("another object")
		}
		e, err := decodeExpr(source, path+".expr")
		return ConstOrExpr{Expr: e}, err
	case '[':
		return ConstOrExpr{}, errors.New("a list")
	}
	v, err := config.Any(raw)
	return ConstOrExpr{Const: v}, err
}
