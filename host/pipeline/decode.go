package pipeline

import (
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/weirstream/weir/host/yamlfile"
)

// field is a value of the file with the path that leads to it. Its Value is nil
// where the file does not have the field.
type field struct {
	path string
	name string       // the key, where it is one of a map
	key  yamlfile.Pos // where the key stands
	*yamlfile.Value
}

func (f field) present() bool { return f.Value != nil }

// at is where to point for the field as a whole.
func (f field) at() yamlfile.Pos {
	if f.key.Line > 0 {
		return f.key
	}
	return f.pos()
}

// pos is where to point for the field's value.
func (f field) pos() yamlfile.Pos {
	if f.Value == nil {
		return yamlfile.Pos{Line: 1, Column: 1}
	}
	return f.Value.Pos
}

func (f field) item(i int) field {
	return field{path: yamlfile.Index(f.path, i), Value: f.Items[i]}
}

// fault reports at the field's value.
func (l *loader) fault(f field, code Code, hint, format string, args ...any) {
	l.faultAt(f.pos(), f.path, code, hint, format, args...)
}

// faultKey reports at the field's key.
func (l *loader) faultKey(f field, code Code, hint, format string, args ...any) {
	l.faultAt(f.at(), f.path, code, hint, format, args...)
}

func (l *loader) faultAt(pos yamlfile.Pos, path string, code Code, hint, format string, args ...any) {
	l.faults = append(l.faults, Fault{Line: pos.Line, Column: pos.Column, Field: path,
		Message: fmt.Sprintf(format, args...), Hint: hint, Code: code})
}

func (l *loader) warn(f field, code Code, hint, format string, args ...any) {
	l.faultKey(f, code, hint, format, args...)
	l.faults[len(l.faults)-1].Severity = SeverityWarning
}

// fields returns the fields of a map and reports those that are not known. An
// absent or empty map has none.
func (l *loader) fields(f field, known ...string) map[string]field {
	found := make(map[string]field)
	for _, e := range l.entries(f) {
		if !slices.Contains(known, e.name) {
			l.unknownField(e, f.path, known)
			continue
		}
		found[e.name] = e
	}
	return found
}

// unknownField reports a field of the object at path, and remembers what it was
// probably meant to be.
func (l *loader) unknownField(f field, path string, known []string) {
	hint := Suggest(f.name, known)
	if len(known) == 0 {
		hint = "no fields are known here"
	}
	l.faultKey(f, CodeUnknownField, hint, "unknown field %q", f.name)
	if meant := Nearest(f.name, known); meant != "" {
		l.meant[yamlfile.Key(path, meant)] = true
	}
}

// missing says whether a field of an object is not there, under no name.
func (l *loader) missing(object field, fs map[string]field, name string) bool {
	return !fs[name].present() && !l.meant[yamlfile.Key(object.path, name)]
}

// entries returns the entries of a map in the order of the file.
func (l *loader) entries(f field) []field {
	if !f.present() || f.Failed || f.Kind == yamlfile.Null {
		return nil
	}
	if f.Kind != yamlfile.Map {
		l.wrongType(f, "a map")
		return nil
	}
	var list []field
	for _, e := range f.Entries {
		list = append(list, field{path: yamlfile.Key(f.path, e.Key), name: e.Key, key: e.KeyPos, Value: e.Value})
	}
	return list
}

// wrongType says what a field must be. It shows a scalar as the file has it,
// which is never what a reference stands for.
func (l *loader) wrongType(f field, want string) {
	l.fault(f, CodeType, "", "must be %s, not %s", want, shown(f.Value))
}

func shown(v *yamlfile.Value) string {
	switch v.Kind {
	case yamlfile.Null, yamlfile.List, yamlfile.Map:
		return v.Kind.String()
	}
	text := v.Written()
	if r := []rune(text); len(r) > 40 {
		text = string(r[:40]) + "…"
	}
	if v.Quoted || v.Kind == yamlfile.String {
		return fmt.Sprintf("%q", text)
	}
	return text
}

