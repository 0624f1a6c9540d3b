package recordbatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Batch is one batch of a partition's log, checked as a whole; its records are not
// looked at yet.
type Batch struct {
	BaseOffset int64
	// LastOffset is that of the last record that it was written with; compaction may
	// have removed it.
	LastOffset int64
	// LeaderEpoch is the epoch of the leader that took it.
	LeaderEpoch int32
	ProducerID  int64
	attributes  uint16
	first, max  int64 // timestamps, ms
	count       int
	records     []byte // compressed, perhaps
}

// ErrPartial says that the last batch of a fetch is cut off: the rest comes with
// the next one.
var ErrPartial = errors.New("the batch is cut off")

// CorruptError says that a batch is not as it was written.
type CorruptError struct {
	Offset int64 // of the batch
	What   string
}

// Error says which batch, and what is wrong with it.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("the record batch at offset %d is corrupt: %s", e.Offset, e.What)
}

// Cut cuts the first batch off a record set and checks it. b views the set.
func Cut(set []byte) (b Batch, rest []byte, err error) {
	b, whole, rest, err := cut(set)
	if err != nil {
		return Batch{}, nil, err
	}
	if got, want := crc32.Checksum(whole[attributesAt:], castagnoli), binary.BigEndian.Uint32(whole[crcAt:]); got != want {
		return Batch{}, nil, &CorruptError{b.BaseOffset, fmt.Sprintf("its checksum is %08x, not %08x", got, want)}
	}
	return b, rest, nil
}

// End returns the offset behind the last batch of a record set, and that batch's
// leader epoch; ok is false where there is no whole batch. It looks at headers only.
func End(set []byte) (next int64, leaderEpoch int32, ok bool) {
	for {
		b, _, rest, err := cut(set)
		if err != nil {
			return next, leaderEpoch, ok
		}
		next, leaderEpoch, ok, set = b.LastOffset+1, b.LeaderEpoch, true, rest
	}
}

// cut reads the header of the first batch.
func cut(set []byte) (b Batch, whole, rest []byte, err error) {
	if len(set) < batchLengthAt+4 {
		return b, nil, nil, ErrPartial
	}
	base := int64(binary.BigEndian.Uint64(set))
	size := int64(int32(binary.BigEndian.Uint32(set[batchLengthAt:]))) + batchLengthAt + 4
	if size < magicAt+1 {
		return b, nil, nil, &CorruptError{base, fmt.Sprintf("its length is %d", size)}
	}
	if int64(len(set)) > magicAt && set[magicAt] != magic {
		return b, nil, nil, &CorruptError{base, fmt.Sprintf("its format is version %d; only version 2 is read, which brokers write since 0.11", set[magicAt])}
	}
	if int64(len(set)) < size {
		return b, nil, nil, ErrPartial
	}
	if size < headerSize {
		return b, nil, nil, &CorruptError{base, fmt.Sprintf("its length is %d", size)}
	}
	whole, rest = set[:size], set[size:]
	b = Batch{
		BaseOffset:  base,
		LastOffset:  base + int64(int32(binary.BigEndian.Uint32(whole[lastOffsetDeltaAt:]))),
		LeaderEpoch: int32(binary.BigEndian.Uint32(whole[leaderEpochAt:])),
		attributes:  binary.BigEndian.Uint16(whole[attributesAt:]),
		first:       int64(binary.BigEndian.Uint64(whole[firstTimeAt:])),
		max:         int64(binary.BigEndian.Uint64(whole[maxTimeAt:])),
		ProducerID:  int64(binary.BigEndian.Uint64(whole[producerIDAt:])),
		count:       int(int32(binary.BigEndian.Uint32(whole[countAt:]))),
		records:     whole[headerSize:],
	}
	if b.LastOffset < base || b.count < 0 {
		return b, nil, nil, &CorruptError{base, "its counts are negative"}
	}
	return b, whole, rest, nil
}

// Where the rest of a header lies.
const (
	leaderEpochAt = 12
	magicAt       = 16
	firstTimeAt   = 27
	maxTimeAt     = 35
	countAt       = 57
)

const (
	compressionBits  = 7
	logAppendTimeBit = 1 << 3
	controlBit       = 1 << 5
)

// Transactional reports whether the batch belongs to a transaction.
func (b *Batch) Transactional() bool { return b.attributes&transactionalBit != 0 }

// Control reports whether the batch holds a marker and no records.
func (b *Batch) Control() bool { return b.attributes&controlBit != 0 }

