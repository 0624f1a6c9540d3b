package format

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"
)

// newRand returns a generator whose seed is logged and can be set by WEIR_SEED.
func newRand(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("WEIR_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// anything makes schemas, and values of them as JSON in the form that decoding
// gives.
type anything struct {
	*rand.Rand
	names int
}

func (a *anything) name() string {
	a.names++
	return fmt.Sprintf("N%d", a.names)
}

// schema returns a schema, and what makes values of it.
func (a *anything) schema(depth int) (schema any, value func() string) {
	kinds := 18
	if depth == 0 {
		kinds = 13
	}
	plain := func(logical, typ string) any {
		return map[string]any{"type": typ, "logicalType": logical}
	}
	instant := func(layout string) func() string {
		return func() string {
			t := time.Unix(a.Int64N(lastSecond-firstSecond)+firstSecond, a.Int64N(1e9)).UTC()
			return t.Format(layout)
		}
	}
	switch a.IntN(kinds) {
	case 0:
		return "boolean", func() string { return strconv.FormatBool(a.IntN(2) == 0) }
	case 1:
		return "int", func() string { return strconv.Itoa(int(int32(a.Uint64()))) }
	case 2:
		return "long", func() string { return strconv.FormatInt(int64(a.Uint64()>>a.IntN(64)), 10) }
	case 3:
		return "float", func() string {
			return string(appendFloat(nil, float64(math.Float32frombits(a.Uint32())), 32))
		}
	case 4:
		return "double", func() string { return string(appendFloat(nil, math.Float64frombits(a.Uint64()), 64)) }
	case 5:
		return "string", a.text
	case 6:
		return "bytes", func() string { return a.binary(a.IntN(10)) }
	case 7:
		size := a.IntN(10) + 1
		return map[string]any{"type": "fixed", "name": a.name(), "size": size}, func() string { return a.binary(size) }
	case 8:
		return map[string]any{"type": "enum", "name": a.name(), "symbols": []string{"A", "B", "C"}},
			func() string { return []string{`"A"`, `"B"`, `"C"`}[a.IntN(3)] }
	case 9:
		precision := a.IntN(40) + 1
		scale := a.IntN(precision + 1)
		return map[string]any{"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale},
			func() string { return a.decimal(precision, scale) }
	case 10:
		return plain("date", "int"), instant(`"2006-01-02"`)
	case 11:
		return plain("timestamp-micros", "long"), instant(`"2006-01-02T15:04:05.000000Z"`)
	case 12:
		return plain("time-millis", "int"), instant(`"15:04:05.000"`)
	case 13:
		items, value := a.schema(depth - 1)
		return map[string]any{"type": "array", "items": items}, func() string {
			return "[" + a.list(func(int) string { return value() }) + "]"
		}
	case 14:
		values, value := a.schema(depth - 1)
		return map[string]any{"type": "map", "values": values}, func() string {
			return "{" + a.list(func(i int) string { return fmt.Sprintf("%q:%s", "k"+strconv.Itoa(i), value()) }) + "}"
		}
	case 15:
		inner, value := a.schema(0)
		return []any{"null", inner}, func() string {
			if a.IntN(3) == 0 {
				return "null"
			}
			return value()
		}
	case 16:
		// Branches that the value tells apart.
		return []any{"boolean", "long", "double", "string", map[string]any{"type": "array", "items": "null"}}, func() string {
			return []string{"true", "7", "0.5", `"x"`, "[null]"}[a.IntN(5)]
		}
	}
	var fields []any
	var values []func() string
	for i := range a.IntN(5) {
		typ, value := a.schema(depth - 1)
		fields = append(fields, map[string]any{"name": fmt.Sprintf("f%d", i), "type": typ})
		values = append(values, value)
	}
	return map[string]any{"type": "record", "name": a.name(), "fields": append([]any{}, fields...)}, func() string {
		var parts []string
		for i, v := range values {
			parts = append(parts, fmt.Sprintf(`"f%d":%s`, i, v()))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
}

func (a *anything) list(item func(i int) string) string {
	var items []string
	for i := range a.IntN(4) {
		items = append(items, item(i))
	}
	return strings.Join(items, ",")
}

func (a *anything) binary(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(a.Uint32())
	}
	return `"` + base64.StdEncoding.EncodeToString(b) + `"`
}

func (a *anything) text() string {
	var b []byte
	for range a.IntN(12) {
		b = append(b, string([]rune{'a', '"', '\\', '\n', '\r', ',', ';', ' ', 0, 'é', '😀', '\t', '1', 0x7f}[a.IntN(14)])...)
	}
	out, err := appendString(nil, b)
	if err != nil {
		panic(err)
	}
	return string(out)
}

func (a *anything) decimal(precision, scale int) string {
	digits := make([]byte, precision)
	for i := range digits {
		digits[i] = byte('0' + a.IntN(10))
	}
	whole := strings.TrimLeft(string(digits[:precision-scale]), "0")
	if whole == "" {
		whole = "0"
	}
	text := whole
	if scale > 0 {
		text += "." + string(digits[precision-scale:])
	}
	if a.IntN(2) == 0 && strings.Trim(text, "0.") != "" {
		text = "-" + text
	}
	return text
}

// Any value of any schema comes back as it was, to the last digit, and another
// implementation reads the bytes between.
func TestAvroComesBackAsItWas(t *testing.T) {
	a := &anything{Rand: newRand(t)}
	for range 400 {
		tree, value := a.schema(3)
		text, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		schema, err := ParseAvro(string(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		other := avro.MustParse(string(text))
		e, d := schema.Encoder(false), schema.Decoder(0)
		for range 5 {
			in := value()
			b, err := e.Encode(t.Context(), nil, []byte(in))
			if err != nil {
				t.Fatalf("schema %s\nvalue %s: %v", text, in, err)
			}
			got, err := d.Decode(t.Context(), nil, b)
			if err != nil || string(got) != in {
				t.Fatalf("schema %s\nvalue %s\n  got %s (%v)", text, in, got, err)
			}
			var v any
			rest, err := other.Decode(b, &v)
			if err != nil || len(rest) > 0 {
				t.Fatalf("schema %s\nvalue %s: twmb/avro: %v, %d bytes left", text, in, err, len(rest))
			}
		}
	}
}

// Any record of any columns comes back as it was, whatever its strings hold, and
// encoding/csv reads the text between.
func TestCSVComesBackAsItWas(t *testing.T) {
	a := &anything{Rand: newRand(t)}
	for range 500 {
		c := CSV{Delimiter: []string{",", ";", "\t", "|"}[a.IntN(4)], Null: []string{"", `\N`, "NULL"}[a.IntN(3)], Types: map[string]string{}}
		var makers []func() string
		for i := range a.IntN(5) + 1 {
			name := fmt.Sprintf("c%d", i)
			c.Columns = append(c.Columns, name)
			kind := a.IntN(5)
			c.Types[name] = []string{csvString, csvInteger, csvNumber, csvBoolean, csvJSON}[kind]
			value := []func() string{
				a.text,
				func() string { return strconv.FormatInt(int64(a.Uint64()), 10) },
				func() string { return a.decimal(30, 10) },
				func() string { return strconv.FormatBool(a.IntN(2) == 0) },
				func() string { return `{"a":[1,` + a.text() + `]}` },
			}[kind]
			makers = append(makers, func() string {
				if a.IntN(6) == 0 {
					return "null"
				}
				return value()
			})
		}
		if faults := c.Validate(); len(faults) > 0 {
			t.Fatal(faults)
		}
		e, err := c.Encoder()
		if err != nil {
			t.Fatal(err)
		}
		header, err := c.Header(c.HeaderRecord())
		if err != nil {
			t.Fatal(err)
		}
		d, err := c.Decoder(header)
		if err != nil {
			t.Fatal(err)
		}
		var file []byte
		var want []string
		for range 5 {
			var parts []string
			for i, m := range makers {
				parts = append(parts, fmt.Sprintf("%q:%s", c.Columns[i], m()))
			}
			value := "{" + strings.Join(parts, ",") + "}"
			b, err := e.Encode(t.Context(), nil, []byte(value))
			if err != nil {
				t.Fatalf("%s: %v", value, err)
			}
			want = append(want, value)
			file = append(append(file, b...), []string{"\n", "\r\n"}[a.IntN(2)]...)
		}
		// The records are cut apart wherever reading stops.
		cutter := c.Cutter()
		var got []string
		var scan CSVScan
		for start, at := 0, 0; at < len(file); {
			to := min(at+a.IntN(20), len(file))
			var end int
			if end, scan = cutter.End(file[at:to], scan); end < 0 {
				at = to
				continue
			}
			out, err := d.Decode(t.Context(), nil, file[start:at+end])
			if err != nil {
				t.Fatalf("%q: %v", file[start:at+end], err)
			}
			got = append(got, string(out))
			at += end + 1
			start = at
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("%+v\n%q\n got %q\nwant %q", c, file, got, want)
		}
		r := csv.NewReader(bytes.NewReader(file))
		r.Comma = rune(c.Delimiter[0])
		if _, err := r.ReadAll(); err != nil {
			t.Fatalf("%q: %v", file, err)
		}
	}
}
