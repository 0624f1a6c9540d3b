package format

import (
	"errors"
	"strconv"
	"strings"
)

// decimal is an exact number: its digits without leading and trailing zeros, times
// ten to the power of exp. Zero has no digits.
type decimal struct {
	negative bool
	digits   string
	exp      int
}

// maxExponent bounds the powers of ten that are looked at.
const maxExponent = 1 << 20

var errNoNumber = errors.New("is no number")

// parseDecimal reads a number as JSON or a person writes it: a sign, digits, a
// point, an exponent.
func parseDecimal(text string) (decimal, error) {
	var d decimal
	mantissa := text
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		exp, err := strconv.ParseInt(text[i+1:], 10, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return d, errNoNumber
		}
		d.exp, mantissa = int(max(min(exp, maxExponent), -maxExponent)), text[:i]
	}
	if mantissa != "" && (mantissa[0] == '-' || mantissa[0] == '+') {
		d.negative = mantissa[0] == '-'
		mantissa = mantissa[1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if whole == "" && fraction == "" || !onlyDigits(whole) || !onlyDigits(fraction) {
		return decimal{}, errNoNumber
	}
	d.digits, d.exp = whole+fraction, d.exp-len(fraction)
	short := strings.TrimRight(d.digits, "0")
	d.exp += len(d.digits) - len(short)
	if d.digits = strings.TrimLeft(short, "0"); d.digits == "" {
		return decimal{}, nil
	}
	return d, nil
}

func onlyDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// parseInteger reads a number that is whole, however it is written: 5, 5.0, 5e3.
func parseInteger(text string, bits int) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, bits); err == nil {
		return n, nil
	}
	d, err := parseDecimal(text)
	switch {
	case err != nil:
		return 0, err
	case d.digits == "":
		return 0, nil
	case d.exp < 0:
		return 0, errors.New("is no whole number")
	case len(d.digits)+d.exp > 19:
		return 0, errLarge(bits)
	}
	sign := ""
	if d.negative {
		sign = "-"
	}
	n, err := strconv.ParseInt(sign+d.digits+strings.Repeat("0", d.exp), 10, bits)
	if err != nil {
		return 0, errLarge(bits)
	}
	return n, nil
}

func errLarge(bits int) error { return errors.New("does not fit " + strconv.Itoa(bits) + " bits") }

// parseFloat reads the nearest number of that many bits. A whole number must be
// exact: it is an identifier as often as a quantity.
func parseFloat(text string, bits int) (float64, error) {
	f, err := strconv.ParseFloat(text, bits)
	if err != nil {
		return 0, errors.New("does not fit a floating-point number of " + strconv.Itoa(bits) + " bits")
	}
	if strings.ContainsAny(text, ".eE") {
		return f, nil
	}
	if most := float64(int64(1) << map[int]uint{32: 24, 64: 53}[bits]); f > -most && f < most {
		return f, nil
	}
	got, _ := parseDecimal(strconv.FormatFloat(f, 'f', 0, 64))
	if want, _ := parseDecimal(text); got != want {
		return 0, errors.New("is not exact as a floating-point number of " + strconv.Itoa(bits) + " bits")
	}
	return f, nil
}

// appendNumber appends text, a number as a person may write it, as one of JSON:
// every digit that counts stays as it is.
func appendNumber(dst []byte, text string) ([]byte, error) {
	if _, err := parseDecimal(text); err != nil {
		return dst, err
	}
	mantissa, exponent := text, ""
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa, exponent = text[:i], text[i:]
	}
	if mantissa[0] == '-' {
		dst = append(dst, '-')
	}
	whole, fraction, _ := strings.Cut(strings.TrimLeft(mantissa, "+-"), ".")
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	dst = append(dst, whole...)
	if fraction != "" {
		dst = append(append(dst, '.'), fraction...)
	}
	return append(dst, exponent...), nil
}
