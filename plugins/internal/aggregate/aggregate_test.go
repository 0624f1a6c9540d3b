package aggregate_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weirstream/weir/plugins/internal/aggregate"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("WEIR_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// bag is a Bag in memory.
type bag map[int]map[string]uint64

func (b bag) Add(item int, e []byte, n uint64) {
	if b[item] == nil {
		b[item] = map[string]uint64{}
	}
	b[item][string(e)] += n
}

func (b bag) Each(item int, yield func([]byte, uint64)) {
	for e, n := range b[item] {
		yield([]byte(e), n)
	}
}

func (b bag) merge(o bag) {
	for item := range o {
		o.Each(item, func(e []byte, n uint64) { b.Add(item, e, n) })
	}
}

// record is one of a group: its time and the JSON of its value.
type record struct {
	at    int64
	value string
}

// group is a state with its bag, encoded and decoded at every step.
type group struct {
	set   *aggregate.Set
	state []byte
	bag   bag
}

func newGroup(s *aggregate.Set) *group {
	st := &aggregate.State{}
	s.Reset(st)
	return &group{s, s.Append(nil, st), bag{}}
}

func (g *group) read(t *testing.T) *aggregate.State {
	t.Helper()
	st := &aggregate.State{}
	if err := g.set.Read(st, g.state); err != nil {
		t.Fatal(err)
	}
	return st
}

func (g *group) add(t *testing.T, r record) {
	t.Helper()
	in, err := inputs(t, g.set, r)
	if err != nil {
		t.Fatal(err)
	}
	st := g.read(t)
	g.set.Add(st, in, g.bag)
	g.state = g.set.Append(nil, st)
}

func (g *group) merge(t *testing.T, o *group) {
	t.Helper()
	st := g.read(t)
	g.set.Merge(st, o.read(t))
	g.state = g.set.Append(nil, st)
	g.bag.merge(o.bag)
}

func (g *group) result(t *testing.T) string {
	t.Helper()
	b, ok, err := g.set.AppendResult(nil, nil, g.read(t), g.bag)
	if err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	return string(b)
}

// inputs hands a record to the set by way of an operator, as only that has one.
func inputs(t *testing.T, s *aggregate.Set, r record) (in *aggregate.Inputs, err error) {
	t.Helper()
	c := sdk.NewOperator("probe", "", func(context_, *struct{}, *sdk.Task) (probe, error) {
		return probe{func(rec sdk.Record) { in, err = s.Inputs(rec, sdk.UnixNano(r.at)) }}, nil
	})
	sdktest.NewOperator(t, c, nil).Process(sdktest.KV("k", r.value))
	return in, err
}

func compile(t *testing.T, aggregates map[string]string, having string) (*aggregate.Set, []sdk.FieldError) {
	t.Helper()
	of := map[string]sdk.Expr{}
	for name, source := range aggregates {
		of[name] = sdk.Expr{Source: source}
	}
	return aggregate.Compile(of, sdk.Expr{Source: having})
}

var everything = map[string]string{
	"n": "count()", "nx": "count(json.x)", "sum": "sum(json.x)", "avg": "avg(json.x)", "min": "min(json.x)", "max": "max(json.x)",
	"minS": "min(json.s)", "first": "first(json.s)", "last": "last(json)", "kinds": "distinct(json.s)",
	"about": "approx_distinct(json.x)", "all": "collect(json.x)", "p50": "quantile(json.x, 0.5)",
}

// TestResultsDependOnTheRecordsAlone adds the same records in two orders, divided
// differently into groups that are merged, and finds the same result to the letter.
func TestResultsDependOnTheRecordsAlone(t *testing.T) {
	rng := seeded(t)
	set, faults := compile(t, everything, "")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for range 20 {
		records := someRecords(rng)
		want := divided(t, rng, set, records, 1)
		rng.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		if got := divided(t, rng, set, records, 1+rng.IntN(5)); got != want {
			t.Fatalf("%v:\n%s\n%s", records, got, want)
		}
	}
}

func someRecords(rng *rand.Rand) []record {
	var out []record
	for range 1 + rng.IntN(40) {
		var x string
		switch rng.IntN(6) {
		case 0:
			x = fmt.Sprint(rng.Int64())
		case 1:
			x = fmt.Sprint(-rng.Float64() * math.Pow10(rng.IntN(40)-20))
		case 2:
			x = fmt.Sprint(rng.Uint64())
		case 3:
			x = "null"
		default:
			x = fmt.Sprint(rng.IntN(10))
		}
		out = append(out, record{int64(rng.IntN(8)), fmt.Sprintf(`{"x": %s, "s": "%c"}`, x, 'a'+rune(rng.IntN(5)))})
	}
	return out
}

