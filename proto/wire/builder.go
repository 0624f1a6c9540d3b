package wire

import (
	"bytes"
	"encoding/binary"
	"math"
)

// Builder collects records into a batch. A column costs nothing until a record
// needs it; key, time and headers that are the same for every record are stored
// once. Memory comes from the pool, sized after the batch before. It belongs to
// one goroutine at a time.
type Builder struct {
	pool   *Pool
	limit  int
	origin bool
	cur    *Batch
	hints  [4]int // bytes of each column in the batch before

	keepOrigin bool // origin, as it was when the current batch began

	lastSplit string // of the current batch, and its index
	lastIndex uint32
	index     map[string]uint32 // of all splits, once there are many
	cursor    int               // where the last origin was found in its source
}

// NewBuilder returns a builder of batches that are full at limit bytes.
func (p *Pool) NewBuilder(limit int) *Builder {
	return &Builder{pool: p, limit: limit, origin: true}
}

// SetOrigin switches the origin column on, as it is at first, or off: origins
// are then ignored. It takes effect from the next batch on, or at once in an
// empty builder.
func (w *Builder) SetOrigin(on bool) { w.origin = on }

// Len is the number of records collected.
func (w *Builder) Len() int {
	if w.cur == nil {
		return 0
	}
	return w.cur.n
}

// Size is the size of the collected records, as [Batch.Size].
func (w *Builder) Size() int {
	if w.cur == nil {
		return 0
	}
	return w.cur.Size()
}

// maxBatchRecords makes a batch full whatever its bytes: records can be free.
const maxBatchRecords = 1 << 16

// Full reports that the batch has reached its limit. Append still takes more.
func (w *Builder) Full() bool {
	return w.cur != nil && (w.cur.n >= maxBatchRecords || w.cur.Size() >= w.limit)
}

// Append adds a record. What it is given is copied, but for a value that was
// appended to AvailableBuffer. A nil key or value is null; t may be [NoTime];
// headers may be nil; an empty split says that the origin is not known.
func (w *Builder) Append(key, value []byte, t int64, headers Headers, split string, ordinal int64) {
	b := w.batch()
	if key != nil || b.key.Encoding != Absent {
		w.addShared(&b.key, keyColumn, key)
	}
	w.addValue(value)
	if t != NoTime || b.time.Encoding != Absent {
		w.addTime(t)
	}
	if len(headers) > 0 || b.headers.Encoding != Absent {
		w.addShared(&b.headers, headersColumn, headers)
	}
	if w.keepOrigin && (split != "" || len(b.runs) > 0) {
		w.addOrigin(split, ordinal)
	}
	b.n++
}

// AppendFrom adds a record with the key, time, headers and origin of record i of
// src and a value of its own.
func (w *Builder) AppendFrom(src *Batch, i int, value []byte) {
	w.batch()
	var split string
	var ordinal int64
	if w.keepOrigin && len(src.runs) > 0 {
		w.cursor = src.runOf(i, w.cursor)
		r := &src.runs[w.cursor]
		split, ordinal = src.splits[r.Split], r.First+r.Step*(int64(i)-int64(r.Start))
	}
	w.Append(src.Key(i), value, src.Time(i), src.Headers(i), split, ordinal)
}

// AvailableBuffer returns an empty slice at the end of the value column. A value
// that is appended to it and given to the next Append or AppendFrom is not
// copied. It is dead after that, and after Freeze.
func (w *Builder) AvailableBuffer() []byte {
	c := &w.batch().value
	if c.Encoding == Constant {
		w.spread(c, valueColumn, w.cur.n)
	}
	if cap(c.Data)-len(c.Data) < minTail {
		w.grow(c, valueColumn, minTail)
	}
	return c.Data[len(c.Data):]
}

// minTail is the room that AvailableBuffer makes at the least.
const minTail = 512

// Freeze returns the collected records as a batch, held once, and begins anew.
// It returns nil when there are none.
func (w *Builder) Freeze() *Batch {
	b := w.cur
	if b == nil || b.n == 0 {
		return nil
	}
	for i, c := range b.columns() {
		w.hints[i] = len(c.Data)
		c.seal(b.n)
	}
	w.forget()
	return b
}

// Discard drops the collected records.
func (w *Builder) Discard() {
	if w.cur != nil {
		b := w.cur
		w.forget()
		b.Release()
	}
}

func (w *Builder) forget() {
	w.cur, w.lastSplit, w.lastIndex, w.cursor = nil, "", 0, 0
	clear(w.index)
}

func (w *Builder) batch() *Batch {
	if w.cur == nil {
		w.cur = w.pool.batch()
		w.keepOrigin = w.origin
	}
	return w.cur
}

