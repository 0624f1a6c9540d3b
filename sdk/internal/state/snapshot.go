package state

import (
	"encoding/binary"
	"fmt"
	"slices"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"

	"github.com/weirstream/weir/proto/keygroup"
)

// Capture is the synchronous part of the snapshot of a checkpoint.
func (k *Keyed) Capture(checkpoint uint64) (Later, error) {
	c, err := k.backend.Capture(checkpoint, k.millis())
	if err != nil {
		return Later{}, err
	}
	s := &snapshot{keyed: k, capture: c, timers: k.timers.capture()}
	s.watermarks = make([]int64, k.groups.Last-k.groups.First+1)
	for i := range s.watermarks {
		s.watermarks[i] = k.watermarkOf(k.groups.First + i)
	}
	return Later{Walk: s.walk, Release: s.release}, nil
}

// Concluded says what became of a checkpoint.
func (k *Keyed) Concluded(checkpoint uint64, completed bool) {
	k.backend.Concluded(checkpoint, completed)
}

type snapshot struct {
	keyed      *Keyed // what of it never changes
	capture    Capture
	timers     rows
	watermarks []int64
}

func (s *snapshot) release() {
	s.capture.Release()
	s.timers.release()
}

func (s *snapshot) walk(yield func(*pluginv1.Entry) bool) error {
	stopped := false
	err := s.capture.Entries(func(e *pluginv1.Entry) bool {
		stopped = !yield(e)
		return !stopped
	})
	if err != nil || stopped {
		return err
	}
	s.walkTimers(yield)
	return nil
}

// walkTimers yields the timers and the watermark of each group that has any.
func (s *snapshot) walkTimers(yield func(*pluginv1.Entry) bool) {
	g := s.keyed.groups
	out := make([][]byte, len(s.watermarks))
	for i, w := range s.watermarks {
		if w != NoTime {
			out[i] = keygroup.AppendHeader(nil, keygroup.Header{Shape: keygroup.ShapeTimers, Watermark: &w})
		}
	}
	none := keygroup.AppendHeader(nil, keygroup.Header{Shape: keygroup.ShapeTimers})
	s.timers.walk(func(hash uint32, _ int, row func([]byte) []byte) {
		i := keygroup.OfHash(hash, g.Of) - g.First
		if out[i] == nil {
			out[i] = slices.Clone(none)
		}
		out[i] = row(out[i])
	})
	for i, payload := range out {
		if payload != nil && !yield(entry(keygroup.TimersID, g.First+i, payload)) {
			return
		}
	}
}

func entry(id string, group int, payload []byte) *pluginv1.Entry {
	return &pluginv1.Entry{
		Kind: pluginv1.Entry_KIND_KEY_GROUP, Id: id, KeyGroup: uint32(group),
		Content: &pluginv1.Entry_Payload{Payload: payload},
	}
}

func (k *Keyed) restoreTimers(e *pluginv1.Entry) error {
	h, rows, err := keygroup.CutHeader(e.GetPayload())
	if err != nil {
		return err
	}
	if h.Shape != keygroup.ShapeTimers {
		return fmt.Errorf("%w: shape %q", keygroup.ErrFormat, h.Shape)
	}
	if h.Watermark != nil {
		if k.restored == nil {
			k.restored = make([]int64, k.groups.Last-k.groups.First+1)
			for i := range k.restored {
				k.restored[i] = NoTime
			}
		}
		k.restored[int(e.GetKeyGroup())-k.groups.First] = *h.Watermark
	}
	for r, err := range keygroup.Rows(h, rows) {
		if err != nil {
			return err
		}
		if r.Domain > byte(ProcessingTime) {
			return fmt.Errorf("%w: timer of domain %d", keygroup.ErrFormat, r.Domain)
		}
		key := Key{Bytes: r.Key, Hash: keygroup.Hash(r.Key)}
		if err := k.checkGroup(e, key); err != nil {
			return err
		}
		k.timers.set(key, Timer{Domain(r.Domain), r.Time, r.Tag})
	}
	return nil
}

// checkGroup refuses a key that lies in the entry of another group: it may be another
// task's.
func (k *Keyed) checkGroup(e *pluginv1.Entry, key Key) error {
	if g := keygroup.OfHash(key.Hash, k.groups.Of); g != int(e.GetKeyGroup()) {
		return fmt.Errorf("%w: a key of key group %d in an entry of group %d", keygroup.ErrFormat, g, e.GetKeyGroup())
	}
	return nil
}

// Convert turns a stored value or map key into what the state has now.
type Convert func(stored []byte) ([]byte, error)

// Migration says how state of an earlier codec is read. Nil converts nothing.
type Migration struct {
	Value func(codec string) (Convert, error)
	Sub   func(codec string) (Convert, error)
	// Deadline is given to values that were stored without one.
	Deadline int64
}

