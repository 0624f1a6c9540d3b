package format

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

var (
	errStrayQuote   = errors.New("a quote within a value that does not begin with one: put the value in quotes, and double the quote")
	errBehindQuote  = errors.New("text behind the closing quote: a quote within a value in quotes is doubled")
	errOpenQuote    = errors.New("the closing quote is missing")
	errPlainNewline = errors.New("a newline in a value that is not in quotes")
)

// csvField is one value of a record.
type csvField struct {
	text   []byte // without the quotes around it; those within it are still doubled
	quoted bool
	double bool // it holds doubled quotes
}

// cutField takes the first field of b; more says that another follows in rest.
func cutField(b []byte, delimiter byte) (f csvField, rest []byte, more bool, err error) {
	if len(b) == 0 || b[0] != '"' {
		text := b
		if i := bytes.IndexByte(b, delimiter); i >= 0 {
			text, rest, more = b[:i], b[i+1:], true
		}
		switch {
		case bytes.IndexByte(text, '"') >= 0:
			err = errStrayQuote
		case bytes.IndexByte(text, '\n') >= 0:
			err = errPlainNewline
		}
		return csvField{text: text}, rest, more, err
	}
	f.quoted = true
	for i := 1; ; i++ {
		j := bytes.IndexByte(b[i:], '"')
		if j < 0 {
			return f, nil, false, errOpenQuote
		}
		i += j
		switch {
		case i+1 == len(b):
			f.text = b[1:i]
			return f, nil, false, nil
		case b[i+1] == '"':
			f.double = true
			i++
		case b[i+1] == delimiter:
			f.text = b[1:i]
			return f, b[i+2:], true, nil
		default:
			return f, nil, false, errBehindQuote
		}
	}
}

var doubled, single = []byte(`""`), []byte(`"`)

func (f csvField) plain() []byte {
	if f.double {
		return bytes.ReplaceAll(f.text, doubled, single)
	}
	return f.text
}

// csvDecoder makes an object of each record.
type csvDecoder struct {
	delimiter byte
	null      []byte
	columns   []csvColumn
}

type csvColumn struct {
	name   string
	typ    string
	before []byte // what stands in front of the value: `,"name":`
}

// Header reads a record that names the columns.
func (c *CSV) Header(record []byte) ([]string, error) {
	var names []string
	for rest, more := chomp(record), true; more; {
		var f csvField
		var err error
		if f, rest, more, err = cutField(rest, c.delimiter()); err != nil {
			return nil, fmt.Errorf("column %d: %w", len(names)+1, err)
		}
		name := string(f.plain())
		switch {
		case name == "":
			return nil, fmt.Errorf("column %d has no name", len(names)+1)
		case slices.Contains(names, name):
			return nil, fmt.Errorf("two columns are named %q", name)
		}
		names = append(names, name)
	}
	for name := range c.Types {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("types names a column %q: there are %q", name, names)
		}
	}
	return names, nil
}

// Decoder returns a decoder of records with these columns.
func (c *CSV) Decoder(columns []string) (Decoder, error) {
	d := &csvDecoder{delimiter: c.delimiter(), null: []byte(c.Null)}
	for i, name := range columns {
		before := []byte(",")
		if i == 0 {
			before = []byte("{")
		}
		before, err := appendString(before, []byte(name))
		if err != nil {
			return nil, fmt.Errorf("the name of column %d %w", i+1, err)
		}
		d.columns = append(d.columns, csvColumn{name, c.Types[name], append(before, ':')})
	}
	if len(d.columns) == 0 {
		return nil, errors.New("there are no columns")
	}
	return d, nil
}

// chomp takes the line's end off a record.
func chomp(record []byte) []byte {
	if n := len(record); n > 0 && record[n-1] == '\n' {
		record = record[:n-1]
	}
	if n := len(record); n > 0 && record[n-1] == '\r' {
		record = record[:n-1]
	}
	return record
}

// Decode implements [Decoder].
func (d *csvDecoder) Decode(_ context.Context, dst, in []byte) ([]byte, error) {
	start := len(dst)
	rest, more := chomp(in), true
	for i := range d.columns {
		c := &d.columns[i]
		if !more {
			return dst[:start], fmt.Errorf("%d values for %d columns: %q is missing", i, len(d.columns), c.name)
		}
		f, next, another, err := cutField(rest, d.delimiter)
		if err == nil {
			dst, err = d.value(append(dst, c.before...), c.typ, f)
		}
		if err != nil {
			return dst[:start], fmt.Errorf("column %d (%s): %w", i+1, c.name, err)
		}
		rest, more = next, another
	}
	if more {
		return dst[:start], fmt.Errorf("more than %d values, and there are %d columns", len(d.columns), len(d.columns))
	}
	return append(dst, '}'), nil
}

func (d *csvDecoder) value(dst []byte, typ string, f csvField) ([]byte, error) {
	if !f.quoted && bytes.Equal(f.text, d.null) {
		return append(dst, "null"...), nil
	}
	text := f.plain()
	switch typ {
	case csvInteger:
		out, err := appendNumber(dst, string(text))
		if err != nil || !onlyDigits(string(bytes.TrimLeft(text, "+-"))) {
			return dst, fmt.Errorf("%s is no integer", shown(text))
		}
		return out, nil
	case csvNumber:
		out, err := appendNumber(dst, string(text))
		if err != nil {
			return dst, fmt.Errorf("%s %w", shown(text), err)
		}
		return out, nil
	case csvBoolean:
		if s := string(text); s == "true" || s == "false" {
			return append(dst, s...), nil
		}
		return dst, fmt.Errorf("%s is neither true nor false", shown(text))
	case csvJSON:
		if checkJSON(text) != nil {
			return dst, fmt.Errorf("%s is not valid JSON", shown(text))
		}
		return append(dst, bytes.Trim(text, " \t\r\n")...), nil
	}
	return appendString(dst, text)
}
