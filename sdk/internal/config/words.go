package config

import (
	"encoding/json"
	"strconv"
	"strings"
)

// shownBytes bounds how much of a value a message repeats.
const shownBytes = 64

// shown returns a scalar as a message repeats it.
func shown(raw json.RawMessage) string {
	if s, err := String(raw); err == nil {
		if len(s) > shownBytes {
			return strconv.Quote(strings.ToValidUTF8(s[:shownBytes], "")) + "..."
		}
		return strconv.Quote(s)
	}
	if len(raw) > shownBytes {
		return string(raw[:shownBytes]) + "..."
	}
	return string(raw)
}

func kindOf(raw json.RawMessage) string {
	switch raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "nothing"
	}
	return "a number"
}

func withValue(raw json.RawMessage) string {
	switch raw[0] {
	case '"':
		return "the string " + shown(raw)
	case 't', 'f', 'n':
		return string(raw)
	}
	return "the number " + shown(raw)
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = strconv.Quote(n)
	}
	return strings.Join(quoted, ", ")
}

// unknown is the message for a field that o does not have; into is the struct.
func (o *object) unknown(name string, into any) string {
	if h, ok := into.(interface{ Hint(field string) string }); ok {
		if hint := h.Hint(name); hint != "" {
			return "unknown field: " + hint
		}
	}
	names := make([]string, len(o.fields))
	for i, f := range o.fields {
		names[i] = f.name
	}
	const message = "unknown field"
	if hint := didYouMean(name, names); hint != "" {
		return message + hint
	}
	if len(names) == 0 {
		return message + "; there are none here"
	}
	return message + "; there are " + quoteAll(names)
}

// didYouMean returns a hint at the name nearest to got, empty where none is near.
func didYouMean(got string, names []string) string {
	best, bestName := len(got)/3+1, ""
	for _, name := range names {
		if d := distance(normal(got), normal(name)); d < best || d == best && bestName == "" {
			best, bestName = d, name
		}
	}
	if bestName == "" || best >= len(bestName) {
		return ""
	}
	return "; did you mean " + strconv.Quote(bestName) + "?"
}

// normal makes names alike that people take for each other.
func normal(name string) string {
	return strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(name))
}

// distance is the Levenshtein distance of two short strings, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
