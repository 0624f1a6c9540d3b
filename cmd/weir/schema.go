package main

import (
	"context"
	"io"
	"path/filepath"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/schema"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// printSchema prints the JSON Schema for files beside file, which may be empty.
func printSchema(ctx context.Context, w io.Writer, file string, pluginDirs []string) error {
	plugins, err := declared(file)
	if err != nil {
		return err
	}
	var components []schema.Component
	err = withCatalog(ctx, filepath.Dir(file), pluginDirs, func(c *catalog.Catalog) error {
		for _, l := range c.List(ctx, plugins...) {
			if l.Ignored == "" {
				components = append(components, componentsOf(l.Name, l.Manifest)...)
			}
		}
		return nil
	})
	if err != nil {
		return failed(err)
	}
	out, err := schema.Of(components)
	if err != nil {
		return failed(err)
	}
	_, err = w.Write(append(out, '\n'))
	return err
}

// componentsOf lists a plugin's components with all their names: "file" of the
// first party, "acme/mask" of others, and "acme" where it has one of the kind.
func componentsOf(plugin string, m *pluginv1.Manifest) []schema.Component {
	kinds := map[pluginv1.Kind]int{}
	for _, c := range m.GetComponents() {
		kinds[c.GetKind()]++
	}
	var all []schema.Component
	for _, c := range m.GetComponents() {
		names := []string{plugin + "/" + c.GetName()}
		switch {
		case plugin == pipeline.FirstParty:
			names = []string{c.GetName()}
		case kinds[c.GetKind()] == 1:
			names = append(names, plugin)
		}
		all = append(all, schema.Component{Names: names, Spec: c})
	}
	return all
}
