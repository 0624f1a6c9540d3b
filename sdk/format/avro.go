package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/twmb/avro"

	"github.com/weirstream/weir/sdk"
)

// Avro configures Avro's binary encoding.
type Avro struct {
	Schema     json.RawMessage `weir:"schema" xor:"schema" doc:"The schema, written out as part of the pipeline, or as JSON text."`
	SchemaFile string          `weir:"schema_file" xor:"schema" doc:"A file that holds the schema as JSON (.avsc). Each host needs it."`
	Unknown    string          `weir:"unknown_fields" default:"fail" enum:"fail,drop" doc:"What becomes of a field of a written value that the schema does not have: the record fails, or the field is left out."`
}

// HasSchema reports whether the configuration gives a schema.
func (a *Avro) HasSchema() bool { return a != nil && (len(a.Schema) > 0 || a.SchemaFile != "") }

// Validate implements [sdk.Validator].
func (a *Avro) Validate() []sdk.FieldError {
	if !a.HasSchema() {
		return nil
	}
	_, fault := a.parse()
	if fault != nil {
		return []sdk.FieldError{*fault}
	}
	return nil
}

// Parse reads the schema. The error says where in the schema it is.
func (a *Avro) Parse() (*AvroSchema, error) {
	s, fault := a.parse()
	if fault != nil {
		return nil, *fault
	}
	return s, nil
}

func (a *Avro) parse() (*AvroSchema, *sdk.FieldError) {
	fault := func(field, format string, args ...any) *sdk.FieldError {
		f := sdk.Faultf(field, format, args...)
		return &f
	}
	text, inline := a.Schema, true
	field := "schema"
	switch {
	case a.SchemaFile != "":
		field, inline = "schema_file", false
		read, err := os.ReadFile(a.SchemaFile)
		if err != nil {
			return nil, fault(field, "%v", err)
		}
		text = read
	case len(text) > 0 && text[0] == '"':
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, fault(field, "%v", err)
		}
		// A bare word is the name of a primitive type.
		if t := bytes.TrimSpace([]byte(s)); len(t) > 0 && bytes.IndexByte([]byte(`{["`), t[0]) >= 0 {
			text, inline = t, false
		}
	}
	s, err := ParseAvro(string(text))
	if err == nil {
		return s, nil
	}
	place, message := locate(string(text), err)
	switch {
	case inline && place != "" && place[0] != '[':
		return nil, fault(field+"."+place, "%s", message)
	case inline:
		return nil, fault(field+place, "%s", message)
	case place != "":
		return nil, fault(field, "%s: %s", place, message)
	}
	return nil, fault(field, "%s", message)
}

// AvroSchema is a schema that can be decoded and encoded with. It never changes.
type AvroSchema struct {
	text   string
	schema *avro.Schema
	root   *avroNode
}

// ParseAvro reads a schema from its JSON.
func ParseAvro(text string) (*AvroSchema, error) { return parseAvro(text, new(avro.SchemaCache)) }

// parseAvro reads a schema which may use the types that known holds.
func parseAvro(text string, known *avro.SchemaCache) (*AvroSchema, error) {
	schema, err := known.Parse(text)
	if err != nil {
		return nil, err
	}
	root, err := compileAvro(schema)
	if err != nil {
		return nil, err
	}
	return &AvroSchema{text, schema, root}, nil
}

// String returns the schema's JSON.
func (s *AvroSchema) String() string { return s.text }

// Name is the full name of a record, enum or fixed; empty for other types.
func (s *AvroSchema) Name() string { return s.root.name }

// Decoder returns a decoder. most bounds the bytes of a value, since little Avro
// can be much JSON.
func (s *AvroSchema) Decoder(most int) Decoder { return &avroDecoder{root: s.root, most: most} }

// Encoder returns an encoder. drop leaves out what the schema does not have.
func (s *AvroSchema) Encoder(drop bool) Encoder { return &avroEncoder{root: s.root, drop: drop} }

// DropsUnknown reports whether unknown_fields says so.
func (a *Avro) DropsUnknown() bool { return a != nil && a.Unknown == "drop" }

// syntaxPlace says at which line and column of a text an offset is.
func syntaxPlace(text string, offset int64) string {
	before := text[:min(max(offset-1, 0), int64(len(text)))]
	line := bytes.Count([]byte(before), []byte("\n")) + 1
	return fmt.Sprintf("line %d, column %d", line, len(before)-bytes.LastIndexByte([]byte(before), '\n'))
}
