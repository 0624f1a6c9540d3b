package yamlfile

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Resolver knows what references stand for.
type Resolver struct {
	// Env looks a variable up.
	Env func(name string) (string, bool)
	// ReadFile reads the file of a ${file:PATH}.
	ReadFile func(path string) ([]byte, error)
	// Dir is what a relative path is relative to.
	Dir string
	// SecretsAllowed says at which field paths a ${file:...} may stand.
	SecretsAllowed func(path string) bool
}

// span says where a part of a resolved text came from: byte start to end of the
// text from byte raw of the scalar; literal where it was copied.
type span struct {
	start, end, raw int
	literal         bool
}

// Resolve replaces the references in every scalar of v and types plain scalars
// again. It returns what is wrong, and every secret that was read: what stood in
// files, and in variables whose names say that they hold a secret.
func Resolve(v *Value, r Resolver) (problems []Problem, secrets []string) {
	w := &resolving{Resolver: r, done: make(map[*Value]bool)}
	w.walk(v, "")
	return w.problems, w.secrets
}

type resolving struct {
	Resolver
	done     map[*Value]bool // values that several aliases share
	problems []Problem
	secrets  []string
}

func (w *resolving) walk(v *Value, path string) {
	if w.done[v] {
		if v.Secret && w.SecretsAllowed != nil && !w.SecretsAllowed(path) {
			w.problem(v, path, 0, Reference, secretsHint, secretsMessage)
			v.Failed = true
		}
		return
	}
	w.done[v] = true
	for i, item := range v.Items {
		w.walk(item, Index(path, i))
	}
	for _, e := range v.Entries {
		w.walk(e.Value, Key(path, e.Key))
	}
	if strings.Contains(v.raw, "${") {
		w.scalar(v, path)
	}
}

// scalar resolves one scalar. Where something is wrong with it the text stays as
// it is and the value counts as a string.
func (w *resolving) scalar(v *Value, path string) {
	var text strings.Builder
	var spans []span
	add := func(s string, raw int, literal bool) {
		spans = append(spans, span{text.Len(), text.Len() + len(s), raw, literal})
		text.WriteString(s)
	}
	ok := true
	for i := 0; i < len(v.raw); {
		open := strings.Index(v.raw[i:], "${")
		if open < 0 {
			add(v.raw[i:], i, true)
			break
		}
		open += i
		if open > i && v.raw[open-1] == '$' {
			add(v.raw[i:open-1], i, true)
			add("${", open, true)
			i = open + 2
			continue
		}
		add(v.raw[i:open], i, true)
		end := strings.IndexByte(v.raw[open:], '}')
		if end < 0 {
			w.problem(v, path, open, Reference, "write $${ for a plain ${", "the reference has no closing brace")
			ok = false
			break
		}
		end += open
		value, found := w.reference(v, path, open, v.raw[open+2:end])
		if found && !utf8.ValidString(value) {
			w.problem(v, path, open, Reference, "", "what this reference stands for is not UTF-8 text")
			found = false
		}
		ok = ok && found
		add(value, open, false)
		i = end + 1
	}
	if !ok {
		v.Kind, v.Failed = String, true
		return
	}
	v.Text, v.spans = text.String(), spans
	if !v.Quoted {
		v.Kind = scalarKind(v.Text)
	}
	if v.Secret && !slices.Contains(w.secrets, v.Text) {
		w.secrets = append(w.secrets, v.Text)
	}
}

func (w *resolving) problem(v *Value, path string, at int, class Class, hint, format string, args ...any) {
	w.problems = append(w.problems, Problem{Pos: v.At(at), Path: path, Class: class, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// reference resolves what stands between the braces.
func (w *resolving) reference(v *Value, path string, at int, ref string) (string, bool) {
	v.Resolved = true
	name, fallback, hasFallback := strings.Cut(ref, ":-")
	if strings.Contains(ref, "${") {
		w.problem(v, path, at, Reference, "", "a reference cannot stand inside another")
		return "", false
	}
	if file, ok := strings.CutPrefix(name, "file:"); ok {
		if hasFallback {
			w.problem(v, path, at, Reference, "", "a file reference takes no default: a secret in this file would be none")
			return "", false
		}
		return w.file(v, path, at, file)
	}
	if scheme, rest, ok := strings.Cut(name, ":"); ok {
		if scheme != "env" {
			w.problem(v, path, at, Reference, "allowed: ${NAME}, ${env:NAME}, ${NAME:-default}, ${file:PATH}; write $${ for a plain ${",
				"unknown kind of reference %q", scheme)
			return "", false
		}
		name = rest
	}
	if !validName(name) {
		w.problem(v, path, at, Reference, "a name is made of letters, digits and _; write $${ for a plain ${", "%q is not the name of a variable", name)
		return "", false
	}
	value, ok := w.Env(name)
	switch {
	case hasFallback && value == "":
		return fallback, true
	case !ok:
		w.problem(v, path, at, Unset, fmt.Sprintf("set it, or give a default: ${%s:-...}", name), "the environment variable %s is not set", name)
	case secretName.MatchString(name):
		w.secrets = append(w.secrets, value)
		v.Secret = v.Secret || w.SecretsAllowed == nil || w.SecretsAllowed(path)
	}
	return value, ok
}

// secretName matches the names of variables that hold a secret by all custom.
var secretName = regexp.MustCompile(`(?i)SECRET|PASSWORD|PASSWD|PASSPHRASE|TOKEN|CREDENTIAL|(API|ACCESS|PRIVATE|AUTH)_?KEY`)

const (
	secretsMessage = "a file reference is a secret and has no place here"
	secretsHint    = "it may stand below nodes.*.config and plugins.*.env"
)

func (w *resolving) file(v *Value, path string, at int, name string) (string, bool) {
	if w.SecretsAllowed != nil && !w.SecretsAllowed(path) {
		w.problem(v, path, at, Reference, secretsHint, secretsMessage)
		return "", false
	}
	if name == "" {
		w.problem(v, path, at, Reference, "write ${file:PATH}", "the file reference names no file")
		return "", false
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(w.Dir, name)
	}
	data, err := w.ReadFile(name)
	switch {
	case err != nil:
		w.problem(v, path, at, File, "", "the file of this reference cannot be read: %v", err)
		return "", false
	case len(data) > MaxSize:
		w.problem(v, path, at, File, "", "the file of this reference has more than %d bytes", MaxSize)
		return "", false
	}
	v.Secret = true
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	w.secrets = append(w.secrets, text)
	return text, true
}

func validName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
