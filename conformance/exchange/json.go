package exchange

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/weirstream/weir/proto/wire"
)

// line is a record as JSON has it. Bytes are a string where they are UTF-8, else
// {"base64": "..."}.
type line struct {
	Key     json.RawMessage `json:"key,omitempty"`
	Value   json.RawMessage `json:"value"`
	Time    json.RawMessage `json:"time,omitempty"`
	Headers json.RawMessage `json:"headers,omitempty"`
}

// Append appends the record's JSON, without a newline.
func Append(b []byte, r Record) []byte {
	l := line{Value: encode(r.Value)}
	if r.Key != nil {
		l.Key = encode(r.Key)
	}
	if r.Time != wire.NoTime {
		l.Time = fmt.Appendf(nil, "%d", r.Time)
	}
	if len(r.Headers) > 0 {
		pairs := make([][2]json.RawMessage, len(r.Headers))
		for i, h := range r.Headers {
			pairs[i] = [2]json.RawMessage{encode([]byte(h.Name)), encode(h.Value)}
		}
		l.Headers = marshal(pairs)
	}
	return append(b, marshal(l)...)
}

func encode(v []byte) json.RawMessage {
	switch {
	case v == nil:
		return json.RawMessage("null")
	case utf8.Valid(v):
		return marshal(string(v))
	}
	return marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(v)})
}

// marshal keeps <, > and & as they are. What it is given can always be encoded.
func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// Parse reads one record from a JSON object. A field that is not there is null,
// and Has says which are.
func Parse(object []byte) (Expected, error) {
	var out Expected
	out.Time = wire.NoTime
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(object, &fields); err != nil {
		return out, fmt.Errorf("a record is a JSON object: %w", err)
	}
	for name, raw := range fields {
		var err error
		switch name {
		case "key":
			out.Has.Key = true
			out.Key, err = decode(raw)
		case "value":
			out.Has.Value = true
			out.Value, err = decode(raw)
		case "time":
			out.Has.Time = true
			out.Time, err = decodeTime(raw)
		case "headers":
			out.Has.Headers = true
			out.Headers, err = decodeHeaders(raw)
		default:
			err = errors.New("is none of key, value, time, headers")
		}
		if err != nil {
			return out, fmt.Errorf("%q %w", name, err)
		}
	}
	return out, nil
}

func decode(raw json.RawMessage) ([]byte, error) {
	if isNull(raw) {
		return nil, nil
	}
	if raw[0] == '"' {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, err
		}
		return []byte(s), nil
	}
	var object struct {
		Base64 *string `json:"base64"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&object); err != nil || object.Base64 == nil {
		return nil, errors.New(`is a string, null or {"base64": "..."}`)
	}
	b, err := base64.StdEncoding.DecodeString(*object.Base64)
	if err != nil {
		return nil, fmt.Errorf("is no base64: %w", err)
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

func decodeTime(raw json.RawMessage) (int64, error) {
	if isNull(raw) {
		return wire.NoTime, nil
	}
	var t int64
	if err := json.Unmarshal(raw, &t); err != nil {
		return 0, errors.New("is an integer, nanoseconds since the Unix epoch, or null")
	}
	return t, nil
}

func decodeHeaders(raw json.RawMessage) ([]Header, error) {
	if isNull(raw) {
		return nil, nil
	}
	var pairs [][]json.RawMessage
	if err := json.Unmarshal(raw, &pairs); err != nil {
		return nil, errors.New(`is a list of pairs: [["name", "value"], ...]`)
	}
	var out []Header
	for _, p := range pairs {
		if len(p) != 2 {
			return nil, errors.New(`is a list of pairs: [["name", "value"], ...]`)
		}
		name, err := decode(p[0])
		if err != nil || name == nil {
			return nil, errors.New("has a header whose name is no string")
		}
		value, err := decode(p[1])
		if err != nil {
			return nil, fmt.Errorf("has a header %q whose value %w", name, err)
		}
		out = append(out, Header{string(name), value})
	}
	return out, nil
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

// Format is how records are exchanged with a command.
type Format string

const (
	// JSONLines is a JSON object a line.
	JSONLines Format = "jsonl"
	// Lines is a value a line, as it is: no keys, times or headers, no null, no
	// newline in a value.
	Lines Format = "lines"
)

// Write writes records in the format.
func Write(w io.Writer, f Format, records []Record) error {
	out := bufio.NewWriter(w)
	var b []byte
	for _, r := range records {
		if f == Lines {
			b = append(b[:0], r.Value...)
		} else {
			b = Append(b[:0], r)
		}
		if _, err := out.Write(append(b, '\n')); err != nil {
			return err
		}
	}
	return out.Flush()
}

// Read reads records in the format to the end of r. Empty lines of JSON lines are
// passed over.
func Read(r io.Reader, f Format) ([]Record, error) {
	in := bufio.NewReader(r)
	var out []Record
	for n := 1; ; n++ {
		text, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if end := len(text) == 0 && err != nil; end {
			return out, nil
		}
		text = bytes.TrimSuffix(text, []byte{'\n'})
		switch {
		case f == Lines:
			out = append(out, Record{Value: append([]byte{}, text...), Time: wire.NoTime})
		case strings.TrimSpace(string(text)) == "":
		default:
			e, err := Parse(text)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w: %s", n, err, show(text))
			}
			out = append(out, e.Record)
		}
	}
}
