package wire

import (
	"encoding/binary"
	"math"
	"sort"
	"sync/atomic"

	"google.golang.org/grpc/mem"
)

// NoTime is the time of a record that has none.
const NoTime int64 = math.MinInt64

// Encoding says how a column is stored.
type Encoding uint8

// The encodings of a column; the numbers are those of the contract.
const (
	// Absent: every record is null (no time, no headers).
	Absent Encoding = 0
	// Constant: Data is the value of every record.
	Constant Encoding = 1
	// PerRecord: record i's bytes end at Ends[i] and begin where the one before
	// ends. The time column has no Ends: 8 bytes a record.
	PerRecord Encoding = 2
)

// Column is the whole of one column, for code that works on columns. It is
// read-only and lives as long as the batch.
type Column struct {
	Encoding Encoding
	Data     []byte
	Ends     []uint32
	// Nulls has bit i%8 of byte i/8 set where record i is null. Nil: none is.
	Nulls []byte
}

// Run says where records come from: Count records from record Start of the
// batch on are First, First+Step, ... of the split with index Split.
type Run struct {
	Split, Start, Count uint32
	First, Step         int64
}

// Batch is a run of records as columns. It never changes, so any number of
// goroutines may read it. It is counted: whoever makes or receives one releases
// it once, and whoever keeps it longer holds it first. What its methods return is
// dead after the last Release.
type Batch struct {
	refs atomic.Int32
	pool *Pool
	n    int

	key, value, time, headers column
	splits                    []string
	runs                      []Run

	body mem.Buffer // a decoded batch: the encoded message, which the columns view
	base *Batch     // a derived batch: the one whose columns it shares
}

type column struct {
	Column
	chunk *[]byte // memory of Data, where it is the batch's own
}

// The order of columns, as in the contract.
const (
	keyColumn = iota
	valueColumn
	timeColumn
	headersColumn
)

var columnNames = [...]string{"key", "value", "time", "headers"}

func (b *Batch) columns() [4]*column { return [...]*column{&b.key, &b.value, &b.time, &b.headers} }

// Len is the number of records; a finished batch has at least one.
func (b *Batch) Len() int { return b.n }

// Key returns record i's key: nil is null, empty is empty. Read-only.
func (b *Batch) Key(i int) []byte { return b.key.at(i) }

// Value returns record i's value: nil is null, empty is empty. Read-only.
func (b *Batch) Value(i int) []byte { return b.value.at(i) }

// Time returns record i's time, nanoseconds since the Unix epoch, or [NoTime].
func (b *Batch) Time(i int) int64 {
	switch b.time.Encoding {
	case PerRecord:
		return int64(binary.LittleEndian.Uint64(b.time.Data[8*i:]))
	case Constant:
		return int64(binary.LittleEndian.Uint64(b.time.Data))
	}
	return NoTime
}

// Headers returns record i's headers, nil where it has none. Read-only.
func (b *Batch) Headers(i int) Headers { return b.headers.at(i) }

// HeaderName returns a name that [Headers.All] yielded as a string that outlives
// the batch; names that repeat do not allocate.
func (b *Batch) HeaderName(name []byte) string { return b.pool.name(name) }

// HasOrigin reports whether the records carry their origin.
func (b *Batch) HasOrigin() bool { return len(b.runs) > 0 }

// Origin returns the split that record i comes from and its ordinal there. The
// split is empty where the origin is not known.
func (b *Batch) Origin(i int) (split string, ordinal int64) {
	if len(b.runs) == 0 {
		return "", 0
	}
	r := &b.runs[b.runOf(i, 0)]
	return b.splits[r.Split], r.First + r.Step*(int64(i)-int64(r.Start))
}

// runOf returns the index of the run that holds record i; hint is looked at first.
func (b *Batch) runOf(i, hint int) int {
	for k := hint; k < len(b.runs) && k < hint+2; k++ {
		if r := &b.runs[k]; uint32(i)-r.Start < r.Count {
			return k
		}
	}
	return sort.Search(len(b.runs), func(k int) bool { return int(b.runs[k].Start) > i }) - 1
}

