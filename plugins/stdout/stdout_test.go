//go:build unix

package stdout

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// lend makes a pipe the standard output that a host lends, and returns its other
// end.
func lend(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	t.Setenv(envStdout, fmt.Sprint(w.Fd()))
	return r
}

// written reads what was written so far.
func written(t *testing.T, r *os.File, bytes int) string {
	t.Helper()
	b := make([]byte, bytes)
	if n, err := io.ReadFull(r, b); err != nil {
		t.Fatalf("%v after %q", err, b[:n])
	}
	return string(b)
}

func TestFormats(t *testing.T) {
	whole := sdktest.KV("k", `{"a": "<b>"}`)
	whole.Time = sdk.UnixMilli(1500)
	whole.Headers = []sdktest.Header{{Name: "h", Value: []byte("1")}, {Name: "h", Value: nil}}
	for _, c := range []struct {
		format string
		in     []sdktest.Record
		want   string
	}{
		{"lines", sdktest.Values("a", "", "b\nc"), "a\n\nb\nc\n"},
		{"json", []sdktest.Record{whole}, `{"key":"k","value":{"a":"<b>"},"time":1500,"headers":[["h","1"],["h",null]]}` + "\n"},
		{"json", []sdktest.Record{{}}, `{"key":null,"value":null}` + "\n"},
		{"json", sdktest.Values("text", "", "\xff"), `{"key":null,"value":"text"}` + "\n" + `{"key":null,"value":""}` + "\n" + `{"key":null,"value":{"base64":"/w=="}}` + "\n"},
	} {
		r := lend(t)
		s := sdktest.NewSink(t, Sink(), map[string]string{"format": c.format})
		if failed := s.Write(c.in...); len(failed) > 0 {
			t.Errorf("failed: %v", failed)
		}
		if got := written(t, r, len(c.want)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.format, got, c.want)
		}
	}
}

// Somebody is looking: what was written shows before any checkpoint.
func TestRecordsShowAtOnce(t *testing.T) {
	r := lend(t)
	s := sdktest.NewSink(t, Sink(), nil)
	for _, v := range []string{"one", "two"} {
		s.Write(sdktest.Values(v)...)
		if got := written(t, r, 4); got != v+"\n" {
			t.Errorf("got %q", got)
		}
	}
}

// Whoever reads has enough, as head has: no restart helps.
func TestAClosedOutputIsFatal(t *testing.T) {
	r := lend(t)
	s := sdktest.NewSink(t, Sink(), nil)
	r.Close()
	err, ok := s.WriteError(sdktest.Values("a")...).(*sdktest.Error)
	if !ok || !err.Fatal || !strings.Contains(err.Message, "has closed it") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutAnOutputItDoesNotOpen(t *testing.T) {
	t.Setenv(envStdout, "")
	err := sdktest.OpenError(t, Sink(), nil)
	if err == nil || !strings.Contains(err.Error(), "lends its standard output to no plugin here") {
		t.Errorf("got %v", err)
	}
}

func TestItClaimsLittle(t *testing.T) {
	c := sdktest.Check(t, Sink(), nil).Capabilities
	if c.ExactlyOnce || !c.SingleTask || !c.Local {
		t.Errorf("got %+v", c)
	}
}
