package diskstate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// files is what a store knows of its files in checkpoints.
type files struct {
	made []*job // whose folder may be there; the loop's own

	mu sync.Mutex
	// base are ids of the files of the newest completed checkpoint, whose number is
	// at; pending those of checkpoints without an outcome.
	base    map[string]bool
	at      uint64
	pending map[uint64]map[string]bool
}

// Concluded implements [state.Backend].
func (s *store) Concluded(checkpoint uint64, completed bool) {
	s.files.made = slices.DeleteFunc(s.files.made, func(j *job) bool {
		if j.checkpoint > checkpoint {
			return false
		}
		select {
		case <-j.done:
		default:
			return false // a later word removes it
		}
		if err := os.RemoveAll(j.dir); err != nil {
			s.fail(err)
		}
		return true
	})
	f := &s.files
	f.mu.Lock()
	defer f.mu.Unlock()
	if names, ok := f.pending[checkpoint]; ok && completed && checkpoint > f.at {
		f.base, f.at = names, checkpoint
	}
	for n := range f.pending {
		if n <= checkpoint {
			delete(f.pending, n)
		}
	}
}

// capture is a snapshot on its way.
type capture struct {
	store    *store
	job      *job
	once     sync.Once
	released chan struct{}
}

var errReleased = errors.New("the snapshot was given up")

// Entries implements [state.Capture]: a file that the newest completed checkpoint holds
// is referred to, a new one of Pebble's is named, and the small rest goes along.
func (c *capture) Entries(yield func(*pluginv1.Entry) bool) error {
	select {
	case <-c.job.done:
	case <-c.released:
		return errReleased
	}
	if c.job.err != nil {
		return c.job.err
	}
	list, err := os.ReadDir(c.job.dir)
	if err != nil {
		return fmt.Errorf("state on disk: %w", err)
	}
	f := &c.store.files
	f.mu.Lock()
	base, at := f.base, f.at
	f.mu.Unlock()
	names := map[string]bool{}
	for _, info := range list {
		e := &pluginv1.Entry{Kind: pluginv1.Entry_KIND_FILE, Id: c.store.name + "/" + info.Name()}
		path := filepath.Join(c.job.dir, info.Name())
		ext := filepath.Ext(info.Name())
		switch {
		case ext != keysExt && ext != valuesExt:
			content, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("state on disk: %w", err)
			}
			e.Content = &pluginv1.Entry_Payload{Payload: content}
		case base[e.Id]:
			e.Content = &pluginv1.Entry_SameAs{SameAs: &pluginv1.EntryRef{Checkpoint: at}}
		default:
			if e.Content, err = c.local(path); err != nil {
				return fmt.Errorf("state on disk: %w", err)
			}
		}
		if _, whole := e.Content.(*pluginv1.Entry_Payload); !whole {
			names[e.Id] = true
		}
		if !yield(e) {
			return nil
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending[c.job.checkpoint] = names
	return nil
}

func (c *capture) local(path string) (*pluginv1.Entry_File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(c.store.root, path)
	if err != nil {
		return nil, err
	}
	return &pluginv1.Entry_File{File: &pluginv1.LocalFile{Path: filepath.ToSlash(rel), Size: uint64(info.Size())}}, nil
}

// Release implements [state.Capture]. The files stay until the checkpoint's outcome is
// known: the host reads them.
func (c *capture) Release() { c.once.Do(func() { close(c.released) }) }
