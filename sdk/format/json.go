package format

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

var (
	errNotJSON = errors.New("the value is not valid JSON")
	errNotUTF8 = errors.New("is not valid UTF-8")
)

// JSON is the format of values that are JSON outside too. It only checks them:
// numbers, the order of members and their names stay as they are.
type JSON struct {
	// OneLine takes out the white space of a value that has a newline in it.
	OneLine bool
}

// Decode implements [Decoder].
func (j JSON) Decode(ctx context.Context, dst, in []byte) ([]byte, error) {
	return j.Encode(ctx, dst, in)
}

// Encode implements [Encoder].
func (j JSON) Encode(_ context.Context, dst, value []byte) ([]byte, error) {
	if err := checkJSON(value); err != nil {
		return dst, err
	}
	value = bytes.Trim(value, " \t\r\n")
	if !j.OneLine || bytes.IndexByte(value, '\n') < 0 {
		return append(dst, value...), nil
	}
	b := bytes.NewBuffer(dst)
	if err := json.Compact(b, value); err != nil {
		return dst, errNotJSON
	}
	return b.Bytes(), nil
}

// checkJSON says whether value is JSON, not too deep and in UTF-8.
func checkJSON(value []byte) error {
	// Before the validator, which is recursive.
	if tooDeep(value) {
		return errDeep
	}
	if !gjson.ValidBytes(value) || !utf8.Valid(value) {
		return errNotJSON
	}
	return nil
}

// tooDeep says whether a value is nested too deep, if it is JSON.
func tooDeep(value []byte) bool {
	if bytes.Count(value, []byte("["))+bytes.Count(value, []byte("{")) <= MaxDepth {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[', c == '{':
			if depth++; depth > MaxDepth {
				return true
			}
		case c == ']', c == '}':
			depth--
		}
	}
	return false
}

const hexDigits = "0123456789abcdef"

// plainText has those bytes set that a JSON string holds as they are.
var plainText = func() (t [256]bool) {
	for i := range t {
		t[i] = i >= ' ' && i != '"' && i != '\\'
	}
	return t
}()

// appendString appends a JSON string of text, which must be UTF-8.
func appendString(dst, text []byte) ([]byte, error) {
	if !utf8.Valid(text) {
		return dst, errNotUTF8
	}
	dst = append(dst, '"')
	start := 0
	for i, c := range text {
		if plainText[c] {
			continue
		}
		dst = append(dst, text[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(dst, text[start:]...), '"'), nil
}

// kindOf names a JSON value in errors.
func kindOf(r gjson.Result) string {
	switch {
	case r.IsObject():
		return "an object"
	case r.IsArray():
		return "a list"
	case r.Type == gjson.Null:
		return "null"
	case r.Type == gjson.True, r.Type == gjson.False:
		return r.Raw
	case r.Type == gjson.Number:
		return "the number " + clip(r.Raw)
	}
	return "the string " + clip(r.Raw)
}

// clip shortens a literal for errors.
func clip(raw string) string {
	const most = 60
	if len(raw) > most {
		return raw[:most] + "..."
	}
	return raw
}
