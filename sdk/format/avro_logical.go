package format

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

const daySeconds = 24 * 60 * 60

// The seconds since 1970 of the years that text can hold, 1 to 9999.
const (
	firstSecond = -62135596800
	lastSecond  = 253402300799
)

// appendTime appends an int or a long: as text where it is a time that text can
// hold, else as the number that it is.
func appendTime(dst []byte, n *avroNode, v int64) []byte {
	unit := n.unit
	if n.logical == logicalDate {
		unit = 1
		if v < firstSecond/daySeconds || v > lastSecond/daySeconds {
			return strconv.AppendInt(dst, v, 10)
		}
		v *= daySeconds
	}
	if n.logical == logicalNone {
		return strconv.AppendInt(dst, v, 10)
	}
	seconds, rest := v/unit, v%unit
	if rest < 0 {
		seconds, rest = seconds-1, rest+unit
	}
	if n.logical == logicalTime && (v < 0 || seconds >= daySeconds) || seconds < firstSecond || seconds > lastSecond {
		return strconv.AppendInt(dst, v, 10)
	}
	t := time.Unix(seconds, rest*(1e9/unit)).UTC()
	return t.AppendFormat(dst, n.layout())
}

// layout is how a time is written as a JSON string.
func (n *avroNode) layout() string {
	fraction := map[int64]string{1e3: ".000", 1e6: ".000000", 1e9: ".000000000"}[n.unit]
	switch n.logical {
	case logicalDate:
		return `"2006-01-02"`
	case logicalTime:
		return `"15:04:05` + fraction + `"`
	case logicalLocal:
		return `"2006-01-02T15:04:05` + fraction + `"`
	}
	return `"2006-01-02T15:04:05` + fraction + `Z"`
}

// parseTime reads a time as text, in the node's unit. What it cannot hold is an
// error: no digit is dropped.
func parseTime(n *avroNode, text string) (int64, error) {
	layout, wanted := time.RFC3339, "a time such as 2026-01-31T12:00:00Z"
	switch n.logical {
	case logicalDate:
		layout, wanted = "2006-01-02", "a date such as 2026-01-31"
	case logicalTime:
		layout, wanted = "15:04:05", "a time of day such as 12:00:00.5"
	case logicalLocal:
		layout, wanted = "2006-01-02T15:04:05", "a time without a zone, such as 2026-01-31T12:00:00"
	}
	t, err := time.Parse(layout, text)
	if err != nil {
		return 0, fmt.Errorf("%s is not %s", shown([]byte(text)), wanted)
	}
	seconds := t.Unix()
	switch n.logical {
	case logicalDate:
		return seconds / daySeconds, nil // midnight in UTC
	case logicalTime:
		seconds = int64(t.Hour()*3600 + t.Minute()*60 + t.Second())
	}
	part := int64(1e9) / n.unit
	_, digits, _ := strings.Cut(text, ".")
	digits = digits[:len(digits)-len(strings.TrimLeft(digits, "0123456789"))]
	if int64(t.Nanosecond())%part != 0 || len(strings.TrimRight(digits, "0")) > 9 {
		return 0, fmt.Errorf("%s is finer than %v, which is all that the schema holds", text, time.Duration(part))
	}
	v := seconds * n.unit
	if v/n.unit != seconds {
		return 0, fmt.Errorf("%s does not fit 64 bits in units of %v", text, time.Duration(part))
	}
	return v + int64(t.Nanosecond())/part, nil
}

// maxDecimalBytes is more than maxPrecision digits take.
const maxDecimalBytes = maxPrecision

// appendDecimal appends a decimal, which v is in two's complement, as a number of
// JSON with all the digits of its scale.
func appendDecimal(dst, v []byte, scale int) ([]byte, error) {
	if len(v) > maxDecimalBytes {
		return dst, fmt.Errorf("a decimal of %d bytes", len(v))
	}
	start := len(dst)
	if len(v) <= 8 {
		var n int64
		if len(v) > 0 {
			n = int64(int8(v[0]))
			for _, b := range v[1:] {
				n = n<<8 | int64(b)
			}
		}
		dst = strconv.AppendInt(dst, n, 10)
	} else {
		dst = signed(v).Append(dst, 10)
	}
	if scale == 0 {
		return dst, nil
	}
	if dst[start] == '-' {
		start++
	}
	// At least one digit in front of the point.
	if missing := scale + 1 - (len(dst) - start); missing > 0 {
		digits := string(dst[start:])
		dst = append(dst[:start], strings.Repeat("0", missing)...)
		dst = append(dst, digits...)
	}
	point := len(dst) - scale
	dst = append(dst, 0)
	copy(dst[point+1:], dst[point:])
	dst[point] = '.'
	return dst, nil
}

// signed reads two's complement.
func signed(v []byte) *big.Int {
	n := new(big.Int).SetBytes(v)
	if v[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(v))))
	}
	return n
}

// parseAvroDecimal reads a decimal and returns it in two's complement: in as few
// bytes as hold it, or sign-extended to size.
func parseAvroDecimal(n *avroNode, text string) ([]byte, error) {
	d, err := parseDecimal(text)
	if err != nil {
		return nil, fmt.Errorf("%s %w", shown([]byte(text)), err)
	}
	zeros := d.exp + n.scale
	switch {
	case d.digits == "":
		zeros, d.digits = 0, "0"
	case zeros < 0:
		return nil, fmt.Errorf("%s has more than %d digits behind the point, which is all that the schema holds", clip(text), n.scale)
	case len(d.digits)+zeros > n.precision:
		return nil, fmt.Errorf("%s has more than %d digits, which is all that the schema holds", clip(text), n.precision)
	}
	v, ok := new(big.Int).SetString(d.digits+strings.Repeat("0", zeros), 10)
	if !ok {
		return nil, errNoNumber
	}
	size := v.BitLen()/8 + 1
	if d.negative {
		v.Neg(v)
		size = new(big.Int).Not(v).BitLen()/8 + 1
	}
	if n.kind == avroFixed {
		size = n.size
	}
	if d.negative {
		v.Add(v, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
	}
	return v.FillBytes(make([]byte, size)), nil
}

var uuidGroups = []int{4, 2, 2, 2, 6}

func appendUUID(dst, v []byte) []byte {
	for i, size := range uuidGroups {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, v[:size])
		v = v[size:]
	}
	return dst
}

var errUUID = errors.New("is no UUID such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8")

// parseUUID returns the 16 bytes of a UUID.
func parseUUID(text string) ([]byte, error) {
	parts := strings.Split(text, "-")
	if len(parts) != len(uuidGroups) {
		return nil, errUUID
	}
	for i, size := range uuidGroups {
		if len(parts[i]) != 2*size {
			return nil, errUUID
		}
	}
	v, err := hex.DecodeString(strings.Join(parts, ""))
	if err != nil {
		return nil, errUUID
	}
	return v, nil
}
