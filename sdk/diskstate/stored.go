package diskstate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weirstream/weir/proto/keygroup"
	"github.com/weirstream/weir/sdk/internal/state"
)

// stored are stores of a checkpoint, of which the task takes over some key groups.
type stored struct {
	dir    string
	groups state.Groups
	stores []oldStore
}

type oldStore struct {
	db     *pebble.DB
	groups state.Groups
	states []description
}

// read opens restored stores; nil where there are none.
func read(c state.DiskConfig, stores []storeFiles) (state.Stored, error) {
	if len(stores) == 0 {
		return nil, nil
	}
	s := &stored{dir: filepath.Join(c.Dir, "restored"), groups: c.Groups}
	for _, from := range stores {
		if err := s.open(c.Root, from); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

func closeStored(s state.Stored) error {
	if s == nil {
		return nil
	}
	return s.Close()
}

func (s *stored) open(root string, from storeFiles) error {
	g, err := groupsOf(from.name)
	if err != nil {
		return err
	}
	if g.Of != s.groups.Of {
		return fmt.Errorf("state on disk of %d key groups, the task has %d", g.Of, s.groups.Of)
	}
	dir := filepath.Join(s.dir, from.name)
	if err := from.place(root, dir); err != nil {
		return err
	}
	db, err := readPebble(dir)
	if err != nil {
		return err
	}
	states, err := descriptions(db)
	s.stores = append(s.stores, oldStore{db, g, states})
	return err
}

// Names implements [state.Stored].
func (s *stored) Names() []string {
	var names []string
	for _, o := range s.stores {
		for _, d := range o.states {
			if !slices.Contains(names, d.Name) {
				names = append(names, d.Name)
			}
		}
	}
	return names
}

// Rows implements [state.Stored].
func (s *stored) Rows(name string, f func(keygroup.Header, keygroup.Row) error) error {
	for _, o := range s.stores {
		mine := state.Groups{First: max(s.groups.First, o.groups.First), Last: min(s.groups.Last, o.groups.Last), Of: s.groups.Of}
		for _, d := range o.states {
			if d.Name != name || mine.First > mine.Last {
				continue
			}
			if err := rows(o.db, d, mine, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// Drop implements [state.Stored].
func (s *stored) Drop(name string) error {
	for i := range s.stores {
		o := &s.stores[i]
		o.states = slices.DeleteFunc(o.states, func(d description) bool { return d.Name == name })
	}
	return nil
}

// Close implements [state.Stored].
func (s *stored) Close() error {
	var errs []error
	for _, o := range s.stores {
		errs = append(errs, closeStore(o.db))
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// held is what a store that a task goes on with holds and no table has taken as it is.
type held store

// Names implements [state.Stored].
func (h *held) Names() []string {
	var names []string
	for _, d := range h.held {
		names = append(names, d.Name)
	}
	return names
}

// Rows implements [state.Stored].
func (h *held) Rows(name string, f func(keygroup.Header, keygroup.Row) error) error {
	for _, d := range h.held {
		if d.Name == name {
			return rows(h.db, d, h.groups, f)
		}
	}
	return nil
}

// Drop implements [state.Stored].
func (h *held) Drop(name string) error {
	i := slices.IndexFunc(h.held, func(d description) bool { return d.Name == name })
	if i < 0 {
		return nil
	}
	d := h.held[i]
	h.held = slices.Delete(h.held, i, i+1)
	return errors.Join(
		h.db.DeleteRange([]byte{d.number}, []byte{d.number + 1}, pebble.NoSync),
		h.db.Delete([]byte{0, d.number}, pebble.NoSync),
	)
}

// Close implements [state.Stored].
func (h *held) Close() error { return nil }
