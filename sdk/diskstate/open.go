package diskstate

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/state"
)

// Pebble is state on disk in a Pebble store a task; hand it to [sdk.DiskState].
func Pebble() state.Disk { return disk{overlayBytes, valuesApart} }

// disk opens stores.
type disk struct {
	overlay int // bytes of each
	values  pebble.ValueSeparationPolicy
}

// A file's id in a snapshot is the name of its store, a slash, and its name. The
// store's name is random, with the key groups that it holds: STORE-FIRST-LAST-OF. It
// stays when a task goes on with a store, so that files are known again.
func storeName(g state.Groups) string {
	return fmt.Sprintf("%s-%d-%d-%d", strings.ToLower(rand.Text()), g.First, g.Last, g.Of)
}

func groupsOf(store string) (g state.Groups, err error) {
	_, numbers, _ := strings.Cut(store, "-")
	if _, err := fmt.Sscanf(numbers, "%d-%d-%d", &g.First, &g.Last, &g.Of); err != nil {
		return g, fmt.Errorf("a file of a store named %q, which is not one of this package", store)
	}
	return g, nil
}

// Open implements [state.Disk]. One store with just the task's key groups is gone on
// with; others are read into a new one.
func (d disk) Open(c state.DiskConfig) (state.Backend, state.Stored, error) {
	stores, err := byStore(c.Restored)
	if err != nil {
		return nil, nil, err
	}
	dir, name := filepath.Join(c.Dir, "db"), storeName(c.Groups)
	if len(stores) == 1 {
		g, err := groupsOf(stores[0].name)
		if err != nil {
			return nil, nil, err
		}
		if g == c.Groups {
			return d.resume(c, dir, stores[0])
		}
	}
	old, err := read(c, stores)
	if err != nil {
		return nil, nil, err
	}
	s, err := d.create(c, dir, name)
	if err != nil {
		return nil, nil, errors.Join(err, closeStored(old))
	}
	return s, old, nil
}

// Read implements [state.Disk].
func (d disk) Read(c state.DiskConfig) (state.Stored, error) {
	stores, err := byStore(c.Restored)
	if err != nil {
		return nil, err
	}
	return read(c, stores)
}

// resume goes on with a restored store.
func (d disk) resume(c state.DiskConfig, dir string, from storeFiles) (state.Backend, state.Stored, error) {
	if err := from.place(c.Root, dir); err != nil {
		return nil, nil, err
	}
	db, f, err := openPebble(dir, d.values)
	if err != nil {
		return nil, nil, err
	}
	known, err := descriptions(db)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	s := newStore(c, db, f, from.name, d.overlay)
	s.held = known
	s.files.base, s.files.at = map[string]bool{}, c.Checkpoint
	for _, e := range from.entries {
		s.files.base[e.GetId()] = true
	}
	return s, (*held)(s), nil
}

// create begins an empty store.
func (d disk) create(c state.DiskConfig, dir, name string) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	db, f, err := openPebble(dir, d.values)
	if err != nil {
		return nil, err
	}
	if err := db.Set([]byte{0}, fmt.Append(nil, formatVersion), pebble.NoSync); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return newStore(c, db, f, name, d.overlay), nil
}

// storeFiles are the restored files of one store.
type storeFiles struct {
	name    string
	entries []*pluginv1.Entry
}

func byStore(entries []*pluginv1.Entry) ([]storeFiles, error) {
	var all []storeFiles
	for _, e := range entries {
		name, file, ok := strings.Cut(e.GetId(), "/")
		if !ok || !filepath.IsLocal(name) || !filepath.IsLocal(file) || strings.ContainsAny(file, `/\`) {
			return nil, fmt.Errorf("a restored file named %q", e.GetId())
		}
		i := slices.IndexFunc(all, func(s storeFiles) bool { return s.name == name })
		if i < 0 {
			i = len(all)
			all = append(all, storeFiles{name: name})
		}
		all[i].entries = append(all[i].entries, e)
	}
	return all, nil
}

// place puts a store's files into a folder.
func (s storeFiles) place(root, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, e := range s.entries {
		to := filepath.Join(dir, path.Base(e.GetId()))
		var err error
		if f := e.GetFile(); f != nil {
			if !filepath.IsLocal(filepath.FromSlash(f.GetPath())) {
				return fmt.Errorf("restored file %s: its path %q leads out of the task's folder", e.GetId(), f.GetPath())
			}
			err = os.Rename(filepath.Join(root, filepath.FromSlash(f.GetPath())), to)
		} else {
			err = os.WriteFile(to, e.GetPayload(), 0o600)
		}
		if err != nil {
			return fmt.Errorf("restored file %s: %w", e.GetId(), err)
		}
	}
	return nil
}
