package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaSees are the faults that a schema can see too. Others need the graph, an
// expression, or what a reference stands for.
var schemaSees = []string{
	"pipeline.unknown_field", "pipeline.required", "pipeline.wrong_type", "pipeline.node_kind",
	"pipeline.input_on_source", "pipeline.no_nodes", "pipeline.exclusive_fields",
}

// noYAML are faults of the text, which is then nothing for a schema.
var noYAML = []string{
	"pipeline.not_text", "pipeline.empty", "pipeline.syntax", "pipeline.too_large",
	"pipeline.several_documents", "pipeline.duplicate_key", "pipeline.alias",
}

// TestTheSchemaAgreesWithValidate holds the schema against what validate says, with
// a foreign library: what validate takes the schema takes, and what validate refuses
// for a reason that a schema can see the schema refuses.
func TestTheSchemaAgreesWithValidate(t *testing.T) {
	schema := pipelineSchema(t)
	var files []string
	for _, pattern := range []string{
		"../../examples/*/*.yaml", "../../host/pipeline/testdata/good/*.yaml", "../../host/pipeline/testdata/bad/*.yaml", "testdata/schema/*.yaml", broken + "/*/*.yaml",
	} {
		some, err := filepath.Glob(pattern)
		if err != nil || len(some) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(some), err)
		}
		files = append(files, some...)
	}
	good, bad := 0, 0
	for i, said := range validateAll(t, files) {
		codes := said.codes()
		if slices.ContainsFunc(codes, func(c string) bool { return slices.Contains(noYAML, c) }) {
			continue
		}
		value, ok := readYAML(t, files[i])
		if !ok {
			continue
		}
		err := schema.Validate(value)
		// What a reference stands for is not for a schema to know.
		sees := !refers(t, files[i]) && slices.ContainsFunc(codes, func(c string) bool { return slices.Contains(schemaSees, c) })
		switch {
		case len(codes) == 0 && err != nil:
			t.Errorf("%s: validate takes it, the schema does not:\n%v", files[i], err)
		case sees && err == nil:
			t.Errorf("%s: validate says %v, the schema takes it", files[i], codes)
		case len(codes) == 0:
			good++
		case sees:
			bad++
		}
	}
	t.Logf("%d sound files, %d with faults that a schema sees", good, bad)
	if good < 6 || bad < 80 {
		t.Errorf("only %d sound files and %d others were compared", good, bad)
	}
}

func refers(t *testing.T, file string) bool {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(data, []byte("${"))
}

func pipelineSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "weir", "validate", "--schema").Output()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("weir.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("weir.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// said is what validate says about one file.
type said struct {
	Faults []struct {
		Code     string `json:"code"`
		Severity string `json:"severity"`
	} `json:"faults"`
}

// codes are those of faults, warnings left out.
func (s said) codes() []string {
	var codes []string
	for _, f := range s.Faults {
		if f.Severity == "fault" {
			codes = append(codes, f.Code)
		}
	}
	return codes
}

func validateAll(t *testing.T, files []string) []said {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "weir", append([]string{"validate", "-o", "json"}, files...)...)
	out, _ := cmd.Output() // some have faults
	var all []said
	if err := json.Unmarshal(out, &all); err != nil || len(all) != len(files) {
		t.Fatalf("%d answers for %d files: %v", len(all), len(files), err)
	}
	return all
}

// readYAML reads a file as JSON has it.
func readYAML(t *testing.T, file string) (value any, ok bool) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON(data)
	if err != nil {
		return nil, false
	}
	value, err = jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	return value, err == nil
}
