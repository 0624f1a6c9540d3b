package sdk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk"
)

func TestASecretIsNeverPrinted(t *testing.T) {
	const hidden = "hunter2"
	s := sdk.NewSecret(hidden)
	type holder struct {
		Public  sdk.Secret
		private sdk.Secret
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	logger.Info("text", "secret", s, "holder", holder{s, s})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "secret", s, "holder", holder{s, s})
	raw, err := json.Marshal(map[string]any{"s": s, "p": &s, "h": holder{s, s}})
	if err != nil {
		t.Fatal(err)
	}
	outputs := []string{string(raw), log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%10.3s"} {
		for _, v := range []any{s, &s, holder{s, s}, []sdk.Secret{s}, map[string]sdk.Secret{"k": s}} {
			outputs = append(outputs, fmt.Sprintf(verb, v))
		}
	}
	for _, out := range outputs {
		if strings.Contains(out, hidden) || strings.Contains(out, fmt.Sprintf("%x", hidden)) {
			t.Errorf("printed: %s", out)
		}
	}
	if s.Reveal() != hidden || s.IsZero() || !(sdk.Secret{}).IsZero() || s.String() != "***" {
		t.Error("the secret itself is lost")
	}
}

func TestByteSizes(t *testing.T) {
	for text, want := range map[string]sdk.ByteSize{
		"0": 0, "4096": 4096, "256KiB": 256 << 10, "256kib": 256 << 10, "1MB": 1e6, " 2 GiB ": 2 << 30,
		"1.5KiB": 1536, "10B": 10, "7TB": 7e12, "-1kB": -1000, "0.5TiB": 1 << 39,
	} {
		if got, err := sdk.ParseByteSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "KiB", "1 K", "1e3XB", "x", "0x10", "9000000TiB", "1e30", "NaN", "Inf", "1_000", "1..5MB"} {
		if got, err := sdk.ParseByteSize(text); err == nil {
			t.Errorf("%q: got %d", text, got)
		}
	}
	for size, want := range map[sdk.ByteSize]string{
		0: "0B", 1: "1B", 1024: "1KiB", 1536: "1536B", 1000: "1kB", 1 << 20: "1MiB", 5e9: "5GB", -2048: "-2KiB",
	} {
		if got := size.String(); got != want {
			t.Errorf("%d: got %s, want %s", size, got, want)
		}
		if back, err := sdk.ParseByteSize(size.String()); err != nil || back != size {
			t.Errorf("%s reads as %d, %v", size, back, err)
		}
	}
}

func TestTimes(t *testing.T) {
	var none sdk.Time
	now := time.Now()
	at := sdk.TimeOf(now)
	switch {
	case !none.IsZero(), !none.Time().IsZero(), none != sdk.TimeOf(time.Time{}), none.UnixNano() != math.MinInt64:
		t.Error("the zero Time is no time")
	case sdk.UnixNano(0).IsZero(), sdk.UnixNano(0).UnixNano() != 0:
		t.Error("the epoch is a time")
	case !at.Time().Equal(now), at.UnixNano() != now.UnixNano():
		t.Error("a time does not come back")
	case !none.Before(at), !none.Before(sdk.UnixNano(math.MinInt64 + 1)), !sdk.EndOfTime().After(at), at.Compare(at) != 0:
		t.Error("times are out of order")
	case at.Add(time.Second).Sub(at) != time.Second, none.Add(time.Second) != none:
		t.Error("sums are wrong")
	case sdk.UnixMilli(-1).UnixMilli() != -1, sdk.UnixNano(-1).UnixMilli() != -1, sdk.UnixNano(1).UnixMilli() != 0:
		t.Error("milliseconds are rounded down")
	}
	for want, got := range map[string]sdk.Time{
		"no time": none, "end of time": sdk.EndOfTime(), "1970-01-01T00:00:00.001Z": sdk.UnixMilli(1),
	} {
		if got.String() != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestTimesSurviveJSON(t *testing.T) {
	for _, at := range []sdk.Time{{}, sdk.UnixNano(0), sdk.UnixNano(1), sdk.UnixMilli(-5), sdk.EndOfTime()} {
		raw, err := json.Marshal(at)
		var back sdk.Time
		if err == nil {
			err = json.Unmarshal(raw, &back)
		}
		if err != nil || back != at {
			t.Errorf("%s became %s by %s: %v", at, back, raw, err)
		}
	}
}

func TestHeaders(t *testing.T) {
	h := sdk.Headers(nil).Add("a", []byte("1")).Add("b", nil).Add("a", []byte{})
	if h.Len() != 3 {
		t.Errorf("%d headers", h.Len())
	}
	var got []string
	for name, value := range h.All() {
		got = append(got, fmt.Sprintf("%s=%q %v", name, value, value == nil))
	}
	if want := []string{`a="1" false`, `b="" true`, `a="" false`}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if v, ok := h.Get("a"); !ok || v == nil || len(v) != 0 {
		t.Errorf("the last of a name counts: got %q, %v", v, ok)
	}
	if v, ok := h.Get("b"); !ok || v != nil {
		t.Errorf("a null header is there: got %q, %v", v, ok)
	}
	if _, ok := h.Get("c"); ok {
		t.Error("a header that is not there is found")
	}
}

func TestFieldErrors(t *testing.T) {
	if got := sdk.Faultf("a.b", "is %d", 1); got.Error() != "a.b: is 1" || got.Warning {
		t.Errorf("got %+v", got)
	}
	if got := sdk.Warnf("", "odd"); got.Error() != "odd" || !got.Warning {
		t.Errorf("got %+v", got)
	}
}
