package sarif_test

import (
	"bytes"
	"encoding/json"
	"testing"

	foreign "github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/sarif"
)

// A foreign reader knows every field that is written, and finds every fault in it.
func TestAForeignReaderFindsEveryFault(t *testing.T) {
	faults := []pipeline.Fault{
		{File: "a.yaml", Line: 3, Column: 7, Field: "nodes.x.input", Message: `there is no node "y"`, Hint: `did you mean "x"?`, Code: pipeline.CodeUnknownNode},
		{File: "a.yaml", Line: 9, Column: 1, Message: "no order", Code: pipeline.CodeOrder, Severity: pipeline.SeverityWarning},
		{File: "sub/b.yaml", Message: "of a component", Code: "acme.own_code"},
		{File: "sub/b.yaml", Line: 1, Column: 2, Message: "again", Code: pipeline.CodeUnknownNode},
	}
	for _, some := range [][]pipeline.Fault{nil, faults} {
		var out bytes.Buffer
		if err := sarif.Write(&out, "1.2.3", some); err != nil {
			t.Fatal(err)
		}
		doc := read(t, out.Bytes())
		results := doc.Runs[0].Results
		if len(results) != len(some) {
			t.Fatalf("%d results, want %d", len(results), len(some))
		}
		for i, r := range results {
			f := some[i]
			rule := doc.Runs[0].Tool.Driver.Rules[r.RuleIndex]
			at := r.Locations[0].PhysicalLocation
			if *r.RuleID != string(f.Code) || *rule.ID != string(f.Code) || *at.ArtifactLocation.URI != f.File ||
				*at.Region.StartLine != max(1, f.Line) || *at.Region.StartColumn != max(1, f.Column) {
				t.Errorf("result %d is not fault %v\n%s", i, f, &out)
			}
		}
	}
}

func TestAResultSaysWhatTheFaultSays(t *testing.T) {
	var out bytes.Buffer
	err := sarif.Write(&out, "1.2.3", []pipeline.Fault{
		{File: "a.yaml", Line: 3, Column: 7, Field: "nodes.x.input", Message: `there is no node "y"`, Hint: `did you mean "x"?`, Code: pipeline.CodeUnknownNode},
		{File: "a.yaml", Line: 9, Column: 1, Message: "no order", Code: pipeline.CodeOrder, Severity: pipeline.SeverityWarning},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, out.Bytes()).Runs[0].Results
	if text := *got[0].Message.Text; text != `nodes.x.input: there is no node "y" (did you mean "x"?)` {
		t.Errorf("got %q", text)
	}
	if got[0].Level != "error" || got[1].Level != "warning" {
		t.Errorf("got levels %q and %q", got[0].Level, got[1].Level)
	}
}

// read refuses what the format does not have.
func read(t *testing.T, doc []byte) *foreign.Report {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	r := new(foreign.Report)
	if err := dec.Decode(r); err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	return r
}