// Aborts reports whether a control batch ends its producer's transaction by an
// abort.
func (b *Batch) Aborts() (bool, error) {
	rs, err := b.Records(nil)
	if err != nil {
		return false, err
	}
	var r Record
	if !rs.Next(&r) || len(r.Key) < 4 {
		return false, &CorruptError{b.BaseOffset, "its marker has no key"}
	}
	const abort = 0
	return binary.BigEndian.Uint16(r.Key[2:]) == abort, nil
}

// Record is one record. Key and Value are views: nil is null.
type Record struct {
	Offset     int64
	Time       int64 // ms since the Unix epoch; negative where there is none
	Key, Value []byte
	// HeaderCount is how many headers Headers holds, as they are encoded.
	HeaderCount int
	Headers     []byte
}

// Records are the records of one batch, to be read one after the other.
type Records struct {
	batch *Batch
	rest  []byte
	left  int
	err   error
}

// Records returns the batch's records. buf is for decompressed ones: it is used and
// grown as needed, and may be used again when the records are read.
func (b *Batch) Records(buf *[]byte) (Records, error) {
	rest := b.records
	if codec := b.attributes & compressionBits; codec != 0 {
		if buf == nil {
			buf = new([]byte)
		}
		var err error
		if rest, err = decompress((*buf)[:0], codec, b.records); err != nil {
			return Records{}, &CorruptError{b.BaseOffset, err.Error()}
		}
		*buf = rest
	}
	return Records{batch: b, rest: rest, left: b.count}, nil
}

// Next reads the next record into r, and says whether there was one; else see Err.
// It does not allocate.
func (rs *Records) Next(r *Record) bool {
	if rs.left <= 0 || rs.err != nil {
		return false
	}
	rs.left--
	if rs.usual(r) {
		return true
	}
	return rs.any(r)
}

// any reads a record of any kind.
func (rs *Records) any(r *Record) bool {
	c := cursor{rs.rest}
	size := c.varint()
	if size < 0 || size > int64(len(c.b)) {
		return rs.corrupt("a record is longer than the batch")
	}
	body := cursor{c.b[:size]}
	rs.rest = c.b[size:]
	body.skip(1) // attributes, which mean nothing
	timeDelta, offsetDelta := body.varint(), body.varint()
	r.Key, r.Value = body.bytes(), body.bytes()
	r.HeaderCount = int(body.varint())
	r.Headers = body.b
	if body.b == nil || r.HeaderCount < 0 || r.HeaderCount > len(r.Headers) {
		return rs.corrupt("a record's fields do not fit into its length")
	}
	r.Offset = rs.batch.BaseOffset + offsetDelta
	if r.Offset < rs.batch.BaseOffset || r.Offset > rs.batch.LastOffset {
		return rs.corrupt("a record's offset is outside of the batch")
	}
	r.Time = rs.timeOf(timeDelta)
	return true
}

func (rs *Records) timeOf(delta int64) int64 {
	if rs.batch.attributes&logAppendTimeBit != 0 {
		return rs.batch.max
	}
	return rs.batch.first + delta
}

func (rs *Records) corrupt(what string) bool {
	rs.err = &CorruptError{rs.batch.BaseOffset, what}
	return false
}

// Err returns why Next ended early, if it did.
func (rs *Records) Err() error { return rs.err }

// cursor reads a record's fields. Its b is nil after a field that does not fit.
type cursor struct{ b []byte }

// varint reads a zigzag varint: of one byte or two, as nearly all are, or more.
func (c *cursor) varint() int64 {
	b := c.b
	if len(b) > 1 {
		if b[0] < 0x80 {
			c.b = b[1:]
			return int64(b[0]>>1) ^ -int64(b[0]&1)
		}
		if b[1] < 0x80 {
			c.b = b[2:]
			u := uint64(b[0]&0x7f) | uint64(b[1])<<7
			return int64(u>>1) ^ -int64(u&1)
		}
	}
	return c.longVarint()
}

func (c *cursor) longVarint() int64 {
	b := c.b
	v, n := binary.Varint(b)
	if n <= 0 {
		c.b = nil
		return 0
	}
	c.b = b[n:]
	return v
}

func (c *cursor) skip(n int) {
	if len(c.b) < n {
		c.b = nil
		return
	}
	c.b = c.b[n:]
}

// bytes reads a length and so many bytes; a negative length is null.
func (c *cursor) bytes() []byte {
	n := c.varint()
	switch {
	case c.b == nil || n < 0:
		return nil
	case n > int64(len(c.b)):
		c.b = nil
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

// NextHeader cuts the first of a record's headers off. ok is false where it is
// corrupt.
func NextHeader(headers []byte) (name, value, rest []byte, ok bool) {
	c := cursor{headers}
	name, value = c.bytes(), c.bytes()
	return name, value, c.b, c.b != nil && name != nil
}
