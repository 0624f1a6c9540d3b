package kafka

import (
	"context"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/format"
)

// Formats is what the configurations of source and sink say of values; they embed
// it. Keys and headers are bytes, whatever the format.
type Formats struct {
	Format   string           `weir:"format" default:"raw" enum:"raw,json,csv,avro" doc:"What values are in Kafka; in the pipeline they are JSON then. raw: the same bytes. json: JSON, which is checked. csv: one record each, without a header. avro: Avro's binary encoding. A value that is not of the format is a failed record; a null value stays null. See docs/formats.md."`
	CSV      *format.CSV      `weir:"csv" doc:"How csv is written."`
	Avro     *format.Avro     `weir:"avro" doc:"The schema of avro. A source with a schema registry needs none; a sink with one writes with the subject's newest without it."`
	Registry *format.Registry `weir:"schema_registry" doc:"Where the schemas of avro are: values begin with a zero byte and the id of their schema, as Confluent's serializers have it."`
}

// The names of formats, as a configuration writes them.
const (
	formatJSON = "json"
	formatCSV  = "csv"
	formatAvro = "avro"
)

// faults is what Validate of a configuration that embeds f returns of it, beside
// what its blocks say. writes is for the sink.
func (f *Formats) faults(writes bool) []sdk.FieldError {
	var faults []sdk.FieldError
	unused := func(field, format string, set bool) {
		if set && f.Format != format {
			faults = append(faults, sdk.Faultf(field, "has no effect: format is %s; set format: %s", f.Format, format))
		}
	}
	unused("csv", formatCSV, f.CSV != nil)
	unused("avro", formatAvro, f.Avro != nil)
	unused("schema_registry", formatAvro, f.Registry != nil)
	switch {
	case f.Format == formatCSV && (f.CSV == nil || len(f.CSV.Columns) == 0):
		faults = append(faults, sdk.Faultf("csv.columns", "is required: a value has no header"))
	case f.Format == formatAvro && f.Registry == nil && !f.Avro.HasSchema():
		faults = append(faults, sdk.Faultf("avro.schema", "is required without schema_registry; so would avro.schema_file do"))
	case f.Format == formatAvro && f.Registry != nil && f.Avro.HasSchema() && !writes:
		faults = append(faults, sdk.Faultf("avro", "has no effect: each value names its schema in the schema registry"))
	}
	return faults
}

// open returns a client of the schema registry; nil where there is none.
func (f *Formats) open() (*format.Schemas, error) {
	if f.Registry == nil {
		return nil, nil
	}
	return f.Registry.Open()
}

// probe asks the schema registry, if there is one.
func (f *Formats) probe(ctx context.Context) []sdk.FieldError {
	schemas, err := f.open()
	if schemas != nil {
		defer schemas.Close()
		err = schemas.Check(ctx)
	}
	if err != nil {
		return []sdk.FieldError{sdk.Faultf("schema_registry.url", "%v", err)}
	}
	return nil
}

// decoder returns what makes JSON of values of at most so many bytes; nil is
// nothing.
func (f *Formats) decoder(schemas *format.Schemas, most int) (format.Decoder, error) {
	switch f.Format {
	case formatJSON:
		return format.JSON{}, nil
	case formatCSV:
		return f.CSV.Decoder(f.CSV.Columns)
	case formatAvro:
		if schemas != nil {
			return schemas.Decoder(most), nil
		}
		schema, err := f.Avro.Parse()
		if err != nil {
			return nil, sdk.Fatal(err)
		}
		return schema.Decoder(most), nil
	}
	return nil, nil
}

// failedTogether bounds the bytes of failed values that one Read hands over.
const failedTogether = 256 << 10

// decoded appends a record with its value decoded, or fails it. full says that
// enough has failed for this time. Where the schema registry does not answer, the
// record is the next one again.
func (r *reader) decoded(ctx context.Context, out *sdk.Collector, row sdk.Row) (full bool, err error) {
	value, err := r.decoder.Decode(ctx, out.AvailableBuffer(), row.Value)
	switch {
	case err == nil:
		row.Value = value
		out.Append(row)
		return false, nil
	case format.IsOutside(err) || ctx.Err() != nil:
		var again error
		if r.records, again = r.batch.Records(&r.plain); again != nil {
			return false, again
		}
		return false, err
	}
	out.FailRow(row, 0, err)
	r.failed += len(row.Value)
	return r.failed >= failedTogether, nil
}

