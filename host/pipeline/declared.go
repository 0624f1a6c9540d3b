package pipeline

import (
	"context"
	"slices"
	"strings"
)

// Declared reads what a pipeline file declares under `plugins`, whatever else the
// file says: a plugin is to be found also while its pipeline is being written. The
// report holds the faults of that section, and those that keep the file from being
// read. Of opts it needs no Catalog.
func Declared(path string, opts Options) ([]Plugin, Report) {
	data, err := readPipelineFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	l := newLoader(context.Background(), path, opts)
	var names []string
	if file, ok := l.root(data); ok {
		l.declarations(l.fields(file, rootFields...)["plugins"])
		for name := range l.plugins {
			names = append(names, name)
		}
		l.faults = slices.DeleteFunc(l.faults, func(f Fault) bool {
			section, _, _ := strings.Cut(f.Field, ".")
			return section != "plugins"
		})
	}
	report := l.report(path)
	if !report.OK() {
		return nil, report
	}
	slices.Sort(names)
	var plugins []Plugin
	for _, name := range names {
		plugins = append(plugins, l.plugins[name].plugin)
	}
	return plugins, report
}
