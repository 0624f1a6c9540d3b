package reference

import (
	"fmt"
	"strings"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// generated stands at the top of each page.
const generated = "<!-- Made by `weir plugin describe`. Change the component, not this page. -->\n\n"

// Markdown is the page of one component.
func Markdown(c catalog.Component) string {
	var b strings.Builder
	spec := c.Component
	fmt.Fprintf(&b, "# %s %s\n\n%s\n", pipeline.KindName(spec.Kind), c.Ref(), spec.Summary)
	if spec.Description != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(spec.Description))
	}
	fmt.Fprintf(&b, "\nVersion %s, plugin `%s` %s.\n", spec.Version, c.Manifest.Name, c.Manifest.Version)

	b.WriteString("\n## Parameters\n\n")
	if rows := Rows(spec.Parameters); len(rows) > 0 {
		b.WriteString("| parameter | type | default | meaning |\n|---|---|---|---|\n")
		for _, r := range rows {
			def := r.Default
			if def != "" && def != "required" {
				def = code(def)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", code(r.Name), r.Type, def, cell(r.Meaning))
		}
	} else {
		b.WriteString("None.\n")
	}
	if len(spec.Inputs) > 0 {
		b.WriteString("\n## Inputs\n\n| port | partition | records |\n|---|---|---|\n")
		for _, p := range spec.Inputs {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", code(p.Name), partition(p), cell(p.Summary))
		}
	}
	if outputs := Outputs(spec); len(outputs) > 0 {
		b.WriteString("\n## Outputs\n\n| output | records |\n|---|---|\n")
		for _, o := range outputs {
			name := ""
			if o.Name != "" {
				name = code(o.Name)
			}
			fmt.Fprintf(&b, "| %s | %s |\n", name, cell(o.Summary))
		}
	}
	if claims := Claims(spec.Capabilities); len(claims) > 0 {
		b.WriteString("\n## Claims\n\nA configuration may take some of these away; `weir validate` tells what is left.\n\n")
		for _, claim := range claims {
			fmt.Fprintf(&b, "- **%s**: %s\n", claim.Name, claim.Meaning)
		}
	}
	if len(spec.Examples) > 0 {
		b.WriteString("\n## Examples\n")
		for _, e := range spec.Examples {
			fmt.Fprintf(&b, "\n%s:\n\n```yaml\n%s```\n", e.Title, node(c, e.Config))
		}
	}
	return b.String()
}

// node is an example as the node of a pipeline file.
func node(c catalog.Component, config string) string {
	kind := pipeline.KindName(c.Component.Kind)
	input := ""
	if c.Component.Kind != pluginv1.Kind_KIND_SOURCE {
		input = "  input: other\n"
	}
	config = strings.TrimRight(config, "\n")
	return fmt.Sprintf("%s:\n  %s: %s\n%s  config:\n    %s\n", c.Component.Name, kind, c.Ref(), input, strings.ReplaceAll(config, "\n", "\n    "))
}

func partition(p *pluginv1.Port) string {
	how := "as the pipeline says"
	if p.Partition != pluginv1.Partition_PARTITION_UNSPECIFIED {
		how = strings.ToLower(strings.TrimPrefix(p.Partition.String(), "PARTITION_"))
	}
	if p.Optional {
		how += ", may be left unconnected"
	}
	return how
}

func code(s string) string {
	fence := "`"
	if strings.Contains(s, fence) {
		fence = "``"
	}
	return fence + strings.ReplaceAll(s, "|", `\|`) + fence
}

// cell is text that keeps to its cell of a table and means itself in Markdown.
func cell(s string) string { return literally.Replace(strings.Join(strings.Fields(s), " ")) }

var literally = strings.NewReplacer(`\`, `\\`, "|", `\|`, "*", `\*`, "_", `\_`, "<", `\<`, "`", "\\`")
