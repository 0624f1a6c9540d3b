package format

import (
	"slices"
	"strings"
	"testing"
)

func csvDecode(t *testing.T, c CSV, in string) (string, error) {
	t.Helper()
	d, err := c.Decoder(c.Columns)
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.Decode(t.Context(), []byte("before"), []byte(in))
	return strings.TrimPrefix(string(got), "before"), err
}

func TestCSVDecodesTo(t *testing.T) {
	abc := CSV{Columns: []string{"a", "b", "c"}}
	typed := CSV{Columns: []string{"s", "i", "n", "b", "j"}, Types: map[string]string{"i": "integer", "n": "number", "b": "boolean", "j": "json"}}
	for _, c := range []struct {
		name     string
		csv      CSV
		in, want string
	}{
		{"strings", abc, `1,x y,é`, `{"a":"1","b":"x y","c":"é"}`},
		{"nothing is null, empty quotes are empty", abc, `,"",""`, `{"a":null,"b":"","c":""}`},
		{"quotes", abc, `"a ""b""","x,y","` + "l1\nl2\r\n" + `"`, `{"a":"a \"b\"","b":"x,y","c":"l1\nl2\r\n"}`},
		{"a line's end", abc, "1,2,3\r\n", `{"a":"1","b":"2","c":"3"}`},
		{"white space stays", abc, " 1 ,\t, ", `{"a":" 1 ","b":"\t","c":" "}`},
		{"another delimiter", CSV{Delimiter: ";", Columns: []string{"a", "b"}}, `1,5;"x;y"`, `{"a":"1,5","b":"x;y"}`},
		{"a word for null", CSV{Null: `\N`, Columns: []string{"a", "b", "c"}}, `\N,"\N",`, `{"a":null,"b":"\\N","c":""}`},
		{"types", typed, `007,9007199254740993,0.10,true,"{""a"": [1]}"`, `{"s":"007","i":9007199254740993,"n":0.10,"b":true,"j":{"a": [1]}}`},
		{"numbers as people write them", typed, `,+007,-.5e3,false,1`, `{"s":null,"i":7,"n":-0.5e3,"b":false,"j":1}`},
		{"more digits than any machine number", typed, `,123456789012345678901234567890,3.14159265358979323846,,`, `{"s":null,"i":123456789012345678901234567890,"n":3.14159265358979323846,"b":null,"j":null}`},
		{"one column", CSV{Columns: []string{"a"}}, ``, `{"a":null}`},
	} {
		if got, err := csvDecode(t, c.csv, c.in); err != nil || got != c.want {
			t.Errorf("%s: %q decodes to %s (%v), want %s", c.name, c.in, got, err, c.want)
		}
	}
}

func TestCSVThatIsWrong(t *testing.T) {
	c := CSV{Columns: []string{"a", "n"}, Types: map[string]string{"n": "integer"}}
	for in, want := range map[string]string{
		`1`:          `1 values for 2 columns: "n" is missing`,
		`1,2,3`:      `more than 2 values, and there are 2 columns`,
		`x,y`:        `column 2 (n): "y" is no integer`,
		`x,1.0`:      `column 2 (n): "1.0" is no integer`,
		`x,1e3`:      `column 2 (n): "1e3" is no integer`,
		`x,""`:       `column 2 (n): "" is no integer`,
		`x,-`:        `column 2 (n): "-" is no integer`,
		`5" disk,1`:  `column 1 (a): a quote within a value that does not begin with one: put the value in quotes, and double the quote`,
		`"a"b,1`:     `column 1 (a): text behind the closing quote: a quote within a value in quotes is doubled`,
		`"a,1`:       `column 1 (a): the closing quote is missing`,
		"a\nb,1":     `column 1 (a): a newline in a value that is not in quotes`,
		"\xff,1":     `column 1 (a): is not valid UTF-8`,
		"\"\xff\",1": `column 1 (a): is not valid UTF-8`,
	} {
		got, err := csvDecode(t, c, in)
		if err == nil || err.Error() != want || got != "" {
			t.Errorf("%q: %s, %v, want %s", in, got, err, want)
		}
	}
}

