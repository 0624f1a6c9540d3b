package format

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/weirstream/weir/sdk"
)

// wireHeader is what precedes a value that names its schema: a zero, and the
// schema's id.
const wireHeader = 5

// Decoder returns a decoder of values that begin with the id of their schema, as
// Confluent's serializers write them. most is as for [AvroSchema.Decoder].
func (s *Schemas) Decoder(most int) Decoder {
	return &wireDecoder{schemas: s, avro: avroDecoder{most: most}}
}

type wireDecoder struct {
	schemas *Schemas
	avro    avroDecoder // of the schema last
	last    uint32
}

// Decode implements [Decoder].
func (d *wireDecoder) Decode(ctx context.Context, dst, in []byte) ([]byte, error) {
	switch {
	case len(in) < wireHeader:
		return dst, fmt.Errorf("the value has %d bytes, too few for the id of a schema: was it written with a schema registry?", len(in))
	case in[0] != 0:
		return dst, fmt.Errorf("the value begins with byte %d and not with 0 and the id of a schema: was it written with a schema registry?", in[0])
	}
	id := binary.BigEndian.Uint32(in[1:])
	if d.avro.root == nil || id != d.last {
		schema, err := d.schemas.byID(ctx, id)
		if err != nil {
			return dst, err
		}
		d.avro.root, d.last = schema.root, id
	}
	return d.avro.Decode(ctx, dst, in[wireHeader:])
}

// Encoder returns an encoder of values that begin with the id of their schema: of
// the one given, or of the newest of the subject where schema is nil. What it needs
// of the registry it asks for when it is first used.
func (s *Schemas) Encoder(subject string, schema *AvroSchema, drop bool) *SubjectEncoder {
	return &SubjectEncoder{schemas: s, subject: subject, schema: schema, avro: avroEncoder{drop: drop}}
}

// SubjectEncoder is an [Encoder] that names a schema of a registry.
type SubjectEncoder struct {
	schemas *Schemas
	subject string
	schema  *AvroSchema // nil: the subject's newest
	avro    avroEncoder
	id      uint32
}

// Ready asks the registry for the schema's id, unless it has been asked. Encode does
// so too.
func (e *SubjectEncoder) Ready(ctx context.Context) error {
	if e.avro.root != nil {
		return nil
	}
	id, schema, err := e.resolve(ctx)
	switch {
	case err == nil:
		e.id, e.avro.root = uint32(id), schema.root
		return nil
	case IsOutside(err) || ctx.Err() != nil:
		return err
	}
	// It is about the schema, which all records have.
	return &outsideError{sdk.Fatal(fmt.Errorf("schema registry %s, subject %s: %w", e.schemas.config.URL, e.subject, err))}
}

func (e *SubjectEncoder) resolve(ctx context.Context) (id int, schema *AvroSchema, err error) {
	s := e.schemas
	if e.schema == nil {
		var newest sr.SubjectSchema
		err = s.ask(ctx, func(ctx context.Context) (err error) {
			newest, err = s.client.SchemaByVersion(ctx, e.subject, -1)
			return err
		})
		if err == nil {
			schema, err = s.parse(ctx, newest.Schema)
		}
		return newest.ID, schema, err
	}
	written := sr.Schema{Schema: e.schema.text, Type: sr.TypeAvro}
	err = s.ask(ctx, func(ctx context.Context) (err error) {
		if s.config.Register {
			id, err = s.client.RegisterSchema(ctx, e.subject, written, -1, -1)
			return err
		}
		found, err := s.client.LookupSchema(ctx, e.subject, written)
		id = found.ID
		return err
	})
	var answer *sr.ResponseError
	switch {
	case err == nil || IsOutside(err) || !errors.As(err, &answer):
	case answer.StatusCode == 409:
		err = fmt.Errorf("the schema does not go with those before it: %w", err)
	case answer.StatusCode == 404 && !s.config.Register:
		err = fmt.Errorf("the subject does not have the schema, and register is false: %w", err)
	}
	return id, e.schema, err
}

// Encode implements [Encoder].
func (e *SubjectEncoder) Encode(ctx context.Context, dst, value []byte) ([]byte, error) {
	if err := e.Ready(ctx); err != nil {
		return dst, err
	}
	start := len(dst)
	out, err := e.avro.Encode(ctx, binary.BigEndian.AppendUint32(append(dst, 0), e.id), value)
	if err != nil {
		return dst[:start], err
	}
	return out, nil
}
