package pipeline_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/weirstream/weir/host/schema"
)

// The defaults that the schema tells, and docs/pipeline.md with it, are those that
// hold.
func TestTheSchemaKnowsTheDefaults(t *testing.T) {
	text, err := schema.Of(nil)
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Default    any               `json:"default"`
		Properties map[string]object `json:"properties"`
	}
	var root object
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	count := 0
	var defaults func(o object) map[string]any
	defaults = func(o object) map[string]any {
		set := map[string]any{}
		for name, p := range o.Properties {
			switch inner := defaults(p); {
			case p.Default != nil:
				count++
				set[name] = p.Default
			case len(inner) > 0:
				set[name] = inner
			}
		}
		return set
	}
	file := defaults(root)
	if count < 14 {
		t.Fatalf("the schema tells only %d defaults", count)
	}
	file["name"] = "p"
	file["nodes"] = map[string]any{"in": map[string]any{"source": "generator"}, "out": map[string]any{"sink": "stdout", "input": "in"}}
	said, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	explicit := mustLoad(t, string(said), testOptions())
	silent := mustLoad(t, "{name: p, nodes: {in: {source: generator}, out: {sink: stdout, input: in}}}", testOptions())
	for _, set := range []struct {
		name          string
		said, assumed any
	}{
		{"checkpoint", explicit.Checkpoint, silent.Checkpoint},
		{"restart", explicit.Restart, silent.Restart},
		{"batch", explicit.Batch, silent.Batch},
		{"max_record", explicit.MaxRecord, silent.MaxRecord},
		{"parallelism", explicit.Parallelism, silent.Parallelism},
		{"isolation", explicit.Isolation, silent.Isolation},
		{"on_error", explicit.Node("in").OnFailure, silent.Node("in").OnFailure},
	} {
		if !reflect.DeepEqual(set.said, set.assumed) {
			t.Errorf("%s: the schema says %+v, and it is %+v", set.name, set.said, set.assumed)
		}
	}
}
