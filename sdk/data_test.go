package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/internal/task"
	"github.com/weirstream/weir/sdk/sdktest"
)

// funcOperator processes with a function, so that a test says what happens.
type funcOperator func(in *sdk.Batch, out *sdk.Collector)

func (f funcOperator) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	f(in, out)
	return nil
}

func (f funcOperator) Close() error { return nil }

func process(t *testing.T, f funcOperator, records ...sdktest.Record) sdktest.Result {
	t.Helper()
	c := sdk.NewOperator("func", "", func(context.Context, *struct{}, *sdk.Task) (funcOperator, error) { return f, nil },
		sdk.Outputs(sdk.Output{Name: "side"}))
	return sdktest.NewOperator(t, c, nil).Process(records...)
}

// sample is three records: a full one, a tombstone and one that is empty.
func sample() []sdktest.Record {
	return []sdktest.Record{
		{Key: []byte("k"), Value: []byte("v"), Time: sdk.UnixMilli(1), Headers: []sdktest.Header{{Name: "h", Value: []byte("x")}}, Split: "s", Ordinal: 4},
		{Key: []byte("k"), Split: "s", Ordinal: 5},
		{Key: []byte{}, Value: []byte{}, Split: "s", Ordinal: 6},
	}
}

func TestARecordIsAViewOfItsRow(t *testing.T) {
	var got []string
	process(t, func(in *sdk.Batch, _ *sdk.Collector) {
		for r := range in.All() {
			h, ok := r.Header("h")
			split, ordinal := r.Origin()
			got = append(got, fmt.Sprintf("%q %t %q %t %s %q %t %d %s#%d",
				r.Key(), r.Key() == nil, r.Value(), r.Value() == nil, r.Time(), h, ok, r.Headers().Len(), split, ordinal))
		}
		if in.Len() != 3 || in.Input() != "in" || string(in.At(0).Value()) != "v" || in.Size() == 0 {
			t.Errorf("a batch of %d records by %q", in.Len(), in.Input())
		}
	}, sample()...)
	want := []string{
		`"k" false "v" false 1970-01-01T00:00:00.001Z "x" true 1 s#4`,
		`"k" false "" true no time "" false 0 s#5`,
		`"" false "" false no time "" false 0 s#6`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestColumnsShowTheWholeBatch(t *testing.T) {
	process(t, func(in *sdk.Batch, _ *sdk.Collector) {
		v := in.Values()
		if string(v.Data) != "v" || !slices.Equal(v.Ends, []uint32{1, 1, 1}) || v.Nulls[0] != 0b010 {
			t.Errorf("values %+v", v)
		}
	}, sample()...)
	process(t, func(in *sdk.Batch, _ *sdk.Collector) {
		if k := in.Keys(); string(k.Data) != "same" || k.Ends != nil {
			t.Errorf("a constant column is %+v", k)
		}
		if v := in.Values(); v.Data != nil || v.Ends != nil {
			t.Errorf("an absent column is %+v", v)
		}
	}, sdktest.Record{Key: []byte("same")}, sdktest.Record{Key: []byte("same")})
}

func TestWhatEachWayOfSendingKeeps(t *testing.T) {
	headers := sdk.Headers(nil).Add("new", nil)
	for _, c := range []struct {
		name string
		send func(r sdk.Record, in *sdk.Batch, out *sdk.Collector)
		want []string
	}{
		{"Forward keeps everything", func(r sdk.Record, _ *sdk.Batch, out *sdk.Collector) { out.Forward(r) },
			[]string{`{"k": "v" @1970-01-01T00:00:00.001Z h="x" from s#4}`, `{"k": "<null>" from s#5}`, `{"": "" from s#6}`}},
		{"Emit keeps all but the value", func(r sdk.Record, _ *sdk.Batch, out *sdk.Collector) { out.Emit(r, []byte("e")) },
			[]string{`{"k": "e" @1970-01-01T00:00:00.001Z h="x" from s#4}`, `{"k": "e" from s#5}`, `{"": "e" from s#6}`}},
		{"Emit of nil is a tombstone", func(r sdk.Record, _ *sdk.Batch, out *sdk.Collector) { out.Emit(r, nil) },
			[]string{`{"k": "<null>" @1970-01-01T00:00:00.001Z h="x" from s#4}`, `{"k": "<null>" from s#5}`, `{"": "<null>" from s#6}`}},
		{"EmitRow keeps the origin alone", func(r sdk.Record, _ *sdk.Batch, out *sdk.Collector) {
			out.EmitRow(r, sdk.Row{Key: []byte("n"), Value: append(out.AvailableBuffer(), "row"...), Headers: headers})
		}, []string{`{"n": "row" new="<null>" from s#4}`, `{"n": "row" new="<null>" from s#5}`, `{"n": "row" new="<null>" from s#6}`}},
		{"a Row of a record is that record", func(r sdk.Record, _ *sdk.Batch, out *sdk.Collector) { out.EmitRow(r, r.Row()) },
			[]string{`{"k": "v" @1970-01-01T00:00:00.001Z h="x" from s#4}`, `{"k": "<null>" from s#5}`, `{"": "" from s#6}`}},
		{"Append keeps nothing", func(_ sdk.Record, _ *sdk.Batch, out *sdk.Collector) { out.Append(sdk.Row{Value: []byte("a")}) },
			[]string{`{"<null>": "a"}`, `{"<null>": "a"}`, `{"<null>": "a"}`}},
	} {
		got := process(t, func(in *sdk.Batch, out *sdk.Collector) {
			for r := range in.All() {
				c.send(r, in, out)
			}
		}, sample()...)
		same(t, c.name, got.Out, c.want...)
	}
}

func TestWholeBatchesAndSelectionsAreForwarded(t *testing.T) {
	got := process(t, func(in *sdk.Batch, out *sdk.Collector) {
		out.ForwardAll(in)
		out.To("side").ForwardSelected(in, []uint32{2, 0})
		out.To("out").ForwardSelected(in, nil)
	}, sample()...)
	same(t, "all", got.Out, `{"k": "v" @1970-01-01T00:00:00.001Z h="x" from s#4}`, `{"k": "<null>" from s#5}`, `{"": "" from s#6}`)
	same(t, "selected", got.Outputs["side"], `{"": "" from s#6}`, `{"k": "v" @1970-01-01T00:00:00.001Z h="x" from s#4}`)
}

func TestAValueInTheAvailableBufferMayGrow(t *testing.T) {
	long := strings.Repeat("long ", 10_000)
	got := process(t, func(in *sdk.Batch, out *sdk.Collector) {
		for r := range in.All() {
			out.Emit(r, append(out.AvailableBuffer(), long...))
			abandoned := append(out.AvailableBuffer(), "abandoned"...)
			_ = abandoned
			out.Emit(r, append(out.AvailableBuffer(), "short"...))
		}
	}, sample()[:1]...)
	if values := sdktest.ValuesOf(got.Out); !slices.Equal(values, []string{long, "short"}) {
		t.Errorf("got %d records", len(values))
	}
}

func TestAnOutputThatIsNotDeclaredFailsTheTask(t *testing.T) {
	c := sdk.NewOperator("func", "", func(context.Context, *struct{}, *sdk.Task) (funcOperator, error) {
		return func(in *sdk.Batch, out *sdk.Collector) {
			out.To("nowhere").ForwardAll(in)
			if out.Err() == nil {
				t.Error("the error does not stick")
			}
		}, nil
	})
	err := sdktest.NewOperator(t, c, nil).ProcessError(sdktest.Values("a")...)
	if !strings.Contains(err.Error(), `no output "nowhere"`) {
		t.Errorf("got %v", err)
	}
}

func TestASourceReadsUntilABatchIsFull(t *testing.T) {
	c := sdk.NewSource("numbers", "", func(context.Context, *struct{}, *sdk.Task) (*numbers, error) { return &numbers{n: 1000}, nil })
	src := sdktest.NewSource(t, c, nil, sdktest.BatchSize(2000))
	got := src.ReadAll()
	if len(got) != 1000 || string(got[999].Value) != "999" || got[999].Ordinal != 999 || got[999].Split != "all" {
		t.Errorf("%d records", len(got))
	}
	src.CheckResume()
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	c := sdk.NewOperator("func", "", func(_ context.Context, _ *struct{}, task *sdk.Task) (funcOperator, error) {
		count := task.Metrics.Counter("masked", "Masked fields.", "", "kind", "ip")
		size := task.Metrics.Histogram("size", "Sizes.", "bytes", []float64{10, 100})
		level := task.Metrics.Gauge("level", "Level.", "")
		return func(in *sdk.Batch, out *sdk.Collector) {
			count.Add(2)
			count.Inc()
			level.Set(5)
			level.Add(-1)
			size.Observe(7)
			again := task.Metrics.Counter("masked", "Masked fields.", "", "kind", "ip").Value()
			out.Append(sdk.Row{Value: fmt.Append(nil, again, level.Value())})
		}, nil
	})
	got := sdktest.NewOperator(t, c, nil).Process(sdktest.Values("a")...)
	if v := sdktest.ValuesOf(got.Out); v[0] != "3 4" {
		t.Errorf("got %q", v)
	}
}

func same(t *testing.T, name string, got []sdktest.Record, want ...string) {
	t.Helper()
	var text []string
	for _, r := range got {
		text = append(text, r.String())
	}
	if !slices.Equal(text, want) {
		t.Errorf("%s:\n got %s\nwant %s", name, text, want)
	}
}

// cursored is a source that lists splits behind a cursor, knows how far it is and
// how often it wants to be asked.
type cursored struct{ numbers }

func (c *cursored) SplitsAfter(_ context.Context, cursor []byte) ([]sdk.Split[string], []byte, bool, error) {
	switch {
	case cursor == nil:
		return []sdk.Split[string]{{ID: "a"}}, []byte("a"), true, nil
	case bytes.Equal(cursor, []byte("a")):
		return []sdk.Split[string]{{ID: "b"}, {ID: "c"}}, []byte("c"), false, nil
	}
	return nil, cursor, false, nil
}

func (c *cursored) Progress() sdk.Progress {
	return sdk.Progress{Done: 1, Total: 4, Unit: "records", Lag: -1}
}

func TestASourceWithACursorListsWhatIsNew(t *testing.T) {
	c := sdk.NewSource("cursored", "", func(context.Context, *struct{}, *sdk.Task) (*cursored, error) { return &cursored{numbers{2}}, nil })
	src := sdktest.NewSource(t, c, nil)
	var ids []string
	for _, s := range append(src.Splits(), src.Splits()...) {
		ids = append(ids, s.ID)
	}
	if !slices.Equal(ids, []string{"a", "b", "c"}) || src.More() || src.Splits() != nil {
		t.Errorf("got %q", ids)
	}
}

func TestACursorMayBeEmpty(t *testing.T) {
	c := sdk.NewSource("cursored", "", func(context.Context, *struct{}, *sdk.Task) (*firstCursor, error) { return &firstCursor{}, nil })
	def, err := c.Definition()
	if err != nil {
		t.Fatal(err)
	}
	src, err := def.OpenSource(t.Context(), []byte(`{}`), &task.Env{})
	if err != nil {
		t.Fatal(err)
	}
	_, next, _, err := src.Splits(t.Context(), nil)
	if next == nil || err != nil {
		t.Errorf("cursor %v, %v: without one, the source would have to list all splits anew", next, err)
	}
	if _, _, _, err := src.Splits(t.Context(), next); err != nil {
		t.Errorf("the author's first cursor is nil: %v", err)
	}
	if src.Progress().GetTotal() != 4 || src.SplitInterval() != time.Minute {
		t.Errorf("progress %v, interval %v", src.Progress(), src.SplitInterval())
	}
}

// firstCursor is a source that has no cursor yet.
type firstCursor struct{ cursored }

func (*firstCursor) SplitsAfter(_ context.Context, cursor []byte) ([]sdk.Split[string], []byte, bool, error) {
	if cursor != nil {
		return nil, nil, false, errors.New("a cursor that was never returned")
	}
	return nil, nil, true, nil
}

func (*firstCursor) SplitInterval() time.Duration { return time.Minute }

func TestPositionsThatAreNoJSONAreFatal(t *testing.T) {
	c := sdk.NewSource("numbers", "", func(context.Context, *struct{}, *sdk.Task) (*numbers, error) { return &numbers{n: 3}, nil })
	src := sdktest.NewSource(t, c, nil)
	err := src.OpenAt(src.Splits()[0], json.RawMessage(`"three"`)).Error()
	var marked *sdktest.Error
	if !errors.As(err, &marked) || !marked.Fatal || !strings.Contains(marked.Message, `position of split "all"`) {
		t.Errorf("got %v", err)
	}
}
