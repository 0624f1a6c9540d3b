package pipeline

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/weirstream/weir/host/pipeline/internal/yamlfile"
)

// Redacted stands where a secret was.
const Redacted = "[secret]"

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

// shortSecret is the length below which a secret is not looked for in every
// message: it would be found in ordinary words.
const shortSecret = 4

// report gathers the faults. Messages of this package do not show secrets; those
// of components and of the operating system are searched for them.
func (l *loader) report(file string) Report {
	slices.SortFunc(l.secrets, func(a, b string) int { return len(b) - len(a) })
	for i := range l.faults {
		f := &l.faults[i]
		f.File = file
		for _, s := range l.secrets {
			if len(s) >= shortSecret {
				f.Message, f.Hint = hide(f.Message, s), hide(f.Hint, s)
			}
		}
		f.Field, f.Message, f.Hint = printable(f.Field), printable(f.Message), printable(f.Hint)
	}
	r := Report{Faults: l.faults}
	r.sort()
	return r
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

// hide replaces a secret as it is and as it looks in quotes.
func hide(text, secret string) string {
	text = strings.ReplaceAll(text, secret, Redacted)
	quoted := strconv.Quote(secret)
	return strings.ReplaceAll(text, quoted[1:len(quoted)-1], Redacted)
}
