package state

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
)

// ref names a cell: its page and its place there. 0 is none.
type ref uint32

const (
	pageBytes = 16 << 10
	cellBits  = 9 // cells a page: at most pageBytes / minCell
	minCell   = pageBytes >> cellBits
	maxPages  = 1 << (32 - cellBits)

	// A cell is a header, a key and a value. The header: hash, length of the key,
	// length of the value.
	cellHeader = 12
	// freeCell stands in the place of the key's length in a free cell, whose hash
	// is the next free one.
	freeCell = 1<<32 - 1
)

// cellSizes are the sizes of cells that share a page. A larger cell has a page of
// its own.
var cellSizes = [...]uint32{32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 768, 1024, 1536, 2048, 4096, 8192}

// page holds cells of one size. Until a snapshot that shares it is released, it is
// copied before it is written.
type page struct {
	data  []byte
	size  uint32 // of a cell
	epoch uint64 // when data was made
}

// arena is memory for cells.
type arena struct {
	pages []page
	free  [len(cellSizes)]ref // the first free cell of each size
	gone  []uint32            // numbers of pages that hold nothing
	epoch uint64              // grows with each snapshot
	bytes int                 // of all pages
	// shared: pages of an earlier epoch are shared with a snapshot.
	shared atomic.Uint64

	mu    sync.Mutex
	alive int // snapshots
}

func newArena() *arena {
	// Page 0 stays empty, so that 0 is no cell.
	return &arena{pages: make([]page, 1)}
}

func (a *arena) at(r ref) (p *page, offset uint32) {
	p = &a.pages[r>>cellBits]
	return p, uint32(r) & (1<<cellBits - 1) * p.size
}

// read returns a cell to look at.
func (a *arena) read(r ref) cell {
	p, o := a.at(r)
	return cell(p.data[o : o+p.size : o+p.size])
}

// inUse returns a cell that may have been freed since.
func (a *arena) inUse(r ref) (cell, bool) {
	if a.pages[r>>cellBits].data == nil {
		return nil, false
	}
	c := a.read(r)
	return c, c.used()
}

// write returns a cell to change.
func (a *arena) write(r ref) cell {
	p, o := a.at(r)
	if p.epoch < a.shared.Load() {
		p.data, p.epoch = slices.Clone(p.data), a.epoch
	}
	return cell(p.data[o : o+p.size : o+p.size])
}

// alloc returns a cell of at least size bytes, whose content is left from before.
func (a *arena) alloc(size uint32) ref {
	class, found := slices.BinarySearch(cellSizes[:], size)
	if class == len(cellSizes) && !found {
		return a.newPage(size+size/4, 1)
	}
	if a.free[class] == 0 {
		n := pageBytes / cellSizes[class]
		first := a.newPage(cellSizes[class], n)
		for i := range n {
			c := a.read(first + ref(i))
			next := first + ref(i) + 1
			if i == n-1 {
				next = 0
			}
			c.setFree(next)
		}
		a.free[class] = first
	}
	r := a.free[class]
	a.free[class] = a.read(r).nextFree()
	return r
}

func (a *arena) newPage(cellSize, cells uint32) ref {
	p := page{make([]byte, cellSize*cells), cellSize, a.epoch}
	a.bytes += len(p.data)
	if n := len(a.gone); n > 0 {
		number := a.gone[n-1]
		a.gone = a.gone[:n-1]
		a.pages[number] = p
		return ref(number << cellBits)
	}
	if len(a.pages) == maxPages {
		panic("state in memory is full: a task's state is at most 64 GiB")
	}
	a.pages = append(a.pages, p)
	return ref((len(a.pages) - 1) << cellBits)
}

// release frees a cell.
func (a *arena) release(r ref) {
	p, _ := a.at(r)
	class, ok := slices.BinarySearch(cellSizes[:], p.size)
	if !ok { // a page of its own
		a.bytes -= len(p.data)
		*p = page{}
		a.gone = append(a.gone, uint32(r>>cellBits))
		return
	}
	a.write(r).setFree(a.free[class])
	a.free[class] = r
}

// capture shares all pages with a snapshot.
func (a *arena) capture() *arena {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.alive++
	a.epoch++
	a.shared.Store(a.epoch)
	return &arena{pages: slices.Clone(a.pages)}
}

// uncapture ends a snapshot, from any goroutine. Pages that are shared with nobody
// any more are written in place.
func (a *arena) uncapture() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.alive--; a.alive == 0 {
		a.shared.Store(0)
	}
}

// cells calls f for each cell of a page that is in use.
func (a *arena) cells(number int, f func(ref, cell)) {
	p := a.pages[number]
	for i, o := 0, uint32(0); int(o+p.size) <= len(p.data) && p.size > 0; i, o = i+1, o+p.size {
		if c := cell(p.data[o : o+p.size : o+p.size]); c.used() {
			f(ref(number<<cellBits+i), c)
		}
	}
}

// cell is the memory of one cell.
type cell []byte

func (c cell) hash() uint32   { return binary.LittleEndian.Uint32(c) }
func (c cell) keyLen() uint32 { return binary.LittleEndian.Uint32(c[4:]) }
func (c cell) used() bool     { return c.keyLen() != freeCell }
func (c cell) nextFree() ref  { return ref(c.hash()) }
func (c cell) key() []byte    { return c[cellHeader : cellHeader+c.keyLen()] }

func (c cell) value() []byte {
	from := cellHeader + c.keyLen()
	return c[from : from+binary.LittleEndian.Uint32(c[8:])]
}

// room is how long the value may become.
func (c cell) room() int { return len(c) - cellHeader - int(c.keyLen()) }

func (c cell) set(hash uint32, key []byte, valueLen int) {
	binary.LittleEndian.PutUint32(c, hash)
	binary.LittleEndian.PutUint32(c[4:], uint32(len(key)))
	c.setValueLen(valueLen)
	copy(c[cellHeader:], key)
}

func (c cell) setValueLen(n int) { binary.LittleEndian.PutUint32(c[8:], uint32(n)) }

func (c cell) setFree(next ref) {
	binary.LittleEndian.PutUint32(c, uint32(next))
	binary.LittleEndian.PutUint32(c[4:], freeCell)
}
