package sdk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/weirstream/weir/proto/keygroup"
	"github.com/weirstream/weir/sdk/internal/state"
)

// StateOption says more about a state than its type does.
type StateOption func(*stateOptions)

type stateOptions struct {
	codec, keyCodec any // Codec of the value or item, and of a map's key
	ttl             time.Duration
	refreshOnRead   bool
	migrations      []migration
}

// migration reads values of an earlier codec.
type migration struct {
	from string
	read func(stored []byte) (any, error)
}

// WithCodec sets how values of the state, or items of a list, are encoded.
func WithCodec[T any](c Codec[T]) StateOption {
	return func(o *stateOptions) { o.codec = c }
}

// WithKeyCodec sets how the keys within a map are encoded.
func WithKeyCodec[K comparable](c Codec[K]) StateOption {
	return func(o *stateOptions) { o.keyCodec = c }
}

// TTL drops a value, an entry of a map or a whole list when it has not been written
// for that long, by processing time. It is gone at once for who reads it; its
// memory is freed sooner or later.
func TTL(d time.Duration) StateOption {
	return func(o *stateOptions) { o.ttl = d }
}

// RefreshOnRead makes reading count as writing for a [TTL].
func RefreshOnRead() StateOption {
	return func(o *stateOptions) { o.refreshOnRead = true }
}

// Migrate says how values are read that a checkpoint holds in an earlier encoding:
// convert makes what old decodes into what the state has now. Keep it for as long
// as there are such checkpoints.
func Migrate[Old, New any](old Codec[Old], convert func(Old) (New, error)) StateOption {
	return func(o *stateOptions) {
		o.migrations = append(o.migrations, migration{old.Name(), func(stored []byte) (any, error) {
			v, err := old.Decode(stored)
			if err != nil {
				return nil, err
			}
			return convert(v)
		}})
	}
}

