package aggregate_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/plugins/aggregate"
	"github.com/weirstream/weir/plugins/internal/keyedtest"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// Every record leaves once with the aggregates of its key so far, whatever the kills
// or the parallelism.
func TestEveryRecordLeavesWithWhatCameBefore(t *testing.T) {
	rng := keyedtest.Rand(t)
	for range keyedtest.Rounds(t, 50) {
		var input []keyedtest.Record
		var want []string
		n, sum, kinds := map[string]int{}, map[string]int{}, map[string]map[int]bool{}
		for i := range 20 + rng.IntN(150) {
			key, x := string(rune('a'+rng.IntN(4))), rng.IntN(5)
			r := sdktest.KV(key, fmt.Sprint(x))
			r.Time = sdk.UnixMilli(int64(i))
			input = append(input, keyedtest.Record{Record: r})
			if kinds[key] == nil {
				kinds[key] = map[int]bool{}
			}
			n[key], sum[key], kinds[key][x] = n[key]+1, sum[key]+x, true
			want = append(want, fmt.Sprintf(`%d {"key":%q,"kinds":%d,"n":%d,"sum":%d}`, i, key, len(kinds[key]), n[key], sum[key]))
		}
		got := keyedtest.Life(t, rng, aggregate.Operator(), `{"aggregates": {"n": "count()", "sum": "sum(json)", "kinds": "distinct(json)"}}`, input, 0)
		var out []string
		for _, r := range got["out"] {
			out = append(out, fmt.Sprintf("%d %s", r.Time.UnixMilli(), r.Value))
		}
		slices.Sort(out)
		slices.Sort(want)
		if !slices.Equal(out, want) {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(out, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestAKeyIsForgottenAfterItsTTL(t *testing.T) {
	o := sdktest.NewOperator(t, aggregate.Operator(), `{"aggregates": {"n": "count()", "k": "distinct(json)"}, "ttl": "1m"}`)
	count := func(key string) int {
		t.Helper()
		var got struct{ N int }
		out := o.Process(sdktest.KV(key, "1")).Out
		if len(out) != 1 || json.Unmarshal(out[0].Value, &got) != nil {
			t.Fatalf("%v", out)
		}
		return got.N
	}
	count("a")
	count("b")
	o.Advance(50 * time.Second)
	if n := count("a"); n != 2 {
		t.Errorf("a has %d", n)
	}
	o.Checkpoint()
	o.Restart()
	o.Advance(50 * time.Second)
	if a, b := count("a"), count("b"); a != 3 || b != 1 {
		t.Errorf("after 50 s and 100 s: %d and %d, want 3 and 1", a, b)
	}
}

func TestHavingAndFailedRecords(t *testing.T) {
	o := sdktest.NewOperator(t, aggregate.Operator(), `{"aggregates": {"sum": "sum(json)"}, "having": "sum > 5"}`)
	r := o.Process(sdktest.KV("a", "3"), sdktest.KV("a", `"x"`), sdktest.KV("a", "4"))
	if got := sdktest.ValuesOf(r.Out); !slices.Equal(got, []string{`{"key":"a","sum":7}`}) || len(r.Failed) != 1 {
		t.Errorf("got %v, failed %v", got, r.Failed)
	}
}
