package expression

import (
	"reflect"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk"
)

func compile(t *testing.T, source, want string) *Program {
	t.Helper()
	p, faults := Compile(sdk.Expr{Source: source}, want)
	if len(faults) > 0 {
		t.Fatalf("%s: %v", source, faults)
	}
	return p
}

// Only what is used is made for each record.
func TestUses(t *testing.T) {
	for source, want := range map[string]Uses{
		"1 + 1":                            {},
		"value":                            {Value: true},
		"len(key) > timestamp":             {Key: true, Timestamp: true},
		"headers['a b']":                   {Headers: true},
		"any(json.list, # == item.x)":      {JSON: true, Item: true},
		"let v = json; v.a == nil":         {JSON: true},
		"json?.a ?? value":                 {JSON: true, Value: true},
		"map(json.a, {#.key + 'headers'})": {JSON: true},
	} {
		if got := compile(t, source, "").Uses(); got != want {
			t.Errorf("%s uses %+v, want %+v", source, got, want)
		}
	}
	all := Uses{Value: true}.And(Uses{Key: true, JSON: true}).And(Uses{Timestamp: true, Headers: true, Item: true})
	if all != (Uses{true, true, true, true, true, true}) {
		t.Errorf("together %+v", all)
	}
}

// A member that is not there is nil, and so is every member of nil: in json,
// headers and item, and nowhere else.
func TestMembersOfWhatIsNotThere(t *testing.T) {
	env := &Env{JSON: map[string]any{"a": map[string]any{"b": 1}, "n": nil}, Headers: map[string]any{}, Item: nil}
	for source, want := range map[string]any{
		"json.a.b":            1,
		"json.x":              nil,
		"json.x.y.z":          nil,
		"json.n.y":            nil,
		"json['x']['y']":      nil,
		"headers.none":        nil,
		"item.id":             nil,
		"json.x.y == nil":     true,
		"json.x ?? 'default'": "default",
		"json.a?.b":           1,
	} {
		got, err := compile(t, source, "").Run(env)
		if err != nil || got != want {
			t.Errorf("%s is %v (%v), want %v", source, got, err, want)
		}
	}
	if _, err := compile(t, "value.x", "").Run(&Env{Value: "text"}); err == nil {
		t.Error("text has no members")
	}
}

func TestConditions(t *testing.T) {
	env := &Env{JSON: map[string]any{"yes": true, "n": 1}}
	for source, want := range map[string]bool{"json.yes": true, "json.none": false, "json.n == 1": true, "not (json.n == 1)": false} {
		if got, err := compile(t, source, "bool").Bool(env); err != nil || got != want {
			t.Errorf("%s is %v (%v), want %v", source, got, err, want)
		}
	}
	if _, err := compile(t, "json.n", "bool").Bool(env); err == nil || err.Error() != `expression "json.n": a condition gave int instead of true or false` {
		t.Errorf("a number as a condition: %v", err)
	}
	if _, err := compile(t, "json.n", "").Bool(env); err == nil || err.Error() != `expression "json.n": a condition gave int instead of true or false` {
		t.Errorf("a number, compiled without a wish: %v", err)
	}
}

func TestJSONIsReadExactly(t *testing.T) {
	for in, want := range map[string]any{
		`null`: nil, `true`: true, `"a\u00e9\n"`: "aé\n", `1`: 1, `-7`: -7, `1.0`: 1.0, `1e2`: 100.0,
		`9007199254740993`:         9007199254740993,
		`-9223372036854775808`:     -9223372036854775808,
		`18446744073709551615`:     uint64(18446744073709551615),
		`123456789012345678901234`: 1.2345678901234568e+23,
		`[1,"b",[]]`:               []any{1, "b", []any{}},
		`{"a":{"b":false},"":1}`:   map[string]any{"a": map[string]any{"b": false}, "": 1},
		` {} `:                     map[string]any{},
	} {
		if got, err := ReadJSON([]byte(in)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %#v (%v), want %#v", in, got, err, want)
		}
	}
	for _, in := range []string{``, `{`, `{"a":1}x`, `'a'`, `nul`, "{\"a\":\"\x00\"}"} {
		if got, err := ReadJSON([]byte(in)); err != ErrNotJSON {
			t.Errorf("%q is %v (%v)", in, got, err)
		}
	}
}

func TestResultsBecomeBytes(t *testing.T) {
	for _, c := range []struct {
		in   any
		want string
		null bool
	}{
		{nil, "", true}, {"text", "text", false}, {"", "", false}, {[]byte("b"), "b", false}, {1, "1", false}, {1.5, "1.5", false},
		{true, "true", false}, {[]any{1, nil, "<"}, `[1,null,"<"]`, false}, {map[string]any{"b": 1, "a": 2}, `{"a":2,"b":1}`, false},
	} {
		for _, buf := range [][]byte{nil, make([]byte, 0, 64)} {
			got, ok, err := AppendBytes(buf, c.in)
			if err != nil || ok == c.null || string(got) != c.want || ok && got == nil {
				t.Errorf("%v becomes %q (not null: %v), %v", c.in, got, ok, err)
			}
		}
	}
	if _, _, err := AppendBytes(nil, func() {}); err == nil || !strings.HasPrefix(err.Error(), "a result that JSON cannot hold: ") {
		t.Errorf("a function: %v", err)
	}
}

func TestPaths(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a", "a.b.0": "a.b.0", "/a/b": "a.b", "/a~1b/c~0d": `a/b.c~d`, "/a.b": `a\.b`, "a*b": `a\*b`, "/#": `\#`,
	} {
		if got, err := ParsePath(in); err != nil || string(got) != want {
			t.Errorf("%q is %q (%v), want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "/", "a..b", ".a", "a.", "/a//b"} {
		if got, err := ParsePath(in); err == nil {
			t.Errorf("%q is %q", in, got)
		}
	}
}

func TestMessagesAreInPlainWords(t *testing.T) {
	for source, want := range map[string]string{
		"json.a >":  "the expression ends too early",
		"a b":       `unexpected "b"`,
		"lenn(key)": `there is no variable or function "lenn"; did you mean "len"?`,
		"payload":   `there is no variable or function "payload"; the variables are value, key, timestamp, headers, json, item`,
		"key = 'a'": `unexpected "=": two values are compared by ==`,
		"'yes'":     "a condition is true or false, this is of type string",
		"1 + 'a'":   "invalid operation: + (mismatched types int and string)",
	} {
		condition := ""
		if source == "'yes'" {
			condition = "bool"
		}
		_, faults := Compile(sdk.Expr{Source: source}, condition)
		if len(faults) != 1 || faults[0].Message != want {
			t.Errorf("%s: %v, want %q", source, faults, want)
		}
	}
}
