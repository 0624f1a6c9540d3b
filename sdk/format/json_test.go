package format

import (
	"strings"
	"testing"
)

// JSON is checked and passed on: a number keeps its digits, an object its order.
func TestJSON(t *testing.T) {
	for _, c := range []struct {
		oneLine  bool
		in, want string
	}{
		{false, ` {"b": 1.50, "a": 123456789012345678901234567890} `, `{"b": 1.50, "a": 123456789012345678901234567890}`},
		{false, "{\n \"a\": 1\n}\r\n", "{\n \"a\": 1\n}"},
		{true, "{\n \"a\": \"<\\n>\",\n\"b\": 1.50\n}", `{"a":"<\n>","b":1.50}`},
		{true, `{ "a": 1 }`, `{ "a": 1 }`},
		{false, `null`, `null`},
		{false, strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth), strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)},
	} {
		got, err := JSON{OneLine: c.oneLine}.Decode(t.Context(), []byte("x"), []byte(c.in))
		if err != nil || string(got) != "x"+c.want {
			t.Errorf("%s: %s, %v", c.in, got, err)
		}
	}
	for in, want := range map[string]string{
		``: "the value is not valid JSON", `{"a":1}{}`: "the value is not valid JSON", `{a:1}`: "the value is not valid JSON", `01`: "the value is not valid JSON",
		"\"\xc3\"": "the value is not valid JSON", `"` + strings.Repeat("[", 1000): "the value is not valid JSON",
		strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1): "is nested more than 512 levels deep",
		strings.Repeat(`{"a":`, 1<<20):                                    "is nested more than 512 levels deep",
	} {
		if got, err := (JSON{}).Decode(t.Context(), []byte("x"), []byte(in)); err == nil || err.Error() != want || string(got) != "x" {
			t.Errorf("%.40q: %.20s, %v, want %s", in, got, err, want)
		}
	}
}
