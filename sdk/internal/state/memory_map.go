package state

import (
	"bytes"
	"encoding/binary"

	"github.com/weirstream/weir/proto/keygroup"
)

// mapTable keeps maps: a cell for each key, the head, and one for each entry of its
// map. The entries of a head are a list, in the order in which they came.
type mapTable struct {
	spec    Spec
	heads   *table // value: first, last, count
	entries *table // key: head, sub; value: next, previous, value
	cursor  int
	stale   []ref

	// head is the cell of the key of that turn, 0 where there is none.
	head ref
	turn uint64
	// at is the entry of that name, 0 where there is none, if named.
	at    ref
	name  []byte
	named bool
}

const (
	headBytes  = 12
	entryLinks = 8
)

func word(b []byte, i int) uint32       { return binary.LittleEndian.Uint32(b[4*i:]) }
func setWord(b []byte, i int, v uint32) { binary.LittleEndian.PutUint32(b[4*i:], v) }

// entryName is the key of an entry's cell.
func (t *mapTable) entryName(head ref, sub []byte) []byte {
	t.name = append(binary.LittleEndian.AppendUint32(t.name[:0], uint32(head)), sub...)
	return t.name
}

// entryHash is the hash of an entry's cell.
func entryHash(k Key, sub []byte) uint32 { return k.Hash*31 + keygroup.Hash(sub) }

// Warm implements [Warmer].
func (t *mapTable) Warm(hashes []uint32) { t.heads.warm(hashes) }

// lookup finds the head of a key; nearly always it was asked for just before.
func (t *mapTable) lookup(k Key) ref {
	if k.Turn == 0 || k.Turn != t.turn {
		t.head, t.turn, t.named = t.heads.find(k.Hash, k.Bytes), k.Turn, false
	}
	return t.head
}

// entry finds an entry; a write of it nearly always follows its reading.
func (t *mapTable) entry(k Key, sub []byte) (head, entry ref) {
	if head = t.lookup(k); head == 0 {
		return 0, 0
	}
	if t.named && bytes.Equal(t.name[4:], sub) {
		return head, t.at
	}
	t.named = true
	name := t.entryName(head, sub)
	// What came last to a map is mostly what is asked for: the window that is open.
	if t.at = ref(word(t.heads.read(head).value(), 1)); !bytes.Equal(t.entries.read(t.at).key(), name) {
		t.at = t.entries.find(entryHash(k, sub), name)
	}
	return head, t.at
}

// forget is for when cells are freed.
func (t *mapTable) forget() { t.turn, t.named = 0, false }

func (t *mapTable) Get(k Key, sub []byte) []byte {
	if _, r := t.entry(k, sub); r != 0 {
		return t.entries.read(r).value()[entryLinks:]
	}
	return nil
}

func (t *mapTable) Put(k Key, sub, value []byte) {
	head, r := t.entry(k, sub)
	if r != 0 {
		copy(t.change(head, r, len(value)), value)
		return
	}
	if head == 0 {
		var h []byte
		head, h = t.heads.insert(k.Hash, k.Bytes, headBytes)
		clear(h)
		t.head = head
	}
	r, v := t.entries.insert(entryHash(k, sub), t.entryName(head, sub), entryLinks+len(value))
	t.at, t.named = r, true
	copy(v[entryLinks:], value)
	h := t.heads.write(head).value()
	last := ref(word(h, 1))
	setWord(v, 0, 0)
	setWord(v, 1, uint32(last))
	if last == 0 {
		setWord(h, 0, uint32(r))
	} else {
		setWord(t.entries.write(last).value(), 0, uint32(r))
	}
	setWord(h, 1, uint32(r))
	setWord(h, 2, word(h, 2)+1)
}

// change gives an entry's value another length; where the cell moves, its
// neighbours learn of it.
func (t *mapTable) change(head, r ref, n int) []byte {
	moved, v := t.entries.change(r, entryLinks+n)
	if moved != r {
		t.at = moved
		t.link(head, ref(word(v, 1)), moved, true)
		t.link(head, ref(word(v, 0)), moved, false)
		v = t.entries.write(moved).value()
	}
	return v[entryLinks:]
}

