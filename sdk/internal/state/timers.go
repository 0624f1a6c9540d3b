package state

import (
	"encoding/binary"

	"github.com/weirstream/weir/proto/keygroup"
)

// Domain is the time that a timer goes by.
type Domain uint8

// The domains.
const (
	EventTime Domain = iota
	ProcessingTime
)

// Timer is a timer that is due.
type Timer struct {
	Domain Domain
	// At is in nanoseconds since the Unix epoch.
	At  int64
	Tag uint32
}

// timers are the timers of a task. Each is a cell, whose key is domain, time, tag
// and the record's key, so that setting one again finds it; a heap a domain orders
// them. A timer that is deleted leaves its place in the heap, which is passed over
// when its turn comes; where most places are such, the heap is built anew.
type timers struct {
	cells *table // value: the hash of the record's key
	heaps [2]heap
	live  [2]int
	name  []byte // reused
}

func newTimers() *timers { return &timers{cells: newTable()} }

const timerName = 13 // domain, time, tag; the record's key follows

func (t *timers) named(k Key, tm Timer) (name []byte, hash uint32) {
	b := append(t.name[:0], byte(tm.Domain))
	b = binary.LittleEndian.AppendUint64(b, uint64(tm.At))
	b = binary.LittleEndian.AppendUint32(b, tm.Tag)
	t.name = append(b, k.Bytes...)
	h := k.Hash ^ uint32(tm.At) ^ uint32(tm.At>>32)*0x85ebca6b ^ tm.Tag*0xc2b2ae35
	return t.name, h*4 + uint32(tm.Domain)
}

// set reports whether the timer is new.
func (t *timers) set(k Key, tm Timer) bool {
	name, hash := t.named(k, tm)
	if t.cells.find(hash, name) != 0 {
		return false
	}
	r, v := t.cells.insert(hash, name, 4)
	binary.LittleEndian.PutUint32(v, k.Hash)
	t.heaps[tm.Domain].push(due{tm.At, tm.Tag, r})
	t.live[tm.Domain]++
	return true
}

// remove reports whether the timer was set.
func (t *timers) remove(k Key, tm Timer) bool {
	name, hash := t.named(k, tm)
	r := t.cells.find(hash, name)
	if r == 0 {
		return false
	}
	t.cells.remove(r)
	t.live[tm.Domain]--
	if h := &t.heaps[tm.Domain]; len(*h) > 64 && len(*h) > 2*t.live[tm.Domain] {
		t.rebuild(tm.Domain)
	}
	return true
}

func (t *timers) rebuild(d Domain) {
	h := t.heaps[d][:0]
	for number := range t.cells.pages {
		t.cells.arena.cells(number, func(r ref, c cell) {
			if tm := timerOf(c); tm.Domain == d {
				h = append(h, due{tm.At, tm.Tag, r})
			}
		})
	}
	h.init()
	t.heaps[d] = h
}

// first is when the first timer of a domain is due.
func (t *timers) first(d Domain) (at int64, ok bool) {
	h := &t.heaps[d]
	for len(*h) > 0 {
		if top := (*h)[0]; t.holds(d, top) {
			return top.at, true
		}
		h.pop()
	}
	return 0, false
}

// holds says whether the timer of a place in the heap is still set. A cell that
// another timer of the same time and tag has taken has a place of its own too;
// whichever comes first stands for it.
func (t *timers) holds(d Domain, p due) bool {
	c, ok := t.cells.inUse(p.ref)
	return ok && timerOf(c) == Timer{d, p.at, p.tag}
}

// next removes the first timer that is due at the limit. The key is appended to
// buf.
func (t *timers) next(d Domain, limit int64, buf []byte) (Timer, Key, bool) {
	at, ok := t.first(d)
	if !ok || at > limit {
		return Timer{}, Key{}, false
	}
	p := t.heaps[d].pop()
	c := t.cells.read(p.ref)
	k := Key{Bytes: append(buf, c.key()[timerName:]...), Hash: binary.LittleEndian.Uint32(c.value())}
	t.cells.remove(p.ref)
	t.live[d]--
	return Timer{d, p.at, p.tag}, k, true
}

func timerOf(c cell) Timer {
	k := c.key()
	return Timer{Domain(k[0]), int64(binary.LittleEndian.Uint64(k[1:])), binary.LittleEndian.Uint32(k[9:])}
}

func (t *timers) capture() rows { return &timerRows{t.cells.capture(), t.cells.arena} }

type timerRows struct{ arena, from *arena }

func (r *timerRows) walk(add func(uint32, int, func([]byte) []byte)) {
	var tm Timer
	var key []byte
	row := func(b []byte) []byte { return keygroup.AppendTimer(b, byte(tm.Domain), tm.At, tm.Tag, key) }
	for number := range r.arena.pages {
		r.arena.cells(number, func(_ ref, c cell) {
			tm, key = timerOf(c), c.key()[timerName:]
			add(binary.LittleEndian.Uint32(c.value()), timerName+2+keygroup.BytesLen(len(key)), row)
		})
	}
}

func (r *timerRows) release() { r.from.uncapture() }

// due is a place in a heap.
type due struct {
	at  int64
	tag uint32
	ref ref
}

func (a due) before(b due) bool { return a.at < b.at || a.at == b.at && a.tag < b.tag }

// heap is a binary heap, the first due on top.
type heap []due

func (h *heap) push(d due) {
	*h = append(*h, d)
	s := *h
	i := len(s) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !d.before(s[up]) {
			break
		}
		s[i] = s[up]
		i = up
	}
	s[i] = d
}

func (h *heap) pop() due {
	s := *h
	top, last := s[0], s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	if len(s) > 0 {
		s.sink(0, last)
	}
	return top
}

// sink puts d at i or below it.
func (h heap) sink(i int, d due) {
	for {
		down := 2*i + 1
		if down >= len(h) {
			break
		}
		if down+1 < len(h) && h[down+1].before(h[down]) {
			down++
		}
		if !h[down].before(d) {
			break
		}
		h[i] = h[down]
		i = down
	}
	h[i] = d
}

func (h heap) init() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.sink(i, h[i])
	}
}
