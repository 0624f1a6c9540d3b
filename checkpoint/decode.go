package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/weirstream/weir/checkpoint/storage"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// ReadFiles reads keyed state out of the files of one task: entries of kind FILE, which
// name files below root. It yields entries as state in memory has them in a snapshot.
// It returns nil where it does not know the files.
type ReadFiles func(root string, files []*pluginv1.Entry) iter.Seq2[*pluginv1.Entry, error]

// DescribeState reads a checkpoint as Describe does, with the keyed state that nodes
// have in files in place of the files: all nodes, or those that are named. The files of
// one task at a time are put into a folder for temporary files, which is removed.
func DescribeState(ctx context.Context, st *storage.Storage, r Record, nodes []string, read ReadFiles) (Description, error) {
	return describeAll(ctx, st, r, func(node string, t TaskState, entries Entries) ([]EntryDescription, error) {
		if len(nodes) > 0 && !slices.Contains(nodes, node) {
			return nil, nil
		}
		return describeFiles(ctx, st, t, entries, read)
	})
}

// describeFiles describes the keyed state that a task has in files, nil where there is
// none, or read does not know them. entries are those of the task.
func describeFiles(ctx context.Context, st *storage.Storage, t TaskState, entries Entries, read ReadFiles) (out []EntryDescription, err error) {
	var files []*pluginv1.Entry
	for _, e := range entries {
		if e.GetKind() == pluginv1.Entry_KIND_FILE {
			files = append(files, e)
		}
	}
	if len(files)+len(t.Files) == 0 {
		return nil, nil
	}
	root, err := os.MkdirTemp("", "weir-state-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	placed, err := placeFiles(ctx, st, t, root)
	if err != nil {
		return nil, err
	}
	states := read(root, append(files, placed...))
	if states == nil {
		return nil, nil
	}
	out = []EntryDescription{}
	for e, err := range states {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, describe(Entries{e})...)
	}
	return out, nil
}

// placeFiles puts a task's files into a folder and returns the entries that name them.
// One at a time is in memory.
func placeFiles(ctx context.Context, st *storage.Storage, t TaskState, root string) ([]*pluginv1.Entry, error) {
	var out []*pluginv1.Entry
	for i, f := range t.Files {
		data, err := st.Get(ctx, f.Object)
		if err != nil {
			return nil, err
		}
		name := strconv.Itoa(i)
		if err := os.WriteFile(filepath.Join(root, name), data, 0o600); err != nil {
			return nil, fmt.Errorf("file %s of state on disk: %w", f.ID, err)
		}
		out = append(out, &pluginv1.Entry{
			Kind: pluginv1.Entry_KIND_FILE, Id: f.ID,
			Content: &pluginv1.Entry_File{File: &pluginv1.LocalFile{Path: name, Size: uint64(len(data))}},
		})
	}
	return out, nil
}
