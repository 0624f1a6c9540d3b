package sdktest_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// alarms sets and deletes timers as its records say ("event 5 1", "delete 5 1",
// "clock 5 1": domain, seconds, tag) and says what fires.
type alarms struct {
	t     *sdk.Task
	fired *sdk.ValueState[int]
	retry int
}

func (a *alarms) Close() error { return nil }

func at(seconds int) sdk.Time {
	return sdk.TimeOf(time.Date(2024, 1, 1, 0, 0, seconds, 0, time.UTC))
}

func (a *alarms) ProcessKeyed(_ context.Context, r sdk.Record, out *sdk.Collector) error {
	words := strings.Fields(string(r.Value()))
	n, _ := strconv.Atoi(words[1])
	tag, _ := strconv.Atoi(words[2])
	switch words[0] {
	case "event":
		a.t.SetTimer(sdk.EventTime, at(n), uint32(tag))
	case "clock":
		a.t.SetTimer(sdk.ProcessingTime, at(n), uint32(tag))
	case "delete":
		a.t.DeleteTimer(sdk.EventTime, at(n), uint32(tag))
	case "late":
		if !a.t.Watermark().Before(at(n)) {
			out.Emit(r, []byte("late"))
		}
	}
	return nil
}

func (a *alarms) OnTimer(_ context.Context, tm sdk.Timer, out *sdk.Collector) error {
	n, _ := a.fired.Get()
	a.fired.Set(n + 1)
	if a.retry > 0 {
		a.retry--
		return sdk.Retry(errors.New("not now"), time.Millisecond)
	}
	out.Append(sdk.Row{Key: a.t.Key(), Value: fmt.Appendf(nil, "%d/%d", int(tm.At.Sub(at(0)).Seconds()), tm.Tag)})
	if tm.Tag == 9 && n < 3 { // sets itself again
		a.t.SetTimer(tm.Domain, tm.At.Add(time.Second), 9)
	}
	return nil
}

func timing(retry int) sdk.Component {
	return sdk.NewKeyedOperator("alarms", "Timers.", func(_ context.Context, _ *struct{}, t *sdk.Task) (*alarms, error) {
		return &alarms{t, sdk.Value[int](t, "fired"), retry}, nil
	})
}

func TestTimersFireInTheOrderOfTheirTimes(t *testing.T) {
	o := sdktest.NewOperator(t, timing(0), nil)
	o.Process(sdktest.KV("a", "event 5 2"), sdktest.KV("a", "event 5 1"), sdktest.KV("b", "event 3 1"), sdktest.KV("c", "event 9 1"), sdktest.KV("a", "event 1 7"))
	expectSaid(t, o.Watermark(at(0)), "")
	expectSaid(t, o.Watermark(at(5)), "a=1/7 b=3/1 a=5/1 a=5/2")
	expectSaid(t, o.Watermark(at(8)), "")
	expectSaid(t, o.Watermark(sdk.EndOfTime()), "c=9/1")
}

func TestATimerSetTwiceIsOneAndADeletedOneIsNone(t *testing.T) {
	o := sdktest.NewOperator(t, timing(0), nil)
	o.Process(sdktest.KV("a", "event 5 1"), sdktest.KV("a", "event 5 1"), sdktest.KV("a", "event 6 1"), sdktest.KV("b", "event 6 1"), sdktest.KV("a", "delete 6 1"), sdktest.KV("c", "delete 6 1"))
	expectSaid(t, o.Watermark(at(10)), "a=5/1 b=6/1")
}

func TestATimerWhoseTimeHasComeFiresAtOnce(t *testing.T) {
	o := sdktest.NewOperator(t, timing(0), nil)
	o.Watermark(at(5))
	expectSaid(t, o.Process(sdktest.KV("a", "event 5 1"), sdktest.KV("b", "event 3 2"), sdktest.KV("b", "event 6 2")), "a=5/1 b=3/2")
	expectSaid(t, o.Watermark(at(9)), "b=6/2")
}

