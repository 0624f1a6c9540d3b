package expression

import (
	"fmt"
	"strings"
)

// Path is a place in a JSON document, in the form that the JSON editor takes.
type Path string

// escaper protects what has a meaning in the editor's paths.
var escaper = strings.NewReplacer(`\`, `\\`, `.`, `\.`, `|`, `\|`, `#`, `\#`, `@`, `\@`, `*`, `\*`, `?`, `\?`, `!`, `\!`, `{`, `\{`, `}`, `\}`, `[`, `\[`, `]`, `\]`, `(`, `\(`, `)`, `\)`, `=`, `\=`, `<`, `\<`, `>`, `\>`, `%`, `\%`, `:`, `\:`)

// ParsePath reads a JSON pointer ("/a/b", RFC 6901) or a dotted path ("a.b").
// Elements of lists are numbers.
func ParsePath(s string) (Path, error) {
	var parts []string
	switch {
	case s == "" || s == "/":
		return "", fmt.Errorf("an empty path; name a field, such as user.name or /user/name")
	case s[0] == '/':
		parts = strings.Split(s[1:], "/")
		for i, p := range parts {
			parts[i] = strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~")
		}
	default:
		parts = strings.Split(s, ".")
	}
	for i, p := range parts {
		if p == "" {
			return "", fmt.Errorf("path %q has an empty part", s)
		}
		parts[i] = escaper.Replace(p)
	}
	return Path(strings.Join(parts, ".")), nil
}
