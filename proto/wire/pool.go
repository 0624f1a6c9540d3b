package wire

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/mem"
)

// Pool owns the memory of batches: the buffers of their columns, and the Batch
// values themselves. A process has one, or one a test. It is safe for concurrent
// use, and it is a [mem.BufferPool], so gRPC returns to it what was sent.
type Pool struct {
	poison  bool
	classes [chunkClasses]sync.Pool // of *[]byte
	batches sync.Pool               // of *Batch
	seed    maphash.Seed
	names   [256]atomic.Pointer[string]

	liveBatches, liveChunks atomic.Int64
}

var _ mem.BufferPool = (*Pool)(nil)

const (
	minChunkBits = 12
	chunkClasses = 11 // up to 4.5 MiB; what is larger is left to the garbage collector
)

// NewPool returns an empty pool.
func NewPool() *Pool { return &Pool{seed: maphash.MakeSeed()} }

// NewPoisonedPool returns a pool for tests: what is given back to it is
// overwritten and never used again. So a slice used after its batch was released
// shows [Poison] bytes, and a batch released twice panics. Decode copies, so that
// the bytes it poisons are its own.
func NewPoisonedPool() *Pool {
	p := NewPool()
	p.poison = true
	return p
}

// Poison is the byte that a poisoned pool writes over released memory.
const Poison = 0xdb

// Live returns how many batches and buffers are taken and not yet given back.
// Both are zero when every batch and frame has been released once.
func (p *Pool) Live() (batches, buffers int) {
	return int(p.liveBatches.Load()), int(p.liveChunks.Load())
}

// Get implements [mem.BufferPool]. The bytes are not zeroed.
func (p *Pool) Get(n int) *[]byte {
	p.liveChunks.Add(1)
	c := chunkClass(n)
	if c < chunkClasses {
		if b, ok := p.classes[c].Get().(*[]byte); ok {
			*b = (*b)[:n]
			return b
		}
		b := make([]byte, n, chunkCap(c))
		return &b
	}
	b := make([]byte, n)
	return &b
}

// Put implements [mem.BufferPool].
func (p *Pool) Put(b *[]byte) {
	p.liveChunks.Add(-1)
	whole := (*b)[:cap(*b)]
	if p.poison {
		overwrite(whole)
		return
	}
	if c := chunkClass(cap(whole)); c < chunkClasses && cap(whole) == chunkCap(c) {
		p.classes[c].Put(b)
	}
}

// chunkCap leaves an eighth above a power of two, so that a batch that ends with
// one record more than its limit does not need the next class.
func chunkCap(class int) int { return 9 << (minChunkBits - 3 + class) }

func chunkClass(n int) int {
	if n <= chunkCap(0) {
		return 0
	}
	c := bits.Len(uint(n-1)) - minChunkBits - 1
	if n > chunkCap(c) {
		c++
	}
	return c
}

func overwrite(b []byte) {
	if len(b) > 0 {
		b[0] = Poison
	}
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

// batch returns an empty batch, held once.
func (p *Pool) batch() *Batch {
	p.liveBatches.Add(1)
	b, ok := p.batches.Get().(*Batch)
	if !ok {
		b = &Batch{pool: p}
	}
	b.refs.Store(1)
	return b
}

// name returns b as a string of its own. Names of splits and headers repeat in
// every batch, so the last of each hash is kept.
func (p *Pool) name(b []byte) string {
	slot := &p.names[uint8(maphash.Bytes(p.seed, b))]
	if s := slot.Load(); s != nil && *s == string(b) {
		return *s
	}
	s := string(b)
	if len(s) <= 1024 {
		slot.Store(&s)
	}
	return s
}