// Open opens a state and restores it.
func (k *Keyed) Open(spec Spec, h keygroup.Header, m Migration) (*State, error) {
	for _, s := range k.states {
		if s.spec.Name == spec.Name {
			return nil, fmt.Errorf("two states are named %q", spec.Name)
		}
	}
	t, kept, err := k.backend.Table(spec, h)
	if err != nil {
		return nil, err
	}
	s := &State{Table: t, keyed: k, spec: spec, header: h}
	s.warmer, _ = t.(Warmer)
	if err := s.restore(k.unclaimed[spec.Name], kept, m); err != nil {
		return nil, err
	}
	if err := k.Drop(spec.Name); err != nil {
		return nil, err
	}
	k.states = append(k.states, s)
	return s, nil
}

// Drop forgets what the checkpoint holds of a state that is no longer there.
func (k *Keyed) Drop(name string) error {
	delete(k.unclaimed, name)
	if k.stored == nil {
		return nil
	}
	return k.stored.Drop(name)
}

// Unclaimed names restored states that nobody has opened.
func (k *Keyed) Unclaimed() []string {
	var names []string
	for name := range k.unclaimed {
		names = append(names, name)
	}
	if k.stored != nil {
		names = append(names, k.stored.Names()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Opened says that all states have been opened: what was restored is needed no more.
func (k *Keyed) Opened() error {
	if k.stored == nil {
		return nil
	}
	err := k.stored.Close()
	k.stored = nil
	return err
}

// restore puts what is stored of a state into its table.
func (s *State) restore(entries []*pluginv1.Entry, kept bool, m Migration) error {
	for _, e := range entries {
		h, rows, err := keygroup.CutHeader(e.GetPayload())
		if err != nil {
			return err
		}
		load, err := s.loader(h, m)
		if err != nil {
			return err
		}
		for r, err := range keygroup.Rows(h, rows) {
			if err != nil {
				return err
			}
			key := Key{Bytes: r.Key, Hash: keygroup.Hash(r.Key)}
			if err := s.keyed.checkGroup(e, key); err != nil {
				return err
			}
			if err := load(key, r); err != nil {
				return err
			}
		}
	}
	if s.keyed.stored != nil && !kept {
		var last keygroup.Header
		var load func(Key, keygroup.Row) error
		err := s.keyed.stored.Rows(s.spec.Name, func(h keygroup.Header, r keygroup.Row) (err error) {
			if load == nil || h != last {
				if load, err = s.loader(h, m); err != nil {
					return err
				}
				last = h
			}
			return load(Key{Bytes: r.Key, Hash: keygroup.Hash(r.Key)}, r)
		})
		if err != nil {
			return err
		}
	}
	return s.keyed.backend.Err()
}

// loader returns what puts rows into the table that were stored under a header.
func (s *State) loader(h keygroup.Header, m Migration) (func(Key, keygroup.Row) error, error) {
	if h.Shape != s.header.Shape {
		return nil, fmt.Errorf("it is a %s now and the checkpoint holds a %s", s.header.Shape, h.Shape)
	}
	var value, sub Convert
	var err error
	if h.Codec != s.header.Codec {
		if value, err = m.Value(h.Codec); err != nil {
			return nil, err
		}
	}
	if h.KeyCodec != s.header.KeyCodec {
		if sub, err = m.Sub(h.KeyCodec); err != nil {
			return nil, err
		}
	}
	var buf []byte
	return func(key Key, r keygroup.Row) (err error) {
		if h.TTL && len(r.Value) < 8 {
			return fmt.Errorf("%w: a value without its deadline", keygroup.ErrFormat)
		}
		if value != nil || h.TTL != s.spec.TTL {
			if buf, err = s.convert(buf[:0], h, r.Value, value, m.Deadline); err != nil {
				return err
			}
			r.Value = buf
		}
		if sub != nil {
			if r.Sub, err = sub(r.Sub); err != nil {
				return err
			}
		}
		s.Table.Put(key, r.Sub, r.Value)
		return nil
	}, nil
}

// convert appends a stored value as the state has it now.
func (s *State) convert(b []byte, h keygroup.Header, stored []byte, value Convert, otherwise int64) ([]byte, error) {
	at := uint64(otherwise)
	if h.TTL {
		at, stored = binary.LittleEndian.Uint64(stored), stored[8:]
	}
	if s.spec.TTL {
		b = binary.LittleEndian.AppendUint64(b, at)
	}
	if value == nil {
		return append(b, stored...), nil
	}
	if s.spec.Shape != List {
		v, err := value(stored)
		return append(b, v...), err
	}
	for len(stored) > 0 {
		item, rest, err := keygroup.CutBytes(stored)
		if err != nil {
			return nil, err
		}
		if item, err = value(item); err != nil {
			return nil, err
		}
		b, stored = keygroup.AppendBytes(b, item), rest
	}
	return b, nil
}
