package sdk_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// pass is an operator that forwards.
type pass struct{}

func (pass) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	out.ForwardAll(in)
	return nil
}
func (pass) Close() error { return nil }

func operator[Cfg any](options ...sdk.Option) sdk.Component {
	return sdk.NewOperator("pass", "Forwards.",
		func(context.Context, *Cfg, *sdk.Task) (pass, error) { return pass{}, nil }, options...)
}

// drop is a sink that throws away.
type drop struct{}

func (drop) Write(context.Context, *sdk.Batch, *sdk.Collector) error { return nil }
func (drop) Flush(context.Context) error                             { return nil }
func (drop) Close() error                                            { return nil }

// prepared is a two-phase sink, and with it its committer.
type prepared struct{ drop }

func (prepared) Prepare(context.Context, sdk.Checkpoint) ([]string, error) { return nil, nil }
func (prepared) Commit(context.Context, []string) error                    { return nil }
func (prepared) Sweep(context.Context, sdk.Sweep) error                    { return nil }

func twoPhase[T sdk.TwoPhase[string]](options ...sdk.Option) sdk.Component {
	return sdk.NewTwoPhaseSink("two", "Two phases.",
		func(context.Context, *struct{}, *sdk.Task) (t T, err error) { return t, nil },
		func(context.Context, *struct{}, *sdk.Node) (prepared, error) { return prepared{}, nil },
		options...)
}

func spec(t *testing.T, c sdk.Component) *pluginv1.Component {
	t.Helper()
	def, err := c.Definition()
	if err != nil {
		t.Fatal(err)
	}
	return def.Spec
}

