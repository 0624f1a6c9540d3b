package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk/sdktest"
)

func TestMatchesAreHidden(t *testing.T) {
	for _, c := range []struct{ name, config, in, want string }{
		{"each match", `{"patterns": ["[0-9]+"]}`, "a 12 b 345", "a ** b ***"},
		{"no match", `{"patterns": ["[0-9]+"]}`, "abc", "abc"},
		{"the end stays", `{"patterns": ["[0-9]{4,}"], "keep": 4}`, "card 1234567890", "card ******7890"},
		{"shorter than what stays", `{"patterns": ["[0-9]+"], "keep": 4}`, "12", "12"},
		{"characters, not bytes", `{"patterns": ["ü+"], "with": "€"}`, "aüü", "a€€"},
		{"several patterns", `{"patterns": ["a+", "b+"], "with": "x"}`, "aabbc", "xxxxc"},
		{"pseudonym", `{"patterns": ["[a-z]+@x"], "key": "k"}`, "me@x me@x", "295fad423eb62f46 295fad423eb62f46"},
	} {
		t.Run(c.name, func(t *testing.T) {
			op := sdktest.NewOperator(t, maskComponent(), c.config)
			got := op.Process(sdktest.KV("key", c.in))
			if len(got.Out) != 1 || string(got.Out[0].Value) != c.want || string(got.Out[0].Key) != "key" {
				t.Errorf("got %v, want %q", got.Out, c.want)
			}
		})
	}
}

func TestBinaryValuesFailWhereTheyMust(t *testing.T) {
	in := sdktest.Values("good 1", "bad \xff 1")
	got := sdktest.NewOperator(t, maskComponent(), `{"patterns": ["1"], "strict": true}`).Process(in...)
	if len(got.Out) != 1 || len(got.Failed) != 1 || got.Failed[0].Err != errNotUTF8.Error() {
		t.Errorf("got %v and %v", got.Out, got.Failed)
	}
	got = sdktest.NewOperator(t, maskComponent(), `{"patterns": ["1"]}`).Process(in...)
	if values := sdktest.ValuesOf(got.Out); !slices.Equal(values, []string{"good *", "bad \xff *"}) {
		t.Errorf("got %q", values)
	}
}

func TestAWrongConfigurationIsRefused(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                              "patterns: is required",
		`{"patterns": []}`:                "patterns: is required and empty",
		`{"patterns": ["a", "("]}`:        "patterns[1]: is no regular expression",
		`{"patterns": ["a"], "with": ""}`: `with: must match ., got ""`,
		`{"patterns": ["a"], "keep": 2, "key": "hunter2"}`: "keep: has no meaning beside key",
		`{"patterns": ["a"], "kep": 2}`:                    `kep: unknown field; did you mean "keep"?`,
	} {
		faults := sdktest.Check(t, maskComponent(), config).Faults
		if len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), want) {
			t.Errorf("%s: got %v, want %s", config, faults, want)
		}
	}
}

func TestLettersBecomeCapitals(t *testing.T) {
	op := sdktest.NewOperator(t, upperComponent(), nil)
	long := strings.Repeat("long ", 1000)
	got := op.Process(append(sdktest.Values("abc Z 1", "", "straße ü", long), sdktest.Record{})...)
	want := []string{"ABC Z 1", "", "STRASSE Ü", strings.ToUpper(long), "<null>"}
	want[2] = strings.ToUpper("straße ü")
	if values := sdktest.ValuesOf(got.Out); !slices.Equal(values, want) {
		t.Errorf("got %q, want %q", values, want)
	}
}
