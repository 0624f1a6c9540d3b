package route

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk/sdktest"
)

// outputs are the values that left on each output.
func outputs(r sdktest.Result) map[string]string {
	all := map[string]string{}
	if len(r.Out) > 0 {
		all["out"] = strings.Join(sdktest.ValuesOf(r.Out), " ")
	}
	for name, records := range r.Outputs {
		all[name] = strings.Join(sdktest.ValuesOf(records), " ")
	}
	return all
}

func TestRecordsGoWhereTheirConditionsHold(t *testing.T) {
	in := sdktest.Values(`{"n":1}`, `{"n":2}`, `{"n":3}`, `{"n":4}`, `{"m":5}`)
	for _, c := range []struct {
		name, config string
		want         map[string]string
	}{
		{"one output, the rest on the main one", `{"outputs": {"low": "json.n < 3"}}`,
			map[string]string{"low": `{"n":1} {"n":2}`, "out": `{"n":3} {"n":4}`, "failed": `{"m":5}`}},
		{"on all whose condition holds, in order", `{"outputs": {"low": "(json.n ?? 9) < 3", "even": "(json.n ?? 9) % 2 == 0"}, "default": "rest"}`,
			map[string]string{"low": `{"n":1} {"n":2}`, "even": `{"n":2} {"n":4}`, "rest": `{"n":3} {"m":5}`}},
		{"the default may be one of them", `{"outputs": {"a": "json.n == 1", "b": "json.n == 2"}, "default": "b"}`,
			map[string]string{"a": `{"n":1}`, "b": `{"n":2} {"n":3} {"n":4} {"m":5}`}},
		{"a condition for the main output", `{"outputs": {"out": "json.n == 1"}, "default": "rest"}`,
			map[string]string{"out": `{"n":1}`, "rest": `{"n":2} {"n":3} {"n":4} {"m":5}`}},
		{"a condition that is nil does not hold", `{"outputs": {"a": "json.nothing"}}`,
			map[string]string{"out": `{"n":1} {"n":2} {"n":3} {"n":4} {"m":5}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := sdktest.NewOperator(t, Operator(), c.config).Process(in...)
			all := outputs(got)
			var failed []string
			for _, f := range got.Failed {
				failed = append(failed, string(f.Value))
			}
			if len(failed) > 0 {
				all["failed"] = strings.Join(failed, " ")
			}
			if !maps.Equal(all, c.want) {
				t.Errorf("got  %v\nwant %v", all, c.want)
			}
		})
	}
}

// A record that fails a condition leaves on no output, also where an earlier
// condition held.
func TestAFailedRecordLeavesNowhere(t *testing.T) {
	op := sdktest.NewOperator(t, Operator(), `{"outputs": {"a": "json.n > 0", "b": "len(json.s) > 1"}, "default": "rest"}`)
	got := op.Process(sdktest.Values(`{"n":1,"s":"xx"}`, `{"n":1,"s":5}`, `{`, `{"n":0,"s":""}`)...)
	if all := outputs(got); !maps.Equal(all, map[string]string{"a": `{"n":1,"s":"xx"}`, "b": `{"n":1,"s":"xx"}`, "rest": `{"n":0,"s":""}`}) {
		t.Errorf("got %v", all)
	}
	if len(got.Failed) != 2 || string(got.Failed[0].Value) != `{"n":1,"s":5}` || string(got.Failed[1].Value) != `{` {
		t.Errorf("failed: %v", got.Failed)
	}
}

// The records of one batch are not in the next.
func TestBatchesDoNotMix(t *testing.T) {
	op := sdktest.NewOperator(t, Operator(), `{"outputs": {"a": "value == 'x'"}}`)
	for i := range 3 {
		in := sdktest.KV(fmt.Sprint("k", i), []string{"x", "y", "x"}[i])
		want := map[string]string{[]string{"a", "out", "a"}[i]: string(in.Value)}
		got := op.Process(in)
		if all := outputs(got); !maps.Equal(all, want) {
			t.Errorf("batch %d: got %v, want %v", i, all, want)
		}
		for _, r := range slices.Concat(got.Out, got.Outputs["a"]) {
			if string(r.Key) != fmt.Sprint("k", i) {
				t.Errorf("the key is %q", r.Key)
			}
		}
	}
}

func TestOutputsAreThoseThatTheConfigurationNames(t *testing.T) {
	got := sdktest.Check(t, Operator(), `{"outputs": {"b": "true", "a": "true", "out": "true"}, "default": "c"}`)
	if want := []string{"a", "b", "c"}; !slices.Equal(got.Outputs, want) || len(got.Faults) > 0 {
		t.Errorf("got %v, faults %v", got.Outputs, got.Faults)
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		config string
		want   []string
	}{
		{`{}`, []string{"outputs: is required"}},
		{`{"outputs": {}}`, []string{"outputs: is required and empty"}},
		{`{"outputs": {"a": "json.x >", "b": "'text'"}}`, []string{"outputs.a: the expression ends too early", "outputs.b: a condition is true or false, this is of type string"}},
		{`{"outputs": {"errors": "true"}}`, []string{`outputs.errors: "errors" is the output of failed records`}},
		{`{"outputs": {"a.b": "true"}, "default": "no way"}`, []string{`outputs.a.b: "a.b" is no name for an output`, `default: "no way" is no name for an output`}},
		{`{"outputs": {"a": "true"}, "default": ""}`, []string{`default: "" is no name for an output`}},
		{`{"outputs": {"a": "item == 1"}}`, []string{`outputs.a: item is known to the operator expr alone`}},
	} {
		var got []string
		for _, f := range sdktest.Check(t, Operator(), c.config).Faults {
			got = append(got, f.Field+": "+f.Message)
		}
		ok := len(got) == len(c.want)
		for i := range min(len(got), len(c.want)) {
			ok = ok && strings.HasPrefix(got[i], c.want[i])
		}
		if !ok {
			t.Errorf("%s: got %q, want %q", c.config, got, c.want)
		}
	}
}
