package schema_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/weirstream/weir/host/schema"
)

var update = flag.Bool("update", false, "write the tables of docs/pipeline.md anew")

// The tables of docs/pipeline.md are what the schema says.
func TestTheReferenceIsCurrent(t *testing.T) {
	const file = "../../docs/pipeline.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := schema.Fill(page)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(page, want) {
		t.Errorf("%s is not what the schema says: run make docs", file)
	}
	for _, row := range []string{
		"| `name` | name | required | Names the pipeline and its state. |",
		"| `checkpoint.interval` | duration | `5s` | From the start of one to the next. |",
		"| `plugins.NAME.path` |", "| `isolation` | `plugin`, `node`, `task` |", "| `retry.attempts` | number | required |",
	} {
		if !bytes.Contains(want, []byte("\n"+row)) {
			t.Errorf("no row %s", row)
		}
	}
	// A field without a word about it is no reference.
	for line := range strings.Lines(string(want)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if strings.HasPrefix(line, "| `") && len(cells) == 4 && (cells[1] == "" || strings.Trim(cells[3], "| ") == "") {
			t.Errorf("a row without value or meaning: %s", line)
		}
	}
}

func TestAPageThatAsksForUnknownFields(t *testing.T) {
	_, err := schema.Fill([]byte("<!-- fields of nothing -->\n<!-- end of fields -->\n"))
	if err == nil || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("%v", err)
	}
}
