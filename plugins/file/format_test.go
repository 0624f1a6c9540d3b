package file

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// failures are what a reader failed: ordinal, error, and the beginning of what it
// was about.
func failures(failed []sdktest.Failed) []string {
	var all []string
	for _, f := range failed {
		all = append(all, fmt.Sprintf("%d: %s: %.12q", f.Ordinal, f.Err, f.Value))
	}
	return all
}

const csvFile = "\ufeffid,\"the \nname\",n\r\n" +
	"1,\"two\nlines\",10\r\n" +
	"\r\n" +
	"2,,x\n" +
	"3,\"\",9007199254740993\n" +
	"4,5\" disk,1\n" +
	"5,last"

// A newline within quotes is part of its value, so that such a file is not divided,
// however small the splits; what cannot be read fails alone, with its place.
func TestCSVIsRead(t *testing.T) {
	for _, name := range []string{"in.csv", "in.csv.gz"} {
		path := filepath.Join(t.TempDir(), name)
		write(t, path, csvFile)
		s := sdktest.NewSource(t, Source(), map[string]any{
			"path": path, "format": "csv", "split_size": "1", "csv": map[string]any{"types": map[string]string{"n": "integer"}},
		})
		splits := s.Splits()
		if len(splits) != 1 {
			t.Fatalf("%d splits", len(splits))
		}
		r := s.Open(splits[0])
		want(t, sdktest.ValuesOf(r.Rest()),
			`{"id":"1","the \nname":"two\nlines","n":10}`,
			`{"id":"3","the \nname":"","n":9007199254740993}`)
		want(t, failures(r.Failed()),
			`1: column 3 (n): "x" is no integer: "2,,x"`,
			`3: column 2 (the `+"\nname"+`): a quote within a value that does not begin with one: put the value in quotes, and double the quote: "4,5\" disk,1"`,
			`4: 2 values for 3 columns: "n" is missing: "5,last"`)
	}
}

// From each position reading goes on with the same records, the header known.
func TestCSVGoesOnFromEachPosition(t *testing.T) {
	dir := t.TempDir()
	var b strings.Builder
	b.WriteString("a;b\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "%d;\"line\n%d\"\n", i, i)
	}
	write(t, filepath.Join(dir, "one.csv"), b.String())
	write(t, filepath.Join(dir, "two.csv"), "b;a\nx;y\n")
	write(t, filepath.Join(dir, "three.csv"), "only\n\n\"\"\nz\n")
	write(t, filepath.Join(dir, "four.csv"), "a;b\n")
	config := map[string]any{"path": dir, "format": "csv", "csv": map[string]any{"delimiter": ";"}}
	sdktest.NewSource(t, Source(), config, sdktest.BatchSize(1000)).CheckResume()
	all := sdktest.ValuesOf(sdktest.NewSource(t, Source(), config).ReadAll())
	if len(all) != 2004 {
		t.Fatalf("%d records", len(all))
	}
	want(t, all[2000:], `{"only":null}`, `{"only":""}`, `{"only":"z"}`, `{"b":"x","a":"y"}`)
	want(t, all[:1], `{"a":"0","b":"line\n0"}`)
}

func TestColumnsFromTheConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.csv")
	write(t, path, "1,x\n2,y\n")
	s := sdktest.NewSource(t, Source(), map[string]any{"path": path, "format": "csv", "csv": map[string]any{"header": false, "columns": []string{"a", "b"}}})
	want(t, sdktest.ValuesOf(s.ReadAll()), `{"a":"1","b":"x"}`, `{"a":"2","b":"y"}`)
}

func TestAHeaderThatCannotBeRead(t *testing.T) {
	for header, message := range map[string]string{
		"a,a":                   `two columns are named "a"`,
		"a,,b":                  "column 2 has no name",
		strings.Repeat("a", 99): "longer than max_record",
		"x,y":                   `types names a column "n": there are ["x" "y"]`,
	} {
		path := filepath.Join(t.TempDir(), "in.csv")
		write(t, path, header+"\n1,2\n")
		s := sdktest.NewSource(t, Source(), map[string]any{"path": path, "format": "csv", "csv": map[string]any{"types": map[string]string{"n": "json"}}}, sdktest.MaxRecord(64))
		wantError(t, s.Open(s.Splits()[0]).Error(), "the header of "+path, message)
	}
}

