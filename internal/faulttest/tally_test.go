//go:build linux

package faulttest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/diskstate"
)

// tally counts the records of each key, says each count, and the last one when a
// timer fires that it sets with the first: at the end of input. Which counts it says
// depends on nothing but how many records a key has, so that a record that counts
// twice or not at all shows, and so does a timer.
func tally() sdk.Component {
	return sdk.NewKeyedOperator("tally", "Counts by key.",
		func(_ context.Context, _ *struct{}, t *sdk.Task) (*tallyOperator, error) {
			return &tallyOperator{
				t: t, count: sdk.Value[int64](t, "count"),
				seen: sdk.Map[string, int](t, "seen"), places: sdk.List[string](t, "places"),
			}, nil
		}, sdk.DiskState(diskstate.Pebble()))
}

type tallyOperator struct {
	t     *sdk.Task
	count *sdk.ValueState[int64]
	// seen and places hold the same by other means: the records by their file.
	seen   *sdk.MapState[string, int]
	places *sdk.ListState[string]
}

// ProcessKeyed implements [sdk.KeyedOperator].
func (o *tallyOperator) ProcessKeyed(_ context.Context, r sdk.Record, out *sdk.Collector) error {
	n, ok := o.count.Get()
	if !ok {
		o.t.SetTimer(sdk.EventTime, sdk.UnixMilli(0), 1)
		o.t.SetTimer(sdk.EventTime, sdk.UnixMilli(0), 2)
		o.t.DeleteTimer(sdk.EventTime, sdk.UnixMilli(0), 2)
	}
	o.count.Set(n + 1)
	file := string(r.Value()[:2])
	in, _ := o.seen.Get(file)
	o.seen.Set(file, in+1)
	o.places.Add(file)
	out.Append(sdk.Row{Key: r.Key(), Value: fmt.Appendf(out.AvailableBuffer(), "key %s count %d", r.Key(), n+1)})
	return nil
}

// OnTimer implements [sdk.TimerHandler].
func (o *tallyOperator) OnTimer(_ context.Context, tm sdk.Timer, out *sdk.Collector) error {
	n, _ := o.count.Get()
	byFile, inList := 0, 0
	for _, in := range o.seen.All() {
		byFile += in
	}
	for range o.places.All() {
		inList++
	}
	out.Append(sdk.Row{Key: o.t.Key(), Value: fmt.Appendf(nil, "key %s timer %d after %d, %d, %d", o.t.Key(), tm.Tag, n, byFile, inList)})
	return nil
}

// Close implements [sdk.KeyedOperator].
func (o *tallyOperator) Close() error { return nil }

// tallyCase keeps state by key.
var tallyCase = pipelineCase{
	name: "tally", input: short, parallelism: []int{4, 2, 7, 1}, isolation: allIsolations,
	nodes: `
  in:    {source: a/file, config: {path: $DIR/in, split_size: $SPLIT}}
  slow:  {operator: a/slow, input: in, config: {rate: $RATE}}
  keys:  {operator: a/expr, input: slow, config: {key: 'value[7:9]'}}
  tally: {operator: b/tally, input: keys}
  out:   {sink: b/file, input: tally, config: {path: $DIR/out/, roll: {size: 5KiB}}}
`,
	sinks: map[string]sinkCase{"out": {func(in input) expectation {
		counts := map[string]int{}
		e := expectation{}
		for f := range in.files {
			for n := range in.lines {
				key := in.line(f, n)[7:9]
				counts[key]++
				e[fmt.Sprintf("key %s count %d", key, counts[key])] = place{"key " + key, counts[key]}
			}
		}
		for key, n := range counts {
			e[fmt.Sprintf("key %s timer 1 after %d, %d, %d", key, n, n, n)] = place{"key " + key, n + 1}
		}
		return e
	}, inFiles}}, // a key moves with its task, and so from file to file
}

// tallyOnDiskCase keeps it on disk.
var tallyOnDiskCase = func() pipelineCase {
	c := tallyCase
	c.name = "tally-on-disk"
	c.nodes = strings.Replace(c.nodes, "input: keys}", "input: keys, state: disk}", 1)
	return c
}()

// TestStateByKeyMovesThroughKillsAndAnotherParallelism: 4, 2, 7 and 1 tasks, each run
// ended by a kill once a checkpoint holds state of it. Each key is counted once for
// each of its records, and its timer fires once.
func TestStateByKeyMovesThroughKillsAndAnotherParallelism(t *testing.T) {
	moveThroughKills(t, tallyCase)
}

// TestStateOnDiskMovesThroughKillsAndAnotherParallelism is the same with state on disk,
// of which nothing is left once the run has ended.
func TestStateOnDiskMovesThroughKillsAndAnotherParallelism(t *testing.T) {
	l := moveThroughKills(t, tallyOnDiskCase)
	left, err := filepath.Glob(l.path("state/*/scratch"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestStateMovesBetweenMemoryAndDisk is the same with state now in memory, now on disk.
func TestStateMovesBetweenMemoryAndDisk(t *testing.T) {
	moveThroughKills(t, tallyCase, tallyOnDiskCase)
}

// moveThroughKills runs one pipeline, in turns as the cases have it.
func moveThroughKills(t *testing.T, cases ...pipelineCase) *lab {
	t.Helper()
	rng, c := seeded(t), cases[0]
	l := c.open(t)
	for i, parallelism := range c.parallelism {
		cases[i%len(cases)].set(l, settings{parallelism, "plugin", 10 * time.Second})
		kill := fault{Do: killHost, Step: engine.StepRecorded, Nth: 1 + rng.IntN(4)}
		if r := l.run(kill); !r.killed {
			t.Fatalf("%d tasks: the host was not killed: %s", parallelism, r.Error)
		}
	}
	c.set(l, settings{3, "plugin", time.Second})
	l.finish()
	c.check(l, true)
	return l
}
