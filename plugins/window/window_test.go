package window_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/plugins/internal/keyedtest"
	"github.com/weirstream/weir/plugins/window"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// row is a result as the tests' aggregates make it.
type row struct {
	Key        string
	Start, End int64
	N          int
	Sum        int
	Different  int
	All        []int
}

const aggregates = `aggregates: {"n": "count()", "sum": "sum(json)", "different": "distinct(json % 3)", "all": "collect(json)"}`

// event is one record: its time in milliseconds and its value.
type event struct {
	key string
	at  int64
	x   int
}

func (e event) record() sdktest.Record {
	r := sdktest.KV(e.key, fmt.Sprint(e.x))
	r.Time = sdk.UnixMilli(e.at)
	return r
}

func rowsOf(t *testing.T, records []sdktest.Record) []row {
	t.Helper()
	out := []row{}
	for _, r := range records {
		var w row
		if err := json.Unmarshal(r.Value, &w); err != nil {
			t.Fatalf("%s: %v", r.Value, err)
		}
		if w.Key != string(r.Key) || r.Time.UnixMilli() != w.End-1 {
			t.Fatalf("key %q and time %v do not go with %s", r.Key, r.Time, r.Value)
		}
		out = append(out, w)
	}
	return out
}

func sorted(rows []row) []string {
	var out []string
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%+v", r))
	}
	slices.Sort(out)
	return out
}

// differences lists what only one of two sorted lists has.
func differences(got, want []string) string {
	var b strings.Builder
	for _, g := range got {
		if !slices.Contains(want, g) {
			b.WriteString("got  " + g + "\n")
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			b.WriteString("want " + w + "\n")
		}
	}
	return b.String()
}

// summed is the result for a window of these events.
func summed(key string, start, end int64, events []event) row {
	r := row{Key: key, Start: start, End: end, All: []int{}}
	slices.SortFunc(events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(fmt.Sprint(a.x), fmt.Sprint(b.x)))
	})
	different := map[int]bool{}
	for _, e := range events {
		r.N++
		r.Sum += e.x
		different[e.x%3] = true
		r.All = append(r.All, e.x)
	}
	r.Different = len(different)
	return r
}

// byKey divides events by key.
func byKey(events []event) map[string][]event {
	out := map[string][]event{}
	for _, e := range events {
		out[e.key] = append(out[e.key], e)
	}
	return out
}

// slidingOracle computes every window by brute force.
func slidingOracle(events []event, size, slide int64) (out []row) {
	for key, mine := range byKey(events) {
		windows := map[int64][]event{}
		for _, e := range mine {
			for start := floor(e.at-size+slide, slide); start <= e.at; start += slide {
				windows[start] = append(windows[start], e)
			}
		}
		for start, in := range windows {
			out = append(out, summed(key, start, start+size, in))
		}
	}
	return out
}

func floor(at, step int64) int64 {
	into := at % step
	if into < 0 {
		into += step
	}
	return at - into
}

// sessionOracle does the same with sessions.
func sessionOracle(events []event, gap int64) (out []row) {
	for key, mine := range byKey(events) {
		slices.SortFunc(mine, func(a, b event) int { return cmp.Compare(a.at, b.at) })
		for len(mine) > 0 {
			n := 1
			for n < len(mine) && mine[n].at-mine[n-1].at < gap {
				n++
			}
			out = append(out, summed(key, mine[0].at, mine[n-1].at+gap, slices.Clone(mine[:n])))
			mine = mine[n:]
		}
	}
	return out
}

// someEvents are out of order by up to bound.
func someEvents(rng *rand.Rand, bound int64) []event {
	var out []event
	now := int64(0)
	for range 20 + rng.IntN(150) {
		now += int64(rng.IntN(40))
		out = append(out, event{string(rune('a' + rng.IntN(5))), now - int64(rng.IntN(int(bound)+1)), rng.IntN(100)})
	}
	return out
}

func input(events []event) (out []keyedtest.Record) {
	for _, e := range events {
		out = append(out, keyedtest.Record{Record: e.record()})
	}
	return out
}

