package file

import (
	"bytes"
	"context"
	"fmt"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/format"
)

// The names of formats, as a configuration writes them.
const (
	formatLines = "lines"
	formatJSON  = "json"
	formatCSV   = "csv"
)

// CSV is what a configuration says of comma-separated values.
type CSV struct {
	format.CSV
	Header bool `weir:"header" default:"true" doc:"The first record of each file names the columns. Without it, and for what is written, columns does."`
}

// csvOf is what counts of a csv block, which may be absent.
func csvOf(c *CSV) *CSV {
	if c == nil {
		return &CSV{CSV: format.DefaultCSV(), Header: true}
	}
	return c
}

// csvFaults is what is wrong with a csv block beside its fields.
func csvFaults(name string, c *CSV) []sdk.FieldError {
	if name != formatCSV && c != nil {
		return []sdk.FieldError{sdk.Faultf("csv", "has no effect: format is %s; set format: csv", name)}
	}
	return nil
}

func (c *SourceConfig) formatFaults() []sdk.FieldError {
	faults := csvFaults(c.Format, c.CSV)
	if c.Format != formatCSV {
		return faults
	}
	switch csv := csvOf(c.CSV); {
	case csv.Header && len(csv.Columns) > 0:
		faults = append(faults, sdk.Faultf("csv.columns", "each file's header names the columns: set header: false where there is none"))
	case !csv.Header && len(csv.Columns) == 0:
		faults = append(faults, sdk.Faultf("csv.columns", "is required without a header"))
	}
	return faults
}

func (c *SinkConfig) formatFaults() []sdk.FieldError {
	faults := csvFaults(c.Format, c.CSV)
	if c.Format == formatCSV && len(csvOf(c.CSV).Columns) == 0 {
		faults = append(faults, sdk.Faultf("csv.columns", "is required: it says which fields are written, and in which order"))
	}
	return faults
}

// records is how a reader finds and decodes records that are not plain lines.
type records struct {
	csv     *CSV // nil for JSON
	cutter  format.CSVCutter
	decoder format.Decoder // of the columns of the newest header
	columns int

	scan    format.CSVScan // where in a record
	scanned int            // bytes of the buffer that are looked through
}

// records returns how records are read; nil are lines.
func (c *SourceConfig) records() (*records, error) {
	switch c.Format {
	case formatJSON:
		return &records{decoder: format.JSON{}}, nil
	case formatCSV:
		f := &records{csv: csvOf(c.CSV)}
		f.cutter = f.csv.Cutter()
		if f.csv.Header {
			return f, nil
		}
		return f, f.name(f.csv.Columns)
	}
	return nil, nil
}

// name sets the columns.
func (f *records) name(columns []string) (err error) {
	f.decoder, err = f.csv.Decoder(columns)
	f.columns = len(columns)
	return err
}

// header reads a header record.
func (f *records) header(record []byte) error {
	columns, err := f.csv.CSV.Header(record)
	if err == nil {
		err = f.name(columns)
	}
	return err
}

// reset begins with a new record.
func (f *records) reset() { f.scan, f.scanned = 0, 0 }

// nameless says whether the file's header has not been read yet.
func (r *reader) nameless() bool {
	f := r.format
	return f != nil && f.csv != nil && f.csv.Header && r.at.Header == ""
}

// blank says whether a line holds no record.
func (f *records) blank(line []byte) bool {
	return len(bytes.TrimSpace(line)) == 0 && (f.csv == nil || f.columns > 1 && len(bytes.Trim(line, "\r")) == 0)
}

// byteOrderMark may precede a text in UTF-8.
var byteOrderMark = []byte("\ufeff")

// recordEnd returns where the record at hand ends, or -1.
func (r *reader) recordEnd() int {
	b := r.buf[r.start:r.end]
	f := r.format
	if f.csv == nil {
		return bytes.IndexByte(b, '\n')
	}
	if r.read() == int64(len(b)) && f.scanned == 0 && bytes.HasPrefix(b, byteOrderMark) {
		f.scanned = len(byteOrderMark)
	}
	end, then := f.cutter.End(b[f.scanned:], f.scan)
	f.scan = then
	if end < 0 {
		f.scanned = len(b)
		return -1
	}
	end += f.scanned
	f.reset()
	return end
}

// record appends a record, or fails it where it cannot be read. A header is none.
func (r *reader) record(ctx context.Context, out *sdk.Collector, b []byte) error {
	f := r.format
	if r.at.Offset == 0 {
		b = bytes.TrimPrefix(b, byteOrderMark)
	}
	if r.nameless() {
		return r.header(b)
	}
	if f.blank(b) {
		return nil
	}
	value, err := f.decoder.Decode(ctx, out.AvailableBuffer(), b)
	if err == nil && len(value) > r.max {
		err = fmt.Errorf("the record has %d bytes as JSON, and max_record is %d", len(value), r.max)
	}
	if err != nil {
		out.FailRow(sdk.Row{Value: b, Origin: r.at.Line}, 0, err)
		r.failed += len(b)
	} else {
		out.Append(sdk.Row{Value: value, Origin: r.at.Line})
	}
	r.counted()
	return nil
}

// header takes the header of the file at hand.
func (r *reader) header(b []byte) error {
	if err := r.format.header(b); err != nil {
		return sdk.Fatal(fmt.Errorf("the header of %s: %w: correct it, or set csv.header: false and name the columns", r.split.Path, err))
	}
	r.at.Header = string(b)
	return nil
}

// knowHeader makes the columns known where reading does not begin with them.
func (r *reader) knowHeader() error {
	f := r.format
	if f == nil || f.csv == nil || !f.csv.Header || r.at.Header == "" {
		return nil
	}
	return r.header([]byte(r.at.Header))
}

// wholeRecords returns where reading begins to go on at a position. A place to which
// no reading of csv has led, such as the end that a file had when it was found, may
// be amid a value in quotes, which only the way there tells: then reading begins at
// the file's beginning, and passes over the records before that place.
func (r *reader) wholeRecords(from *position) *position {
	f := r.format
	if f == nil || f.csv == nil || from != nil && from.CSV && (from.Header != "" || !f.csv.Header) {
		return from
	}
	at := position{Offset: r.split.From}
	if from != nil {
		at = *from
	}
	r.behind, at.Offset = at.Offset, 0
	return &at
}

// encoder returns what turns values into lines, and the header of each file; nil is
// nothing.
func (c *SinkConfig) encoder() (e format.Encoder, header []byte, err error) {
	switch c.Format {
	case formatJSON:
		return format.JSON{OneLine: true}, nil, nil
	case formatCSV:
		csv := csvOf(c.CSV)
		if csv.Header {
			header = csv.HeaderRecord()
		}
		e, err = csv.Encoder()
	}
	return e, header, err
}