var stateName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]*$`)

// DropState forgets what a checkpoint holds under the name of a state, by key or of
// the task, that the component no longer has. Without it such a checkpoint is
// refused.
func DropState(t *Task, name string) {
	t.dropped = append(t.dropped, name)
}

// handle is what all kinds of state by key share. A fault in its declaration fails
// the opening of the task.
type handle[T any] struct {
	task  *Task
	name  string
	state *state.State
	codec Codec[T]
	ttl   int64 // milliseconds; 0: none
	read  bool  // refreshes on read
	buf   []byte
}

func open[T any](t *Task, name string, shape state.Shape, options []StateOption, keyCodec func(*stateOptions) (string, error)) handle[T] {
	h := handle[T]{task: t, name: name}
	h.fault(func() (err error) {
		if t.keyed == nil {
			return errors.New("only a KeyedOperator has state by key, while it opens")
		}
		if !stateName.MatchString(name) {
			return errors.New("the name is not letters, digits, _ and -, beginning with a letter")
		}
		o := stateOptions{codec: CodecOf[T]()}
		for _, option := range options {
			option(&o)
		}
		var ok bool
		if h.codec, ok = o.codec.(Codec[T]); !ok {
			return fmt.Errorf("WithCodec of %T is not for values of %T", o.codec, *new(T))
		}
		if h.ttl, h.read = o.ttl.Milliseconds(), o.refreshOnRead; o.ttl != 0 && h.ttl <= 0 {
			return fmt.Errorf("a TTL of %v is less than a millisecond", o.ttl)
		}
		header := keygroup.Header{Shape: shapes[shape], Codec: h.codec.Name(), TTL: h.ttl > 0}
		if keyCodec != nil {
			if header.KeyCodec, err = keyCodec(&o); err != nil {
				return err
			}
		}
		h.state, err = t.keyed.Open(state.Spec{Name: name, Shape: shape, TTL: h.ttl > 0}, header, state.Migration{
			Value:    func(from string) (state.Convert, error) { return h.migrate(from, o.migrations) },
			Sub:      func(from string) (state.Convert, error) { return nil, codecError("map keys", from, header.KeyCodec) },
			Deadline: t.now()/1e6 + h.ttl,
		})
		return err
	})
	return h
}

var shapes = [...]string{state.Value: keygroup.ShapeValue, state.List: keygroup.ShapeList, state.Map: keygroup.ShapeMap}

func codecError(what, from, to string) error {
	return fmt.Errorf("the checkpoint holds %s encoded as %q and the plugin reads %q", what, from, to)
}

func (h *handle[T]) migrate(from string, migrations []migration) (state.Convert, error) {
	for _, m := range migrations {
		if m.from != from {
			continue
		}
		return func(stored []byte) ([]byte, error) {
			v, err := m.read(stored)
			if err != nil {
				return nil, err
			}
			value, ok := v.(T)
			if !ok {
				return nil, fmt.Errorf("the migration from %q makes a %T of it, not a %T", from, v, value)
			}
			return h.codec.Append(nil, value)
		}, nil
	}
	return nil, fmt.Errorf("%w; say with sdk.Migrate how the one becomes the other, or give the state another name and drop this one with sdk.DropState",
		codecError("values", from, h.codec.Name()))
}

// fault notes what is wrong with the declaration.
func (h *handle[T]) fault(f func() error) {
	if err := f(); err != nil {
		h.task.faults = append(h.task.faults, fmt.Errorf("node %s: state %q: %w", h.task.Node, h.name, err))
	}
}

// fail fails the call: a value that cannot be encoded or decoded.
func (h *handle[T]) fail(err error) {
	if h.task.stateErr == nil {
		h.task.stateErr = Fatal(fmt.Errorf("state %q: %w", h.name, err))
	}
}

// begin returns a buffer for a value, with its deadline.
func (h *handle[T]) begin() []byte {
	if h.ttl == 0 {
		return h.buf[:0]
	}
	return binary.LittleEndian.AppendUint64(h.buf[:0], uint64(h.state.Millis()+h.ttl))
}

// encode returns v as it is stored, in a buffer for one use.
func (h *handle[T]) encode(v T) ([]byte, bool) {
	b, err := h.codec.Append(h.begin(), v)
	if err != nil {
		h.fail(err)
		return nil, false
	}
	h.buf = b
	return b, true
}

// alive takes the deadline off a stored value; nil where there is none or it has
// passed.
func (h *handle[T]) alive(stored []byte) []byte {
	if h.ttl == 0 || stored == nil {
		return stored
	}
	if int64(binary.LittleEndian.Uint64(stored)) < h.state.Millis() {
		return nil
	}
	return stored[8:]
}

func (h *handle[T]) decode(b []byte) (v T) {
	v, err := h.codec.Decode(b)
	if err != nil {
		h.fail(err)
	}
	return v
}

// get reads the value under sub.
func (h *handle[T]) get(sub []byte) (v T, ok bool) {
	b := h.alive(h.state.Get(sub))
	if b == nil {
		return v, false
	}
	if h.ttl > 0 && h.read {
		b = append(h.begin(), b...)
		h.buf = b
		h.state.Put(sub, b)
		b = b[8:]
	}
	return h.decode(b), true
}

func (h *handle[T]) set(sub []byte, v T) {
	if b, ok := h.encode(v); ok {
		h.state.Put(sub, b)
	}
}

// ValueState is one value a key.
type ValueState[T any] struct{ h handle[T] }

// Value opens a value by key, while the operator opens. A name stands for one state
// of the operator, in this version and in those to come.
//
// Its methods belong to the key at hand, and to the goroutine that the operator is
// called from. They return no error: where the back end fails, or a value cannot be
// encoded or decoded, the call fails that they were called in.
func Value[T any](t *Task, name string, options ...StateOption) *ValueState[T] {
	return &ValueState[T]{open[T](t, name, state.Value, options, nil)}
}

// Get returns the value, and whether there is one: the zero value where there is
// none. What it returns is the caller's.
func (s *ValueState[T]) Get() (T, bool) { return s.h.get(nil) }

// Set sets the value.
func (s *ValueState[T]) Set(v T) { s.h.set(nil, v) }

// Clear removes the value.
func (s *ValueState[T]) Clear() { s.h.state.Delete(nil) }
