package reference_test

import (
	"flag"
	"os"
	"testing"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/reference"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

var update = flag.Bool("update", false, "write the page in testdata anew")

// component says everything that a component can say of itself.
func component() catalog.Component {
	spec := &pluginv1.Component{
		Kind: pluginv1.Kind_KIND_OPERATOR, Name: "join", Version: "2.1.0",
		Summary:     "Joins two streams.",
		Description: "The *left* one waits.\n\nAnother paragraph.\n",
		Parameters: []*pluginv1.Parameter{
			{Name: "on", Type: pluginv1.Parameter_TYPE_STRING, Required: true, Pattern: "[a-z_]+|x*", Description: "Field <name> to join on."},
			{Name: "wait", Type: pluginv1.Parameter_TYPE_DURATION, Default: `"5s"`, Min: "1s", Max: "1m", Description: "How long."},
			{Name: "tags", Type: pluginv1.Parameter_TYPE_LIST, Element: pluginv1.Parameter_TYPE_STRING, Default: `["a|b"]`},
			{Name: "how", Type: pluginv1.Parameter_TYPE_STRING, Enum: []string{"inner", "outer"}, Default: `"inner"`},
			{Name: "server", Type: pluginv1.Parameter_TYPE_OBJECT, Fields: []*pluginv1.Parameter{
				{Name: "token", Type: pluginv1.Parameter_TYPE_STRING, Secret: true, Xor: "auth", Required: true},
				{Name: "user", Type: pluginv1.Parameter_TYPE_STRING, Xor: "auth"},
				{Name: "proxy", Type: pluginv1.Parameter_TYPE_STRING, Xor: "way"},
				{Name: "direct", Type: pluginv1.Parameter_TYPE_BOOL, Xor: "way", Deprecated: "leave it out"},
			}},
		},
		Inputs: []*pluginv1.Port{
			{Name: "left", Summary: "What waits.", Partition: pluginv1.Partition_PARTITION_KEY},
			{Name: "right", Optional: true},
		},
		Outputs:        []*pluginv1.Output{{Name: "unmatched", Summary: "Records without a partner."}},
		DynamicOutputs: true,
		Capabilities:   &pluginv1.Capabilities{KeyedState: true, EventTime: true},
		Examples:       []*pluginv1.Example{{Title: "Orders and payments", Config: "on: id\nserver:\n  token: ${file:token}\n"}},
	}
	return catalog.Component{
		Plugin:    pipeline.Plugin{Name: "acme"},
		Manifest:  &pluginv1.Manifest{Name: "acme", Version: "3.0.0"},
		Component: spec,
	}
}

func TestAPageHoldsAllThatAComponentSays(t *testing.T) {
	got := reference.Markdown(component())
	if *update {
		if err := os.WriteFile("testdata/join.md", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/join.md")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTheIndexListsComponentsByKindAndName(t *testing.T) {
	of := func(kind pluginv1.Kind, name string) catalog.Component {
		c := component()
		c.Component = &pluginv1.Component{Kind: kind, Name: name, Summary: "Does " + name + ".", Capabilities: &pluginv1.Capabilities{}}
		return c
	}
	pages := reference.Pages([]catalog.Component{
		of(pluginv1.Kind_KIND_SINK, "b"), of(pluginv1.Kind_KIND_SOURCE, "z"), of(pluginv1.Kind_KIND_SINK, "a"),
	})
	var names []string
	for _, p := range pages {
		names = append(names, p.Name)
	}
	if got, want := len(names), 4; got != want || names[0] != "README.md" || names[1] != "source-z.md" || names[2] != "sink-a.md" || names[3] != "sink-b.md" {
		t.Fatalf("pages %q", names)
	}
	const want = `
## Sources

| name | what it does | claims |
|---|---|---|
| [acme/z](source-z.md) | Does z. |  |

## Sinks

| name | what it does | claims |
|---|---|---|
| [acme/a](sink-a.md) | Does a. |  |
| [acme/b](sink-b.md) | Does b. |  |
`
	if index := pages[0].Text; len(index) < len(want) || index[len(index)-len(want):] != want {
		t.Errorf("the index is\n%s", index)
	}
}