// scalar returns a scalar's text if the value counts as one of the wanted kinds.
// What a reference stood for counts as a string, and as whatever it looks like.
func scalar(v *yamlfile.Value, kinds ...yamlfile.Kind) (string, bool) {
	if v.Kind == yamlfile.List || v.Kind == yamlfile.Map {
		return "", false
	}
	if slices.Contains(kinds, v.Kind) {
		return v.Text, true
	}
	if !v.Resolved {
		return "", false
	}
	return v.Text, slices.Contains(kinds, yamlfile.String) || slices.Contains(kinds, v.Retyped().Kind)
}

// text reads a string that is not empty.
func (l *loader) text(f field) (string, bool) {
	if f.Failed {
		return "", false
	}
	s, ok := scalar(f.Value, yamlfile.String)
	switch {
	case ok && s == "":
		l.fault(f, CodeValue, "", "must not be empty")
		return "", false
	case !ok && (f.Kind == yamlfile.Int || f.Kind == yamlfile.Float || f.Kind == yamlfile.Bool):
		l.fault(f, CodeType, fmt.Sprintf("write %q", f.Written()), "must be a string, not %s", shown(f.Value))
	case !ok:
		l.wrongType(f, "a string")
	}
	return s, ok
}

// oneOf reads one of several words.
func (l *loader) oneOf(f field, allowed ...string) (string, bool) {
	s, ok := l.text(f)
	if ok && !slices.Contains(allowed, s) {
		hint := ""
		if best := Nearest(f.Written(), allowed); best != "" {
			hint = fmt.Sprintf("did you mean %q?", best)
		}
		l.fault(f, CodeValue, hint, "must be one of %s, not %s", enumerate(allowed), shown(f.Value))
		return "", false
	}
	return s, ok
}

// integer reads an integer within bounds.
func (l *loader) integer(f field, least, most int) (int, bool) {
	if f.Failed {
		return 0, false
	}
	s, ok := scalar(f.Value, yamlfile.Int)
	if !ok {
		l.wrongType(f, "an integer")
		return 0, false
	}
	n, ok := parseInt(s)
	if !ok || n.Cmp(big.NewInt(int64(least))) < 0 || n.Cmp(big.NewInt(int64(most))) > 0 {
		want := fmt.Sprintf("between %d and %d", least, most)
		if least == most {
			want = fmt.Sprint(least)
		}
		l.fault(f, CodeRange, "", "must be %s, not %s", want, f.Written())
		return 0, false
	}
	return int(n.Int64()), true
}

// duration reads a duration within bounds.
func (l *loader) duration(f field, least, most time.Duration) (time.Duration, bool) {
	return parsed(l, f, parseDuration, least, most, formatDuration, aDuration)
}

// size reads a number of bytes within bounds.
func (l *loader) size(f field, least, most int64) (int64, bool) {
	return parsed(l, f, ParseBytes, least, most, formatBytes, aSize)
}

const (
	aDuration = `a duration such as "30s" or "1m30s"`
	aSize     = `a size such as "256KiB", "1MB" or 4096`
)

// unitHint says which units there are where a duration or a size could not be read.
func unitHint(f field, want string) string {
	switch {
	case want == aDuration && f.Kind == yamlfile.Int:
		return "a bare number has no unit"
	case want == aDuration && f.Kind == yamlfile.String:
		return "units: h, m, s, ms, us, ns"
	case want == aSize && f.Kind == yamlfile.String:
		return "units: KB, MB, GB, TB, KiB, MiB, GiB, TiB"
	}
	return ""
}

// parsed reads a value that is written as a string or a number.
func parsed[T ~int64](l *loader, f field, parse func(string) (T, error), least, most T, format func(T) string, want string) (T, bool) {
	if f.Failed {
		return 0, false
	}
	s, ok := scalar(f.Value, yamlfile.String, yamlfile.Int, yamlfile.Float)
	if !ok {
		l.wrongType(f, want)
		return 0, false
	}
	v, err := parse(s)
	switch {
	case err != nil:
		l.fault(f, CodeType, unitHint(f, want), "must be %s, not %s", want, shown(f.Value))
		return 0, false
	case v < least || v > most:
		l.fault(f, CodeRange, "", "must be between %s and %s, not %s", format(least), format(most), f.Written())
		return 0, false
	}
	return v, true
}
