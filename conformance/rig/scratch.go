package rig

import (
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/proto/snapfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

const kindFile = pluginv1.Entry_KIND_FILE

// NamedFile is a file that a task named in a snapshot, as it was when the snapshot had
// come.
type NamedFile struct {
	Task int
	ID   string
	Path string // absolute
	Data []byte
}

// stored are the entries of a completed checkpoint that a task may refer to, files with
// their bytes.
type stored struct {
	checkpoint uint64
	entries    []*pluginv1.Entry
}

// makeScratch makes a folder for a task and puts the restored files into it. inFiles
// are the entries whose bytes are to be a file's.
func (s *Stage) makeScratch(t *Task, restore []*pluginv1.Entry, inFiles map[*pluginv1.Entry]bool) ([]*pluginv1.Entry, error) {
	if s.Open.Scratch == "" {
		return restore, nil
	}
	if err := os.MkdirAll(s.Open.Scratch, 0o700); err != nil {
		return nil, err
	}
	var err error
	if t.Scratch, err = os.MkdirTemp(s.Open.Scratch, fmt.Sprintf("%d-%d-", s.Open.Epoch, t.ID.Index)); err != nil {
		return nil, err
	}
	t.completed = stored{entries: restore}
	if s.Open.Restore != nil {
		t.completed.checkpoint = s.Open.Restore.Checkpoint
	}
	out := make([]*pluginv1.Entry, len(restore))
	for i, e := range restore {
		if out[i] = e; !inFiles[e] {
			continue
		}
		name := fmt.Sprintf("restored/%d", i)
		path := filepath.Join(t.Scratch, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, e.GetPayload(), 0o600); err != nil {
			return nil, err
		}
		if s.Open.ChangeFile != nil {
			s.Open.ChangeFile(e.GetId(), path)
		}
		out[i] = &pluginv1.Entry{
			Kind: kindFile, Component: e.GetComponent(), Id: e.GetId(),
			Content: &pluginv1.Entry_File{File: &pluginv1.LocalFile{Path: name, Size: uint64(len(e.GetPayload()))}},
		}
	}
	return out, nil
}

// readFiles gives a snapshot's entries of kind FILE their bytes, as a host stores them,
// and notes in the cut which lay in files.
func (c *Cut) readFiles(t *Task, index int, entries []*pluginv1.Entry) ([]*pluginv1.Entry, error) {
	out := make([]*pluginv1.Entry, len(entries))
	var files []*pluginv1.Entry
	for i, e := range entries {
		if out[i] = e; e.GetKind() != kindFile {
			continue
		}
		out[i] = proto.CloneOf(e)
		files = append(files, out[i])
	}
	t.mu.Lock()
	completed := t.completed
	t.mu.Unlock()
	for _, e := range files {
		_, whole := e.GetContent().(*pluginv1.Entry_Payload)
		named := e.GetFile()
		if err := snapfile.Inline(t.Scratch, []*pluginv1.Entry{e}, completed.checkpoint, completed.entries); err != nil {
			return nil, err
		}
		if !whole {
			c.inFiles[fileKey{index, e.GetId()}] = true
		}
		if named != nil {
			c.Named = append(c.Named, NamedFile{index, e.GetId(), filepath.Join(t.Scratch, filepath.FromSlash(named.GetPath())), e.GetPayload()})
		}
	}
	return out, nil
}

// fileKey names a file of a cut: a task's, by its id.
type fileKey struct {
	task int
	id   string
}
