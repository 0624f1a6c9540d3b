package join_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/plugins/internal/keyedtest"
	"github.com/weirstream/weir/plugins/join"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

type event struct {
	port, key string
	at        int64
	id        int
}

func (e event) record() keyedtest.Record {
	r := sdktest.KV(e.key, fmt.Sprint(e.id))
	r.Time = sdk.UnixMilli(e.at)
	return keyedtest.Record{Port: e.port, Record: r}
}

// oracle pairs everything with everything.
func oracle(events []event, within int64, outer bool) (out []string) {
	for _, l := range events {
		if l.port != "left" {
			continue
		}
		alone := true
		for _, r := range events {
			if r.port == "right" && r.key == l.key && max(l.at, r.at)-min(l.at, r.at) <= within {
				alone = false
				out = append(out, fmt.Sprintf(`%d {"key":%q,"left":%d,"right":%d}`, max(l.at, r.at), l.key, l.id, r.id))
			}
		}
		if alone && outer {
			out = append(out, fmt.Sprintf(`%d {"key":%q,"left":%d,"right":null}`, l.at+within, l.key, l.id))
		}
	}
	slices.Sort(out)
	return out
}

// Every pair leaves once, and with type left every record without a partner,
// whatever the interleaving, kills or parallelism.
func TestPairsAreWhatBruteForceSays(t *testing.T) {
	rng := keyedtest.Rand(t)
	for range keyedtest.Rounds(t, 100) {
		bound, within, now, kind := int64(rng.IntN(60)), int64(rng.IntN(40)), int64(0), []string{"inner", "left"}[rng.IntN(2)]
		var events []event
		var input []keyedtest.Record
		for id := range 20 + rng.IntN(100) {
			now += int64(rng.IntN(15))
			e := event{[]string{"left", "right"}[rng.IntN(2)], string(rune('a' + rng.IntN(4))), now - int64(rng.IntN(int(bound)+1)), id}
			events, input = append(events, e), append(input, e.record())
		}
		config := fmt.Sprintf(`{"within": "%dms", "type": %q}`, within, kind)
		got := keyedtest.Life(t, rng, join.Operator(), config, input, bound*int64(time.Millisecond))
		var pairs []string
		for _, r := range got["out"] {
			pairs = append(pairs, fmt.Sprintf("%d %s", r.Time.UnixMilli(), r.Value))
		}
		slices.Sort(pairs)
		if want := oracle(events, within, kind == "left"); !slices.Equal(pairs, want) || len(got["late"]) > 0 {
			t.Fatalf("%s, bound %d: got\n%s\nwant\n%s\nlate %v", config, bound, strings.Join(pairs, "\n"), strings.Join(want, "\n"), got["late"])
		}
	}
}

func TestALateRecordIsRoutedAndJoinsNothing(t *testing.T) {
	o := sdktest.NewOperator(t, join.Operator(), `{"within": "1m"}`)
	o.ProcessOn("left", event{"left", "k", 100, 1}.record().Record)
	o.Watermark(sdk.UnixMilli(100))
	r := o.ProcessOn("right", event{"right", "k", 99, 2}.record().Record, sdktest.KV("k", "timeless"))
	if len(r.Out) != 0 || len(r.Outputs["late"]) != 1 || len(r.Failed) != 1 {
		t.Errorf("%v", r)
	}
}

func TestValuesThatAreNoJSONAreText(t *testing.T) {
	o := sdktest.NewOperator(t, join.Operator(), `{"within": "1m"}`)
	l, r := event{"left", "k", 1, 1}.record().Record, event{"right", "k", 1, 2}.record().Record
	l.Value, r.Value = []byte(`say "hi"`), nil
	o.ProcessOn("left", l)
	if got := sdktest.ValuesOf(o.ProcessOn("right", r).Out); !slices.Equal(got, []string{`{"key":"k","left":"say \"hi\"","right":null}`}) {
		t.Errorf("got %v", got)
	}
}
