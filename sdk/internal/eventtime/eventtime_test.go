package eventtime

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/proto/wire"
)

func batch(value string, at int64, headers wire.Headers) *wire.Batch {
	w := wire.NewPool().NewBuilder(1 << 20)
	w.Append(nil, []byte(value), at, headers, "", 0)
	return w.Freeze()
}

func TestATimeIsFoundWhereTheFileSays(t *testing.T) {
	const second = int64(time.Second)
	h := wire.AppendHeader(nil, "ts", []byte("12"))
	for _, c := range []struct {
		from, unit, value string
		want              int64
		fault             string
	}{
		{"record", "", "x", 7, ""},
		{"/ts", "s", `{"ts":12}`, 12 * second, ""},
		{"/ts", "s", ` { "a" : [1,{"ts":5}], "b":{"ts":6,"}":"]"} , "ts" : -12 , broken`, -12 * second, ""},
		{"/ts", "ms", `{"s":"a \"quoted\\\" } \\","ts":"12"}`, 12e6, ""},
		{"/ts", "us", `{"ts":12.5}`, 12500, ""},
		{"/ts", "s", `{"ts":1700000000.123456789}`, 1700000000123456789, ""},
		{"/ts", "s", `{"ts":1.7e9}`, 1700000000 * second, ""},
		{"/ts", "ns", `{"ts":12.9}`, 12, ""},
		{"/ts", "ns", `{"ts":9223372036854775806}`, math.MaxInt64 - 1, ""},
		{"/ts", "rfc3339", `{"ts":"2024-02-29T12:00:00.5+01:00"}`, time.Date(2024, 2, 29, 11, 0, 0, 5e8, time.UTC).UnixNano(), ""},
		{"/a/1/b~1c/~0d", "s", `{"a":[0,{"b/c":{"~d":12}}]}`, 12 * second, ""},
		{"/\u00e9", "s", "{\"\\u00e9\":12}", 12 * second, ""},
		{"/", "s", `{"":12}`, 12 * second, ""},
		{"header.ts", "s", "", 12 * second, ""},
		{"/0", "s", `[12]`, 12 * second, ""},

		{"/ts", "s", `{"t":12}`, 0, `event time at /ts: there is no such field`},
		{"/ts", "s", `{}`, 0, `no such field`},
		{"/ts", "s", `[]`, 0, `no such field`},
		{"/1", "s", `[12]`, 0, `no such field`},
		{"/ts/x", "s", `{"ts":12}`, 0, `no such field`},
		{"/ts", "s", ``, 0, `not JSON`},
		{"/ts", "s", `ts=12`, 0, `no such field`},
		{"/ts", "s", `{"ts"`, 0, `not JSON`},
		{"/ts", "s", `{"ts":`, 0, `not JSON`},
		{"/ts", "s", `{"a":"b`, 0, `not JSON`},
		{"/ts", "s", `{"ts":null}`, 0, `"null" is no number`},
		{"/ts", "s", `{"ts":"soon"}`, 0, `"soon" is no number`},
		{"/ts", "s", `{"ts":{"at":12}}`, 0, `it is an object or an array`},
		{"/ts", "s", `{"ts":1e999999999}`, 0, `is no number`},
		{"/ts", "s", `{"ts":1e-999999999}`, 0, `is no number`},
		{"/ts", "s", `{"ts":1e30}`, 0, `out of range`},
		{"/ts", "s", `{"ts":99999999999999}`, 0, `out of range`},
		{"/ts", "ns", `{"ts":9223372036854775807}`, 0, `out of range`},
		{"/ts", "rfc3339", `{"ts":"2024-02-30T12:00:00Z"}`, 0, `no time in RFC 3339`},
		{"/ts", "rfc3339", `{"ts":"9024-02-20T12:00:00Z"}`, 0, `not between the years`},
		{"header.at", "s", "", 0, `there is no header "at"`},
	} {
		e, err := NewExtractor(c.from, c.unit)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Time(batch(c.value, 7, h), 0)
		switch {
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
			t.Errorf("%s of %s: %d, %v, not %q", c.from, c.value, got, err, c.fault)
		case c.fault == "" && (err != nil || got != c.want):
			t.Errorf("%s in %s of %s: %d, %v, not %d", c.from, c.unit, c.value, got, err, c.want)
		}
	}
	e, _ := NewExtractor("record", "")
	if _, err := e.Time(batch("x", wire.NoTime, nil), 0); err == nil {
		t.Error("a record without a time has one")
	}
	for _, bad := range [][2]string{{"ts", "s"}, {"header.", "s"}, {"/ts", "m"}, {"/ts", ""}} {
		if _, err := NewExtractor(bad[0], bad[1]); err == nil {
			t.Errorf("from %q in %q was taken", bad[0], bad[1])
		}
	}
}