// link sets the next or the previous of an entry, of the head where there is none.
func (t *mapTable) link(head, at, to ref, next bool) {
	i := 1
	if next {
		i = 0
	}
	if at == 0 {
		setWord(t.heads.write(head).value(), i, uint32(to))
		return
	}
	setWord(t.entries.write(at).value(), i, uint32(to))
}

func (t *mapTable) Append(k Key, tail []byte) { panic("a map has nothing to append to") }

func (t *mapTable) Delete(k Key, sub []byte) {
	if head, r := t.entry(k, sub); r != 0 {
		t.remove(head, r)
	}
}

func (t *mapTable) remove(head, r ref) {
	t.forget()
	v := t.entries.read(r).value()
	next, previous := ref(word(v, 0)), ref(word(v, 1))
	t.link(head, previous, next, true)
	t.link(head, next, previous, false)
	t.entries.remove(r)
	h := t.heads.write(head).value()
	setWord(h, 2, word(h, 2)-1)
	if word(h, 2) == 0 {
		t.heads.remove(head)
	}
}

func (t *mapTable) Each(k Key, f func(sub, value []byte) bool) {
	head := t.lookup(k)
	if head == 0 {
		return
	}
	for r := ref(word(t.heads.read(head).value(), 0)); r != 0; {
		c := t.entries.read(r)
		v := c.value()
		if !f(c.key()[4:], v[entryLinks:]) {
			return
		}
		r = ref(word(v, 0))
	}
}

func (t *mapTable) Expire(now int64) {
	t.stale = t.entries.expired(t.stale[:0], &t.cursor, entryLinks, now)
	for _, r := range t.stale {
		t.remove(ref(word(t.entries.read(r).key(), 0)), r)
	}
}

func (t *mapTable) capture(now int64) rows {
	return &mapRows{
		heads: t.heads.capture(), entries: t.entries.capture(),
		from: t, ttl: t.spec.TTL, now: now,
	}
}

func (t *mapTable) bytes() int { return t.heads.bytes() + t.entries.bytes() }

// All implements [Walker].
func (t *mapTable) All(f func(k Key, sub, value []byte) bool) {
	t.heads.all(func(head cell) bool {
		for r := ref(word(head.value(), 0)); r != 0; {
			c := t.entries.read(r)
			v := c.value()
			if !f(Key{Bytes: head.key(), Hash: head.hash()}, c.key()[4:], v[entryLinks:]) {
				return false
			}
			r = ref(word(v, 0))
		}
		return true
	})
}

type mapRows struct {
	heads, entries *arena
	from           *mapTable
	ttl            bool
	now            int64
}

func (r *mapRows) walk(add func(uint32, int, func([]byte) []byte)) {
	var head cell
	var count int
	row := func(b []byte) []byte {
		b = keygroup.AppendBytes(b, head.key())
		b = binary.AppendUvarint(b, uint64(count))
		r.each(head, func(sub, value []byte) {
			b = keygroup.AppendBytes(keygroup.AppendBytes(b, sub), value)
		})
		return b
	}
	for number := range r.heads.pages {
		r.heads.cells(number, func(_ ref, c cell) {
			size := 0
			head, count = c, 0
			r.each(c, func(sub, value []byte) {
				count++
				size += keygroup.BytesLen(len(sub)) + keygroup.BytesLen(len(value))
			})
			if count > 0 {
				add(c.hash(), size+keygroup.BytesLen(len(c.key()))+binary.MaxVarintLen32, row)
			}
		})
	}
}

// each comes by the entries of a head that are not out of date.
func (r *mapRows) each(head cell, f func(sub, value []byte)) {
	for e := ref(word(head.value(), 0)); e != 0; {
		c := r.entries.read(e)
		v := c.value()
		if value := v[entryLinks:]; !r.ttl || deadline(value) >= r.now {
			f(c.key()[4:], value)
		}
		e = ref(word(v, 0))
	}
}

func (r *mapRows) release() {
	r.from.heads.uncapture()
	r.from.entries.uncapture()
}
