package pipeline

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
	"time"
)

var errFormat = errors.New("not in the expected form")

// parseInt reads an integer of YAML's core schema: decimal, 0x or 0o.
func parseInt(s string) (*big.Int, bool) {
	if len(s) > 100 {
		return nil, false
	}
	base := 10
	switch {
	case strings.HasPrefix(s, "0x"):
		s, base = s[2:], 16
	case strings.HasPrefix(s, "0o"):
		s, base = s[2:], 8
	}
	return new(big.Int).SetString(strings.TrimPrefix(s, "+"), base)
}

// parseDuration reads a duration as Go writes it. A bare number has no unit and
// is refused, but for 0.
func parseDuration(s string) (time.Duration, error) { return time.ParseDuration(s) }

var byteUnits = map[string]int64{
	"": 1, "B": 1,
	"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
}

// ParseBytes reads a number of bytes: 4096, "256KiB", "1.5MB".
func ParseBytes(s string) (int64, error) {
	number := strings.TrimRight(s, "BKMGTIbkmgti")
	unit, ok := byteUnits[strings.ToUpper(s[len(number):])]
	number = strings.TrimSpace(number)
	if !ok || number == "" || len(number) > 30 || strings.Trim(number, "0123456789.") != "" {
		return 0, errFormat
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, errFormat
	}
	r.Mul(r, new(big.Rat).SetInt64(unit))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, errFormat
	}
	return r.Num().Int64(), nil
}

// formatBytes is the shortest exact way to write a size.
func formatBytes(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// formatDuration leaves out units that are zero: 1m, not 1m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// parseBackoff reads "1s..1m", or "1s" for a wait that does not grow.
func parseBackoff(s string) (Backoff, error) {
	low, high, isRange := strings.Cut(s, "..")
	if !isRange {
		high = low
	}
	least, err := parseDuration(strings.TrimSpace(low))
	if err != nil {
		return Backoff{}, errFormat
	}
	most, err := parseDuration(strings.TrimSpace(high))
	if err != nil {
		return Backoff{}, errFormat
	}
	return Backoff{Min: least, Max: most}, nil
}

// parseRate reads "1000/1m": a number of events within a time.
func parseRate(s string) (uint64, time.Duration, error) {
	number, window, ok := strings.Cut(s, "/")
	if !ok {
		return 0, 0, errFormat
	}
	n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 63)
	if err != nil {
		return 0, 0, errFormat
	}
	window = strings.TrimSpace(window)
	if window != "" && (window[0] < '0' || window[0] > '9') {
		window = "1" + window // 1000/m
	}
	d, err := parseDuration(window)
	if err != nil {
		return 0, 0, errFormat
	}
	return n, d, nil
}