// What a pointer finds is what encoding/json does, and nothing panics.
func FuzzPointer(f *testing.F) {
	for _, s := range []string{`{"ts":12}`, `{"a":{"ts":"x"},"ts":[1,2]}`, `[{"ts":1}]`, `{"ts":"\u0041"}`, `{`, `{"\"ts":1,"ts":2}`} {
		f.Add(s, "/ts")
		f.Add(s, "/0/ts")
		f.Add(s, "/a/ts")
	}
	f.Fuzz(func(t *testing.T, doc, from string) {
		if !strings.HasPrefix(from, "/") {
			return
		}
		text, err := parsePointer(from).find([]byte(doc))
		var v any
		d := json.NewDecoder(strings.NewReader(doc))
		d.UseNumber()
		if err != nil || d.Decode(&v) != nil || strings.Count(doc, `"`) > 20 {
			return
		}
		var want any
		if json.Unmarshal(text, &want) != nil {
			t.Fatalf("%s of %s is %q", from, doc, text)
		}
	})
}

func TestExtractionDoesNotAllocate(t *testing.T) {
	e, _ := NewExtractor("/b/ts", "ms")
	b := batch(`{"a":"some text that stands before it","n":[1,2,3],"b":{"x":1,"ts":1700000000123}}`, 0, nil)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := e.Time(b, 0); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

func BenchmarkExtract(b *testing.B) {
	for name, c := range map[string][3]string{
		"pointer": {"/ts", "ms", `{"seq":123456,"key":"key-1234","ts":1700000000123,"pad":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}`},
		"rfc3339": {"/ts", "rfc3339", `{"seq":123456,"key":"key-1234","ts":"2024-02-29T12:00:00.5Z","pad":"xxxxxxxxxxxxxxxxxxxxxxxxxx"}`},
		"record":  {"record", "", ""},
	} {
		b.Run(name, func(b *testing.B) {
			e, err := NewExtractor(c[0], c[1])
			if err != nil {
				b.Fatal(err)
			}
			one := batch(c[2], 5, nil)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Time(one, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestASplitThatIsAheadMakesNoRecordOfAnotherLate(t *testing.T) {
	tr := NewTracker(2, 0)
	expect := func(want int64, holder string, idle bool) {
		t.Helper()
		w, by, quiet := tr.Watermark()
		if w != want || by != holder || quiet != idle {
			t.Fatalf("%d held by %q, idle %v; not %d, %q, %v", w, by, quiet, want, holder, idle)
		}
	}
	expect(NoTime, "", true)
	tr.Open("a")
	tr.Open("b")
	expect(NoTime, "a", false)
	tr.Observe("a", 100)
	expect(NoTime, "b", false) // open, and nothing has come of it
	tr.Observe("b", 10)
	expect(8, "b", false)
	tr.Observe("b", 5) // out of order
	expect(8, "b", false)
	tr.Observe("b", 50)
	expect(48, "b", false)
	tr.Close("b")
	expect(98, "a", false)
	tr.Observe("c", 20) // it never goes back
	expect(98, "c", false)
	tr.Close("a")
	tr.Close("c")
	expect(98, "", true)
	tr.Finish()
	expect(End, "", false)
}

func TestAnIdleSplitDoesNotHoldTheWatermark(t *testing.T) {
	tr := NewTracker(0, time.Minute)
	tr.Observe("a", 100)
	tr.Observe("b", 10)
	tr.Pass(59 * time.Second)
	tr.Observe("a", 110)
	if w, by, _ := tr.Watermark(); w != 10 || by != "b" {
		t.Errorf("%d, %q", w, by)
	}
	tr.Pass(time.Second)
	if w, _, _ := tr.Watermark(); w != 110 {
		t.Errorf("%d", w)
	}
	tr.Observe("b", 115)
	tr.Pass(time.Hour)
	if w, _, idle := tr.Watermark(); w != 115 || !idle { // nothing holds it
		t.Errorf("%d, %v", w, idle)
	}
	tr.Observe("b", 120)
	if w, by, idle := tr.Watermark(); w != 120 || by != "b" || idle {
		t.Errorf("%d, %q, %v", w, by, idle)
	}
}

func TestWhatWasSeenOfASplitIsRestored(t *testing.T) {
	tr := NewTracker(5, 0)
	tr.Restore("a", 100)
	tr.Restore("b", 50)
	tr.Open("a")
	if w, _, _ := tr.Watermark(); w != 95 {
		t.Errorf("%d", w)
	}
	got := fmt.Sprint(collect(tr))
	if got != "map[a:100 b:50]" {
		t.Error(got)
	}
}

func collect(tr *Tracker) map[string]int64 {
	m := map[string]int64{}
	tr.Splits(func(id string, greatest int64) bool { m[id] = greatest; return true })
	return m
}
