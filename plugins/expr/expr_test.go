package expr

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// rec is a record with everything.
func rec(key, value string, ms int64, headers ...string) sdktest.Record {
	r := sdktest.KV(key, value)
	r.Time = sdk.UnixMilli(ms)
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, sdktest.Header{Name: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

// shown is a record in one line: key|value|time|headers.
func shown(r sdktest.Record) string {
	text := func(b []byte) string {
		if b == nil {
			return "null"
		}
		return fmt.Sprintf("%q", b)
	}
	time := "none"
	if !r.Time.IsZero() {
		time = fmt.Sprint(r.Time.UnixMilli())
	}
	out := text(r.Key) + "|" + text(r.Value) + "|" + time
	for _, h := range r.Headers {
		out += "|" + h.Name + "=" + text(h.Value)
	}
	return out
}

func TestExpressions(t *testing.T) {
	object := rec("k", `{"a":1,"b":"x","c":{"d":[1,2]}}`, 1000, "h", "1")
	for _, c := range []struct {
		name, config string
		in           sdktest.Record
		want         string // empty: dropped
	}{
		{"nothing to do", `{}`, object, `"k"|"{\"a\":1,\"b\":\"x\",\"c\":{\"d\":[1,2]}}"|1000|h="1"`},

		{"filter keeps", `{"filter": "json.a == 1"}`, rec("k", `{"a":1}`, 0), `"k"|"{\"a\":1}"|0`},
		{"filter drops", `{"filter": "json.a == 2"}`, rec("k", `{"a":1}`, 0), ``},
		{"filter on what is not there", `{"filter": "json.x.y.z == nil"}`, rec("k", `{"a":1}`, 0), `"k"|"{\"a\":1}"|0`},
		{"a condition that is nil is false", `{"filter": "json.x"}`, rec("k", `{"a":1}`, 0), ``},
		{"filter on text", `{"filter": "value contains 'err'"}`, rec("k", `an error`, 0), `"k"|"an error"|0`},
		{"filter on key, time and header", `{"filter": "key == 'k' && timestamp > 5 && headers.h == '1' && headers.none == nil"}`,
			rec("k", "v", 6, "h", "1"), `"k"|"v"|6|h="1"`},
		{"of headers of one name the last counts", `{"filter": "headers.h == '2'"}`, rec("k", "v", 6, "h", "1", "h", "2"), `"k"|"v"|6|h="1"|h="2"`},

		{"value: text as it is", `{"value": "upper(value)"}`, rec("k", "abc", 7), `"k"|"ABC"|7`},
		{"value: empty is not null", `{"value": "''"}`, rec("k", "abc", 7), `"k"|""|7`},
		{"value: nil is a tombstone", `{"value": "nil"}`, rec("k", "abc", 7), `"k"|null|7`},
		{"value: anything else as JSON, keys sorted", `{"value": "{'z': 1.5, 'a': [true, nil]}"}`, rec("k", "abc", 7), `"k"|"{\"a\":[true,null],\"z\":1.5}"|7`},
		{"value: no HTML escapes", `{"value": "{'a': '<&>'}"}`, rec("k", "abc", 7), `"k"|"{\"a\":\"<&>\"}"|7`},

		{"integers stay exact", `{"value": "json.n"}`, rec("k", `{"n":9007199254740993}`, 0), `"k"|"9007199254740993"|0`},
		{"the largest unsigned too", `{"value": "json.n"}`, rec("k", `{"n":18446744073709551615}`, 0), `"k"|"18446744073709551615"|0`},
		{"sums of integers too", `{"value": "json.n + 1"}`, rec("k", `{"n":9007199254740993}`, 0), `"k"|"9007199254740994"|0`},

		{"set changes, adds, nests", `{"set": {"a": "json.a + 1", "n": "'new'", "c.d.1": "9", "p.q": "true"}}`, rec("k", `{"a":1, "c":{"d":[1,2]}}`, 0),
			`"k"|"{\"a\":2, \"c\":{\"d\":[1,9]},\"n\":\"new\",\"p\":{\"q\":true}}"|0`},
		{"set leaves the rest as it was written", `{"set": {"a": "2"}}`, rec("k", `{ "x":1.50, "a":1,"x":2, "big":12345678901234567890123 }`, 0),
			`"k"|"{ \"x\":1.50, \"a\":2,\"x\":2, \"big\":12345678901234567890123 }"|0`},
		{"set sees the record as it came", `{"set": {"a": "json.b", "b": "json.a"}}`, rec("k", `{"a":1,"b":2}`, 0), `"k"|"{\"a\":2,\"b\":1}"|0`},
		{"set nil is null", `{"set": {"a": "nil"}}`, rec("k", `{"a":1}`, 0), `"k"|"{\"a\":null}"|0`},
		{"a path as JSON pointer", `{"set": {"/a.b/c~1d": "1"}}`, rec("k", `{}`, 0), `"k"|"{\"a.b\":{\"c/d\":1}}"|0`},
		{"unset", `{"unset": ["a", "c.d", "none"]}`, rec("k", `{"a":1,"b":2,"c":{"d":1,"e":2}}`, 0), `"k"|"{\"b\":2,\"c\":{\"e\":2}}"|0`},
		{"set and unset", `{"set": {"b": "json.a"}, "unset": ["a"]}`, rec("k", `{"a":1}`, 0), `"k"|"{\"b\":1}"|0`},
		{"a tombstone stays one", `{"set": {"a": "1"}, "unset": ["b"]}`, sdktest.Record{Key: []byte("k")}, `"k"|null|none`},

		{"key", `{"key": "json.b"}`, object, `"x"|"{\"a\":1,\"b\":\"x\",\"c\":{\"d\":[1,2]}}"|1000|h="1"`},
		{"key as JSON", `{"key": "json.a"}`, rec("k", `{"a":1}`, 0), `"1"|"{\"a\":1}"|0`},
		{"an empty key is not null", `{"key": "''"}`, rec("k", "v", 0), `""|"v"|0`},
		{"a nil key is null", `{"key": "json.none"}`, rec("k", `{"a":1}`, 0), `null|"{\"a\":1}"|0`},

		{"timestamp in ms", `{"timestamp": "json.ts * 1000"}`, rec("k", `{"ts":5}`, 0), `"k"|"{\"ts\":5}"|5000`},
		{"timestamp, a fraction", `{"timestamp": "json.ts"}`, rec("k", `{"ts":5.7}`, 0), `"k"|"{\"ts\":5.7}"|5`},
		{"timestamp from a date", `{"timestamp": "date(value)"}`, rec("k", `2026-03-02T12:00:00Z`, 0), `"k"|"2026-03-02T12:00:00Z"|1772452800000`},
		{"timestamp none", `{"timestamp": "nil"}`, rec("k", `v`, 9), `"k"|"v"|none`},

		{"headers: set, replaced, removed, kept", `{"headers": {"a": "'1'", "h": "upper(headers.h)", "gone": "nil"}}`,
			rec("k", "v", 0, "x", "1", "h", "old", "gone", "g", "h", "b", "y", "2"), `"k"|"v"|0|x="1"|y="2"|a="1"|h="B"`},
		{"an empty header is not null", `{"headers": {"a": "''"}}`, rec("k", "v", 0), `"k"|"v"|0|a=""`},

		{"all of it", `{"filter": "json.a > 0", "set": {"a": "json.a * 2"}, "key": "json.b", "timestamp": "1", "headers": {"n": "string(json.a)"}}`,
			rec("k", `{"a":4,"b":"x"}`, 9), `"x"|"{\"a\":8,\"b\":\"x\"}"|1|n="4"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := sdktest.NewOperator(t, Operator(), c.config).Process(c.in)
			out := ""
			if len(got.Out) > 0 {
				out = shown(got.Out[0])
			}
			if out != c.want || len(got.Out) > 1 || len(got.Failed) > 0 {
				t.Errorf("got  %s (%d records, failed %v)\nwant %s", out, len(got.Out), got.Failed, c.want)
			}
		})
	}
}

func TestEachSendsARecordForEachElement(t *testing.T) {
	op := sdktest.NewOperator(t, Operator(), `{"each": "json.items", "key": "item.id", "headers": {"of": "json.order"}, "timestamp": "item.t"}`)
	in := rec("k", `{"order":"o1","items":[{"id":"a","t":1},{"id":"","t":2},{"t":3},"text"]}`, 9)
	in.Split, in.Ordinal = "s", 7
	got := op.Process(in, rec("k", `{"order":"o2","items":[]}`, 9))
	var out []string
	for _, r := range got.Out {
		out = append(out, shown(r)+fmt.Sprintf(" of %s/%d", r.Split, r.Ordinal))
	}
	want := []string{
		`"a"|"{\"id\":\"a\",\"t\":1}"|1|of="o1" of s/7`,
		`""|"{\"id\":\"\",\"t\":2}"|2|of="o1" of s/7`,
		`null|"{\"t\":3}"|3|of="o1" of s/7`,
	}
	// The text has no members: the whole record fails, and none of its elements leaves.
	if len(got.Out) != 0 || len(got.Failed) != 1 {
		t.Errorf("got %q and %v", out, got.Failed)
	}
	in.Value = []byte(strings.Replace(string(in.Value), `,"text"`, "", 1))
	out = nil
	for _, r := range op.Process(in).Out {
		out = append(out, shown(r)+fmt.Sprintf(" of %s/%d", r.Split, r.Ordinal))
	}
	if fmt.Sprint(out) != fmt.Sprint(want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(out, "\n"), strings.Join(want, "\n"))
	}
}

// What cannot be worked out is a failed record, whole and unchanged; those around
// it go on.
func TestFailedRecords(t *testing.T) {
	for _, c := range []struct{ name, config, bad, why string }{
		{"no JSON", `{"filter": "json.a == 1"}`, `{"a":`, "the value is not valid JSON"},
		{"wrong types", `{"filter": "json.a > 0"}`, `{"a":"x"}`, `expression "json.a > 0": `},
		{"no condition", `{"filter": "json.a"}`, `{"a":1}`, `expression "json.a": a condition gave int instead of true or false`},
		{"no object", `{"set": {"a": "1"}}`, `[1]`, "set and unset need a JSON object as the value"},
		{"no JSON to edit", `{"unset": ["a"]}`, `{{`, "set and unset need a JSON object as the value"},
		{"no list", `{"each": "json.a"}`, `{"a":1}`, "each: expected a list, got int"},
		{"no time", `{"timestamp": "json.a"}`, `{"a":"noon"}`, "timestamp: expected milliseconds or a time, got string"},
		{"no number for JSON", `{"value": "json.a / 0"}`, `{"a":1}`, "a result that JSON cannot hold: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			op := sdktest.NewOperator(t, Operator(), c.config)
			got := op.Process(rec("k", c.bad, 5, "h", "1"))
			if len(got.Out) != 0 || len(got.Failed) != 1 {
				t.Fatalf("got %v and %v", got.Out, got.Failed)
			}
			if f := got.Failed[0]; !strings.HasPrefix(f.Err, c.why) || string(f.Value) != c.bad || string(f.Key) != "k" {
				t.Errorf("got %q for %s", f.Err, f)
			}
		})
	}
	op := sdktest.NewOperator(t, Operator(), `{"filter": "json.a == 1"}`)
	got := op.Process(sdktest.Values(`{"a":1}`, `{`, `{"a":1,"b":2}`)...)
	if v := fmt.Sprint(sdktest.ValuesOf(got.Out)); v != `[{"a":1} {"a":1,"b":2}]` || len(got.Failed) != 1 {
		t.Errorf("got %v and %v", v, got.Failed)
	}
}

// Nothing of one record is left when the next is worked on, whatever buffers are
// shared.
func TestRecordsDoNotMix(t *testing.T) {
	op := sdktest.NewOperator(t, Operator(), `{"key": "json.k", "headers": {"h": "json.h"}, "set": {"n": "json.n"}}`)
	got := op.Process(sdktest.Values(`{"k":"long key","h":"long header","n":123456}`, `{"k":"b"}`, `{"h":"c","n":[]}`)...)
	var out []string
	for _, r := range got.Out {
		out = append(out, shown(r))
	}
	want := []string{
		`"long key"|"{\"k\":\"long key\",\"h\":\"long header\",\"n\":123456}"|none|h="long header"`,
		`"b"|"{\"k\":\"b\",\"n\":null}"|none`,
		`null|"{\"h\":\"c\",\"n\":[]}"|none|h="c"`,
	}
	if fmt.Sprint(out) != fmt.Sprint(want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(out, "\n"), strings.Join(want, "\n"))
	}
}

func TestFaultsAreFoundWithTheirPlaces(t *testing.T) {
	for _, c := range []struct {
		name, config string
		want         []string // field:column: message begins
	}{
		{"sound", `{"filter": "json.a > 1 && len(value) < 10"}`, nil},
		{"syntax", `{"filter": "json.a >"}`, []string{`filter:8: the expression ends too early`}},
		{"place in characters, not bytes", `{"filter": "'äöü' == ?"}`, []string{`filter:13: unexpected "?"`}},
		{"name", `{"key": "jsn.a"}`, []string{`key:1: there is no variable or function "jsn"`}},
		{"type", `{"filter": "'a' + 'b'"}`, []string{`filter:0: a condition is true or false, this is of type string`}},
		{"several at once", `{"filter": "(", "set": {"a": ")", "b..c": "1"}, "unset": ["x", ""], "headers": {"h": "nope"}}`,
			[]string{`filter:1: `, `set.a:1: `, `set.b..c:0: path "b..c" has an empty part`, `unset[1]:0: an empty path`, `headers.h:1: `}},
		{"value beside set", `{"value": "1", "set": {"a": "1"}}`, []string{"value:0: cannot stand beside set or unset"}},
		{"each beside value", `{"value": "1", "each": "json"}`, []string{"each:0: cannot stand beside value, set or unset"}},
		{"item without each", `{"key": "item.id"}`, []string{"key:0: item is known beside each alone"}},
		{"item before each", `{"filter": "item.id == 1", "each": "json"}`, []string{"filter:0: item is known beside each alone"}},
		{"a key by the clock", `{"key": "'é' + string(now())", "timestamp": "now()"}`, []string{"key:15: now() gives a record another key when it comes again after a restart"}},
		{"a key without an order", `{"key": "join(keys(json), '-')"}`, []string{"key:6: keys() has no fixed order"}},
		{"a key with an order", `{"key": "join(sort(keys(json)), '-') + string(len(values(json)))", "set": {"now": "now()"}}`, nil},
		{"unknown field", `{"filtre": "1"}`, []string{`filtre:0: unknown field; did you mean "filter"?`}},
		{"empty expression", `{"filter": " "}`, []string{`filter:0: `}},
	} {
		t.Run(c.name, func(t *testing.T) {
			faults := sdktest.Check(t, Operator(), c.config).Faults
			var got []string
			for _, f := range faults {
				got = append(got, fmt.Sprintf("%s:%d: %s", f.Field, f.Column, f.Message))
			}
			ok := len(got) == len(c.want)
			for i := range min(len(got), len(c.want)) {
				ok = ok && strings.HasPrefix(got[i], c.want[i])
			}
			if !ok {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestANewKeyIsNoPreservedKey(t *testing.T) {
	if c := sdktest.Check(t, Operator(), `{"filter": "true"}`).Capabilities; !c.PreservesKey || !c.PreservesOrder {
		t.Errorf("got %+v", c)
	}
	if c := sdktest.Check(t, Operator(), `{"key": "value"}`).Capabilities; c.PreservesKey || !c.PreservesOrder {
		t.Errorf("got %+v", c)
	}
}

func BenchmarkUpper(b *testing.B) {
	op := sdktest.NewOperator(b, Operator(), `{"value": "upper(value)"}`)
	in := sdktest.Values(slicesOf(strings.Repeat("a line of a log, ", 6), 1000)...)
	b.ResetTimer()
	for range b.N {
		op.Process(in...)
	}
}

func slicesOf(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}