func divided(t *testing.T, rng *rand.Rand, set *aggregate.Set, records []record, groups int) string {
	t.Helper()
	all := make([]*group, groups)
	for i := range all {
		all[i] = newGroup(set)
	}
	for _, r := range records {
		all[rng.IntN(groups)].add(t, r)
	}
	for _, g := range all[1:] {
		all[0].merge(t, g)
	}
	return all[0].result(t)
}

// TestSumsAreExact compares with arithmetic without bounds, rounded once.
func TestSumsAreExact(t *testing.T) {
	rng := seeded(t)
	set, _ := compile(t, map[string]string{"sum": "sum(json)", "avg": "avg(json)"}, "")
	for range 50 {
		g, exact, n := newGroup(set), new(big.Rat), 1+rng.IntN(30)
		for range n {
			x := (rng.Float64() - 0.5) * math.Pow10(rng.IntN(60)-30)
			g.add(t, record{0, strconv.FormatFloat(x, 'g', -1, 64)})
			exact.Add(exact, new(big.Rat).SetFloat64(x))
		}
		sum, _ := exact.Float64()
		avg, _ := exact.Quo(exact, big.NewRat(int64(n), 1)).Float64()
		var got struct{ Sum, Avg float64 }
		if err := json.Unmarshal([]byte(g.result(t)), &got); err != nil || got.Sum != sum || got.Avg != avg {
			t.Fatalf("got %+v (%v), want %v and %v", got, err, sum, avg)
		}
	}
}

func TestResults(t *testing.T) {
	for _, c := range []struct {
		aggregate string
		values    []string
		want      string
	}{
		{"count()", []string{"1", "null"}, "2"},
		{"count(json)", []string{"1", "null"}, "1"},
		{"sum(json)", []string{"9223372036854775807", "9223372036854775807"}, "18446744073709551614"},
		{"sum(json)", []string{"1e308", "1e308", "-1e308"}, "1e+308"},
		{"sum(json)", []string{"1e308", "1e308"}, "null"},
		{"sum(json)", []string{"1", "0.5"}, "1.5"},
		{"sum(json)", nil, "null"},
		{"avg(json)", []string{"1", "2"}, "1.5"},
		{"min(json)", []string{"2", "1.5", "3"}, "1.5"},
		{"max(json)", []string{"9007199254740993", "9007199254740992.0"}, "9007199254740993"},
		{"max(json)", []string{`"b"`, `"a"`}, `"b"`},
		{"distinct(json)", []string{"1", "1", `"1"`, "null"}, "2"},
		{"approx_distinct(json)", []string{"1", "1", "2"}, "2"},
		{"collect(json.a)", []string{`{"a":2}`, `{"a":1}`, `{"a":2}`}, "[2,1,2]"},
		{"first(json)", []string{`"a"`, `"b"`}, `"a"`},
		{"last(json)", []string{`"a"`, `{"x":[1]}`}, `{"x":[1]}`},
		{`count(json contains "(,")`, []string{`"a"`}, "1"},
	} {
		set, faults := compile(t, map[string]string{"r": c.aggregate}, "")
		if len(faults) > 0 {
			t.Fatalf("%s: %v", c.aggregate, faults)
		}
		g := newGroup(set)
		for i, v := range c.values {
			g.add(t, record{int64(i), v})
		}
		if got := g.result(t); got != `{"r":`+c.want+`}` {
			t.Errorf("%s of %v: got %s, want %s", c.aggregate, c.values, got, c.want)
		}
	}
}

