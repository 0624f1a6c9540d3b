package view

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/weirstream/weir/host/api"
)

// secretNames are endings of names, in lower case and without separators, whose
// values are nobody's to see: password, client_secret, X-Api-Key.
var secretNames = []string{
	"password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "secretkey", "privatekey",
	"authorization", "cookie", "credential", "credentials",
}

// maxDepth is how deep values are looked into; what lies deeper is masked as a whole.
const maxDepth = 64

// Mask keeps what is secret out of records: the values of a pipeline's secrets, and
// fields of JSON values and headers by their names.
type Mask struct {
	secrets func(string) string
	names   func(string) bool
}

// NewMask returns a mask of the secrets that a function replaces in texts, and of
// fields by name beside those whose names look secret.
func NewMask(secrets func(string) string, fields []string) *Mask {
	more := map[string]bool{}
	for _, f := range fields {
		more[plainName(f)] = true
	}
	return &Mask{secrets: secrets, names: func(name string) bool {
		name = plainName(name)
		return more[name] || slices.ContainsFunc(secretNames, func(end string) bool { return strings.HasSuffix(name, end) })
	}}
}

// plainName is a name without what people write differently.
func plainName(name string) string {
	return strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(strings.ToLower(name))
}

// text masks a key or a value.
func (m *Mask) text(b []byte) string {
	if t := bytes.TrimLeft(b, " \t\r\n"); len(t) > 0 && (t[0] == '{' || t[0] == '[') {
		if json.Valid(b) {
			b = m.json(b, 0)
		} else {
			b = m.broken(b)
		}
	}
	return m.secrets(string(b))
}

// fieldName is the name of a field, up to its value.
var fieldName = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"\s*:\s*`)

// scalar is a value that is no object and no list, as much of it as there is.
var scalar = regexp.MustCompile(`^(?:"(?:[^"\\]|\\.)*"?|[^\s,}\]]*)`)

// broken masks fields of what is no JSON but was meant as such: it is cut off, or has a
// fault. Where a secret object or list ends cannot be told, so all behind it is masked.
func (m *Mask) broken(b []byte) []byte {
	var out []byte
	done := 0
	for _, at := range fieldName.FindAllSubmatchIndex(b, -1) {
		value := at[1]
		if value < done || !m.names(string(b[at[2]:at[3]])) {
			continue
		}
		end := len(b)
		if value < end && b[value] != '{' && b[value] != '[' {
			end = value + len(scalar.Find(b[value:]))
		}
		out = append(append(out, b[done:value]...), `"`+api.Masked+`"`...)
		done = end
	}
	return append(out, b[done:]...)
}

// json masks fields of a value that is valid, and leaves all else as it is written.
func (m *Mask) json(b []byte, depth int) []byte {
	d := json.NewDecoder(bytes.NewReader(b))
	open, err := d.Token()
	if err != nil {
		return b
	}
	if depth > maxDepth {
		return []byte(`"` + api.Masked + `"`)
	}
	var out []byte
	done := 0
	for d.More() {
		secret := false
		if open == json.Delim('{') {
			name, _ := d.Token()
			text, _ := name.(string)
			secret = m.names(text)
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return b
		}
		var masked []byte
		switch {
		case secret:
			masked = []byte(`"` + api.Masked + `"`)
		case value[0] == '{' || value[0] == '[':
			masked = m.json(value, depth+1)
		default:
			continue
		}
		end := int(d.InputOffset())
		out = append(append(out, b[done:end-len(value)]...), masked...)
		done = end
	}
	return append(out, b[done:]...)
}
