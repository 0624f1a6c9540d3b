package sdktest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// counter counts by key and says the count.
type counter struct {
	count *sdk.ValueState[int64]
	fail  func(r sdk.Record, c *counter, out *sdk.Collector) error
}

func (c *counter) ProcessKeyed(_ context.Context, r sdk.Record, out *sdk.Collector) error {
	n, _ := c.count.Get()
	c.count.Set(n + 1)
	if c.fail != nil {
		if err := c.fail(r, c, out); err != nil {
			return err
		}
	}
	out.Emit(r, fmt.Append(out.AvailableBuffer(), n+1))
	return nil
}

func (c *counter) Close() error { return nil }

func counting(fail func(sdk.Record, *counter, *sdk.Collector) error) sdk.Component {
	return sdk.NewKeyedOperator("count", "Counts.", func(_ context.Context, _ *struct{}, t *sdk.Task) (*counter, error) {
		return &counter{sdk.Value[int64](t, "count"), fail}, nil
	})
}

func keyed(keys ...string) []sdktest.Record {
	var out []sdktest.Record
	for _, k := range keys {
		out = append(out, sdktest.KV(k, ""))
	}
	return out
}

func said(r sdktest.Result) string {
	var out []string
	for _, record := range r.Out {
		out = append(out, string(record.Key)+"="+string(record.Value))
	}
	return strings.Join(out, " ")
}

func expectSaid(t *testing.T, r sdktest.Result, want string) {
	t.Helper()
	if got := said(r); got != want {
		t.Fatalf("it said %q, not %q", got, want)
	}
}

func TestStateBelongsToTheKeyAtHand(t *testing.T) {
	o := sdktest.NewOperator(t, counting(nil), nil)
	expectSaid(t, o.Process(keyed("a", "b", "a", "", "a", "")...), "a=1 b=1 a=2 =1 a=3 =2")
}

func TestARecordWithoutAKeyFails(t *testing.T) {
	o := sdktest.NewOperator(t, counting(nil), nil)
	r := o.Process(sdktest.KV("a", ""), sdktest.Record{Value: []byte("x")}, sdktest.KV("a", ""))
	expectSaid(t, r, "a=1 a=2")
	if len(r.Failed) != 1 || string(r.Failed[0].Value) != "x" {
		t.Errorf("failed: %v", r.Failed)
	}
}

func TestAKeyOfAnotherTaskFailsTheTask(t *testing.T) {
	o := sdktest.NewOperator(t, counting(nil), nil, sdktest.Task(0, 2))
	var foreign []sdktest.Record
	for i := range 100 {
		foreign = append(foreign, sdktest.KV(fmt.Sprint(i), ""))
	}
	if err := o.ProcessError(foreign...); !strings.Contains(err.Error(), "does not own") {
		t.Error(err)
	}
}

// A restart finds the state as it was at the checkpoint, and nothing of what came
// after it.
func TestStateIsThatOfTheCheckpoint(t *testing.T) {
	o := sdktest.NewOperator(t, counting(nil), nil)
	o.Process(keyed("a", "b", "a")...)
	o.Checkpoint()
	expectSaid(t, o.Process(keyed("a", "c")...), "a=3 c=1")
	o.Restart()
	expectSaid(t, o.Process(keyed("a", "b", "c")...), "a=3 b=2 c=1")
}

// 4 -> 2 -> 7 -> 1 tasks: each key's state goes with its group.
func TestStateMovesToAnotherParallelism(t *testing.T) {
	p := sdktest.NewParallel(t, counting(nil), nil, 4)
	var keys []string
	for i := range 500 {
		keys = append(keys, fmt.Sprintf("key %d", i))
	}
	for round, tasks := range []int{2, 7, 1} {
		p.Process(keyed(keys...)...)
		p.Checkpoint()
		p.Process(keyed(keys[:100]...)...) // is lost
		p.Restart(tasks)
		r := p.Process(keyed(keys...)...)
		if len(r.Out) != len(keys) {
			t.Fatalf("%d records", len(r.Out))
		}
		for _, record := range r.Out {
			if got, want := string(record.Value), fmt.Sprint(round*2+2); got != want {
				t.Fatalf("round %d, %d tasks: %s has %s, not %s", round, tasks, record.Key, got, want)
			}
		}
	}
}

// A checkpoint serves more than one restart.
func TestStateIsThereAfterASecondRestart(t *testing.T) {
	p := sdktest.NewParallel(t, counting(nil), nil, 2)
	p.Process(keyed("a", "b", "c", "d")...)
	p.Checkpoint()
	for _, tasks := range []int{3, 1, 2} {
		p.Restart(tasks)
		for _, r := range p.Process(keyed("a", "b", "c", "d")...).Out {
			if string(r.Value) != "2" {
				t.Errorf("%d tasks: %s has %s", tasks, r.Key, r.Value)
			}
		}
	}
}

