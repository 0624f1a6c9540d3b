package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/lock"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/process"
)

// pinned is what plugin lock did about one plugin.
type pinned struct {
	Plugin   string `json:"plugin"`
	Version  string `json:"version"`
	Platform string `json:"platform"`
	SHA256   string `json:"sha256"`
	Path     string `json:"path"`
	// Change is "added", "changed", "unchanged" or "removed".
	Change string `json:"change"`
	Was    string `json:"was,omitempty"` // the version before
}

func newPluginLock() *cobra.Command {
	var (
		format     outputFormat
		pluginDirs []string
	)
	cmd := &cobra.Command{
		Use:   "lock FILE...",
		Short: "Pin the plugins of pipelines: versions and checksums, in weir.lock",
		Long: `Lock writes the file weir.lock beside the pipeline files, which lie in one folder:
name, version and, for this platform, the sha256 of each plugin that they use.
Where the file exists, every start checks it: a plugin that is not in it, or whose
file has changed, is refused with both sums.

Sums of other platforms stay as long as the version does: run lock on each.`,
		Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, files []string) error {
			all, err := lockPlugins(cmd.Context(), files, pluginDirs)
			if err != nil {
				return err
			}
			return printPinned(cmd.OutOrStdout(), all, format)
		},
	}
	format.flag(cmd)
	pluginDirFlag(cmd, &pluginDirs)
	return cmd
}

func lockPlugins(ctx context.Context, files, pluginDirs []string) ([]pinned, error) {
	dir := filepath.Dir(files[0])
	for _, f := range files {
		if filepath.Dir(f) != dir {
			return nil, badInput(fmt.Errorf("%s and %s lie in different folders, and each folder has a lock of its own", files[0], f))
		}
	}
	old, err := lock.Read(dir)
	if err != nil {
		return nil, badInput(err)
	}
	if old == nil {
		old = &lock.File{}
	}
	var all []pinned
	next := &lock.File{}
	err = withCatalog(ctx, dir, pluginDirs, func(c *catalog.Catalog) error {
		for _, file := range files {
			p, report := pipeline.Load(ctx, file, pipeline.Options{Catalog: c})
			if !report.OK() {
				return badInput(report.Err())
			}
			for _, pl := range p.Plugins {
				if _, done := next.Plugins[pl.Name]; done || pl.Name == pipeline.FirstParty {
					continue
				}
				one, err := pin(ctx, c, pl, old, next)
				if err != nil {
					return failed(err)
				}
				all = append(all, one)
			}
		}
		return nil
	}, func(c *catalog.Config) { c.Unlocked = true })
	if err != nil {
		return nil, err
	}
	for name, p := range old.Plugins {
		if _, kept := next.Plugins[name]; !kept {
			all = append(all, pinned{Plugin: name, Version: p.Version, Platform: lock.Platform(), SHA256: p.SHA256[lock.Platform()], Change: "removed"})
		}
	}
	slices.SortFunc(all, func(a, b pinned) int { return cmp.Compare(a.Plugin, b.Plugin) })
	if err := next.Write(dir); err != nil {
		return nil, failed(err)
	}
	return all, nil
}

// pin notes what a plugin is now.
func pin(ctx context.Context, c *catalog.Catalog, p pipeline.Plugin, old, next *lock.File) (pinned, error) {
	m, err := c.Manifest(ctx, p)
	if err != nil {
		return pinned{}, err
	}
	path, err := c.Checked(p)
	if err != nil {
		return pinned{}, err
	}
	sum, err := process.SumFile(path)
	if err != nil {
		return pinned{}, err
	}
	one := pinned{Plugin: p.Name, Version: m.GetVersion(), Platform: lock.Platform(), SHA256: sum, Path: path, Change: "added"}
	if before, ok := old.Plugins[p.Name]; ok {
		for platform, s := range before.SHA256 {
			next.Pin(p.Name, before.Version, platform, s)
		}
		switch one.Was = before.Version; {
		case before.Version == one.Version && before.SHA256[one.Platform] == sum:
			one.Change, one.Was = "unchanged", ""
		default:
			one.Change = "changed"
		}
	}
	next.Pin(p.Name, one.Version, one.Platform, sum)
	return one, nil
}

func printPinned(w io.Writer, all []pinned, format outputFormat) error {
	if format == formatJSON {
		return json.NewEncoder(w).Encode(all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no plugin but the one that comes with weir: nothing to pin")
		return err
	}
	var b strings.Builder
	for _, p := range all {
		version := p.Version
		if p.Was != "" && p.Was != p.Version {
			version = p.Was + " -> " + p.Version
		}
		fmt.Fprintf(&b, "%-9s  %s %s  %s  %s\n", p.Change, p.Plugin, version, p.Platform, p.SHA256)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
