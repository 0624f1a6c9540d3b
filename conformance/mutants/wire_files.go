package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

const kindFile = pluginv1.Entry_KIND_FILE

// files is what a broken task does with the files of its state.
type files struct {
	scratch string
	store   string // of the first restored file
	damaged bool   // a restored file is not whole

	checkpoint uint64   // of the part before this one
	named      []string // paths, by that and those before it
	now        []string // by the checkpoint at hand
}

func (f *files) path(e *pluginv1.Entry) string {
	return filepath.Join(f.scratch, filepath.FromSlash(e.GetFile().GetPath()))
}

// restored is what becomes of a part that is restored.
func (f *files) restored(entries []*pluginv1.Entry) []*pluginv1.Entry {
	for _, e := range entries {
		if e.Kind != kindFile {
			continue
		}
		if store, _, _ := strings.Cut(e.Id, "/"); f.store == "" {
			f.store = store
		}
		if e.GetFile() != nil {
			info, err := os.Stat(f.path(e))
			f.damaged = f.damaged || err != nil || uint64(info.Size()) != e.GetFile().Size
		}
	}
	return slices.DeleteFunc(entries, func(e *pluginv1.Entry) bool {
		return e.Kind == kindFile && (is("files-are-not-restored") ||
			is("files-of-one-store-are-restored") && !strings.HasPrefix(e.Id, f.store+"/") ||
			is("damaged-files-are-left-out") && f.damaged)
	})
}

// snapshot sees a part of a snapshot.
func (f *files) snapshot(p *pluginv1.SnapshotPart) {
	if !is("files-change-once-they-are-named") {
		return
	}
	if p.Checkpoint != f.checkpoint {
		f.checkpoint, f.named, f.now = p.Checkpoint, append(f.named, f.now...), nil
		for _, path := range f.named {
			data, err := os.ReadFile(path)
			if err != nil || os.Remove(path) != nil {
				continue // it was concluded
			}
			// Another file in its place: the store's own stays as it is.
			if err := os.WriteFile(path, append(data, 0), 0o600); err != nil {
				crash()
			}
		}
	}
	for _, e := range p.Entries {
		if e.GetFile() != nil {
			f.now = append(f.now, f.path(e))
		}
	}
}