// Keys returns the key column.
func (b *Batch) Keys() Column { return b.key.Column }

// Values returns the value column.
func (b *Batch) Values() Column { return b.value.Column }

// Runs returns the origin of all records, in order; nil where there is none.
func (b *Batch) Runs() []Run { return b.runs }

// Splits returns the split ids that Run.Split counts. Read-only; the strings
// outlive the batch.
func (b *Batch) Splits() []string { return b.splits }

// Size is the payload's size in bytes, roughly as encoded: a constant column
// counts as if it were stored for every record, which bounds what it can become.
func (b *Batch) Size() int {
	return b.key.size(b.n) + b.value.size(b.n) + b.time.size(b.n) + b.headers.size(b.n) + len(b.runs)*runBytes
}

// Hold keeps the batch until one more Release.
func (b *Batch) Hold() {
	if b.refs.Add(1) <= 1 {
		panic("wire: a batch is held after its release")
	}
}

// Release gives the batch up. The last one returns its memory to the pool.
func (b *Batch) Release() {
	switch refs := b.refs.Add(-1); {
	case refs > 0:
	case refs < 0:
		panic("wire: a batch is released twice")
	default:
		b.free()
	}
}

// WithTimes returns a batch of the same records with these times, one a record.
// It shares b's other columns and holds b; both are released by themselves.
func (b *Batch) WithTimes(times []int64) *Batch {
	if len(times) != b.n {
		panic("wire: WithTimes needs one time a record")
	}
	b.Hold()
	d := b.pool.batch()
	d.base, d.n = b, b.n
	d.key.Column, d.value.Column, d.headers.Column = b.key.Column, b.value.Column, b.headers.Column
	d.splits, d.runs = b.splits, b.runs
	d.time.Encoding = PerRecord
	d.time.chunk = b.pool.Get(8 * b.n)
	d.time.Data = *d.time.chunk
	for i, t := range times {
		binary.LittleEndian.PutUint64(d.time.Data[8*i:], uint64(t))
	}
	return d
}

func (b *Batch) free() {
	p, base := b.pool, b.base
	shared := base != nil
	for _, c := range b.columns() {
		c.reset(p, shared)
	}
	if b.body != nil {
		b.body.Free()
	}
	if shared {
		b.splits, b.runs = nil, nil
	}
	clear(b.splits)
	b.splits, b.runs = b.splits[:0], b.runs[:0]
	if cap(b.runs) > keepRecords {
		b.runs = nil
	}
	b.n, b.body, b.base = 0, nil, nil
	p.liveBatches.Add(-1)
	if !p.poison {
		p.batches.Put(b)
	}
	if shared {
		base.Release()
	}
}

// keepRecords bounds what a pooled batch keeps of its small columns.
const keepRecords = 1 << 16

const runBytes = 24

func (c *column) at(i int) []byte {
	switch c.Encoding {
	case PerRecord:
		start, end := uint32(0), c.Ends[i]
		if i > 0 {
			start = c.Ends[i-1]
		}
		if start == end && c.null(i) {
			return nil
		}
		return c.Data[start:end:end]
	case Constant:
		return c.Data
	}
	return nil
}

func (c *column) null(i int) bool {
	return len(c.Nulls) > 0 && c.Nulls[i>>3]&(1<<(i&7)) != 0
}

func (c *column) size(records int) int {
	switch {
	case c.Encoding == Constant:
		return records * (len(c.Data) + 4)
	case c.Encoding == PerRecord:
		return len(c.Data) + 4*len(c.Ends) + len(c.Nulls)
	}
	return 0
}

func (c *column) reset(p *Pool, shared bool) {
	if c.chunk != nil {
		p.Put(c.chunk)
		c.chunk = nil
	}
	c.Encoding, c.Data = Absent, nil
	if shared || cap(c.Ends) > keepRecords {
		c.Ends, c.Nulls = nil, nil
	}
	c.Ends, c.Nulls = c.Ends[:0], c.Nulls[:0]
}