func TestCapabilitiesFollowFromTypesAndOptions(t *testing.T) {
	source := func(options ...sdk.Option) sdk.Component {
		return sdk.NewSource("numbers", "", func(context.Context, *struct{}, *sdk.Task) (*numbers, error) { return nil, nil }, options...)
	}
	for _, c := range []struct {
		name      string
		component sdk.Component
		want      *pluginv1.Capabilities
	}{
		{"source", source(), &pluginv1.Capabilities{Replayable: true, EventTime: true}},
		{"source with options", source(sdk.Bounded(), sdk.NotReplayable(), sdk.ConcurrentSplits(2)),
			&pluginv1.Capabilities{Bounded: true, ConcurrentSplits: 2, EventTime: true}},
		{"operator", operator[struct{}](), &pluginv1.Capabilities{EventTime: true}},
		{"operator with options", operator[struct{}](sdk.PreservesOrder(), sdk.PreservesKey()),
			&pluginv1.Capabilities{PreservesOrder: true, PreservesKey: true, EventTime: true}},
		{"sink with options", sdk.NewSink("s", "", func(context.Context, *struct{}, *sdk.Task) (drop, error) { return drop{}, nil },
			sdk.SingleTask(), sdk.Local(), sdk.Discards()), &pluginv1.Capabilities{SingleTask: true, Local: true, Discards: true}},
		{"two-phase sink", twoPhase[prepared](sdk.Retract()), &pluginv1.Capabilities{ExactlyOnce: true, Retract: true}},
	} {
		if got := spec(t, c.component).Capabilities; got.String() != c.want.String() {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTheManifestSaysWhatOptionsSay(t *testing.T) {
	got := spec(t, operator[struct {
		A int `weir:"a" doc:"A number."`
	}](
		sdk.Version("2.1.0"), sdk.Description("Long."), sdk.Example("Simple", "a: 1"),
		sdk.Inputs(sdk.Port{Name: "in"}, sdk.Port{Name: "table", Summary: "T", Optional: true, Partition: sdk.Broadcast}),
		sdk.Outputs(sdk.Output{Name: "late", Summary: "L"}),
	))
	switch {
	case got.Name != "pass", got.Summary != "Forwards.", got.Version != "2.1.0", got.Description != "Long.",
		got.Examples[0].Title != "Simple", got.Examples[0].Config != "a: 1",
		got.Inputs[1].Name != "table", !got.Inputs[1].Optional, got.Inputs[1].Partition != pluginv1.Partition_PARTITION_BROADCAST,
		got.Outputs[0].Name != "late", got.Parameters[0].Description != "A number.", got.DynamicOutputs:
		t.Errorf("got %v", got)
	}
}

// The types below are wrong in one way each.
type (
	badFlush       struct{ pass }
	badWatermark   struct{ pass }
	badWriterState struct{ prepared }
	noDue          struct{ prepared }
	badSplits      struct{ numbers }
	badObserver    struct{ numbers }
	badValidate    struct{}
	badOutputs     struct{}
)

func (badFlush) Flush(context.Context, *sdk.Collector) error                  { return nil }
func (badWatermark) OnWatermark(context.Context, int64, *sdk.Collector) error { return nil }
func (badWriterState) WriterState(context.Context) (string, error)            { return "", nil }
func (noDue) Due() (bool, error)                                              { return false, nil }
func (badSplits) SplitsAfter(context.Context, string) error                   { return nil }
func (badObserver) CheckpointCompleted(context.Context, map[string]string) error {
	return nil
}
func (badValidate) Validate() error  { return nil }
func (badOutputs) Outputs() []string { return nil }

func TestAWrongDeclarationIsAnErrorThatNamesIt(t *testing.T) {
	open := func(context.Context, *struct{}, *sdk.Task) (drop, error) { return drop{}, nil }
	for _, c := range []struct {
		name      string
		component sdk.Component
		want      string
	}{
		{"bad tag", operator[struct {
			Size int `weir:"size" default:"big"`
		}](), `operator "pass": .Size: default "big": expected an integer`},
		{"bad name", sdk.NewSink("Sink!", "", open), `sink "Sink!": the name is not lower-case`},
		{"option of another kind", sdk.NewSink("s", "", open, sdk.Bounded()), "the option Bounded is not for a sink"},
		{"outputs of a sink", sdk.NewSink("s", "", open, sdk.Outputs(sdk.Output{Name: "late"})), "the option Outputs is not for a sink"},
		{"retract without sweep", sdk.NewSink("s", "", open, sdk.Retract()), "Retract is for two-phase sinks"},
		{"output that every component has", operator[struct{}](sdk.Outputs(sdk.Output{Name: "errors"})), `two outputs are named "errors"`},
		{"output twice", operator[struct{}](sdk.Outputs(sdk.Output{Name: "a"}, sdk.Output{Name: "a"})), `two outputs are named "a"`},
		{"input twice", operator[struct{}](sdk.Inputs(sdk.Port{Name: "a"}, sdk.Port{Name: "a"})), `two inputs are named "a"`},
		{"bad port", operator[struct{}](sdk.Inputs(sdk.Port{Name: "A"})), `the input name "A" is not lower-case`},
		{"negative bound", sdk.NewSource("n", "", func(context.Context, *struct{}, *sdk.Task) (*numbers, error) { return nil, nil },
			sdk.ConcurrentSplits(-1)), "ConcurrentSplits(-1)"},
		{"prepare of a plain sink", sdk.NewSink("s", "", func(context.Context, *struct{}, *sdk.Task) (prepared, error) { return prepared{}, nil }),
			"is declared with NewTwoPhaseSink"},
		{"wrong Flush", sdk.NewOperator("o", "", func(context.Context, *struct{}, *sdk.Task) (badFlush, error) { return badFlush{}, nil }),
			"a method has the name but not the signature of sdk.Flusher"},
		{"wrong OnWatermark", sdk.NewOperator("o", "", func(context.Context, *struct{}, *sdk.Task) (badWatermark, error) { return badWatermark{}, nil }),
			"not the signature of sdk.WatermarkHandler"},
		{"wrong WriterState", twoPhase[badWriterState](), "WriterState is func(sdk_test.badWriterState, context.Context) (string, error), not func"},
		{"wrong Due", twoPhase[noDue](), "not the signature of sdk.Roller"},
		{"wrong SplitsAfter", sdk.NewSource("n", "", func(context.Context, *struct{}, *sdk.Task) (*badSplits, error) { return nil, nil }),
			"not the signature of sdk.SplitsAfter"},
		{"wrong CheckpointCompleted", sdk.NewSource("n", "", func(context.Context, *struct{}, *sdk.Task) (*badObserver, error) { return nil, nil }),
			"not the signature of sdk.PositionObserver"},
		{"wrong Validate", operator[badValidate](), "not the signature of sdk.Validator"},
		{"wrong Outputs", operator[badOutputs](), "not the signature of sdk.DynamicOutputs"},
		{"no struct", operator[int](), "a configuration is a struct, not int"},
	} {
		if err := c.component.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %v\nwant %s", c.name, err, c.want)
		}
	}
	if err := operator[struct{}]().Err(); err != nil {
		t.Error(err)
	}
}

// checked is a configuration with everything that the SDK asks a configuration.
type checked struct {
	First    int                 `weir:"first" default:"1"`
	Last     int                 `weir:"last" default:"9"`
	Token    sdk.Secret          `weir:"token"`
	When     sdk.Expr            `weir:"when"`
	Set      map[string]sdk.Expr `weir:"set"`
	Key      sdk.ConstOrExpr     `weir:"key"`
	Every    time.Duration       `weir:"every" default:"1s" min:"1ms"`
	Size     sdk.ByteSize        `weir:"size" default:"1KiB" max:"1MiB"`
	Ranges   []span              `weir:"ranges"`
	Routes   []string            `weir:"routes"`
	Leaks    bool                `weir:"leaks"`
	Promises bool                `weir:"promises"`
	Single   bool                `weir:"single"`
}

type span struct {
	From sdk.Expr `weir:"from"`
	Min  int      `weir:"min"`
	Max  int      `weir:"max"`
}

func (s *span) Validate() []sdk.FieldError {
	var errs []sdk.FieldError
	if s.Min > s.Max {
		errs = append(errs, sdk.Faultf("min", "is above max"))
	}
	if s.From.Source == "bad" {
		errs = append(errs, s.From.Faultf(2, "unexpected a"))
	}
	return errs
}

func (c *checked) Validate() []sdk.FieldError {
	if c.First > c.Last {
		return []sdk.FieldError{sdk.Faultf("", "first is behind last"), sdk.Warnf("last", "is small")}
	}
	if c.Leaks {
		return []sdk.FieldError{sdk.Faultf("token", "%s is refused", c.Token.Reveal())}
	}
	return nil
}

func (c *checked) Probe(_ context.Context, o sdk.Probe) []sdk.FieldError {
	return []sdk.FieldError{sdk.Faultf("token", "%s may not enter with %s", o.Pipeline, c.Token.Reveal())}
}

func (c *checked) Capabilities(left *sdk.Capabilities) {
	left.PreservesKey = left.PreservesKey && c.Key.IsZero()
	if c.Promises {
		left.PreservesOrder = true
	}
}

func (c *checked) Outputs() []sdk.Output {
	var outputs []sdk.Output
	for _, r := range c.Routes {
		outputs = append(outputs, sdk.Output{Name: r})
	}
	return outputs
}

func faults(checked sdktest.Checked) string {
	var lines []string
	for _, f := range checked.Faults {
		lines = append(lines, f.Error())
	}
	return strings.Join(lines, "\n")
}

func TestChecksAcrossFields(t *testing.T) {
	c := operator[checked](sdk.PreservesKey(), sdk.Outputs(sdk.Output{Name: "late"}))
	for config, want := range map[string]string{
		`{}`:                        "",
		`{"first": 2, "last": 1}`:   "first is behind last\nlast: is small",
		`{"first": 2, "last": "1"}`: `last: expected an integer, got the string "1"`,
		`{"ranges": [{"max": 1}, {"min": 2, "max": 1}], "first": 99}`: "ranges[1].min: is above max\nfirst is behind last\nlast: is small",
		`{"ranges": [{"from": "bad"}]}`:                               "ranges[0].from: unexpected a",
		`{"when": " "}`:                                               "when: is an empty expression",
		`{"set": {"a.b": 1}}`:                                         "set.a.b: expected an expression as a string, got the number 1",
		`{"key": {"exp": "x"}}`:                                       `key: expected a constant or {expr: "..."}, got an object`,
		`{"key": {"expr": ""}}`:                                       `key: is an empty expression`,
		`{"every": 5}`:                                                `every: expected a duration such as "1m30s", got the number 5`,
		`{"every": "1us"}`:                                            `every: must be at least 1ms, got "1us"`,
		`{"size": "2MiB"}`:                                            `size: must be at most 1MiB, got "2MiB"`,
		`{"size": "big"}`:                                             `size: expected a size such as 4096 or "256KiB", got the string "big"`,
		`{"routes": ["a", "A b"]}`:                                    `the output name "A b" is not lower-case letters and digits joined by - or _`,
		`{"routes": ["late"]}`:                                        `the output name "late" is taken`,
		`{"promises": true}`:                                          "the configuration claims what the component does not: preserves order",
		`{"leaks": true, "token": "hunter2"}`:                         "token: *** is refused",
	} {
		if got := faults(sdktest.Check(t, c, config)); got != want {
			t.Errorf("%s\n got %s\nwant %s", config, got, want)
		}
	}
}

func TestAFaultKeepsItsPlace(t *testing.T) {
	c := operator[checked]()
	got := sdktest.Check(t, c, `{"ranges": [{}, {"from": "bad"}]}`).Faults
	want := []sdk.FieldError{{Field: "ranges[1].from", Message: "unexpected a", Column: 2}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAConfigurationLeavesCapabilitiesAndNamesOutputs(t *testing.T) {
	c := operator[checked](sdk.PreservesKey(), sdk.Outputs(sdk.Output{Name: "late"}))
	got := sdktest.Check(t, c, `{"key": {"expr": "value"}, "routes": ["big", "small"]}`)
	if got.Capabilities.PreservesKey || !reflect.DeepEqual(got.Outputs, []string{"big", "small"}) {
		t.Errorf("got %+v", got)
	}
	if !sdktest.Check(t, c, `{}`).Capabilities.PreservesKey || !spec(t, c).DynamicOutputs {
		t.Error("nothing takes the claim away")
	}
}

// wilful is a configuration that sets one claim.
type wilful struct {
	Claim string `weir:"claim"`
	To    any    `weir:"to"`
}

func (w *wilful) Capabilities(left *sdk.Capabilities) {
	field := reflect.ValueOf(left).Elem().FieldByName(w.Claim)
	if n, ok := w.To.(int64); ok {
		field.SetInt(n)
	} else {
		field.SetBool(w.To.(bool))
	}
}

func TestAConfigurationOnlyTakesClaimsAway(t *testing.T) {
	open := func(context.Context, *wilful, *sdk.Task) (*numbers, error) { return &numbers{}, nil }
	with := sdk.NewSource("with", "", open, sdk.Bounded(), sdk.ConcurrentSplits(2))
	without := sdk.NewSource("without", "", open, sdk.NotReplayable())
	single := sdk.NewSink("single", "", func(context.Context, *wilful, *sdk.Task) (drop, error) { return drop{}, nil },
		sdk.SingleTask(), sdk.Local(), sdk.Discards())
	for _, c := range []struct {
		component sdk.Component
		config    string
		allowed   bool
	}{
		{with, `{"claim": "Bounded", "to": false}`, true},
		{without, `{"claim": "Bounded", "to": true}`, false},
		{with, `{"claim": "Replayable", "to": false}`, true},
		{without, `{"claim": "Replayable", "to": true}`, false},
		{with, `{"claim": "ConcurrentSplits", "to": 1}`, true},
		{with, `{"claim": "ConcurrentSplits", "to": 3}`, false},
		{with, `{"claim": "ConcurrentSplits", "to": 0}`, false},
		{without, `{"claim": "ConcurrentSplits", "to": 7}`, true},
		{with, `{"claim": "ConcurrentSplits", "to": -1}`, false},
		{without, `{"claim": "PreservesOrder", "to": true}`, false},
		{without, `{"claim": "PreservesKey", "to": true}`, false},
		{without, `{"claim": "ExactlyOnce", "to": true}`, false},
		{without, `{"claim": "Retract", "to": true}`, false},
		{without, `{"claim": "SingleTask", "to": true}`, true},
		{single, `{"claim": "SingleTask", "to": false}`, false},
		{single, `{"claim": "Local", "to": false}`, false},
		{single, `{"claim": "Discards", "to": false}`, false},
	} {
		got := sdktest.Check(t, c.component, c.config)
		if allowed := got.Faults == nil; allowed != c.allowed {
			t.Errorf("%s: got %v", c.config, got.Faults)
		}
	}
}

func TestProbeAsksASoundConfigurationOnly(t *testing.T) {
	c := operator[checked]()
	got := sdktest.Probe(t.Context(), t, c, `{"token": "hunter2"}`)
	if len(got) != 1 || got[0].Error() != "token: test may not enter with ***" {
		t.Errorf("got %v", got)
	}
	got = sdktest.Probe(t.Context(), t, c, `{"token": "hunter2", "last": "x"}`)
	if len(got) != 1 || got[0].Field != "last" {
		t.Errorf("got %v", got)
	}
}

func TestTheConfigurationReachesTheComponent(t *testing.T) {
	var got *checked
	c := sdk.NewOperator("pass", "", func(_ context.Context, cfg *checked, _ *sdk.Task) (pass, error) { got = cfg; return pass{}, nil })
	sdktest.NewOperator(t, c, `{"token": "t", "when": "a > 1", "set": {"x": "b"}, "key": 9007199254740993, "every": "2m", "size": "4KiB"}`)
	switch {
	case got.Token.Reveal() != "t", got.When.Source != "a > 1", got.When.Path() != "when",
		got.Set["x"].Path() != "set.x", got.Key.Const != int64(9007199254740993), got.Key.IsExpr(),
		got.Every != 2*time.Minute, got.Size != 4096:
		t.Errorf("got %+v", got)
	}
	sdktest.NewOperator(t, c, `{"key": {"expr": "value"}}`)
	if !got.Key.IsExpr() || got.Key.Expr.Path() != "key.expr" || got.Key.Const != nil || !got.Token.IsZero() {
		t.Errorf("got %+v", got)
	}
}

func TestSecretsAreInNoError(t *testing.T) {
	c := sdk.NewOperator("pass", "", func(_ context.Context, cfg *checked, _ *sdk.Task) (pass, error) {
		return pass{}, sdk.Fatal(errors.New("login with " + cfg.Token.Reveal() + " failed"))
	})
	err := sdktest.OpenError(t, c, `{"token": "hunter2"}`)
	var marked *sdktest.Error
	if !errors.As(err, &marked) || !marked.Fatal || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "login with *** failed") {
		t.Errorf("got %v", err)
	}
}

// A committer's configuration may hold a secret where the component knows of
// none: the pipeline file says so.
func TestACommitterTellsNoSecret(t *testing.T) {
	type config struct {
		URL string `weir:"url"`
	}
	c := sdk.NewTwoPhaseSink("spool", "",
		func(context.Context, *config, *sdk.Task) (*Spool, error) { return nil, nil },
		func(_ context.Context, cfg *config, _ *sdk.Node) (sdk.Committer[SpoolFile], error) {
			return nil, errors.New("no answer from " + cfg.URL)
		})
	def, err := c.Definition()
	if err != nil {
		t.Fatal(err)
	}
	_, err = def.OpenCommitter(t.Context(), []byte(`{"url": "hunter2@host"}`), []string{"url"}, &pluginv1.Owner{}, nil)
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "no answer from ***") {
		t.Errorf("got %v", err)
	}
}
