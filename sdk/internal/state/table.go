package state

import (
	"bytes"
	"math/bits"
)

// table is a hash table of cells: open addressing, linear probing, no tombstones.
// A slot holds a cell's hash and ref, so that a cell is touched only where the
// hash fits.
type table struct {
	*arena
	slots []uint64 // ref in the high half, hash in the low; 0: empty
	shift uint     // of the hash, for its home
	n     int
	// touched keeps what warm has read from being left out as unused.
	touched uint64
}

const minSlots = 16

func newTable() *table {
	t := &table{arena: newArena()}
	t.resize(minSlots)
	return t
}

func (t *table) resize(n int) {
	old := t.slots
	t.slots, t.shift = make([]uint64, n), uint(32-bits.TrailingZeros(uint(n)))
	for _, s := range old {
		if s != 0 {
			t.slots[t.vacant(uint32(s))] = s
		}
	}
}

// home spreads hashes anew: those of a task have their last bits in common.
func (t *table) home(hash uint32) uint32 { return hash * 0x9e3779b1 >> t.shift }

func (t *table) vacant(hash uint32) uint32 {
	mask := uint32(len(t.slots) - 1)
	i := t.home(hash)
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	return i
}

// find returns the cell of a key, 0 where there is none.
func (t *table) find(hash uint32, key []byte) ref {
	mask := uint32(len(t.slots) - 1)
	for i := t.home(hash); ; i = (i + 1) & mask {
		s := t.slots[i]
		switch {
		case s == 0:
			return 0
		case uint32(s) == hash && bytes.Equal(t.read(ref(s>>32)).key(), key):
			return ref(s >> 32)
		}
	}
}

// coldSlots is the size from which slots and cells are no longer in a processor's
// cache when they are needed.
const coldSlots = 1 << 15

// warm brings the slots and cells of keys into the cache: asked for all together
// they come at the same time, where find would wait for one after the other.
func (t *table) warm(hashes []uint32) {
	if len(t.slots) < coldSlots {
		return
	}
	sum := uint64(0)
	for _, h := range hashes {
		sum += t.slots[t.home(h)]
	}
	for _, h := range hashes {
		if s := t.slots[t.home(h)]; uint32(s) == h && s != 0 {
			p, o := t.at(ref(s >> 32))
			sum += uint64(p.data[o])
		}
	}
	t.touched = sum
}

// insert makes a cell for a key that has none, with room for a value of that
// length, whose content the caller writes.
func (t *table) insert(hash uint32, key []byte, valueLen int) (ref, []byte) {
	if 4*(t.n+1) > 3*len(t.slots) {
		t.resize(2 * len(t.slots))
	}
	r := t.alloc(uint32(cellHeader + len(key) + valueLen))
	c := t.write(r)
	c.set(hash, key, valueLen)
	t.slots[t.vacant(hash)] = uint64(r)<<32 | uint64(hash)
	t.n++
	return r, c.value()
}

// change gives a cell's value another length and returns it to be written. What
// fits of the old one is there. The cell may move.
func (t *table) change(r ref, valueLen int) (ref, []byte) {
	c := t.write(r)
	if valueLen <= c.room() {
		c.setValueLen(valueLen)
		return r, c.value()
	}
	moved := t.alloc(uint32(cellHeader + len(c.key()) + valueLen))
	m := t.write(moved)
	c = t.read(r) // alloc may have moved the pages
	m.set(c.hash(), c.key(), valueLen)
	copy(m.value(), c.value())
	t.slots[t.slotOf(c.hash(), r)] = uint64(moved)<<32 | uint64(c.hash())
	t.release(r)
	return moved, m.value()
}

func (t *table) slotOf(hash uint32, r ref) uint32 {
	mask := uint32(len(t.slots) - 1)
	i := t.home(hash)
	for ref(t.slots[i]>>32) != r {
		i = (i + 1) & mask
	}
	return i
}

// remove frees a cell.
func (t *table) remove(r ref) {
	mask := uint32(len(t.slots) - 1)
	hole := t.slotOf(t.read(r).hash(), r)
	// What stands behind moves up, unless that were before its home.
	for i := (hole + 1) & mask; t.slots[i] != 0; i = (i + 1) & mask {
		home := t.home(uint32(t.slots[i]))
		if (i-home)&mask >= (i-hole)&mask {
			t.slots[hole] = t.slots[i]
			hole = i
		}
	}
	t.slots[hole] = 0
	t.n--
	t.release(r)
}

// bytes is the memory that the table takes.
func (t *table) bytes() int { return t.arena.bytes + 8*len(t.slots) }

// all calls f for each cell until it returns false.
func (t *table) all(f func(cell) bool) {
	more := true
	for number := range t.pages {
		t.cells(number, func(_ ref, c cell) { more = more && f(c) })
		if !more {
			return
		}
	}
}