// A record above max_record is passed over to its end, which is not within its
// quotes; so is one that is larger as JSON.
func TestALargeRecordOfCSV(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.csv")
	large := `"` + strings.Repeat("x\n\"\"", 200<<10) + `"`
	write(t, path, "a long name of a column\n1\n"+large+"\n2\n"+strings.Repeat("y", 60)+"\n3\n")
	s := sdktest.NewSource(t, Source(), map[string]any{"path": path, "format": "csv"}, sdktest.MaxRecord(64))
	r := s.Open(s.Splits()[0])
	var got []string
	for _, v := range sdktest.ValuesOf(r.Rest()) {
		got = append(got, strings.TrimPrefix(v, `{"a long name of a column":`))
	}
	want(t, got, `"1"}`, `"2"}`, `"3"}`)
	failed := failures(r.Failed())
	if len(failed) != 2 || !strings.HasPrefix(failed[0], "1: line longer than max_record: 819202 bytes") ||
		!strings.HasPrefix(failed[1], "3: the record has 90 bytes as JSON, and max_record is 64") {
		t.Errorf("failed: %q", failed)
	}
}

// A record is read when it is whole, also where it is written piece by piece; what
// takes the file's name has a header of its own.
func TestCSVThatGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.csv")
	write(t, path, "a,b\n1,\"half")
	s := sdktest.NewSource(t, Source(), map[string]any{"path": path, "format": "csv", "follow": true, "poll": "1ms"})
	split := s.Splits()[0]
	r := s.Open(split)
	appendTo(t, path, "\nof it\"\n2,x")
	want(t, sdktest.ValuesOf(r.Next(1)), `{"a":"1","b":"half\nof it"}`)
	position, _ := r.Position()
	r.Close()
	appendTo(t, path, "y\n")
	r = s.OpenAt(split, position)
	want(t, sdktest.ValuesOf(r.Next(1)), `{"a":"2","b":"xy"}`)
	// It is written anew, with other columns.
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	appendTo(t, path, "c\n3\n")
	want(t, sdktest.ValuesOf(r.Next(1)), `{"c":"3"}`)
	r.Close()

	s = sdktest.NewSource(t, Source(), map[string]any{"path": path, "format": "csv", "follow": true, "start": "end", "poll": "1ms"})
	r = s.Open(s.Splits()[0])
	appendTo(t, path, "4\n")
	want(t, sdktest.ValuesOf(r.Next(1)), `{"c":"4"}`)
	r.Close()
}

// What follows the end that a file had may be the rest of a value, which is no record,
// whatever it looks like; the header is known all the same.
func TestCSVFromTheEndBeginsWithAWholeRecord(t *testing.T) {
	for before, later := range map[string]string{
		"":                          "a,b\n5,new\n",
		"a,b\n":                     "5,new\n",
		"a,b\n1,x\n":                "5,new\n",
		"a,b\n1,x":                  "yz\n5,new\n",
		"a":                         ",b\n5,new\n",
		"a,b\n1,\"of\n":             "2,x\n\"\n5,new\n",
		"a,b\n1,\"of":               " a\n2,x\n\"\"\n3,y\"\n5,new\n",
		"a,b\n1,\"of\n2,x\"":        "\n5,new\n",
		"a,b\n1,\"of\n2,x\"\"":      "3,y\n\"\n5,new\n",
		"a,\"b\n":                   "1,x\n\"\n5,new\n",
		"a,b\n1,x\n\n":              "5,new\n",
		"a,b\n1,a stray \" quote\n": "5,new\n",
	} {
		path := filepath.Join(t.TempDir(), "app.csv")
		write(t, path, before)
		s := sdktest.NewSource(t, Source(), map[string]any{"path": path, "format": "csv", "follow": true, "start": "end", "poll": "1ms"})
		split := s.Splits()[0]
		appendTo(t, path, later)
		r := s.Open(split)
		got := r.Next(1)
		if v := string(got[0].Value); !strings.Contains(v, `"5"`) || got[0].Ordinal != 0 || len(r.Failed()) > 0 {
			t.Errorf("behind %q: %s is record %d, failed: %q", before, v, got[0].Ordinal, failures(r.Failed()))
		}
		position, _ := r.Position()
		r.Close()
		appendTo(t, path, "6,newer\n")
		r = s.OpenAt(split, position)
		if v := sdktest.ValuesOf(r.Next(1))[0]; !strings.Contains(v, `"6"`) {
			t.Errorf("behind %q: then comes %s", before, v)
		}
		r.Close()
	}
}

// A position that another format has left, or a person, and a range of a file that
// was divided as lines, may begin amid a value: its record belongs to what is before.
func TestCSVBeginsWithAWholeRecordWhereverItIs(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"in.csv", "in.csv.gz"} {
		path := filepath.Join(dir, name)
		write(t, path, csvFile)
		s := sdktest.NewSource(t, Source(), map[string]any{"path": path, "format": "csv"})
		split := s.Splits()[0]
		var all []sdktest.Record // and failed ones, with where they begin
		begin := map[int64]int{}
		for at := range csvFile {
			r := s.OpenAt(split, json.RawMessage(fmt.Sprintf(`{"offset": %d}`, at)))
			records := r.Rest()
			n := len(records) + len(r.Failed())
			r.Close()
			if at == 0 {
				all = records
			}
			begin[int64(at)] = n
			want(t, sdktest.ValuesOf(records), sdktest.ValuesOf(all[len(all)-len(records):])...)
		}
		for i, record := range []string{"1,", "2,", "3,", "4,", "5,"} {
			at := int64(strings.Index(csvFile, "\n"+record) + 1)
			if begin[at] != 5-i || begin[at+1] != 4-i {
				t.Errorf("%s: %d records from the one %q on, %d behind its first byte", name, begin[at], record, begin[at+1])
			}
		}
	}
}

