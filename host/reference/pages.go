package reference

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Page is one file of the documentation.
type Page struct {
	// Name is the file's name.
	Name string
	Text string
}

// Pages is the documentation of components: a page each, and README.md, which
// lists them by kind and name.
func Pages(all []catalog.Component) []Page {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b catalog.Component) int {
		if byKind := int(a.Component.Kind) - int(b.Component.Kind); byKind != 0 {
			return byKind
		}
		return strings.Compare(a.Component.Name, b.Component.Name)
	})
	var index strings.Builder
	index.WriteString(generated + "# Connectors\n\nEvery parameter of every component. `weir plugin describe NAME` prints the same.\n")
	var pages []Page
	var kind pluginv1.Kind
	for _, c := range all {
		if c.Component.Kind != kind {
			kind = c.Component.Kind
			fmt.Fprintf(&index, "\n## %ss\n\n| name | what it does | claims |\n|---|---|---|\n", strings.ToUpper(pipeline.KindName(kind)[:1])+pipeline.KindName(kind)[1:])
		}
		page := Page{Name: pipeline.KindName(kind) + "-" + c.Component.Name + ".md", Text: generated + Markdown(c)}
		var claims []string
		for _, claim := range Claims(c.Component.Capabilities) {
			claims = append(claims, claim.Name)
		}
		fmt.Fprintf(&index, "| [%s](%s) | %s | %s |\n", c.Ref(), page.Name, cell(c.Component.Summary), strings.Join(claims, ", "))
		pages = append(pages, page)
	}
	return append([]Page{{"README.md", index.String()}}, pages...)
}
