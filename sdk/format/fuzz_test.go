package format

import (
	"bytes"
	"encoding/json"
	"math/big"
	"testing"
)

// fuzzed are schemas of all kinds of types.
var fuzzed = []string{
	`"long"`, `"double"`, `"string"`, `"bytes"`,
	`{"type":"array","items":["null","int",{"type":"map","values":"float"}]}`,
	`{"type":"record","name":"L","fields":[{"name":"v","type":{"type":"enum","name":"E","symbols":["A","B"]}},{"name":"next","type":["null","L"]}]}`,
	`{"type":"record","name":"R","fields":[
		{"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":30,"scale":5}},
		{"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}},
		{"name":"day","type":{"type":"int","logicalType":"date"}},
		{"name":"u","type":{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}},
		{"name":"p","type":{"type":"fixed","name":"P","size":12,"logicalType":"duration"},"default":"\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000"}]}`,
	`{"type":"record","name":"Z","fields":[{"name":"a","type":{"type":"array","items":"null"}},{"name":"z","type":["Z","null",{"type":"fixed","name":"F","size":0}]}]}`,
}

// Whatever bytes come, decoding ends with JSON or an error, and what it gives is
// encoded and comes back the same.
func FuzzAvroDecode(f *testing.F) {
	for i, in := range []string{"\x02", "\x00\x00\x00\x00\x00\x00\xf0\x3f", "\x02a", "\x04ab", "\x02\x02\x02\x00", "\x00\x02\x02\x00", "\x02\x01\x02\x020123456789abcdef0123456789ab", "\x02\x00"} {
		f.Add(i, []byte(in))
	}
	f.Fuzz(func(t *testing.T, which int, in []byte) {
		s := parsed(t, fuzzed[uint(which)%uint(len(fuzzed))])
		got, err := s.Decoder(1<<16).Decode(t.Context(), nil, in)
		if err != nil {
			return
		}
		if !json.Valid(got) {
			t.Fatalf("%q is not JSON", got)
		}
		b, err := s.Encoder(false).Encode(t.Context(), nil, got)
		if err != nil {
			if len(bytes.TrimLeft(got, "[{")) < len(got)-MaxDepth/2 {
				return // nearly as deep as can be
			}
			t.Fatalf("%s: %v", got, err)
		}
		again, err := s.Decoder(1<<16).Decode(t.Context(), nil, b)
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%s came back as %s, %v", got, again, err)
		}
	})
}

func FuzzAvroEncode(f *testing.F) {
	for i, in := range []string{`1e3`, `0.1`, `"\u00e9"`, `"AP8="`, `[null,{"a":1}]`, `{"v":"A","next":{"v":"B"}}`, `{"d":1.5,"t":"2026-01-31T12:00:00Z","day":"2026-01-31","u":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}`, `{"a":[],"z":{"a":[null]}}`} {
		f.Add(i, []byte(in))
	}
	f.Fuzz(func(t *testing.T, which int, in []byte) {
		s := parsed(t, fuzzed[uint(which)%uint(len(fuzzed))])
		b, err := s.Encoder(true).Encode(t.Context(), nil, in)
		if err != nil {
			return
		}
		if _, err := s.Decoder(0).Decode(t.Context(), nil, b); err != nil && len(in) < 1<<20 {
			t.Fatalf("%s is encoded as %x: %v", in, b, err)
		}
	})
}

// Whatever text comes, cutting and decoding end, and what was decoded is encoded
// and comes back the same.
func FuzzCSV(f *testing.F) {
	for _, in := range []string{"1,2,3\n", "\"a\nb\",\"\"\"\",\n", "x\"y,,\r\n", "\"", ",,", `1,"{""a"":1}",x`} {
		f.Add([]byte(in))
	}
	c := CSV{Columns: []string{"a", "b", "c"}, Types: map[string]string{"a": csvNumber, "b": csvJSON}}
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := c.Encoder()
		if err != nil {
			t.Fatal(err)
		}
		d, err := c.Decoder(c.Columns)
		if err != nil {
			t.Fatal(err)
		}
		for cutter := c.Cutter(); len(in) > 0; {
			end, _ := cutter.End(in, 0)
			record := in
			if end >= 0 {
				record, in = in[:end], in[end+1:]
			} else {
				in = nil
			}
			got, err := d.Decode(t.Context(), nil, record)
			if err != nil {
				continue
			}
			if !json.Valid(got) {
				t.Fatalf("%q is %q, which is not JSON", record, got)
			}
			b, err := e.Encode(t.Context(), nil, got)
			if err != nil {
				t.Fatalf("%s: %v", got, err)
			}
			again, err := d.Decode(t.Context(), nil, b)
			if err != nil || !bytes.Equal(again, got) {
				t.Fatalf("%s came back as %s, %v", got, again, err)
			}
		}
	})
}

// A number is read exactly, and written as one of JSON that is equal.
func FuzzNumber(f *testing.F) {
	for _, in := range []string{"0", "-0.0", "+.5e-3", "007", "1e5", "12345678901234567890.12", "-", "1e"} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		d, err := parseDecimal(in)
		out, writeErr := appendNumber(nil, in)
		if (err == nil) != (writeErr == nil) {
			t.Fatalf("%q: %v, %v", in, err, writeErr)
		}
		if err != nil || d.exp > 1000 || d.exp < -1000 {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q is written as %q", in, out)
		}
		again, err := parseDecimal(string(out))
		if err != nil || again != d {
			t.Fatalf("%q is %+v, and %q is %+v (%v)", in, d, out, again, err)
		}
		want, ok := new(big.Rat).SetString(string(out))
		if !ok {
			t.Fatalf("%q", out)
		}
		got := new(big.Rat)
		if d.digits != "" {
			got.SetString(d.digits)
			ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(d.exp, -d.exp))), nil)
			if d.exp < 0 {
				got.Quo(got, new(big.Rat).SetInt(ten))
			} else {
				got.Mul(got, new(big.Rat).SetInt(ten))
			}
		}
		if d.negative {
			got.Neg(got)
		}
		if got.Cmp(want) != 0 {
			t.Fatalf("%q is read as %v", in, got)
		}
	})
}
