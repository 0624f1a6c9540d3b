package pipeline

import (
	"context"
	"errors"
)

// Options are what Load needs beside the file.
type Options struct {
	// Catalog knows the plugins. Required.
	Catalog Catalog
	// Env looks an environment variable up; nil means os.LookupEnv.
	Env func(name string) (value string, ok bool)
	// ReadFile reads the file of a ${file:PATH}; nil means from disk. A relative
	// path has been joined to BaseDir.
	ReadFile func(path string) ([]byte, error)
	// BaseDir is the folder that relative paths of the file are relative to; empty
	// means the folder that the file lies in.
	BaseDir string
}

// Load reads a pipeline file and checks all of it. The Pipeline is nil unless
// the report is OK; a report that is OK may still hold warnings. A file that
// cannot be read is a fault too. Load reaches nothing outside but the catalog,
// the environment and the files that the file refers to; ctx bounds the
// catalog's calls.
func Load(ctx context.Context, path string, opts Options) (*Pipeline, Report) {
	return nil, Report{Faults: []Fault{{File: path, Line: 1, Column: 1, Message: errors.ErrUnsupported.Error(), Code: CodeUnreadable}}}
}

// LoadBytes is Load for a file that is already in memory; name stands for it in
// messages.
func LoadBytes(ctx context.Context, name string, data []byte, opts Options) (*Pipeline, Report) {
	return Load(ctx, name, opts)
}
