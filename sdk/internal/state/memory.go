package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"

	"github.com/weirstream/weir/proto/keygroup"
)

// Memory keeps state in the process's memory.
type Memory struct {
	groups Groups
	tables []memoryState
}

// memoryState is a table and what its entries are called by.
type memoryState struct {
	captured
	name   string
	header keygroup.Header
}

// captured is a table that Capture looks at.
type captured interface {
	Table
	// capture shares the table's pages with what it returns, which is walked
	// elsewhere.
	capture(now int64) rows
	// bytes is the memory that it takes.
	bytes() int
}

// rows makes the rows of a table as it was.
type rows interface {
	// walk calls add for each row with the hash of its key and the function that
	// appends it. It comes by twice: to count, and to write.
	walk(add func(hash uint32, size int, row func([]byte) []byte))
	release()
}

// NewMemory returns a back end without state.
func NewMemory(g Groups) *Memory { return &Memory{groups: g} }

// Table implements [Backend].
func (m *Memory) Table(s Spec, h keygroup.Header) (Table, bool, error) {
	var t captured
	if s.Shape == Map {
		t = &mapTable{spec: s, heads: newTable(), entries: newTable()}
	} else {
		t = &valueTable{spec: s, table: newTable()}
	}
	m.tables = append(m.tables, memoryState{t, s.Name, h})
	return t, false, nil
}

// Bytes is the memory that the tables take.
func (m *Memory) Bytes() int {
	sum := 0
	for _, t := range m.tables {
		sum += t.bytes()
	}
	return sum
}

// Concluded implements [Backend].
func (m *Memory) Concluded(uint64, bool) {}

// Err implements [Backend]: memory does not fail.
func (m *Memory) Err() error { return nil }

// Close implements [Backend].
func (m *Memory) Close() error { return nil }

// Capture implements [Backend].
func (m *Memory) Capture(_ uint64, now int64) (Capture, error) {
	c := &memoryCapture{groups: m.groups, states: m.tables[:len(m.tables):len(m.tables)]}
	for _, t := range m.tables {
		c.rows = append(c.rows, t.capture(now))
	}
	return c, nil
}

type memoryCapture struct {
	groups   Groups
	states   []memoryState
	rows     []rows // of states
	released atomic.Bool
}

var errReleased = errors.New("the snapshot was given up")

// Entries implements [Capture].
func (c *memoryCapture) Entries(yield func(*pluginv1.Entry) bool) error {
	for i, s := range c.states {
		more, err := c.entries(s, c.rows[i], yield)
		if err != nil {
			return fmt.Errorf("state %q: %w", s.name, err)
		}
		if !more {
			return nil
		}
	}
	return nil
}

// entries counts first, so that each group's rows lie in memory that is just large
// enough.
func (c *memoryCapture) entries(s memoryState, r rows, yield func(*pluginv1.Entry) bool) (more bool, err error) {
	header := keygroup.AppendHeader(nil, s.header)
	n := c.groups.Last - c.groups.First + 1
	sizes, out := make([]int, n), make([][]byte, n)
	of := func(hash uint32) int { return keygroup.OfHash(hash, c.groups.Of) - c.groups.First }
	r.walk(func(hash uint32, size int, _ func([]byte) []byte) { sizes[of(hash)] += size })
	for i, size := range sizes {
		if size > 0 {
			out[i] = append(make([]byte, 0, len(header)+size), header...)
		}
	}
	if c.released.Load() {
		return false, errReleased
	}
	r.walk(func(hash uint32, _ int, row func([]byte) []byte) { out[of(hash)] = row(out[of(hash)]) })
	for i, payload := range out {
		if c.released.Load() {
			return false, errReleased
		}
		if payload != nil && !yield(entry(s.name, c.groups.First+i, payload)) {
			return false, nil
		}
		out[i] = nil
	}
	return true, nil
}

// Release implements [Capture].
func (c *memoryCapture) Release() {
	if !c.released.Swap(true) {
		for _, r := range c.rows {
			r.release()
		}
	}
}

// valueTable keeps one value a key: a cell.
type valueTable struct {
	*table
	spec   Spec
	cursor int // of Expire: a page
	stale  []ref
	// at is the cell of the key of that turn, 0 where there is none.
	at   ref
	turn uint64
}

// Warm implements [Warmer].
func (t *valueTable) Warm(hashes []uint32) { t.warm(hashes) }

// lookup finds the cell of a key; nearly always it was asked for just before.
func (t *valueTable) lookup(k Key) ref {
	if k.Turn == 0 || k.Turn != t.turn {
		t.at, t.turn = t.find(k.Hash, k.Bytes), k.Turn
	}
	return t.at
}

func (t *valueTable) Get(k Key, _ []byte) []byte {
	if r := t.lookup(k); r != 0 {
		return t.read(r).value()
	}
	return nil
}

func (t *valueTable) Put(k Key, _, value []byte) { copy(t.make(k, len(value)), value) }

// make returns a key's value to be written, with that length.
func (t *valueTable) make(k Key, n int) (value []byte) {
	if r := t.lookup(k); r != 0 {
		t.at, value = t.change(r, n)
	} else {
		t.at, value = t.insert(k.Hash, k.Bytes, n)
	}
	return value
}

func (t *valueTable) Append(k Key, tail []byte) {
	n := len(t.Get(k, nil))
	copy(t.make(k, n+len(tail))[n:], tail)
}

func (t *valueTable) Delete(k Key, _ []byte) {
	if r := t.lookup(k); r != 0 {
		t.remove(r)
		t.at = 0
	}
}

func (t *valueTable) Each(k Key, f func(sub, value []byte) bool) {
	if v := t.Get(k, nil); v != nil {
		f(nil, v)
	}
}

// expirePages is how many pages Expire looks at in one call.
const expirePages = 4

func (t *valueTable) Expire(now int64) {
	t.stale, t.turn = t.expired(t.stale[:0], &t.cursor, 0, now), 0
	for _, r := range t.stale {
		t.remove(r)
	}
}

// expired appends the cells on the next pages whose deadline, at an offset in the
// value, has passed.
func (t *table) expired(stale []ref, cursor *int, offset int, now int64) []ref {
	for range min(expirePages, len(t.pages)) {
		*cursor = (*cursor + 1) % len(t.pages)
		t.cells(*cursor, func(r ref, c cell) {
			if deadline(c.value()[offset:]) < now {
				stale = append(stale, r)
			}
		})
	}
	return stale
}

func deadline(value []byte) int64 { return int64(binary.LittleEndian.Uint64(value)) }

func (t *valueTable) capture(now int64) rows {
	return &valueRows{arena: t.arena.capture(), from: t.arena, ttl: t.spec.TTL, now: now}
}

// All implements [Walker].
func (t *valueTable) All(f func(k Key, sub, value []byte) bool) {
	t.table.all(func(c cell) bool { return f(Key{Bytes: c.key(), Hash: c.hash()}, nil, c.value()) })
}

type valueRows struct {
	arena, from *arena
	ttl         bool
	now         int64
}

func (r *valueRows) walk(add func(uint32, int, func([]byte) []byte)) {
	var key, value []byte
	row := func(b []byte) []byte { return keygroup.AppendBytes(keygroup.AppendBytes(b, key), value) }
	for number := range r.arena.pages {
		r.arena.cells(number, func(_ ref, c cell) {
			key, value = c.key(), c.value()
			if r.ttl && deadline(value) < r.now {
				return
			}
			add(c.hash(), keygroup.BytesLen(len(key))+keygroup.BytesLen(len(value)), row)
		})
	}
}

func (r *valueRows) release() { r.from.uncapture() }