func TestCSVIsEncodedAs(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		csv            CSV
	}{
		{name: "scalars", in: `{"b":1.50,"a":"x","c":true}`, want: `x,1.50,true`},
		{name: "missing and null", in: `{"b":null,"c":""}`, want: `,,""`},
		{name: "quotes", in: `{"a":"\"","b":"x,y","c":"l1\nl2"}`, want: `"""","x,y","l1` + "\n" + `l2"`},
		{name: "objects and lists", in: `{"a":{"x": 1},"b":[1,2],"c":[]}`, want: `"{""x"": 1}","[1,2]",[]`},
		{name: "a large number", in: `{"a":9007199254740993,"b":1e400,"c":0}`, want: `9007199254740993,1e400,0`},
		{name: "a word for null", in: `{"a":"NULL","c":""}`, want: `"NULL",NULL,`, csv: CSV{Null: "NULL"}},
		{name: "dropped", in: `{"x":1,"a":"1"}`, want: `1,,`, csv: CSV{Unknown: "drop"}},
	} {
		c.csv.Columns = []string{"a", "b", "c"}
		e, err := c.csv.Encoder()
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Encode(t.Context(), nil, []byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s is encoded as %s (%v), want %s", c.name, c.in, got, err, c.want)
		}
	}
	e, err := (&CSV{Columns: []string{"a"}}).Encoder()
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		`[1]`:     `the value is no JSON object, but a list`,
		`"x"`:     `the value is no JSON object, but the string "x"`,
		`{"b":1}`: `the field "b" is no column: add it to columns, or set unknown_fields: drop`,
		`a`:       `the value is not valid JSON`,
	} {
		if got, err := e.Encode(t.Context(), []byte("x"), []byte(in)); err == nil || err.Error() != want || string(got) != "x" {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
	if _, err := (&CSV{}).Encoder(); err == nil {
		t.Error("there is an encoder without columns")
	}
}

func TestCSVHeaders(t *testing.T) {
	c := CSV{Columns: []string{"a", "b c", `d"e`}}
	if got := string(c.HeaderRecord()); got != "a,b c,\"d\"\"e\"\n" {
		t.Errorf("header %q", got)
	}
	if names, err := c.Header(c.HeaderRecord()); err != nil || !slices.Equal(names, c.Columns) {
		t.Errorf("%q, %v", names, err)
	}
	for in, want := range map[string]string{
		"a,,b":  "column 2 has no name",
		"a,b,a": `two columns are named "a"`,
		`a,"b`:  "column 2: the closing quote is missing",
		"":      "column 1 has no name",
	} {
		if _, err := c.Header([]byte(in)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
	c.Types = map[string]string{"z": "integer"}
	if _, err := c.Header([]byte("a,b")); err == nil || err.Error() != `types names a column "z": there are ["a" "b"]` {
		t.Errorf("a type of no column: %v", err)
	}
}

// A newline ends a record where it is not in quotes; a stray quote spoils no more
// than its own record.
func TestWhereCSVRecordsEnd(t *testing.T) {
	cutter := (&CSV{}).Cutter()
	for in, want := range map[string][]string{
		"a\nb\n":                 {"a", "b"},
		"\"a\nb\",c\nd\n":        {"\"a\nb\",c", "d"},
		"\"a\"\"\nb\"\nd\n":      {"\"a\"\"\nb\"", "d"},
		"5\" disk,1\nnext\n":     {"5\" disk,1", "next"},
		"x,\"\n\"\ny\n":          {"x,\"\n\"", "y"},
		"\"a\"b\"\nnext\n":       {"\"a\"b\"", "next"},
		"x,\"y\"\r\n\"\"\r\nz\n": {"x,\"y\"\r", "\"\"\r", "z"},
	} {
		for step := 1; step <= len(in); step++ {
			var got []string
			var scan CSVScan
			var record []byte
			for rest := in; rest != ""; {
				part := rest[:min(step, len(rest))]
				var end int
				if end, scan = cutter.End([]byte(part), scan); end < 0 {
					record = append(record, part...)
					rest = rest[len(part):]
					continue
				}
				got = append(got, string(append(record, part[:end]...)))
				record, rest = nil, rest[end+1:]
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q in steps of %d: %q, want %q", in, step, got, want)
			}
		}
	}
}

func TestFaultsInCSV(t *testing.T) {
	for want, c := range map[string]CSV{
		`delimiter: "ab": it is one character of ASCII, and neither a quote nor a line's end`: {Delimiter: "ab"},
		`null: ",": it holds no quote, delimiter or line's end`:                               {Delimiter: ",", Null: ","},
		`columns: two columns are named "a"`:                                                  {Delimiter: ",", Columns: []string{"a", "a"}},
		`columns: column 2 has no name`:                                                       {Delimiter: ",", Columns: []string{"a", ""}},
		`types.b: there is no such column`:                                                    {Delimiter: ",", Columns: []string{"a"}, Types: map[string]string{"b": "string"}},
	} {
		if faults := c.Validate(); len(faults) != 1 || faults[0].Error() != want {
			t.Errorf("%+v: %v, want %s", c, faults, want)
		}
	}
}
