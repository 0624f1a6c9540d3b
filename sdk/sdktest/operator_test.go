package sdktest_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// worker is an operator that does what its configuration says.
type worker struct {
	cfg     *workerConfig
	task    *sdk.Task
	kept    [][]byte
	held    []*sdk.Batch
	retries int
}

type workerConfig struct {
	Do       string `weir:"do" default:"upper" enum:"upper,keep,hold,collect,split,fail,error,fatal,retry,panic,sleep"`
	RefuseMe bool   `weir:"refuse"`
}

var errRefused = errors.New("refused")

func openWorker(_ context.Context, cfg *workerConfig, t *sdk.Task) (*worker, error) {
	if cfg.RefuseMe {
		return nil, sdk.Fatal(errRefused)
	}
	return &worker{cfg: cfg, task: t}, nil
}

func (w *worker) Process(ctx context.Context, in *sdk.Batch, out *sdk.Collector) error {
	switch w.cfg.Do {
	case "error":
		return errors.New("broken")
	case "fatal":
		return sdk.Fatal(errors.New("broken for good"))
	case "panic":
		panic("ouch")
	case "sleep":
		<-ctx.Done()
		return ctx.Err()
	case "hold":
		in.Hold()
		w.held = append(w.held, in)
		return nil
	}
	for r := range in.All() {
		switch w.cfg.Do {
		case "keep": // wrong: a value is dead after the call
			w.kept = append(w.kept, r.Value())
		case "collect":
			w.kept = append(w.kept, bytes.Clone(r.Value()))
		case "split":
			out.To(in.Input()).Forward(r)
		case "fail":
			out.Forward(r)
			out.Fail(r, errors.New("not "+string(r.Value())))
		case "retry":
			out.Forward(r)
			if w.retries++; w.retries < 3 {
				return sdk.Retry(errors.New("busy"), time.Millisecond)
			}
		default:
			out.Emit(r, append(out.AvailableBuffer(), bytes.ToUpper(r.Value())...))
		}
	}
	return nil
}

func (w *worker) Flush(_ context.Context, final bool, out *sdk.Collector) error {
	for _, b := range w.held {
		for r := range b.All() {
			out.EmitRow(r, sdk.Row{Key: []byte("held"), Value: r.Value()})
		}
		b.Release()
	}
	for _, v := range w.kept {
		out.Append(sdk.Row{Value: v})
	}
	w.held, w.kept = nil, nil
	if final {
		out.Append(sdk.Row{Value: []byte("end")})
	}
	return nil
}

func (w *worker) OnWatermark(_ context.Context, t sdk.Time, out *sdk.Collector) error {
	out.Append(sdk.Row{Value: []byte(t.String()), Time: t})
	return nil
}

func (w *worker) Close() error { return nil }

func component() sdk.Component {
	return sdk.NewOperator("worker", "Does what it is told.", openWorker,
		sdk.Inputs(sdk.Port{Name: "left"}, sdk.Port{Name: "right"}),
		sdk.Outputs(sdk.Output{Name: "left"}, sdk.Output{Name: "right"}))
}

func expect(t *testing.T, got []sdktest.Record, want ...string) {
	t.Helper()
	if values := sdktest.ValuesOf(got); !reflect.DeepEqual(values, append([]string{}, want...)) {
		t.Errorf("got %q, want %q", values, want)
	}
}

func TestProcessReturnsWhatCameOfEachRecord(t *testing.T) {
	op := sdktest.NewOperator(t, component(), nil)
	in := sdktest.Record{
		Key: []byte{}, Value: []byte("a"), Time: sdk.UnixMilli(5),
		Headers: []sdktest.Header{{Name: "h", Value: []byte("1")}, {Name: "h"}}, Split: "s", Ordinal: 7,
	}
	got := op.Process(in, sdktest.Record{})
	want := in
	want.Value = []byte("A")
	if len(got.Out) != 2 || !reflect.DeepEqual(got.Out[0], want) {
		t.Errorf("got %v, want %v and another", got.Out, want)
	}
	expect(t, op.Process(sdktest.Values("b", "c")...).Out, "B", "C")
	expect(t, op.Process().Out)
}

func TestValuesKeptPastTheCallAreOverwritten(t *testing.T) {
	op := sdktest.NewOperator(t, component(), `{"do": "keep"}`)
	op.Process(sdktest.Values("kept")...)
	expect(t, op.Checkpoint().Out, "\xdb\xdb\xdb\xdb")

	op = sdktest.NewOperator(t, component(), `{"do": "collect"}`)
	op.Process(sdktest.Values("copied")...)
	expect(t, op.Checkpoint().Out, "copied")
}

