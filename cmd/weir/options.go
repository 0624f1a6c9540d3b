package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/console"
	"github.com/weirstream/weir/host/journal"
	"github.com/weirstream/weir/host/local"
	"github.com/weirstream/weir/host/process"
	"github.com/weirstream/weir/host/secret"
)

// outputFormat is the value of -o.
type outputFormat string

const (
	formatText     outputFormat = "text"
	formatJSON     outputFormat = "json"
	formatMarkdown outputFormat = "markdown"
	formatSARIF    outputFormat = "sarif"
)

// flag adds -o; beside text and json it takes more.
func (f *outputFormat) flag(cmd *cobra.Command, more ...outputFormat) {
	*f = formatText
	cmd.Flags().VarP(&formatValue{f, append([]outputFormat{formatText, formatJSON}, more...)}, "output", "o", "how to print")
}

// formatValue is the flag -o.
type formatValue struct {
	format *outputFormat
	known  []outputFormat
}

func (v *formatValue) String() string { return string(*v.format) }

// Type implements pflag.Value.
func (v *formatValue) Type() string { return v.names("|") }

// Set implements pflag.Value.
func (v *formatValue) Set(s string) error {
	if !slices.Contains(v.known, outputFormat(s)) {
		return fmt.Errorf("%q is none of %s", s, v.names(", "))
	}
	*v.format = outputFormat(s)
	return nil
}

func (v *formatValue) names(between string) string {
	var names []string
	for _, f := range v.known {
		names = append(names, string(f))
	}
	return strings.Join(names, between)
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
// The journal keeps what is logged, and says from which level on. mask hides secrets
// from both.
func (f *logFlags) logger(w io.Writer, terminal bool, mask *secret.Mask) (*slog.Logger, *journal.Journal, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, nil, badInput(fmt.Errorf("--log-level: %q is none of debug, info, warn, error", f.level))
	}
	var handler slog.Handler
	opts := &slog.HandlerOptions{Level: slog.LevelDebug}
	switch {
	case f.format == "auto" && terminal:
		handler = console.NewLogHandler(w, slog.LevelDebug)
	case f.format == "auto", f.format == "text":
		handler = slog.NewTextHandler(w, opts)
	case f.format == "json":
		handler = slog.NewJSONHandler(w, opts)
	default:
		return nil, nil, badInput(fmt.Errorf("--log-format: %q is none of auto, text, json", f.format))
	}
	j := journal.New(keptRecords, level)
	return slog.New(mask.Handler(j.Handler(handler))), j, nil
}

// keptRecords is how many records of a run's log are kept for `weir logs`.
const keptRecords = 2000

// newCatalog makes the catalog of plugins for a pipeline file in dir. The caller
// closes it.
func newCatalog(dir string, pluginDirs []string, opts process.Options, changes ...func(*catalog.Config)) (*catalog.Catalog, error) {
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
	config := catalog.Config{
		BuiltIn: process.Command{Args: []string{self, servePlugin}},
		Dir:     dir,
		Path:    path,
		Process: opts,
	}
	for _, change := range changes {
		change(&config)
	}
	return catalog.New(config), nil
}
