package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/console"
	"github.com/weirstream/weir/host/local"
	"github.com/weirstream/weir/host/process"
)

// outputFormat is the value of -o.
type outputFormat string

const (
	formatText outputFormat = "text"
	formatJSON outputFormat = "json"
)

func (f *outputFormat) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *outputFormat) Type() string { return "text|json" }

// Set implements pflag.Value.
func (f *outputFormat) Set(s string) error {
	switch outputFormat(s) {
	case formatText, formatJSON:
		*f = outputFormat(s)
		return nil
	}
	return fmt.Errorf("%q is neither text nor json", s)
}

func (f *outputFormat) flag(cmd *cobra.Command) {
	*f = formatText
	cmd.Flags().VarP(f, "output", "o", "how to print")
}

// stateDirFlag adds --state-dir.
func stateDirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "state-dir", local.DefaultStateDir(), "folder for the state of pipelines")
}

// pluginDirFlag adds --plugin-dir.
func pluginDirFlag(cmd *cobra.Command, dirs *[]string) {
	cmd.Flags().StringSliceVar(dirs, "plugin-dir", nil, "folders to look for weir-plugin-* in, before the usual ones")
}

// logFlags are --log-level and --log-format.
type logFlags struct {
	level  string
	format string
}

func (f *logFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&f.format, "log-format", "auto", "text, json, or auto: for people on a terminal, else text")
}

// logger returns a log that writes to w; terminal says that a person sees it come.
func (f *logFlags) logger(w io.Writer, terminal bool) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, badInput(fmt.Errorf("--log-level: %q is none of debug, info, warn, error", f.level))
	}
	opts := &slog.HandlerOptions{Level: level}
	switch f.format {
	case "auto":
		if terminal {
			return slog.New(console.NewLogHandler(w, level)), nil
		}
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, badInput(fmt.Errorf("--log-format: %q is none of auto, text, json", f.format))
}

// newCatalog makes the catalog of plugins for a pipeline file in dir. The caller
// closes it.
func newCatalog(dir string, pluginDirs []string, opts process.Options) (*catalog.Catalog, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the weir binary, which holds the first-party plugin: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	var path []string
	if len(pluginDirs) > 0 {
		path = append(append(path, pluginDirs...), catalog.DefaultPath(dir)...)
	}
	opts.HostVersion = currentVersion()
	return catalog.New(catalog.Config{
		BuiltIn: process.Command{Args: []string{self, servePlugin}},
		Dir:     dir,
		Path:    path,
		Process: opts,
	}), nil
}
