package dedup_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/plugins/dedup"
	"github.com/weirstream/weir/plugins/internal/keyedtest"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

func at(key, value string, ms int64) sdktest.Record {
	r := sdktest.KV(key, value)
	r.Time = sdk.UnixMilli(ms)
	r.Headers = []sdktest.Header{{Name: "h", Value: []byte(value)}}
	return r
}

func shown(records []sdktest.Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, fmt.Sprintf("%s %s %d %v", r.Key, r.Value, r.Time.UnixMilli(), r.Headers))
	}
	slices.Sort(out)
	return out
}

// oracle lets records through in the order of their times.
func oracle(records []sdktest.Record, within int64) (out []sdktest.Record) {
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b sdktest.Record) int {
		return cmp.Or(a.Time.Compare(b.Time), slices.Compare(a.Value, b.Value))
	})
	last := map[string]int64{}
	for _, r := range records {
		if t, ok := last[string(r.Key)]; ok && r.Time.UnixMilli() < t+within {
			continue
		}
		last[string(r.Key)] = r.Time.UnixMilli()
		out = append(out, r)
	}
	return out
}

// What passes by event time is what brute force lets through, whatever the
// interleaving, kills or parallelism.
func TestWhatPassesIsWhatBruteForceSays(t *testing.T) {
	rng := keyedtest.Rand(t)
	for range keyedtest.Rounds(t, 100) {
		bound, within, now := int64(rng.IntN(60)), int64(1+rng.IntN(80)), int64(0)
		var records []sdktest.Record
		var input []keyedtest.Record
		for range 20 + rng.IntN(100) {
			now += int64(rng.IntN(20))
			r := at(string(rune('a'+rng.IntN(4))), fmt.Sprint(rng.IntN(4)), now-int64(rng.IntN(int(bound)+1)))
			records, input = append(records, r), append(input, keyedtest.Record{Record: r})
		}
		config := fmt.Sprintf(`{"within": "%dms", "time": "event"}`, within)
		got := keyedtest.Life(t, rng, dedup.Operator(), config, input, bound*int64(time.Millisecond))
		if g, w := shown(got["out"]), shown(oracle(records, within)); !slices.Equal(g, w) || len(got["late"]) > 0 {
			t.Fatalf("%s, bound %d: got\n%s\nwant\n%s\nlate %v", config, bound, strings.Join(g, "\n"), strings.Join(w, "\n"), got["late"])
		}
	}
}

func TestByTheClockARecordPassesAtOnce(t *testing.T) {
	o := sdktest.NewOperator(t, dedup.Operator(), `{"within": "1m"}`)
	r := o.Process(sdktest.KV("a", "1"), sdktest.KV("a", "2"), sdktest.KV("b", "3"))
	if got := sdktest.ValuesOf(r.Out); !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("got %v", got)
	}
	o.Checkpoint()
	o.Advance(30 * time.Second)
	o.Restart()
	if r := o.Process(sdktest.KV("a", "4")); len(r.Out) != 0 {
		t.Errorf("after a restart: %v", r.Out)
	}
	o.Advance(31 * time.Second)
	if r := o.Process(sdktest.KV("a", "5")); len(r.Out) != 1 {
		t.Errorf("after the time: %v", r.Out)
	}
}

func TestALateRecordIsRouted(t *testing.T) {
	o := sdktest.NewOperator(t, dedup.Operator(), `{"within": "1m", "time": "event"}`)
	o.Watermark(sdk.UnixMilli(100))
	r := o.Process(at("a", "late", 99), at("a", "in time", 100), sdktest.KV("a", "timeless"))
	if len(r.Outputs["late"]) != 1 || len(r.Failed) != 1 {
		t.Errorf("%v", r)
	}
	if got := sdktest.ValuesOf(o.Watermark(sdk.EndOfTime()).Out); !slices.Equal(got, []string{"in time"}) {
		t.Errorf("got %v", got)
	}
}