func TestATimerMaySetTheNext(t *testing.T) {
	o := sdktest.NewOperator(t, timing(0), nil)
	o.Process(sdktest.KV("a", "event 1 9"))
	expectSaid(t, o.Watermark(at(2)), "a=1/9 a=2/9")
	expectSaid(t, o.Watermark(at(9)), "a=3/9 a=4/9")
}

func TestATimerFiresOnceAfterARestart(t *testing.T) {
	o := sdktest.NewOperator(t, timing(0), nil)
	o.Process(sdktest.KV("a", "event 5 1"), sdktest.KV("b", "event 7 1"), sdktest.KV("c", "clock 30 1"))
	expectSaid(t, o.Watermark(at(5)), "a=5/1")
	o.Checkpoint()
	expectSaid(t, o.Watermark(at(7)), "b=7/1")
	expectSaid(t, o.Advance(40*time.Second), "c=30/1")
	o.Restart() // to where a had fired, and b and c not
	expectSaid(t, o.Advance(0), "c=30/1")
	expectSaid(t, o.Watermark(at(9)), "b=7/1")
	expectSaid(t, o.Advance(time.Hour), "")
}

func TestTimersInProcessingTime(t *testing.T) {
	o := sdktest.NewOperator(t, timing(0), nil)
	o.Process(sdktest.KV("a", "clock 10 1"), sdktest.KV("b", "clock 5 1"), sdktest.KV("c", "clock 60 1"), sdktest.KV("d", "clock 20 9"))
	expectSaid(t, o.Advance(4*time.Second), "")
	expectSaid(t, o.Advance(6*time.Second), "b=5/1 a=10/1")
	// At the end of input what is left fires, and sets no more.
	expectSaid(t, o.End(), "d=20/9 c=60/1")
}

func TestEventTimersFireAtTheEndOfInput(t *testing.T) {
	o := sdktest.NewOperator(t, timing(0), nil)
	o.Process(sdktest.KV("a", "event 10 1"), sdktest.KV("b", "event 5 1"))
	expectSaid(t, o.End(), "b=5/1 a=10/1")
}

func TestATimerThatAsksToBeRepeatedIs(t *testing.T) {
	o := sdktest.NewOperator(t, timing(3), nil)
	o.Process(sdktest.KV("a", "event 1 9"))
	expectSaid(t, o.Watermark(at(9)), "a=1/9 a=2/9 a=3/9 a=4/9")
}

// After a restore, lateness is judged by the greater of the watermark that a key
// group brings and that which the task has come to.
func TestLatenessAfterARestoreIsJudgedByTheGreaterWatermark(t *testing.T) {
	o := sdktest.NewOperator(t, timing(0), nil)
	o.Watermark(at(20))
	o.Checkpoint()
	o.Restart()
	expectSaid(t, o.Process(sdktest.KV("a", "late 15 0"), sdktest.KV("b", "late 25 0")), "a=late")
	o.Watermark(at(10)) // the task is behind what the key group has seen
	expectSaid(t, o.Process(sdktest.KV("a", "late 15 0")), "a=late")
	o.Watermark(at(30))
	expectSaid(t, o.Process(sdktest.KV("b", "late 25 0")), "b=late")
}

func TestTimersMoveToAnotherParallelism(t *testing.T) {
	p := sdktest.NewParallel(t, timing(0), nil, 4)
	for i := range 50 {
		p.Process(sdktest.KV(fmt.Sprint("k", i), "event 5 1"), sdktest.KV(fmt.Sprint("k", i), "clock 5 2"))
	}
	for _, tasks := range []int{2, 7, 1} {
		p.Checkpoint()
		p.Restart(tasks)
	}
	if r := p.Watermark(at(5)); len(r.Out) != 50 {
		t.Errorf("%d timers fired in event time", len(r.Out))
	}
	if r := p.Advance(5 * time.Second); len(r.Out) != 50 {
		t.Errorf("%d timers fired in processing time", len(r.Out))
	}
	if r := p.End(); len(r.Out) != 0 {
		t.Errorf("%d timers fired again", len(r.Out))
	}
}