// A file that was divided as lines is divided still, after the format has changed.
func TestCSVInRangesThatWereMadeForLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.csv")
	write(t, path, csvFile)
	for step := 1; step < len(csvFile); step++ {
		lines := sdktest.NewSource(t, Source(), map[string]any{"path": path, "split_size": fmt.Sprint(step)})
		csv := sdktest.NewSource(t, Source(), map[string]any{"path": path, "format": "csv"})
		var got []string
		failed := 0
		for _, split := range lines.Splits() {
			r := csv.Open(split)
			got = append(got, sdktest.ValuesOf(r.Rest())...)
			failed += len(r.Failed())
		}
		if len(got) != 3 || failed != 2 || !strings.Contains(got[0], "lines") || !strings.Contains(got[2], "9007199254740993") {
			t.Fatalf("in steps of %d: %q, %d failed", step, got, failed)
		}
	}
}

// An Avro object container file is refused by its name and never read as text.
func TestAnAvroContainerIsNotText(t *testing.T) {
	for _, name := range []string{"in.avro", "in.avro.gz"} {
		for _, format := range []string{"lines", "json", "csv"} {
			path := filepath.Join(t.TempDir(), name)
			write(t, path, "Obj\x01\x04\x14avro.codec\x08null\x16avro.schema\n\"int\"")
			s := sdktest.NewSource(t, Source(), map[string]any{"path": path, "format": format})
			wantError(t, s.Open(s.Splits()[0]).Error(), path, "is an Avro object container file, which is not supported", "avro-tools tojson")
		}
	}
}

func TestJSONIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.jsonl")
	write(t, path, "{\"a\": 1.50}\r\n\n [9007199254740993] \n{\"a\":\n\"last\"")
	for _, step := range []string{"64MiB", "1"} {
		s := sdktest.NewSource(t, Source(), map[string]any{"path": path, "format": "json", "split_size": step})
		var values, failed []string
		for _, split := range s.Splits() {
			r := s.Open(split)
			values = append(values, sdktest.ValuesOf(r.Rest())...)
			for _, f := range r.Failed() {
				failed = append(failed, f.Err+": "+string(f.Value))
			}
		}
		want(t, values, `{"a": 1.50}`, `[9007199254740993]`, `"last"`)
		want(t, failed, `the value is not valid JSON: {"a":`)
	}
}

// Each file of a folder has a header, also one that goes on with another epoch's;
// what cannot be written fails alone.
func TestCSVIsWritten(t *testing.T) {
	for _, compression := range []string{"none", "gzip"} {
		out := outFolder(t)
		s := sdktest.NewSink(t, Sink(), map[string]any{
			"path": out, "format": "csv", "extension": "csv", "compression": compression, "csv": map[string]any{"columns": []string{"b", "a"}},
		})
		failed := s.Write(append(sdktest.Values(`{"a":"x\ny","b":1.50}`, `{"c":1}`, `no`, `{"a":null,"b":""}`), sdktest.Record{})...)
		c, _ := s.Checkpoint()
		s = s.Restart(c)
		s.Write(sdktest.Values(`{"a":"later"}`)...)
		c, _ = s.Roll()
		s.Commit(c)
		s.Write(sdktest.Values(`{"b":7}`)...)
		c, _ = s.End()
		s.Commit(c)
		want(t, visible(t, out), "b,a", `1.50,"x`, `y"`, `"",`, ",later", "b,a", "7,")
		var errs []string
		for _, f := range failed {
			errs = append(errs, f.Err)
		}
		want(t, errs, `the field "c" is no column: add it to columns, or set unknown_fields: drop`, "the value is not valid JSON", errNull.Error())
	}
}

