package eventtime

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"

	"github.com/weirstream/weir/proto/wire"
)

// Extractor finds the time of records.
type Extractor struct {
	from    string
	pointer pointer // of a JSON pointer
	header  string  // of header.NAME
	unit    int64   // nanoseconds; 0 is RFC 3339
}

// NewExtractor returns the extractor for `from` and `unit` of an event_time.
func NewExtractor(from, unit string) (*Extractor, error) {
	e := &Extractor{from: from}
	header, isHeader := strings.CutPrefix(from, "header.")
	switch {
	case from == "record":
		return e, nil
	case strings.HasPrefix(from, "/"):
		e.pointer = parsePointer(from)
	case isHeader && header != "":
		e.header = header
	default:
		return nil, fmt.Errorf(`event time from %q: it is "record", a JSON pointer or "header.NAME"`, from)
	}
	switch unit {
	case "rfc3339":
	case "s":
		e.unit = int64(time.Second)
	case "ms":
		e.unit = int64(time.Millisecond)
	case "us":
		e.unit = int64(time.Microsecond)
	case "ns":
		e.unit = 1
	default:
		return nil, fmt.Errorf("event time in %q: the units are rfc3339, s, ms, us and ns", unit)
	}
	return e, nil
}

// Keeps says that records have their time already.
func (e *Extractor) Keeps() bool { return e.pointer == nil && e.header == "" }

var errNoTime = errors.New("the record has no time")

// Time returns the time of record i. It does not allocate, but for an error.
func (e *Extractor) Time(b *wire.Batch, i int) (int64, error) {
	switch {
	case e.pointer != nil:
		text, err := e.pointer.find(b.Value(i))
		if err == nil {
			if n := len(text); n > 1 && text[0] == '"' {
				text = text[1 : n-1]
			}
			var t int64
			if t, err = e.parse(text); err == nil {
				return t, nil
			}
		}
		return 0, fmt.Errorf("event time at %s: %w", e.from, err)
	case e.header != "":
		text, ok := b.Headers(i).Get(e.header)
		if !ok {
			return 0, fmt.Errorf("event time: there is no header %q", e.header)
		}
		t, err := e.parse(text)
		if err != nil {
			return 0, fmt.Errorf("event time in header %q: %w", e.header, err)
		}
		return t, nil
	}
	if t := b.Time(i); t != wire.NoTime {
		return t, nil
	}
	return 0, errNoTime
}

func (e *Extractor) parse(text []byte) (int64, error) {
	if e.unit == 0 {
		return parseRFC3339(text)
	}
	if t, ok := parseDecimal(text, e.unit); ok {
		return t, nil
	}
	return parseNumber(text, e.unit)
}

// The times that nanoseconds can tell, save that which stands for none and that
// which ends time.
const (
	minTime = math.MinInt64 + 1
	maxTime = math.MaxInt64 - 1
)

func parseRFC3339(text []byte) (int64, error) {
	var t time.Time
	if err := t.UnmarshalText(text); err != nil {
		return 0, fmt.Errorf("%s is no time in RFC 3339", shown(text))
	}
	if y := t.Year(); y < 1678 || y > 2261 {
		return 0, fmt.Errorf("%s is not between the years 1678 and 2261", shown(text))
	}
	return t.UnixNano(), nil
}

// parseDecimal reads digits, with a sign and a fraction where there are any. What
// is longer is for parseNumber.
func parseDecimal(text []byte, unit int64) (int64, bool) {
	digits := text
	negative := len(digits) > 0 && digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	n, scale := int64(0), int64(0) // scale: 0 before the point
	for i, c := range digits {
		if c == '.' && scale == 0 && i > 0 && i < len(digits)-1 {
			scale = 1
			continue
		}
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
		scale *= 10
	}
	scale = max(scale, 1)
	if n > maxTime/unit || unit%scale != 0 && scale > 1 {
		return 0, false
	}
	// Nanoseconds are exact: the fraction's digits are not more than the unit's.
	n *= unit / scale
	if negative {
		n = -n
	}
	return n, true
}

// parseNumber reads any JSON number, exactly, and cuts off what is below a
// nanosecond.
func parseNumber(text []byte, unit int64) (int64, error) {
	if len(text) > 64 {
		return 0, fmt.Errorf("%s is no number", shown(text))
	}
	for _, c := range text {
		if !strings.ContainsRune("0123456789.+-eE", rune(c)) {
			return 0, fmt.Errorf("%s is no number", shown(text))
		}
	}
	// An exponent may ask for any amount of memory.
	if f, _, err := big.ParseFloat(string(text), 10, 64, big.ToZero); err != nil {
		return 0, fmt.Errorf("%s is no number", shown(text))
	} else if f.Sign() != 0 && (f.MantExp(nil) > 64 || f.MantExp(nil) < -128) {
		return 0, fmt.Errorf("%s is out of range", shown(text))
	}
	r, ok := new(big.Rat).SetString(string(text))
	if !ok {
		return 0, fmt.Errorf("%s is no number", shown(text))
	}
	r.Mul(r, big.NewRat(unit, 1))
	ns := new(big.Int).Div(r.Num(), r.Denom())
	if !ns.IsInt64() || ns.Int64() < minTime || ns.Int64() > maxTime {
		return 0, fmt.Errorf("%s is out of range", shown(text))
	}
	return ns.Int64(), nil
}

// shown is a text as a message has it.
func shown(text []byte) string {
	if len(text) > 40 {
		return fmt.Sprintf("%.40q...", text)
	}
	return fmt.Sprintf("%q", text)
}
