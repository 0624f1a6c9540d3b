package pipetest

import (
	"bytes"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/weirstream/weir/conformance/exchange"
)

// compare returns a diff of what was expected and what came, in JSON lines with the
// fields that the case gives, or "" where they agree.
func compare(e Expectation, got []exchange.Record, anyOrder bool) string {
	expected := e.Records
	if anyOrder {
		expected, got = unpaired(expected, got)
	}
	want := make([]string, len(expected))
	for i, r := range expected {
		want[i] = show(r.Record, r.Has, r.JSON != nil)
	}
	came := make([]string, len(got))
	for i, r := range got {
		fields, asJSON := fieldsFor(expected, i)
		came[i] = show(r, fields, asJSON)
	}
	if slices.Equal(want, came) {
		return ""
	}
	_, text, _ := strings.Cut(string(diff.Diff("expected", lines(want), "got", lines(came))), "\n")
	return text
}

// unpaired leaves out what agrees: each expected record takes the first that agrees
// with it.
func unpaired(expected []Expected, got []exchange.Record) ([]Expected, []exchange.Record) {
	got = slices.Clone(got)
	var open []Expected
	for _, e := range expected {
		want := show(e.Record, e.Has, e.JSON != nil)
		i := slices.IndexFunc(got, func(r exchange.Record) bool { return show(r, e.Has, e.JSON != nil) == want })
		if i < 0 {
			open = append(open, e)
			continue
		}
		got = slices.Delete(got, i, i+1)
	}
	return open, got
}

// fieldsFor are the fields of a record that are compared: those that the expected
// record at its place gives, and of one too many those of the last.
func fieldsFor(expected []Expected, i int) (fields exchange.Fields, asJSON bool) {
	if len(expected) == 0 {
		return exchange.Fields{Key: true, Value: true}, false
	}
	e := expected[min(i, len(expected)-1)]
	fields = e.Has
	fields.Value = fields.Value || e.JSON != nil
	return fields, e.JSON != nil
}

// show is a record with some of its fields.
func show(r exchange.Record, fields exchange.Fields, asJSON bool) string {
	if !asJSON {
		return string(exchange.Append(nil, r.Select(fields)))
	}
	c := canonical(r.Value)
	if c == nil {
		fields.Value = true
		return string(exchange.Append(nil, r.Select(fields)))
	}
	// A value that is left out is written as null.
	fields.Value = false
	return strings.Replace(string(exchange.Append(nil, r.Select(fields))), `"value":null`, `"json":`+string(c), 1)
}

func lines(all []string) []byte {
	var b bytes.Buffer
	for _, s := range all {
		b.WriteString(strings.ReplaceAll(s, "\n", "\\n"))
		b.WriteByte('\n')
	}
	return b.Bytes()
}
