// Package snapfile reads the files that entries of a snapshot name.
package snapfile

import (
	"fmt"
	"os"
	"path/filepath"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Read reads the whole file that an entry names, and checks its size.
func Read(scratch string, f *pluginv1.LocalFile) ([]byte, error) {
	path := filepath.FromSlash(f.GetPath())
	if scratch == "" || !filepath.IsLocal(path) {
		return nil, fmt.Errorf("the path %q leads out of the task's scratch folder", f.GetPath())
	}
	data, err := os.ReadFile(filepath.Join(scratch, path))
	if err == nil && uint64(len(data)) != f.GetSize() {
		err = fmt.Errorf("%s has %d bytes, the plugin said %d", f.GetPath(), len(data), f.GetSize())
	}
	return data, err
}

// Inline turns entries that name files, or refer to those of the newest completed
// checkpoint, into entries with their bytes: for who plays a host and has room for
// them.
func Inline(scratch string, entries []*pluginv1.Entry, completed uint64, files []*pluginv1.Entry) error {
	for _, e := range entries {
		switch c := e.GetContent().(type) {
		case *pluginv1.Entry_File:
			data, err := Read(scratch, c.File)
			if err != nil {
				return fmt.Errorf("file %s: %w", e.GetId(), err)
			}
			e.Content = &pluginv1.Entry_Payload{Payload: data}
		case *pluginv1.Entry_SameAs:
			if err := inlineSame(e, c.SameAs.GetCheckpoint(), completed, files); err != nil {
				return err
			}
		}
	}
	return nil
}

func inlineSame(e *pluginv1.Entry, of, completed uint64, files []*pluginv1.Entry) error {
	// The word of the newest may have been on its way: a file that is still in use is
	// in both.
	if of > completed || of < completed && e.GetKind() != pluginv1.Entry_KIND_FILE {
		return fmt.Errorf("%s %q refers to checkpoint %d, the newest completed one is %d", e.GetKind(), e.GetId(), of, completed)
	}
	for _, old := range files {
		if old.GetKind() == e.GetKind() && old.GetId() == e.GetId() && old.GetKeyGroup() == e.GetKeyGroup() {
			e.Content = &pluginv1.Entry_Payload{Payload: old.GetPayload()}
			return nil
		}
	}
	return fmt.Errorf("%s %q refers to checkpoint %d, which does not hold it", e.GetKind(), e.GetId(), of)
}
