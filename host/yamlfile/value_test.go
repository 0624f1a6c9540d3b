package yamlfile

import (
	"strings"
	"testing"
)

func TestPlainScalarsHaveTheTypesOfTheCoreSchema(t *testing.T) {
	for text, want := range map[string]Kind{
		"": Null, "~": Null, "null": Null, "NULL": Null, "nULL": String,
		"true": Bool, "False": Bool, "yes": String, "on": String, "tRue": String,
		"0": Int, "-12": Int, "+7": Int, "0x1F": Int, "0o17": Int, "010": Int, "0b1": String, "1_000": String, "0x": String, "-0x1": String,
		"1.5": Float, ".5": Float, "5.": Float, "1e3": Float, "-1.5E-3": Float, "1e999": Float, ".inf": Float, "-.Inf": Float, ".nan": Float,
		"e": String, ".": String, "1e": String, "-": String, "+": String, "1.2.3": String, "12:30": String, "2001-01-01": String,
		"5s": String, "1/2": String, "inf": String, "nan": String, "1 2": String,
	} {
		if got := scalarKind(text); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// find walks to a value by keys.
func find(t *testing.T, v *Value, path string) *Value {
	t.Helper()
	for key := range strings.SplitSeq(path, ".") {
		if v = v.Get(key); v == nil {
			t.Fatalf("no %s", path)
		}
	}
	return v
}

// At leads from a byte of a scalar's text to where that byte is written, in every
// style and behind references.
func TestAtFindsWhereAByteIsWritten(t *testing.T) {
	const mark = "@"
	for name, text := range map[string]string{
		"plain":          "k: ab @ c\n",
		"plain lines":    "k: ab\n  cd\n\n  ef @\n",
		"single":         "k: 'it''s @'\n",
		"single lines":   "k: 'a\n\n  b''\n  @'\n",
		"double":         `k: "\t\x41\u00e9\U0001F600 \" @"` + "\n",
		"double lines":   "k: \"a\\\n   b\n   @\"\n",
		"literal":        "k: |\n  a\n    b\n\n  c @\n",
		"literal indent": "k: |2-\n    a\n   @ b\n",
		"folded":         "k: >+\n  a\n  b\n\n  c\n    d @\n  e\n\n",
		"unicode":        "k: \"éé😀@\"\n",
		"crlf":           "k: |\r\n  a\r\n  b @\r\n",
		"in flow":        "{b: [x, y], k: 'z @'}\n",
		"behind":         "k: ${A}-${LONG} @\n",
		"escaped":        "k: '$${x} ''${A}'' @ ${A}'\n",
		"at the end":     "k: ${A}@\n",
		"in a list":      "k:\n  - x\n  - y @\n",
	} {
		v, problems := Parse([]byte(text))
		if v == nil || len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
			continue
		}
		env := map[string]string{"A": "a", "LONG": "something much longer"}
		if ps, _ := Resolve(v, Resolver{Env: func(n string) (string, bool) { s, ok := env[n]; return s, ok }}); len(ps) > 0 {
			t.Errorf("%s: %v", name, ps)
		}
		k := find(t, v, "k")
		if k.Kind == List {
			k = k.Items[1]
		}
		var want Pos
		for i, line := range strings.Split(text, "\n") {
			if at := strings.Index(line, mark); at >= 0 {
				want = Pos{i + 1, len([]rune(line[:at])) + 1}
			}
		}
		if got := k.At(strings.Index(k.Text, mark)); got != want {
			t.Errorf("%s: %v in %q, want %v", name, got, k.Text, want)
		}
	}
}

// A byte inside what a reference stands for is where the reference is, and one
// outside of the text is at its ends.
func TestAtStaysInTheScalar(t *testing.T) {
	v, _ := Parse([]byte("k: \"x ${A} y\"\n"))
	Resolve(v, Resolver{Env: func(string) (string, bool) { return "12345", true }})
	k := find(t, v, "k")
	for offset, want := range map[int]Pos{-5: {1, 5}, 0: {1, 5}, 2: {1, 7}, 4: {1, 7}, 6: {1, 7}, 8: {1, 12}, 99: {1, 13}} {
		if got := k.At(offset); got != want {
			t.Errorf("byte %d of %q is at %v, want %v", offset, k.Text, got, want)
		}
	}
}

func TestAnEmptyVariableCountsAsUnsetForADefault(t *testing.T) {
	v, _ := Parse([]byte("a: ${E}\nb: ${E:-x}\nc: ${U:-}\nd: ${env:E:-1}\n"))
	problems, _ := Resolve(v, Resolver{Env: func(n string) (string, bool) { return "", n == "E" }})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for key, want := range map[string]Kind{"a": Null, "b": String, "c": Null, "d": Int} {
		if k := find(t, v, key); k.Kind != want || !k.Resolved {
			t.Errorf("%s is %s %q, want %s", key, k.Kind, k.Text, want)
		}
	}
}

// The entries of a merge come after a map's own, and never replace them.
func TestMergesAddAndDoNotReplace(t *testing.T) {
	v, problems := Parse([]byte("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var got []string
	for _, e := range find(t, v, "c").Entries {
		got = append(got, e.Key+e.Value.Text)
	}
	if s := strings.Join(got, " "); s != "x3 y1 z2" {
		t.Errorf("entries %s", s)
	}
}

// An alias to a secret does not carry it to where no secret may stand.
func TestASecretStaysWhereItMay(t *testing.T) {
	v, _ := Parse([]byte("ok: &s ${file:x}\nother: *s\n"))
	problems, secrets := Resolve(v, Resolver{
		ReadFile:       func(string) ([]byte, error) { return []byte("hidden\n"), nil },
		SecretsAllowed: func(path string) bool { return path == "ok" },
	})
	if len(problems) != 1 || problems[0].Path != "other" || len(secrets) != 1 || secrets[0] != "hidden" {
		t.Errorf("problems %v, secrets %q", problems, secrets)
	}
}