// Results do not depend on interleaving, kills or parallelism for input within the
// out-of-orderness: each window leaves once, as brute force computes it.
func TestWindowsAreWhatBruteForceSays(t *testing.T) {
	rng := keyedtest.Rand(t)
	for range keyedtest.Rounds(t, 150) {
		bound := int64(rng.IntN(100))
		events := someEvents(rng, bound)
		var config string
		var want []row
		switch rng.IntN(3) {
		case 0:
			size := int64(1 + rng.IntN(200))
			config, want = fmt.Sprintf(`"size": "%dms"`, size), slidingOracle(events, size, size)
		case 1:
			slide, times := int64(1+rng.IntN(60)), int64(1+rng.IntN(5))
			config, want = fmt.Sprintf(`"size": "%dms", "slide": "%dms"`, slide*times, slide), slidingOracle(events, slide*times, slide)
		default:
			gap := int64(1 + rng.IntN(60))
			config, want = fmt.Sprintf(`"gap": "%dms"`, gap), sessionOracle(events, gap)
		}
		got := keyedtest.Life(t, rng, window.Operator(), fmt.Sprintf(`{%s, "%s}`, config, strings.Replace(aggregates, ":", `":`, 1)), input(events), bound*int64(time.Millisecond))
		if len(got["late"]) > 0 {
			t.Fatalf("%s: late: %v", config, got["late"])
		}
		if g, w := sorted(rowsOf(t, got["out"])), sorted(want); !slices.Equal(g, w) {
			t.Fatalf("%s, bound %d, %d events:\n%s", config, bound, len(events), differences(g, w))
		}
	}
}

// A record that comes too late for its window is routed, any other counted: none is
// both, and none is neither.
func TestALateRecordIsCountedOrRoutedNeverBoth(t *testing.T) {
	rng := keyedtest.Rand(t)
	for range keyedtest.Rounds(t, 100) {
		bound := int64(20 + rng.IntN(100))
		events := someEvents(rng, bound)
		kind := `"size": "50ms"`
		if rng.IntN(2) == 0 {
			kind = `"gap": "20ms"`
		}
		config := fmt.Sprintf(`{%s, "allowed_lateness": "%dms", "%s}`, kind, rng.IntN(50), strings.Replace(aggregates, ":", `":`, 1))
		for i := range events {
			events[i].x = i
		}
		// The watermark is further on than it should be.
		got := keyedtest.Life(t, rng, window.Operator(), config, input(events), int64(rng.IntN(int(bound)))*int64(time.Millisecond))
		counted, late := map[int]bool{}, map[int]bool{}
		for _, r := range rowsOf(t, got["out"]) {
			for i, x := range r.All {
				if counted[x] = true; slices.Contains(r.All[i+1:], x) {
					t.Fatalf("%s: record %d is twice in %+v", config, x, r)
				}
			}
		}
		for _, r := range got["late"] {
			x, err := strconv.Atoi(string(r.Value))
			if err != nil || late[x] {
				t.Fatalf("%s: %s is late twice, or was never sent", config, r)
			}
			late[x] = true
		}
		for i, e := range events {
			if counted[i] == late[i] {
				t.Fatalf("%s: %v is counted: %v, late: %v", config, e, counted[i], late[i])
			}
		}
	}
}

func open(t *testing.T, config string) *sdktest.Operator {
	t.Helper()
	return sdktest.NewOperator(t, window.Operator(), config)
}

func values(r sdktest.Result) string { return strings.Join(sdktest.ValuesOf(r.Out), " ") }

func TestALateResultLeavesAnew(t *testing.T) {
	o := open(t, `{"size": "10ms", "allowed_lateness": "5ms", "aggregates": {"n": "count()"}}`)
	o.Process(event{"k", 3, 1}.record())
	if got := values(o.Watermark(sdk.UnixMilli(12))); got != `{"key":"k","start":0,"end":10,"n":1}` {
		t.Errorf("got %s", got)
	}
	if got := values(o.Process(event{"k", 9, 1}.record())); got != `{"key":"k","start":0,"end":10,"n":2}` {
		t.Errorf("within the lateness: got %s", got)
	}
	o.Watermark(sdk.UnixMilli(15))
	r := o.Process(event{"k", 9, 1}.record())
	if len(r.Out) != 0 || len(r.Outputs["late"]) != 1 {
		t.Errorf("after the lateness: %v", r)
	}
}

func TestEarlyResultsLeaveWhileAWindowIsOpen(t *testing.T) {
	for _, kind := range []string{`"size": "1h"`, `"gap": "1h"`, `"count": 100`} {
		o := open(t, `{`+kind+`, "early": "1s", "aggregates": {"n": "count()"}}`)
		o.Process(event{"k", 3, 1}.record(), event{"k", 4, 1}.record())
		r := o.Advance(time.Second)
		if len(r.Out) != 1 || !strings.Contains(values(r), `"n":2`) {
			t.Fatalf("%s: %v", kind, r.Out)
		}
		if h := r.Out[0].Headers; len(h) != 1 || h[0].Name != "weir.window" || string(h[0].Value) != "early" {
			t.Errorf("%s: %v", kind, r.Out)
		}
		if r := o.Advance(time.Second); len(r.Out) != 1 {
			t.Errorf("%s, again: %v", kind, r.Out)
		}
		r = o.Watermark(sdk.EndOfTime())
		if len(r.Out) != 1 || len(r.Out[0].Headers) != 0 {
			t.Errorf("%s: the last result is %v", kind, r.Out)
		}
	}
}