// Other columns begin another file.
func TestOtherColumnsDoNotGoOnWithAnOldFile(t *testing.T) {
	out := outFolder(t)
	first := sdktest.NewSink(t, Sink(), map[string]any{"path": out, "format": "csv", "csv": map[string]any{"columns": []string{"a"}}})
	first.Write(sdktest.Values(`{"a":1}`)...)
	cfg := &SinkConfig{Path: out, Format: formatCSV, Compression: packNone, Extension: "txt", CSV: csvOf(nil)}
	cfg.CSV.Columns = []string{"b"}
	state := []unfinished{}
	c, _ := first.Checkpoint()
	for _, raw := range c.WriterState {
		var u unfinished
		if err := json.Unmarshal(raw, &u); err != nil {
			t.Fatal(err)
		}
		state = append(state, u)
	}
	second, err := openFolderSink(osDisk{}, filepath.Clean(out), cfg, newSinkTask(func(t *sdk.Task) { t.Owner = testOwner(2); t.RestoredCheckpoint = 1 }), state)
	if err == nil {
		t.Cleanup(func() { _ = second.Close() })
	}
	if err == nil && !second.Due() {
		t.Error("a file with other columns is not complete")
	}
}

func TestCSVInASingleFile(t *testing.T) {
	dir := t.TempDir()
	config := func(path string) map[string]any {
		return map[string]any{"path": path, "format": "csv", "csv": map[string]any{"columns": []string{"a"}}}
	}
	path := filepath.Join(dir, "new.csv")
	s := sdktest.NewSink(t, Sink(), config(path))
	first, _ := s.Checkpoint()
	s.Commit(first)
	s.Write(sdktest.Values(`{"a":1}`)...)
	s.Checkpoint()
	s = s.Restart(first)
	s.Write(sdktest.Values(`{"a":2}`)...)
	c, _ := s.End()
	s.Commit(c)
	if got := textOf(t, path); got != "a\n2\n" {
		t.Errorf("%q", got)
	}
	// What is there already has its header.
	path = filepath.Join(dir, "old.csv")
	putFile(t, path, "a\n0")
	s = sdktest.NewSink(t, Sink(), config(path))
	s.Write(sdktest.Values(`{"a":1}`)...)
	c, _ = s.End()
	s.Commit(c)
	if got := textOf(t, path); got != "a\n0\n1\n" {
		t.Errorf("%q", got)
	}
}

func TestJSONIsWritten(t *testing.T) {
	out := outFolder(t)
	s := sdktest.NewSink(t, Sink(), map[string]any{"path": out, "format": "json"})
	failed := s.Write(sdktest.Values("{\n  \"a\": 1.50\n}", `x`, `[1, 2]`)...)
	c, _ := s.End()
	s.Commit(c)
	want(t, visible(t, out), `{"a":1.50}`, `[1, 2]`)
	if len(failed) != 1 || failed[0].Err != "the value is not valid JSON" {
		t.Errorf("failed: %v", failed)
	}
}

func TestFaultsOfFormats(t *testing.T) {
	for config, fault := range map[string]string{
		`{"path": "x", "format": "xml"}`:                                                 `format: must be one of "lines", "json", "csv", got "xml"`,
		`{"path": "x", "csv": {}}`:                                                       `csv: has no effect: format is lines; set format: csv`,
		`{"path": "x", "format": "csv", "csv": {"header": false}}`:                       `csv.columns: is required without a header`,
		`{"path": "x", "format": "csv", "csv": {"columns": ["a"]}}`:                      `csv.columns: each file's header names the columns: set header: false where there is none`,
		`{"path": "x", "format": "csv", "csv": {"delimiter": "||"}}`:                     `csv.delimiter: "||": it is one character of ASCII, and neither a quote nor a line's end`,
		`{"path": "x", "format": "csv", "csv": {"types": {"a": "int"}}}`:                 `csv.types.a: must be one of "string", "integer", "number", "boolean", "json", got "int"`,
		`{"path": "x", "format": "csv", "csv": {"header": false, "columns": ["a","a"]}}`: `csv.columns: two columns are named "a"`,
	} {
		if faults := sdktest.Check(t, Source(), config).Faults; len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), fault) {
			t.Errorf("source, %s: %v, want %s", config, faults, fault)
		}
	}
	for config, fault := range map[string]string{
		`{"path": "x", "format": "csv"}`:                  `csv.columns: is required: it says which fields are written, and in which order`,
		`{"path": "x", "format": "json", "csv": {}}`:      `csv: has no effect: format is json; set format: csv`,
		`{"path": "x", "format": "csv", "csv": {"a": 1}}`: `csv.a: unknown field`,
	} {
		if faults := sdktest.Check(t, Sink(), config).Faults; len(faults) == 0 || !strings.HasPrefix(faults[0].Error(), fault) {
			t.Errorf("sink, %s: %v, want %s", config, faults, fault)
		}
	}
	for _, good := range []string{`{"path": "x", "format": "csv"}`, `{"path": "x", "format": "csv", "csv": {"types": {"a": "number"}, "null": "NULL"}}`} {
		if faults := sdktest.Check(t, Source(), good).Faults; len(faults) > 0 {
			t.Errorf("%s: %v", good, faults)
		}
	}
}
