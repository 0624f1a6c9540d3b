// Package yamlfile reads a YAML file into a small tree in which every value
// knows where it stands, and resolves references such as ${env:X} in it.
//
// The tree is simpler than YAML: aliases, merge keys and tags are gone, keys are
// strings, and a scalar has its type and its text. Nothing that a file holds
// makes this package panic, run for long or use much memory: size, depth and
// the number of values that aliases multiply to are bounded.
package yamlfile

import (
	"strconv"
	"strings"
)

// Pos is a place in the file; both count from 1, columns in characters.
type Pos struct{ Line, Column int }

// Kind is the type of a value.
type Kind int

// The kinds of a value. Int covers integers of any size.
const (
	Null Kind = iota
	Bool
	Int
	Float
	String
	List
	Map
)

// String is the kind with its article, for messages.
func (k Kind) String() string {
	return [...]string{"empty", "a boolean", "an integer", "a number", "a string", "a list", "a map"}[k]
}

// Value is a scalar, a list or a map. Values below an alias are shared with its
// anchor.
type Value struct {
	Kind Kind
	// Pos is where the value begins: its quote, its bracket, the header of its
	// block.
	Pos Pos
	// Text is a scalar's content, with references resolved.
	Text string
	// Quoted says that a scalar is quoted, a block or tagged !!str: a string,
	// whatever it looks like.
	Quoted bool
	// Resolved says that the text holds what a reference stood for, and Secret
	// that one of them was to a file. Then Text is not for messages.
	Resolved, Secret bool
	// Failed says that a reference could not be resolved: the problem is recorded,
	// and Text means nothing.
	Failed  bool
	Items   []*Value
	Entries []Entry

	text  *source
	size  int
	style style
	raw   string // the text before references were resolved
	spans []span // where the text came from; nil where it is raw
}

// Entry is one key of a map with its value.
type Entry struct {
	Key    string
	KeyPos Pos
	Value  *Value
	// Merged says that it came in by a merge key; an entry of the map's own of the
	// same key has replaced it.
	Merged bool
}

// Written is the scalar as the file has it, references unresolved: what a
// message may show, as long as the field itself is not a secret one.
func (v *Value) Written() string {
	if v.text == nil {
		return v.Text
	}
	return v.raw
}

// Get returns the value of a key, or nil.
func (v *Value) Get(key string) *Value {
	for _, e := range v.Entries {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

// Retyped is the value read as a plain scalar. It is how a string that holds
// a reference counts as a number where a number is expected.
func (v *Value) Retyped() *Value {
	c := *v
	c.Kind = scalarKind(v.Text)
	return &c
}

// Key appends a key to a field path, Index an index.
func Key(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Index appends a list index to a field path.
func Index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// scalarKind is the type of a plain scalar by the core schema of YAML 1.2.
func scalarKind(s string) Kind {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return Null
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return Bool
	case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", ".nan", ".NaN", ".NAN":
		return Float
	}
	if digits, ok := strings.CutPrefix(s, "0x"); ok && all(digits, "0123456789abcdefABCDEF") {
		return Int
	}
	if digits, ok := strings.CutPrefix(s, "0o"); ok && all(digits, "01234567") {
		return Int
	}
	n := s
	if n[0] == '+' || n[0] == '-' {
		n = n[1:]
	}
	if all(n, "0123456789") {
		return Int
	}
	if n != "" && strings.Trim(n, "0123456789.eE+-") == "" && strings.ContainsAny(n, "0123456789") {
		if _, err := strconv.ParseFloat(s, 64); err == nil || isRange(err) {
			return Float
		}
	}
	return String
}

func all(s, set string) bool { return s != "" && strings.Trim(s, set) == "" }