func TestApproximationsAreNear(t *testing.T) {
	set, _ := compile(t, map[string]string{"different": "approx_distinct(json % 5000)", "p99": "quantile(json, 0.99)"}, "")
	st, b := &aggregate.State{}, bag{}
	set.Reset(st)
	const n = 10_000
	c := sdk.NewOperator("probe", "", func(context_, *struct{}, *sdk.Task) (probe, error) {
		return probe{func(r sdk.Record) {
			in, err := set.Inputs(r, r.Time())
			if err != nil {
				t.Error(err)
				return
			}
			set.Add(st, in, b)
		}}, nil
	})
	o := sdktest.NewOperator(t, c, nil)
	for i := 0; i < n; i += 1000 {
		var records []sdktest.Record
		for k := i; k < i+1000; k++ {
			records = append(records, sdktest.KV("k", fmt.Sprint(k)))
		}
		o.Process(records...)
	}
	out, _, err := set.AppendResult(nil, nil, st, b)
	var got struct{ Different, P99 float64 }
	if err != nil || json.Unmarshal(out, &got) != nil {
		t.Fatalf("%s, %v", out, err)
	}
	if math.Abs(got.Different-5000)/5000 > 0.08 || math.Abs(got.P99-9900)/9900 > 2*aggregate.Accuracy {
		t.Errorf("got %s", out)
	}
}

func TestHavingLeavesResultsOut(t *testing.T) {
	set, faults := compile(t, map[string]string{"n": "count()"}, "n > 1 && key != nil")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	g := newGroup(set)
	for want := range 2 {
		g.add(t, record{0, "1"})
		_, ok, err := set.AppendResult(nil, []aggregate.Field{{Name: "key", Value: "k"}}, g.read(t), g.bag)
		if err != nil || ok != (want == 1) {
			t.Errorf("after %d records: %v, %v", want+1, ok, err)
		}
	}
}

func TestFaultsHaveTheirPlace(t *testing.T) {
	for source, want := range map[string]string{
		"json.x":                  "1: an aggregate is FUNCTION(EXPRESSION)",
		" total(json.x)":          `2: there is no aggregate "total"`,
		"sum()":                   "4: sum takes one expression",
		"sum(json.x, 1)":          "4: sum takes one expression",
		"sum(json.x) + 1":         "1: an aggregate is FUNCTION(EXPRESSION)",
		"sum(json.x) + count()":   "4: the bracket is not closed at the end",
		"sum(jsn.x)":              `5: there is no variable or function "jsn"`,
		"quantile(json.x, 2)":     "17: the second argument of quantile",
		"quantile(json.x)":        "9: quantile takes an expression and a number",
		"sum(item)":               "5: item is known",
		"sum(upper(key))":         "5: sum takes a number, and this gives a text: convert it, by float(...) or len(...), or count it",
		"avg(key == 'a')":         "5: avg takes a number, and this gives a boolean",
		"quantile('é', 0.5)":      "10: quantile takes a number, and this gives a text",
		"max([json.a])":           "5: max takes a number, a text or a boolean, and this gives a list",
		"min(upper(key))":         "",
		"sum(float(key))":         "",
		"sum(json.a ?? 0)":        "",
		`count(json.x in [1, 2])`: "",
	} {
		_, faults := compile(t, map[string]string{"a": source}, "")
		if want == "" {
			if len(faults) > 0 {
				t.Errorf("%q: %v", source, faults)
			}
			continue
		}
		if len(faults) != 1 || !strings.HasPrefix(fmt.Sprintf("%d: %s", faults[0].Column, faults[0].Message), want) {
			t.Errorf("%q: %v, want %s", source, faults, want)
		}
	}
	_, faults := compile(t, map[string]string{"start": "count()"}, "m > 1")
	if len(faults) != 2 || !strings.Contains(faults[0].Message, "has a field of this name") || !strings.Contains(faults[1].Message, "m") {
		t.Errorf("%v", faults)
	}
}

func TestARecordThatCannotBeAddedIsRefusedWhole(t *testing.T) {
	set, _ := compile(t, map[string]string{"a": "count()", "b": "sum(json.x)", "c": "min(json.y)"}, "")
	for value, want := range map[string]string{
		`{"x": "text"}`: `aggregate b: a number is needed, not "text"`,
		`{"y": [1]}`:    "aggregate c: a number, a text or a boolean is needed, not a list",
		`no JSON`:       "the value is not valid JSON",
	} {
		if _, err := inputs(t, set, record{0, value}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", value, err, want)
		}
	}
}

func FuzzDamagedStateIsRefused(f *testing.F) {
	names := slices.Sorted(func(yield func(string) bool) {
		for n := range everything {
			if !yield(n) {
				return
			}
		}
	})
	f.Add([]byte{0})
	f.Add([]byte(strings.Join(names, "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, _ := compile(t, everything, "")
		st := &aggregate.State{}
		if set.Read(st, b) == nil {
			_, _, _ = set.AppendResult(nil, nil, st, bag{})
		}
	})
}