func TestHeldBatchesOutliveTheCall(t *testing.T) {
	op := sdktest.NewOperator(t, component(), `{"do": "hold"}`)
	op.Process(sdktest.Record{Key: []byte("k"), Value: []byte("a"), Split: "s", Ordinal: 3})
	got := op.Checkpoint()
	expect(t, got.Out, "a")
	if r := got.Out[0]; string(r.Key) != "held" || r.Split != "s" || r.Ordinal != 3 {
		t.Errorf("a record that stems from another keeps its origin: got %v", r)
	}
}

func TestABatchHeldForEverFailsTheTest(t *testing.T) {
	failures := recorded(t, func(t testing.TB) {
		sdktest.NewOperator(t, component(), `{"do": "hold"}`).Process(sdktest.Values("a")...)
	})
	if !strings.Contains(failures, "1 batches are still held") {
		t.Errorf("got %q", failures)
	}
}

func TestInputsAndOutputsHaveNames(t *testing.T) {
	op := sdktest.NewOperator(t, component(), `{"do": "split"}`)
	got := op.Process(sdktest.Values("l")...)
	expect(t, got.Outputs["left"], "l")
	got = op.ProcessOn("right", sdktest.Values("r")...)
	expect(t, got.Outputs["right"], "r")
	expect(t, got.Out)
}

func TestFailedRecordsAreCollected(t *testing.T) {
	op := sdktest.NewOperator(t, component(), `{"do": "fail"}`)
	got := op.Process(sdktest.Record{Key: []byte("k"), Value: []byte("a"), Split: "s", Ordinal: 1})
	if len(got.Failed) != 1 {
		t.Fatalf("got %v", got.Failed)
	}
	if f := got.Failed[0]; f.Err != "not a" || string(f.Value) != "a" || f.Split != "s" || f.Ordinal != 1 || f.Headers != nil {
		t.Errorf("got %+v", f)
	}
}

func TestARetriedCallTakesEffectOnce(t *testing.T) {
	op := sdktest.NewOperator(t, component(), `{"do": "retry"}`)
	expect(t, op.Process(sdktest.Values("a")...).Out, "a")
}

func TestErrorsKeepTheirClass(t *testing.T) {
	for do, want := range map[string]sdktest.Error{
		"error": {Message: "broken"},
		"fatal": {Message: "broken for good", Fatal: true},
		"panic": {Message: "ouch"},
	} {
		op := sdktest.NewOperator(t, component(), map[string]any{"do": do})
		var got *sdktest.Error
		if err := op.ProcessError(sdktest.Values("a")...); !errors.As(err, &got) {
			t.Fatal(err)
		}
		if !strings.Contains(got.Message, want.Message) || got.Fatal != want.Fatal {
			t.Errorf("%s: got %+v", do, got)
		}
	}
}

func TestACallThatDoesNotReturnEndsTheTest(t *testing.T) {
	failures := recorded(t, func(t testing.TB) {
		sdktest.NewOperator(t, component(), `{"do": "sleep"}`, sdktest.Timeout(50*time.Millisecond)).Process(sdktest.Values("a")...)
	})
	if !strings.Contains(failures, "Process: the component did not answer within 50ms") {
		t.Errorf("got %q", failures)
	}
}

func TestFlushWatermarkAndEnd(t *testing.T) {
	op := sdktest.NewOperator(t, component(), nil)
	expect(t, op.Watermark(sdk.UnixMilli(1500)).Out, "1970-01-01T00:00:01.5Z")
	expect(t, op.Checkpoint().Out)
	expect(t, op.End().Out, "end")
}

func TestAComponentThatRefusesSaysWhy(t *testing.T) {
	for config, want := range map[string]string{
		`{"do": "nothing"}`: `configuration: do: must be one of "upper", "keep"`,
		`{"refuse": true}`:  `refused`,
	} {
		if err := sdktest.OpenError(t, component(), config); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", config, err)
		}
	}
	bad := sdk.NewOperator("Bad Name", "", openWorker)
	if err := sdktest.OpenError(t, bad, nil); !strings.Contains(err.Error(), `operator "Bad Name"`) {
		t.Errorf("got %v", err)
	}
}

func TestTheTaskIsAsTheOptionsSay(t *testing.T) {
	var got sdk.Task
	c := sdk.NewOperator("worker", "", func(_ context.Context, cfg *workerConfig, t *sdk.Task) (*worker, error) {
		got = *t
		return &worker{cfg: cfg}, nil
	})
	owner := sdk.Owner{Cluster: "c", Pipeline: "p", UID: "u", Node: "n", Epoch: 9}
	sdktest.NewOperator(t, c, nil, sdktest.As(owner), sdktest.Task(1, 3), sdktest.MaxRecord(77), sdktest.Guarantee(sdk.AtLeastOnce))
	if got.Owner != owner || got.Index != 1 || got.Parallelism != 3 || got.MaxRecord != 77 || got.Guarantee != sdk.AtLeastOnce {
		t.Errorf("got %+v", got)
	}
}
