package format

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/avro"
)

func parsed(t testing.TB, schema string) *AvroSchema {
	t.Helper()
	s, err := ParseAvro(schema)
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	return s
}

// What each type decodes to, and that it is encoded as it was. The bytes are those
// of the specification's encoding.
func TestAvroTypes(t *testing.T) {
	for _, c := range []struct{ name, schema, bytes, json string }{
		{"null", `"null"`, "", `null`},
		{"boolean", `"boolean"`, "01", `true`},
		{"int", `"int"`, "ffffffff0f", `-2147483648`},
		{"long", `"long"`, "feffffffffffffffff01", `9223372036854775807`},
		{"long above what floating point holds", `"long"`, "8280808080808020", `9007199254740993`},
		{"float", `"float"`, "cdcccc3d", `0.1`},
		{"double", `"double"`, "9a9999999999b93f", `0.1`},
		{"a whole double keeps its point", `"double"`, "0000000000001440", `5.0`},
		{"negative zero", `"double"`, "0000000000000080", `-0.0`},
		{"large double", `"double"`, "7dc39425ad49b254", `1e+100`},
		{"no number", `"double"`, "000000000000f87f", `"NaN"`},
		{"infinity", `"float"`, "000080ff", `"-Infinity"`},
		{"string", `"string"`, "0a6122c3a90a", `"a\"é\n"`},
		{"empty string", `"string"`, "00", `""`},
		{"bytes", `"bytes"`, "0600ff10", `"AP8Q"`},
		{"fixed", `{"type":"fixed","name":"F","size":2}`, "abcd", `"q80="`},
		{"enum", `{"type":"enum","name":"E","symbols":["A","B"]}`, "02", `"B"`},
		{"array", `{"type":"array","items":"int"}`, "04020400", `[1,2]`},
		{"empty array", `{"type":"array","items":"int"}`, "00", `[]`},
		{"map", `{"type":"map","values":"int"}`, "0202610200", `{"a":1}`},
		{"union, null", `["null","string"]`, "00", `null`},
		{"union", `["null","string"]`, "020278", `"x"`},
		{"union of numbers takes the first that is exact", `["int","long","double"]`, "028080808080808020", `9007199254740992`},
		{"a double, where the float before would lose digits", `["float","double"]`, "028734df15dd9abf3f", `0.12345678123456781`},
		{"record", `{"type":"record","name":"R","fields":[{"name":"b","type":"int"},{"name":"a","type":["null","string"]}]}`, "02020278", `{"b":1,"a":"x"}`},
		{"recursive record", `{"type":"record","name":"n.L","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","L"]}]}`, "02020400", `{"v":1,"next":{"v":2,"next":null}}`},
		{"decimal", `{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`, "0404e2", `12.50`},
		{"negative decimal below one", `{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`, "02fb", `-0.05`},
		{"decimal without fraction", `{"type":"bytes","logicalType":"decimal","precision":9}`, "0280", `-128`},
		{"decimal of many digits", `{"type":"bytes","logicalType":"decimal","precision":38,"scale":10}`, "20b4c4b357a5793b85f675ddc000000001", `-9999999999999999999999999999.9999999999`},
		{"decimal in a fixed", `{"type":"fixed","name":"D","size":4,"logicalType":"decimal","precision":5,"scale":1}`, "fffffff6", `-1.0`},
		{"uuid as text", `{"type":"string","logicalType":"uuid"}`, "48" + hex.EncodeToString([]byte("6ba7b810-9dad-11d1-80b4-00c04fd430c8")), `"6ba7b810-9dad-11d1-80b4-00c04fd430c8"`},
		{"uuid", `{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}`, "6ba7b8109dad11d180b400c04fd430c8", `"6ba7b810-9dad-11d1-80b4-00c04fd430c8"`},
		{"date", `{"type":"int","logicalType":"date"}`, "978601", `"1946-06-28"`},
		{"date that text does not hold", `{"type":"int","logicalType":"date"}`, "feffffff0f", `2147483647`},
		{"time-millis", `{"type":"int","logicalType":"time-millis"}`, "cec79929", `"12:00:00.999"`},
		{"time of day that is none", `{"type":"int","logicalType":"time-millis"}`, "01", `-1`},
		{"time-micros", `{"type":"long","logicalType":"time-micros"}`, "02", `"00:00:00.000001"`},
		{"timestamp-millis", `{"type":"long","logicalType":"timestamp-millis"}`, "01", `"1969-12-31T23:59:59.999Z"`},
		{"timestamp-micros", `{"type":"long","logicalType":"timestamp-micros"}`, "f681f28183898506", `"2023-11-14T22:13:20.000123Z"`},
		{"timestamp-nanos", `{"type":"long","logicalType":"timestamp-nanos"}`, "02", `"1970-01-01T00:00:00.000000001Z"`},
		{"timestamp that text does not hold", `{"type":"long","logicalType":"timestamp-millis"}`, "feffffffffffffffff01", `9223372036854775807`},
		{"local-timestamp", `{"type":"long","logicalType":"local-timestamp-millis"}`, "00", `"1970-01-01T00:00:00.000"`},
		{"duration", `{"type":"fixed","name":"D","size":12,"logicalType":"duration"}`, "010000000200000003000000", `{"months":1,"days":2,"milliseconds":3}`},
		{"a logical type that does not fit means nothing", `{"type":"int","logicalType":"timestamp-millis"}`, "02", `1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := parsed(t, c.schema)
			in, err := hex.DecodeString(c.bytes)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Decoder(0).Decode(t.Context(), []byte("before"), in)
			if err != nil {
				t.Fatal(err)
			}
			got = got[len("before"):]
			if c.json != "" && string(got) != c.json {
				t.Errorf("%s decodes to %s, want %s", c.bytes, got, c.json)
			}
			if !json.Valid(got) {
				t.Errorf("%s is not JSON", got)
			}
			back, err := s.Encoder(false).Encode(t.Context(), []byte("before"), got)
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(back[len("before"):]) != c.bytes {
				t.Errorf("%s is encoded as %x, want %s", got, back[len("before"):], c.bytes)
			}
			// Another implementation reads the same bytes to their end.
			var v any
			if rest, err := avro.MustParse(c.schema).Decode(in, &v); err != nil || len(rest) > 0 {
				t.Errorf("twmb/avro: %v, %d bytes left", err, len(rest))
			}
		})
	}
}

// Forms of JSON that are not those that decoding gives.
func TestAvroEncodesWhatPeopleWrite(t *testing.T) {
	record := func(typ string) string {
		return `{"type":"record","name":"R","fields":[{"name":"a","type":` + typ + `}]}`
	}
	for _, c := range []struct{ name, schema, in, want string }{
		{"a whole number with a point", `"long"`, `5.0`, `5`},
		{"a whole number with an exponent", `"long"`, `12e3`, `12000`},
		{"a decimal as a string", `{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`, `"1.5"`, `1.50`},
		{"a decimal with an exponent", `{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`, `15e-1`, `1.50`},
		{"zero as a decimal", `{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`, `-0.000`, `0.00`},
		{"a time in its unit", `{"type":"long","logicalType":"timestamp-millis"}`, `1000`, `"1970-01-01T00:00:01.000Z"`},
		{"a time of another zone", `{"type":"long","logicalType":"timestamp-millis"}`, `"1970-01-01T02:00:00+02:00"`, `"1970-01-01T00:00:00.000Z"`},
		{"a time with more digits than needed", `{"type":"long","logicalType":"timestamp-millis"}`, `"1970-01-01T00:00:00.5000000000Z"`, `"1970-01-01T00:00:00.500Z"`},
		{"an integer for a double", `"double"`, `3`, `3.0`},
		{"fields in another order", `{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"int"}]}`, `{"b":2,"a":1}`, `{"a":1,"b":2}`},
		{"a field that is there twice", record(`"int"`), `{"a":1,"a":2}`, `{"a":2}`},
		{"a missing field has its default", `{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":7},{"name":"b","type":"bytes","default":"\u00ff"}]}`, `{}`, `{"a":7,"b":"/w=="}`},
		{"a default of a logical type", `{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"int","logicalType":"date"},"default":1},{"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":1},"default":"\u0019"}]}`, `{}`, `{"a":"1970-01-02","d":2.5}`},
		{"a default of a union and of a record", `{"type":"record","name":"R","fields":[{"name":"a","type":["string","null"],"default":"x"},{"name":"r","type":{"type":"record","name":"I","fields":[{"name":"i","type":"long"}]},"default":{"i":9}}]}`, `{}`, `{"a":"x","r":{"i":9}}`},
		{"a missing field that may be null is null", record(`["string","null"]`), `{}`, `{"a":null}`},
		{"null and empty are told apart", record(`["string","null"]`), `{"a":""}`, `{"a":""}`},
		{"escapes", `"string"`, `"\u00e9\ud83d\ude00\/"`, `"é😀/"`},
		{"white space", ` "int" `, " \n1 ", `1`},
		{"a union of records takes the one that fits", `[{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]},{"type":"record","name":"B","fields":[{"name":"b","type":"int"}]}]`, `{"b":1}`, `{"b":1}`},
		{"a union of float and string", `["null","float","string"]`, `0.123456789`, `0.12345679`},
		{"a union of neither exactly", `["float","double"]`, `0.1234567890123456789`, `0.12345678901234568`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := parsed(t, c.schema)
			b, err := s.Encoder(false).Encode(t.Context(), nil, []byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Decoder(0).Decode(t.Context(), nil, b)
			if err != nil || string(got) != c.want {
				t.Errorf("%s came back as %s (%v), want %s", c.in, got, err, c.want)
			}
		})
	}
}

// No digit is dropped and nothing guessed: what does not fit is an error that says
// where in the value it is.
func TestAvroRefuses(t *testing.T) {
	nested := `{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"i","type":"int"}]}}}]}`
	for _, c := range []struct{ schema, in, want string }{
		{`"int"`, `2147483648`, "avro: 2147483648 does not fit 32 bits"},
		{`"long"`, `9223372036854775808`, "avro: 9223372036854775808 does not fit 64 bits"},
		{`"long"`, `1.5`, "avro: 1.5 is no whole number"},
		{`"long"`, `1e999999999`, "avro: 1e999999999 does not fit 64 bits"},
		{`"long"`, `"1"`, `avro: the schema has long here, and the value is the string "1"`},
		{`"double"`, `9007199254740993`, "avro: 9007199254740993 is not exact as a floating-point number of 64 bits"},
		{`"float"`, `16777217`, "avro: 16777217 is not exact as a floating-point number of 32 bits"},
		{`"double"`, `1e400`, "avro: 1e400 does not fit a floating-point number of 64 bits"},
		{`"null"`, `0`, `avro: the schema has null here, and the value is the number 0`},
		{`"boolean"`, `1`, `avro: the schema has boolean here, and the value is the number 1`},
		{`"bytes"`, `"a b"`, `avro: "a b" is not base64, which stands for bytes`},
		{`{"type":"fixed","name":"F","size":2}`, `"AA=="`, `avro: 1 bytes for fixed F, which has 2`},
		{`{"type":"enum","name":"n.E","symbols":["A"]}`, `"B"`, `avro: enum n.E has no symbol "B"`},
		{`{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`, `1.005`, "avro: 1.005 has more than 2 digits behind the point, which is all that the schema holds"},
		{`{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`, `100`, "avro: 100 has more than 4 digits, which is all that the schema holds"},
		{`{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`, `"x"`, `avro: "x" is no number`},
		{`{"type":"long","logicalType":"timestamp-millis"}`, `"1970-01-01T00:00:00.0001Z"`, "avro: 1970-01-01T00:00:00.0001Z is finer than 1ms, which is all that the schema holds"},
		{`{"type":"long","logicalType":"timestamp-nanos"}`, `"2500-01-01T00:00:00Z"`, "avro: 2500-01-01T00:00:00Z does not fit 64 bits in units of 1ns"},
		{`{"type":"long","logicalType":"timestamp-millis"}`, `"yesterday"`, `avro: "yesterday" is not a time such as 2026-01-31T12:00:00Z`},
		{`{"type":"int","logicalType":"date"}`, `"2026-02-30"`, `avro: "2026-02-30" is not a date such as 2026-01-31`},
		{`{"type":"string","logicalType":"uuid"}`, `"6ba7b810"`, `avro: "6ba7b810" is no UUID such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8`},
		{`{"type":"fixed","name":"D","size":12,"logicalType":"duration"}`, `{"days":-1}`, `avro: days: -1 is no whole number of 32 bits, without a sign`},
		{`["string","int"]`, `null`, "avro: is null, and no branch of the union is"},
		{`["null","int"]`, `[]`, "avro: no branch of the union takes a list: there are [null int]"},
		{`["int","long"]`, `1.5`, "avro: no branch of the union holds the value; the first says: 1.5 is no whole number"},
		{nested, `{"a":[{"i":1},{"i":"x"}]}`, `avro: a[1].i: the schema has int here, and the value is the string "x"`},
		{nested, `{"a":[{}]}`, `avro: a[0].i: is missing, and has no default`},
		{nested, `{"a":[],"b":1}`, `avro: record R has no field "b": add it to the schema, or set unknown_fields: drop`},
		{nested, `[]`, `avro: the schema has record R here, and the value is a list`},
		{`"int"`, `1 2`, `the value is not valid JSON`},
		{`"int"`, ``, `the value is not valid JSON`},
		{`"string"`, "\"\xff\"", `the value is not valid JSON`},
		{`"int"`, strings.Repeat("[", 1<<20), `is nested more than 512 levels deep`},
	} {
		dst := []byte("before")
		got, err := parsed(t, c.schema).Encoder(false).Encode(t.Context(), dst, []byte(c.in))
		if err == nil || err.Error() != c.want || string(got) != "before" {
			t.Errorf("%s, %.60s: %v, want %s", c.schema, c.in, err, c.want)
		}
		if IsOutside(err) {
			t.Errorf("%v is the record's fault", err)
		}
	}
}

func TestAvroThatIsDamaged(t *testing.T) {
	record := `{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"map","values":"string"}}]}`
	for _, c := range []struct{ schema, in, want string }{
		{`"long"`, "", "avro: the data ends too early"},
		{`"long"`, "ffffffffffffffffffff01", "avro: is no variable-length integer"},
		{`"int"`, "8080808020", "avro: 4294967296 does not fit 32 bits"},
		{`"int"`, "0202", "avro: 1 bytes are left behind the value: it was written with another schema"},
		{`"boolean"`, "02", "avro: 2 is neither true nor false"},
		{`"double"`, "00", "avro: the data ends too early"},
		{`"string"`, "01", "avro: a length of -1"},
		{`"string"`, "02ff", "avro: is not valid UTF-8"},
		{`"bytes"`, "feffffffffffffffff01", "avro: the data ends too early"},
		{`{"type":"enum","name":"E","symbols":["A"]}`, "02", "avro: enum E has no symbol 1"},
		{`["null"]`, "01", "avro: the union has no branch -1"},
		{`{"type":"array","items":"null"}`, "feffffffffffffffff01", "avro: the value has more bytes, as JSON, than a record may have"},
		{`{"type":"array","items":"null"}`, "ffffffffffffffffff01", "avro: a block of -9223372036854775808 items"},
		{record, "0402610000", "avro: a.\"\": the data ends too early"},
		{`{"type":"record","name":"R","fields":[{"name":"next","type":"R"}]}`, "", "is nested more than 512 levels deep"},
	} {
		in, err := hex.DecodeString(c.in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parsed(t, c.schema).Decoder(1000).Decode(t.Context(), []byte("before"), in)
		if err == nil || !strings.Contains(err.Error(), c.want) || string(got) != "before" {
			t.Errorf("%s, %s: %v, want %s", c.schema, c.in, err, c.want)
		}
	}
}

// Blocks of a negative count have their size in front.
func TestAvroBlocks(t *testing.T) {
	in, _ := hex.DecodeString("03040204" + "0206" + "00")
	got, err := parsed(t, `{"type":"array","items":"int"}`).Decoder(0).Decode(t.Context(), nil, in)
	if err != nil || string(got) != "[1,2,3]" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestAvroFieldsThatTheSchemaDoesNotHaveAreDropped(t *testing.T) {
	s := parsed(t, `{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}`)
	got, err := s.Encoder(true).Encode(t.Context(), nil, []byte(`{"x":{"y":1},"a":1}`))
	if err != nil || hex.EncodeToString(got) != "02" {
		t.Errorf("%x, %v", got, err)
	}
}

// A fault in a schema is told with its place.
func TestFaultsInAvroSchemas(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.avsc")
	if err := os.WriteFile(file, []byte("{\"type\":\n \"record\",,}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ schema, field, message string }{
		{`{"type":"record","name":"a.b.R","fields":[{"name":"y","type":"int"},{"name":"x","type":"lnog"}]}`, "schema.fields[1].type", `unknown type "lnog"`},
		{`{"type":"record","name":"R","fields":[{"name":"s","type":{"type":"record","name":"S","fields":[{"name":"y","type":"int","default":"a"}]}}]}`, "schema.fields[0].type.fields[0].default", `int default: expected number, got string`},
		{`{"type":"record","name":"R","fields":[{"name":"x"}]}`, "schema.fields[0]", "schema is not a primitive, complex, nor union"},
		{`{"type":"record","name":"R","fields":[{"name":"x","type":"int"},{"name":"x","type":"int"}]}`, "schema.fields[1]", `duplicate record field name "x"`},
		{`{"type":"record","name":"R"}`, "schema", "record is missing fields"},
		{`["null",{"type":"array","items":{"type":"map","values":{"type":"fixed","name":"F"}}}]`, "schema[1].items.values", "fixed is missing size"},
		{`{"type":"record","name":"R","fields":[{"name":"x","type":{"type":"bytes","logicalType":"decimal","precision":2,"scale":5}}]}`, "schema.fields[0].type", "decimal scale 5 exceeds precision 2"},
		{`{"type":"bytes","logicalType":"decimal","precision":5000}`, "schema", "decimals of more than 1000 digits are not supported"},
		{`"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"x\",\"type\":\"lnog\"}]}"`, "schema", `fields[0].type: unknown type "lnog"`},
		{`"{\"type\": }"`, "schema", "line 1, column 10: is not valid JSON"},
		{`"lnog"`, "schema", `unknown primitive "lnog"`},
		{"", "schema_file", "line 2, column 11: is not valid JSON"},
	} {
		a := &Avro{Schema: json.RawMessage(c.schema)}
		if c.schema == "" {
			a = &Avro{SchemaFile: file}
		}
		faults := a.Validate()
		if len(faults) != 1 || faults[0].Field != c.field || !strings.Contains(faults[0].Message, c.message) {
			t.Errorf("%s:\n got %+v\nwant %s: %s", c.schema, faults, c.field, c.message)
		}
	}
	for _, good := range []string{`"string"`, `"\"string\""`, `{"type":"string"}`, `" [\"null\", \"int\"]"`} {
		a := &Avro{Schema: json.RawMessage(good)}
		if faults := a.Validate(); len(faults) > 0 {
			t.Errorf("%s: %v", good, faults)
		}
	}
	if faults := (&Avro{SchemaFile: file + "x"}).Validate(); len(faults) != 1 || faults[0].Field != "schema_file" {
		t.Errorf("a missing file: %v", faults)
	}
}
