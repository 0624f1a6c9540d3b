package format

import (
	"testing"
)

const benchSchema = `{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"customer","type":"string"},
	{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
	{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"note","type":["null","string"],"default":null},
	{"name":"items","type":{"type":"array","items":"int"}}]}`

const benchValue = `{"id":9007199254740993,"customer":"Fritz Möller & Söhne","amount":1234.50,"at":"2026-01-31T12:00:00.000Z","note":null,"items":[1,2,3]}`

func benchDecode(b *testing.B, d Decoder, in []byte) {
	dst := make([]byte, 0, 1<<10)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(b.Context(), dst[:0], in); err != nil {
			b.Fatal(err)
		}
	}
}

func benchEncode(b *testing.B, e Encoder, value string) {
	dst, in := make([]byte, 0, 1<<10), []byte(value)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Encode(b.Context(), dst[:0], in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAvroDecode(b *testing.B) {
	s := parsed(b, benchSchema)
	in, err := s.Encoder(false).Encode(b.Context(), nil, []byte(benchValue))
	if err != nil {
		b.Fatal(err)
	}
	benchDecode(b, s.Decoder(0), in)
}

func BenchmarkAvroEncode(b *testing.B) {
	benchEncode(b, parsed(b, benchSchema).Encoder(false), benchValue)
}

var benchCSV = CSV{Columns: []string{"id", "customer", "amount", "note"}, Types: map[string]string{"id": "integer", "amount": "number"}}

func BenchmarkCSVDecode(b *testing.B) {
	d, err := benchCSV.Decoder(benchCSV.Columns)
	if err != nil {
		b.Fatal(err)
	}
	benchDecode(b, d, []byte(`9007199254740993,Fritz Möller & Söhne,1234.50,"a ""quoted"" word"`))
}

func BenchmarkCSVEncode(b *testing.B) {
	e, err := benchCSV.Encoder()
	if err != nil {
		b.Fatal(err)
	}
	benchEncode(b, e, `{"id":9007199254740993,"customer":"Fritz Möller & Söhne","amount":1234.50,"note":"a \"quoted\" word"}`)
}

func BenchmarkJSON(b *testing.B) { benchDecode(b, JSON{OneLine: true}, []byte(benchValue)) }
