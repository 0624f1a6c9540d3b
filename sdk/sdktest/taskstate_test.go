package sdktest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/proto/keygroup"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// notes keeps what its records say in a list that is spread, one that is not, and a
// value for all.
type notes struct {
	spread, union *sdk.TaskState[string]
	rule          *sdk.BroadcastState[string]
}

func (n *notes) Close() error { return nil }

func (n *notes) ProcessKeyed(_ context.Context, r sdk.Record, out *sdk.Collector) error {
	rule, _ := n.rule.Get()
	if string(r.Value()) == "show" {
		out.Emit(r, fmt.Appendf(nil, "%v %v %s", n.spread.Get(), n.union.Get(), rule))
		return nil
	}
	n.spread.Add(string(r.Value()))
	n.union.Add(string(r.Value()))
	return nil
}

func (n *notes) ProcessBroadcast(_ context.Context, in *sdk.Batch, _ *sdk.Collector) error {
	for r := range in.All() {
		n.rule.Set(string(r.Value()))
	}
	return nil
}

var noting = sdk.NewKeyedOperator("notes", "Keeps notes.", func(_ context.Context, _ *struct{}, t *sdk.Task) (*notes, error) {
	return &notes{sdk.TaskList[string](t, "spread", sdk.Spread), sdk.TaskList[string](t, "union", sdk.Union), sdk.BroadcastValue[string](t, "rule")}, nil
}, sdk.Inputs(sdk.Port{Name: "in"}, sdk.Port{Name: "rules", Partition: sdk.Broadcast}))

func TestListStateIsSpreadOrWholeAndBroadcastStateIsOnEveryTask(t *testing.T) {
	p := sdktest.NewParallel(t, noting, nil, 4)
	p.ProcessOn("rules", sdktest.Values("rule 1")...)
	for i := range 12 {
		p.Process(sdktest.KV(fmt.Sprint("key ", i), fmt.Sprint(i)))
	}
	want := []string{"0", "1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9"}
	for round, tasks := range []int{2, 7, 1} {
		p.Checkpoint()
		p.Restart(tasks)
		var spread []string
		for i := range tasks {
			r := show(p.Task(i), i, tasks)
			parts := strings.SplitN(strings.NewReplacer("[", "|", "]", "|").Replace(r), "|", 5)
			spread = append(spread, strings.Fields(parts[1])...)
			union := strings.Fields(parts[3])
			slices.Sort(union)
			// Each task had them all, and has given them all: what is the same came
			// once a task.
			if union = slices.Compact(union); !slices.Equal(union, want) {
				t.Errorf("round %d, task %d has %v of the union", round, i, union)
			}
			if parts[4] != " rule 1" {
				t.Errorf("round %d, task %d has the rule %q", round, i, parts[4])
			}
		}
		slices.Sort(spread)
		if !slices.Equal(spread, want) {
			t.Errorf("round %d: %v were spread", round, spread)
		}
	}
}

// show asks a task what it has, with a key that it owns.
func show(o *sdktest.Operator, task, tasks int) string {
	for i := 0; ; i++ {
		key := fmt.Sprint(i)
		if keygroup.Owner(keygroup.Of([]byte(key), 128), 128, tasks) == task {
			return string(o.Process(sdktest.KV(key, "show")).Out[0].Value)
		}
	}
}

func TestStateThatACheckpointHoldsIsNotDroppedSilently(t *testing.T) {
	for name, c := range map[string]struct {
		open func(t *sdk.Task)
		want string
	}{
		"dropped":        {func(t *sdk.Task) { sdk.DropState(t, "count"); sdk.DropState(t, "notes") }, ""},
		"gone":           {func(t *sdk.Task) { sdk.DropState(t, "notes") }, `node node: the checkpoint holds a state "count" that component and configuration do not have any more: drop it with sdk.DropState, or bring it back`},
		"task state":     {func(t *sdk.Task) { sdk.DropState(t, "count") }, `a state "notes" that component`},
		"another codec":  {func(t *sdk.Task) { sdk.DropState(t, "notes"); sdk.Value[string](t, "count") }, `node node: state "count": the checkpoint holds values encoded as "int" and the plugin reads "bytes"; say with sdk.Migrate how`},
		"another shape":  {func(t *sdk.Task) { sdk.DropState(t, "notes"); sdk.List[int](t, "count") }, `it is a list now and the checkpoint holds a value`},
		"the same twice": {func(t *sdk.Task) { sdk.Value[int](t, "count"); sdk.List[int](t, "count") }, `two states are named "count"`},
		"a bad name":     {func(t *sdk.Task) { sdk.Value[int](t, "a b") }, `state "a b": the name is not`},
		"a wrong codec": {func(t *sdk.Task) { sdk.Value[int](t, "count", sdk.WithCodec(sdk.JSONCodec[string]())) },
			`is not for values of int`},
	} {
		t.Run(name, func(t *testing.T) {
			second := false
			o := sdktest.NewOperator(t, sdk.NewKeyedOperator("v", "V.", func(_ context.Context, _ *struct{}, t *sdk.Task) (*counter, error) {
				if second {
					c.open(t)
					return &counter{}, nil
				}
				sdk.TaskList[int](t, "notes", sdk.Spread).Set(1)
				return &counter{count: sdk.Value[int64](t, "count")}, nil
			}), nil)
			o.Process(keyed("a")...)
			o.Checkpoint()
			second = true
			if c.want == "" {
				o.Restart()
				return
			}
			if err := o.RestartError(); !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
}

func TestStateOfAnotherCodecIsMigrated(t *testing.T) {
	second := false
	type tally struct{ N int64 }
	var state *sdk.ValueState[tally]
	o := sdktest.NewOperator(t, sdk.NewKeyedOperator("v", "V.", func(_ context.Context, _ *struct{}, t *sdk.Task) (*counter, error) {
		if !second {
			return &counter{count: sdk.Value[int64](t, "count")}, nil
		}
		state = sdk.Value[tally](t, "count", sdk.Migrate(sdk.IntCodec[int64](), func(n int64) (tally, error) { return tally{n}, nil }))
		return &counter{count: sdk.Value[int64](t, "other"), fail: func(r sdk.Record, _ *counter, _ *sdk.Collector) error {
			if v, ok := state.Get(); !ok || v.N != 2 {
				return sdk.Fatal(errors.New("not migrated"))
			}
			return nil
		}}, nil
	}), nil)
	o.Process(keyed("a", "a")...)
	o.Checkpoint()
	second = true
	o.Restart()
	expectSaid(t, o.Process(keyed("a")...), "a=1")
}