// encoding makes of values what is written. It belongs to the writer's loop.
type encoding struct {
	plain format.Encoder // nil with a schema registry

	schemas *format.Schemas
	schema  *format.AvroSchema // nil: the subject's newest
	subject string             // empty: the topic's
	drop    bool
	byTopic map[string]*format.SubjectEncoder
}

// encoding returns how values are written; nil is as they are.
func (f *Formats) encoding() (*encoding, error) {
	var err error
	e := &encoding{drop: f.Avro.DropsUnknown(), byTopic: map[string]*format.SubjectEncoder{}}
	switch f.Format {
	case formatJSON:
		e.plain = format.JSON{}
	case formatCSV:
		e.plain, err = f.CSV.Encoder()
	case formatAvro:
		if f.Avro.HasSchema() {
			e.schema, err = f.Avro.Parse()
		}
		if err == nil && f.Registry != nil {
			e.subject = f.Registry.Subject
			e.schemas, err = f.open()
		} else if err == nil {
			e.plain = e.schema.Encoder(e.drop)
		}
	default:
		return nil, nil
	}
	if err != nil {
		return nil, sdk.Fatal(err)
	}
	return e, nil
}

// of returns the encoder of a topic's values.
func (e *encoding) of(topic string) format.Encoder {
	if e.plain != nil {
		return e.plain
	}
	return e.inSubject(topic)
}

func (e *encoding) inSubject(topic string) *format.SubjectEncoder {
	s := e.byTopic[topic]
	if s == nil {
		subject := e.subject
		if subject == "" {
			subject = topic + "-value"
		}
		s = e.schemas.Encoder(subject, e.schema, e.drop)
		e.byTopic[topic] = s
	}
	return s
}

// ready asks the schema registry for what a topic's values need.
func (e *encoding) ready(ctx context.Context, topic string) error {
	if e == nil || e.plain != nil {
		return nil
	}
	return e.inSubject(topic).Ready(ctx)
}

// close lets go of the schema registry.
func (e *encoding) close() {
	if e != nil && e.schemas != nil {
		e.schemas.Close()
	}
}

// encoded are the values of a batch as they are written.
type encoded struct {
	data []byte
	ends []uint32 // of value i; a null value has none
	// good are the records that were not failed, where any was.
	good   []uint32
	failed bool
}

// value returns that of record i of the batch.
func (e *encoded) value(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = e.ends[i-1]
	}
	return e.data[start:e.ends[i]:e.ends[i]]
}

// encode encodes the next record's value for a topic, or fails the record. An error
// is not about the record.
func (w *writer) encode(ctx context.Context, h *held, r sdk.Record, topic string) (ok bool, err error) {
	e := h.encoded
	if v := r.Value(); v != nil {
		var err error
		if e.data, err = w.encoding.of(topic).Encode(ctx, e.data, v); err != nil {
			if format.IsOutside(err) || ctx.Err() != nil {
				return false, err
			}
			h.failed.Fail(r, err)
			e.skip()
			return false, nil
		}
	}
	e.ends = append(e.ends, uint32(len(e.data)))
	return true, nil
}

// skip stands for a record that is not written.
func (e *encoded) skip() {
	if e != nil {
		e.ends = append(e.ends, uint32(len(e.data)))
	}
}

// encodeAll encodes all of a batch for the constant topic.
func (w *writer) encodeAll(ctx context.Context, h *held) error {
	n := h.batch.Len()
	h.encoded = &encoded{data: make([]byte, 0, len(h.batch.Values().Data)), ends: make([]uint32, 0, n)}
	for i := range n {
		ok, err := w.encode(ctx, h, h.batch.At(i), w.fixed.name)
		if err != nil {
			return err
		}
		e := h.encoded
		if !ok && !e.failed {
			e.failed = true
			for j := range i {
				e.good = append(e.good, uint32(j))
			}
		} else if ok && e.failed {
			e.good = append(e.good, uint32(i))
		}
	}
	return nil
}