func TestWindowsOfSoManyRecords(t *testing.T) {
	o := open(t, `{"count": 2, "aggregates": {"all": "collect(json)", "n": "count()"}}`)
	r := o.Process(event{"a", 1, 1}.record(), event{"b", 1, 2}.record(), event{"a", 5, 3}.record(), event{"a", 6, 4}.record())
	if got := values(r); got != `{"key":"a","start":1,"end":5,"all":[1,3],"n":2}` {
		t.Errorf("got %s", got)
	}
	o.Checkpoint()
	o.Restart()
	r = o.Watermark(sdk.EndOfTime())
	got := sdktest.ValuesOf(r.Out)
	slices.Sort(got)
	if want := []string{`{"key":"a","start":6,"end":6,"all":[4],"n":1}`, `{"key":"b","start":1,"end":1,"all":[2],"n":1}`}; !slices.Equal(got, want) {
		t.Errorf("at the end: got %v", got)
	}
}

func TestWindowsByTheClock(t *testing.T) {
	o := open(t, `{"size": "1m", "time": "processing", "aggregates": {"n": "count()"}}`)
	o.Process(sdktest.KV("k", "1"), sdktest.KV("k", "2"))
	if r := o.Advance(time.Minute); len(r.Out) != 1 || !strings.Contains(values(r), `"n":2`) {
		t.Errorf("%v", r.Out)
	}
}

func TestHavingAndFailedRecords(t *testing.T) {
	o := open(t, `{"size": "10ms", "aggregates": {"sum": "sum(json)"}, "having": "sum > 5"}`)
	bad, timeless := event{"k", 1, 1}.record(), sdktest.KV("k", "1")
	bad.Value = []byte(`"text"`)
	r := o.Process(event{"k", 1, 3}.record(), bad, timeless, event{"l", 1, 9}.record())
	if len(r.Failed) != 2 {
		t.Errorf("failed: %v", r.Failed)
	}
	if got := values(o.Watermark(sdk.EndOfTime())); got != `{"key":"l","start":0,"end":10,"sum":9}` {
		t.Errorf("got %s", got)
	}
}

func TestWindowsBeginAtTheOffset(t *testing.T) {
	o := open(t, `{"size": "1h", "offset": "15m", "aggregates": {"n": "count()"}}`)
	o.Process(event{"k", -1, 1}.record())
	if got := values(o.Watermark(sdk.EndOfTime())); got != `{"key":"k","start":-2700000,"end":900000,"n":1}` {
		t.Errorf("got %s", got)
	}
}

func TestFaultsOfAConfiguration(t *testing.T) {
	for config, want := range map[string]string{
		`{"aggregates": {"n": "count()"}}`:                                `one of "size", "gap", "count" is required`,
		`{"size": "10s", "slide": "3s", "aggregates": {"n": "count()"}}`:  "slide: must divide size (10s)",
		`{"size": "10s", "slide": "20s", "aggregates": {"n": "count()"}}`: "slide: must not be above size",
		`{"gap": "10s", "slide": "1s", "aggregates": {"n": "count()"}}`:   "slide: goes with size",
		`{"size": "-10s", "aggregates": {"n": "count()"}}`:                "size: ",
		`{"size": "10s", "gap": "1s", "aggregates": {"n": "count()"}}`:    "size",
		`{"size": "10s"}`: "aggregates",
		`{"size": "10s", "aggregates": {"n": "cont()"}}`:                                                  `aggregates.n: there is no aggregate "cont"`,
		`{"size": "10s", "time": "processing", "allowed_lateness": "1s", "aggregates": {"n": "count()"}}`: "allowed_lateness: goes with",
		`{"count": 5, "time": "processing", "aggregates": {"n": "count()"}}`:                              "time: means nothing",
	} {
		got := sdktest.Check(t, window.Operator(), config)
		if !slices.ContainsFunc(got.Faults, func(f sdk.FieldError) bool { return strings.Contains(f.Error(), want) }) {
			t.Errorf("%s: %v, want %s", config, got.Faults, want)
		}
	}
}