// What a call did to state before it asked to be repeated is taken back.
func TestARepeatedCallFindsTheStateAsItWas(t *testing.T) {
	tries := 0
	o := sdktest.NewOperator(t, counting(func(r sdk.Record, _ *counter, _ *sdk.Collector) error {
		if tries++; string(r.Key()) == "b" && tries < 4 {
			return sdk.Retry(errors.New("not now"), time.Millisecond)
		}
		return nil
	}), nil)
	expectSaid(t, o.Process(keyed("a", "b", "b", "a")...), "a=1 b=1 b=2 a=2")
}

func TestARecordThatIsTriedAgainFindsTheStateAsItWas(t *testing.T) {
	tries := 0
	o := sdktest.NewOperator(t, counting(func(r sdk.Record, _ *counter, out *sdk.Collector) error {
		if tries++; string(r.Key()) == "b" && tries < 4 {
			out.Fail(r, errors.New("not now"))
		}
		return nil
	}), nil, sdktest.Retries(5))
	expectSaid(t, o.Process(keyed("a", "b", "b", "a")...), "a=1 b=1 b=2 a=2")
}

// shelf uses every shape of state, as its records say.
type shelf struct {
	value *sdk.ValueState[string]
	list  *sdk.ListState[string]
	byKey *sdk.MapState[string, int]
}

func (s *shelf) Close() error { return nil }

func (s *shelf) ProcessKeyed(_ context.Context, r sdk.Record, out *sdk.Collector) error {
	word, rest, _ := strings.Cut(string(r.Value()), " ")
	switch word {
	case "set":
		s.value.Set(rest)
	case "clear":
		s.value.Clear()
		s.list.Clear()
		s.byKey.Clear()
	case "add":
		s.list.Add(strings.Fields(rest)...)
	case "replace":
		s.list.Set(strings.Fields(rest)...)
	case "put":
		for _, w := range strings.Fields(rest) {
			n, _ := s.byKey.Get(w)
			s.byKey.Set(w, n+1)
		}
	case "delete":
		s.byKey.Delete(rest)
	case "show":
		v, ok := s.value.Get()
		var entries []string
		for k, n := range s.byKey.All() {
			entries = append(entries, fmt.Sprint(k, ":", n))
		}
		slices.Sort(entries)
		out.Emit(r, fmt.Appendf(nil, "%q %v %v %v empty %v", v, ok, slices.Collect(s.list.All()), entries, s.byKey.Empty()))
	}
	return nil
}

func shelving(options ...sdk.StateOption) sdk.Component {
	return sdk.NewKeyedOperator("shelf", "Keeps.", func(_ context.Context, _ *struct{}, t *sdk.Task) (*shelf, error) {
		return &shelf{sdk.Value[string](t, "v", options...), sdk.List[string](t, "l", options...), sdk.Map[string, int](t, "m", options...)}, nil
	})
}

func TestValuesListsAndMaps(t *testing.T) {
	o := sdktest.NewOperator(t, shelving(), nil)
	do := func(key string, words ...string) {
		for _, w := range words {
			o.Process(sdktest.KV(key, w))
		}
	}
	do("a", "set x", "add 1 2", "add 3", "put p q p", "put r", "delete r")
	do("b", "set y", "add 9", "replace 7 8", "put z")
	do("c", "set gone", "add gone", "put gone", "clear")
	for range 2 {
		expectSaid(t, o.Process(sdktest.KV("a", "show"), sdktest.KV("b", "show"), sdktest.KV("c", "show"), sdktest.KV("d", "show")),
			`a="x" true [1 2 3] [p:2 q:1] empty false b="y" true [7 8] [z:1] empty false c="" false [] [] empty true d="" false [] [] empty true`)
		o.Checkpoint()
		o.Restart()
	}
}

func TestATTLDropsWhatIsNotWritten(t *testing.T) {
	o := sdktest.NewOperator(t, shelving(sdk.TTL(time.Minute)), nil)
	o.Process(sdktest.KV("a", "set x"), sdktest.KV("a", "add 1"), sdktest.KV("a", "put p q"))
	o.Advance(40 * time.Second)
	o.Process(sdktest.KV("a", "put p"), sdktest.KV("a", "set y"))
	o.Checkpoint()
	o.Restart()
	o.Advance(40 * time.Second)
	expectSaid(t, o.Process(sdktest.KV("a", "show")), `a="y" true [] [p:2] empty false`)
	o.Advance(40 * time.Second)
	expectSaid(t, o.Process(sdktest.KV("a", "show")), `a="" false [] [] empty true`)
}

func TestATTLThatReadingRefreshes(t *testing.T) {
	o := sdktest.NewOperator(t, shelving(sdk.TTL(time.Minute), sdk.RefreshOnRead()), nil)
	o.Process(sdktest.KV("a", "set x"))
	for range 5 {
		o.Advance(40 * time.Second)
		o.Process(sdktest.KV("a", "show"))
	}
	expectSaid(t, o.Process(sdktest.KV("a", "show")), `a="x" true [] [] empty true`)
}
