package sdk_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// VisitsConfig is what a pipeline file may set.
type VisitsConfig struct {
	Gap time.Duration `weir:"gap" default:"30m" doc:"A visit ends when nothing has come for so long."`
}

// Visits counts the pages of each visit: records of one key that are not further
// apart than the gap, by event time.
type Visits struct {
	t     *sdk.Task
	gap   time.Duration
	pages *sdk.ValueState[int]
	until *sdk.ValueState[int64] // when the visit ends, unless something comes
}

func openVisits(_ context.Context, cfg *VisitsConfig, t *sdk.Task) (*Visits, error) {
	return &Visits{t: t, gap: cfg.Gap, pages: sdk.Value[int](t, "pages"), until: sdk.Value[int64](t, "until")}, nil
}

func (v *Visits) ProcessKeyed(_ context.Context, r sdk.Record, _ *sdk.Collector) error {
	if until, ok := v.until.Get(); ok {
		v.t.DeleteTimer(sdk.EventTime, sdk.UnixNano(until), 0)
	}
	until := r.Time().Add(v.gap)
	v.t.SetTimer(sdk.EventTime, until, 0)
	v.until.Set(until.UnixNano())
	n, _ := v.pages.Get()
	v.pages.Set(n + 1)
	return nil
}

func (v *Visits) OnTimer(_ context.Context, tm sdk.Timer, out *sdk.Collector) error {
	n, _ := v.pages.Get()
	out.Append(sdk.Row{Key: v.t.Key(), Time: tm.At, Value: fmt.Append(nil, n)})
	v.pages.Clear()
	v.until.Clear()
	return nil
}

func (v *Visits) Close() error { return nil }

var visits = sdk.NewKeyedOperator("visits", "Counts the pages of each visit.", openVisits)

// TestVisits shows how an operator with state by key is tested.
func TestVisits(t *testing.T) {
	p := sdktest.NewParallel(t, visits, `{"gap": "1m"}`, 2)
	page := func(user string, second int) sdktest.Record {
		return sdktest.Record{Key: []byte(user), Time: sdk.UnixMilli(int64(second) * 1000)}
	}
	p.Process(page("ann", 0), page("bob", 10), page("ann", 30))
	p.Checkpoint()
	p.Restart(3)                            // as after a crash, and with another parallelism
	p.Process(page("ann", 85))              // within a minute of the last
	r := p.Watermark(sdk.UnixMilli(71_000)) // bob's minute is over
	if len(r.Out) != 1 || string(r.Out[0].Key) != "bob" || string(r.Out[0].Value) != "1" {
		t.Errorf("%v", r.Out)
	}
	r = p.Watermark(sdk.EndOfTime())
	if len(r.Out) != 1 || string(r.Out[0].Key) != "ann" || string(r.Out[0].Value) != "3" {
		t.Errorf("%v", r.Out)
	}
}
