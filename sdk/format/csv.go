package format

import (
	"bytes"
	"slices"
	"strings"

	"github.com/weirstream/weir/sdk"
)

// CSV configures comma-separated values as RFC 4180 has them. A component has a
// field of this type, or embeds it in a struct that adds what only it knows.
type CSV struct {
	Delimiter string            `weir:"delimiter" default:"," doc:"What stands between values: one character of ASCII, such as \";\" or \"\\t\"."`
	Columns   []string          `weir:"columns" doc:"The names of the columns, in order."`
	Types     map[string]string `weir:"types" enum:"string,integer,number,boolean,json" doc:"What a column holds, by its name; the others hold strings. Numbers keep every digit. It is for reading: what is written is as long and as exact as the value."`
	Null      string            `weir:"null" doc:"What stands for null, where it is not in quotes. A string of that text is written in quotes."`
	Unknown   string            `weir:"unknown_fields" default:"fail" enum:"fail,drop" doc:"What becomes of a field of a written value that is no column: the record fails, or the field is left out."`
}

// DefaultCSV is what a configuration says that says nothing.
func DefaultCSV() CSV { return CSV{Delimiter: ",", Unknown: "fail"} }

// The types of a CSV column.
const (
	csvString  = "string"
	csvInteger = "integer"
	csvNumber  = "number"
	csvBoolean = "boolean"
	csvJSON    = "json"
)

// Validate implements [sdk.Validator].
func (c *CSV) Validate() []sdk.FieldError {
	var faults []sdk.FieldError
	if !fitDelimiter(c.Delimiter) {
		faults = append(faults, sdk.Faultf("delimiter", "%q: it is one character of ASCII, and neither a quote nor a line's end", c.Delimiter))
	}
	if strings.ContainsAny(c.Null, "\"\r\n"+c.Delimiter) {
		faults = append(faults, sdk.Faultf("null", "%q: it holds no quote, delimiter or line's end", c.Null))
	}
	for i, name := range c.Columns {
		switch {
		case name == "":
			faults = append(faults, sdk.Faultf("columns", "column %d has no name", i+1))
		case slices.Contains(c.Columns[:i], name):
			faults = append(faults, sdk.Faultf("columns", "two columns are named %q", name))
		}
	}
	if len(c.Columns) > 0 {
		for name := range c.Types {
			if !slices.Contains(c.Columns, name) {
				faults = append(faults, sdk.Faultf("types."+name, "there is no such column"))
			}
		}
	}
	return faults
}

func fitDelimiter(d string) bool {
	return len(d) == 1 && d[0] < 0x80 && d[0] != '"' && d[0] != '\r' && d[0] != '\n' && d[0] != 0
}

// delimiter is the configured one, where it was validated.
func (c *CSV) delimiter() byte {
	if c.Delimiter == "" {
		return ','
	}
	return c.Delimiter[0]
}

// CSVScan is where in a record a [CSVCutter] is.
type CSVScan uint8

const (
	fieldStart CSVScan = iota // also that of a record
	fieldPlain
	fieldQuoted
	fieldQuote // behind a quote within a quoted field: its end, or half of a quote
)

// CSVCutter finds where records end: at a newline that is not in quotes. A quote
// opens a field where the field begins, and nowhere else, so that a stray one
// within a value spoils its own record alone.
type CSVCutter struct{ delimiter byte }

// Cutter returns what finds the ends of records.
func (c *CSV) Cutter() CSVCutter { return CSVCutter{c.delimiter()} }

// End returns the index of the newline that ends the record at hand, or -1 where b
// ends first. from is where in the record b begins, the zero value at its
// beginning; then is where it ends.
func (c CSVCutter) End(b []byte, from CSVScan) (end int, then CSVScan) {
	if from == fieldStart {
		// Most records have no quotes.
		if i := bytes.IndexByte(b, '\n'); i >= 0 && bytes.IndexByte(b[:i], '"') < 0 {
			return i, fieldStart
		}
	}
	for i, x := range b {
		switch from {
		case fieldStart:
			switch x {
			case '"':
				from = fieldQuoted
			case '\n':
				return i, fieldStart
			case c.delimiter:
			default:
				from = fieldPlain
			}
		case fieldPlain:
			switch x {
			case '\n':
				return i, fieldStart
			case c.delimiter:
				from = fieldStart
			}
		case fieldQuoted:
			if x == '"' {
				from = fieldQuote
			}
		case fieldQuote:
			switch x {
			case '"':
				from = fieldQuoted
			case '\n':
				return i, fieldStart
			case c.delimiter:
				from = fieldStart
			default:
				from = fieldPlain // which the decoder refuses
			}
		}
	}
	return -1, from
}
