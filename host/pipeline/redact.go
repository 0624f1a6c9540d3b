package pipeline

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/weirstream/weir/host/secret"
	"github.com/weirstream/weir/host/yamlfile"
)

// Redacted stands where a secret was.
const Redacted = secret.Redacted

// RedactedConfig is Config with every secret replaced, for people to read.
func (n *Node) RedactedConfig() json.RawMessage {
	dec := json.NewDecoder(bytes.NewReader(n.Config))
	dec.UseNumber()
	var config any
	if err := dec.Decode(&config); err != nil {
		return json.RawMessage("{}")
	}
	out, err := canonical(redact(config, "", n.SecretPaths))
	if err != nil {
		return json.RawMessage("{}")
	}
	return out
}

func redact(v any, path string, secrets []string) any {
	if path != "" && slices.Contains(secrets, path) {
		return Redacted
	}
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = redact(v[key], yamlfile.Key(path, key), secrets)
		}
	case []any:
		for i := range v {
			v[i] = redact(v[i], yamlfile.Index(path, i), secrets)
		}
	}
	return v
}

// Mask replaces the secrets of the pipeline in a text, but those too short to be told
// from ordinary words.
func (p *Pipeline) Mask(text string) string { return p.mask.Text(text) }

// report gathers the faults. Messages of this package do not show secrets; those
// of components and of the operating system are searched for them.
func (l *loader) report(file string) Report {
	for i := range l.faults {
		f := &l.faults[i]
		f.File = file
		f.Message, f.Hint = l.mask.Text(f.Message), l.mask.Text(f.Hint)
		f.Field, f.Message, f.Hint = printable(f.Field), printable(f.Message), printable(f.Hint)
	}
	r := Report{Faults: l.faults}
	r.Sort()
	return r
}

// quotation is a part of a message that stands in quotes.
var quotation = regexp.MustCompile(`"[^"]+"`)

// hideQuoted hides what a message about a secret quotes of it: a compiler, say, shows
// the word that it did not expect.
func (l *loader) hideQuoted(message string) string {
	return quotation.ReplaceAllStringFunc(message, func(q string) string {
		part := q[1 : len(q)-1]
		if slices.ContainsFunc(l.secrets, func(s string) bool { return strings.Contains(s, part) }) {
			return `"` + Redacted + `"`
		}
		return q
	})
}

// printable keeps a text that a file or a plugin had a hand in on one line, and
// harmless to a terminal.
func printable(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}
