package diskstate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"

	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/state"
)

// Entries reads the files of one task's snapshot: entries of kind FILE, those that name
// a file below root, which is moved. It yields what they hold as a snapshot of state in
// memory does: an entry of kind KEY_GROUP for each state and key group, states in the
// order in which they were opened first, and stops at the first error. It is nil where
// the files are not of this package.
func Entries(root string, files []*pluginv1.Entry) iter.Seq2[*pluginv1.Entry, error] {
	stores, err := byStore(files)
	if err != nil || len(stores) == 0 {
		return nil
	}
	of := make([]state.Groups, len(stores))
	for i, s := range stores {
		if of[i], err = groupsOf(s.name); err != nil {
			return nil
		}
	}
	return func(yield func(*pluginv1.Entry, error) bool) {
		for i, s := range stores {
			done := false
			err := entriesOf(root, s, of[i], func(e *pluginv1.Entry) error {
				if done = !yield(e, nil); done {
					return errStopped
				}
				return nil
			})
			if done {
				return
			}
			if err != nil {
				yield(nil, fmt.Errorf("state on disk: %w", err))
				return
			}
		}
	}
}

var errStopped = errors.New("stopped")

// entriesOf reads one store.
func entriesOf(root string, from storeFiles, g state.Groups, f func(*pluginv1.Entry) error) (err error) {
	old, err := read(state.DiskConfig{Root: root, Dir: filepath.Join(root, "read"), Groups: g}, []storeFiles{from})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	for _, name := range old.Names() {
		w := groupWriter{name: name, of: g.Of, yield: f}
		if err := old.Rows(name, w.add); err != nil {
			return err
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
	return nil
}

// groupWriter gathers the rows of a state, which come by key group and key, to entries
// of a group each.
type groupWriter struct {
	name  string
	of    int
	yield func(*pluginv1.Entry) error

	group   int
	payload []byte // nil between two groups
	// Of a map: the rows of the key at hand, of which there are count.
	key   []byte
	count uint64
	subs  []byte
}

func (w *groupWriter) add(h keygroup.Header, r keygroup.Row) error {
	if g := keygroup.Of(r.Key, w.of); w.payload == nil || g != w.group {
		if err := w.flush(); err != nil {
			return err
		}
		w.group, w.payload = g, keygroup.AppendHeader(nil, h)
	}
	if h.Shape != keygroup.ShapeMap {
		w.payload = keygroup.AppendBytes(keygroup.AppendBytes(w.payload, r.Key), r.Value)
		return nil
	}
	if w.count > 0 && !bytes.Equal(w.key, r.Key) {
		w.endKey()
	}
	w.key = append(w.key[:0], r.Key...)
	w.subs = keygroup.AppendBytes(keygroup.AppendBytes(w.subs, r.Sub), r.Value)
	w.count++
	return nil
}

// endKey writes the map of the key at hand.
func (w *groupWriter) endKey() {
	w.payload = binary.AppendUvarint(keygroup.AppendBytes(w.payload, w.key), w.count)
	w.payload = append(w.payload, w.subs...)
	w.count, w.subs = 0, w.subs[:0]
}

func (w *groupWriter) flush() error {
	if w.count > 0 {
		w.endKey()
	}
	if w.payload == nil {
		return nil
	}
	e := &pluginv1.Entry{
		Kind: pluginv1.Entry_KIND_KEY_GROUP, Id: w.name, KeyGroup: uint32(w.group),
		Content: &pluginv1.Entry_Payload{Payload: slices.Clip(w.payload)},
	}
	w.payload = nil
	return w.yield(e)
}