// addValue appends to the value column, which is hardly ever constant: only where
// AppendAll and its kin made it so.
func (w *Builder) addValue(v []byte) {
	b := w.cur
	c := &b.value
	if c.Encoding == Absent {
		if v == nil {
			return
		}
		c.openPerRecord(b.n)
	} else if c.Encoding == Constant {
		w.spread(c, valueColumn, b.n)
	}
	if v == nil {
		c.setNull(b.n)
	} else if room := c.Data[len(c.Data):cap(c.Data)]; len(v) <= len(room) {
		if !sameStart(v, room) {
			copy(room, v)
		}
		c.Data = c.Data[:len(c.Data)+len(v)]
	} else {
		w.addBytes(c, valueColumn, v)
	}
	c.Ends = append(c.Ends, uint32(len(c.Data)))
}

// addShared appends to a column that may be the same for every record.
func (w *Builder) addShared(c *column, hint int, v []byte) {
	n := w.cur.n
	switch c.Encoding {
	case Absent:
		if n == 0 {
			c.Encoding = Constant
			w.addBytes(c, hint, v)
			return
		}
		c.openPerRecord(n)
	case Constant:
		if v != nil && bytes.Equal(c.Data, v) {
			return
		}
		w.spread(c, hint, n)
	}
	if v == nil {
		c.setNull(n)
	} else {
		w.addBytes(c, hint, v)
	}
	c.Ends = append(c.Ends, uint32(len(c.Data)))
}

func (w *Builder) addTime(t int64) {
	b := w.cur
	c := &b.time
	switch {
	case c.Encoding == Absent && b.n == 0:
		c.Encoding = Constant
	case c.Encoding == Constant:
		if int64(binary.LittleEndian.Uint64(c.Data)) == t {
			return
		}
		fallthrough
	case c.Encoding == Absent:
		w.spreadTime(b.n)
	}
	w.ensure(c, timeColumn, 8)
	c.Data = binary.LittleEndian.AppendUint64(c.Data, uint64(t))
}

// spreadTime stores a constant or absent time for each of n records.
func (w *Builder) spreadTime(n int) {
	c := &w.cur.time
	t := w.cur.Time(0)
	c.Encoding = PerRecord
	have := len(c.Data) / 8
	w.ensure(c, timeColumn, 8*(n-have))
	for range n - have {
		c.Data = binary.LittleEndian.AppendUint64(c.Data, uint64(t))
	}
}

// spread turns a constant column of n records into one per record.
func (w *Builder) spread(c *column, hint, n int) {
	size := len(c.Data)
	w.ensure(c, hint, size*(n-1))
	c.Encoding = PerRecord
	for i := range n {
		c.Ends = append(c.Ends, uint32(size*(i+1)))
		if i > 0 {
			c.Data = append(c.Data, c.Data[:size]...)
		}
	}
}

func (w *Builder) addBytes(c *column, hint int, v []byte) {
	w.ensure(c, hint, len(v))
	c.Data = append(c.Data, v...)
}

// ensure makes room for extra bytes; afterwards Data is not nil.
func (w *Builder) ensure(c *column, hint, extra int) {
	if c.Data == nil || cap(c.Data)-len(c.Data) < extra {
		w.grow(c, hint, extra)
	}
}

func (w *Builder) grow(c *column, hint, extra int) {
	need := len(c.Data) + extra
	if need > math.MaxInt32 {
		panic("wire: a batch beyond 2 GiB")
	}
	chunk := w.pool.Get(max(need, 2*len(c.Data), w.hints[hint]))
	data := (*chunk)[:cap(*chunk)]
	n := copy(data, c.Data)
	if c.chunk != nil {
		w.pool.Put(c.chunk)
	}
	c.chunk, c.Data = chunk, data[:n]
}

// openPerRecord begins a column whose first n records are null.
func (c *column) openPerRecord(n int) {
	c.Encoding = PerRecord
	if c.Data == nil {
		c.Data = noBytes[:0:0]
	}
	for i := range n {
		c.setNull(i)
		c.Ends = append(c.Ends, 0)
	}
}

// noBytes makes an empty slice that is not nil.
var noBytes [1]byte

func (c *column) setNull(i int) {
	for len(c.Nulls) <= i>>3 {
		c.Nulls = append(c.Nulls, 0)
	}
	c.Nulls[i>>3] |= 1 << (i & 7)
}

// seal gives the null bitmap its full length.
func (c *column) seal(n int) {
	if c.Encoding == PerRecord && len(c.Nulls) > 0 {
		for len(c.Nulls) < (n+7)/8 {
			c.Nulls = append(c.Nulls, 0)
		}
	}
}
