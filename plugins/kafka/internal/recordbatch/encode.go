// Package recordbatch knows the layout of Kafka's record batches, version 2.
package recordbatch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/segmentio/kafka-go/compress"

	"github.com/weirstream/weir/sdk"
)

// Where things lie in a batch.
const (
	batchLengthAt     = 8
	crcAt             = 17
	attributesAt      = 21
	lastOffsetDeltaAt = 23
	producerIDAt      = 43
	// headerSize is where the records begin.
	headerSize = 61

	// sizePrefix is the length that precedes a record set in a request.
	sizePrefix = 4

	magic = 2

	transactionalBit = 1 << 4
)

// Overhead is the most that a batch of n records is longer than their keys, values
// and headers as they travel.
func Overhead(n int) int { return headerSize + n*RecordOverhead }

// RecordOverhead is the most that a record takes beside its key, value and headers:
// its length, attributes, time, offset, the lengths of key and value, and the number
// of headers. The headers' own lengths take no more than they do as they travel.
const RecordOverhead = 5 + 1 + 10 + 5 + 5 + 5 + 5

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Producer is who writes a batch: what makes the broker drop a repeated one, and
// tell transactions apart.
type Producer struct {
	ID    int64
	Epoch int16
	// Sequence is the number of the batch's first record within its partition.
	Sequence int32
	// Transactional: the batch belongs to the producer's open transaction.
	Transactional bool
}

// NoProducer writes batches that the broker cannot recognise when they come twice.
var NoProducer = Producer{ID: -1, Epoch: -1, Sequence: -1}

// Encoder builds one record batch at a time: Reset, Append once or more, Finish.
// Its memory is used again. It is not safe for concurrent use.
type Encoder struct {
	compression compress.Compression
	// set is the record set: its size, the batch's header, the records.
	set     []byte
	packed  bytes.Buffer // the same, compressed
	count   int
	first   int64 // time of the first record, ms
	highest int64
}

// NewEncoder returns an encoder; 0 compresses nothing.
func NewEncoder(c compress.Compression) *Encoder { return &Encoder{compression: c} }

// Reset begins a new batch that will take about size bytes.
func (e *Encoder) Reset(size int) {
	if size = max(size, headerSize) + sizePrefix; cap(e.set) < size {
		e.set = make([]byte, 0, size)
	}
	e.set = e.set[:sizePrefix+headerSize]
	clear(e.set)
	e.count = 0
}

// Len is the number of records since Reset.
func (e *Encoder) Len() int { return e.count }

// Append adds a record. Key and value may be nil, which is null. ms is its time in
// milliseconds since the Unix epoch.
func (e *Encoder) Append(key, value []byte, headers sdk.Headers, ms int64) {
	if e.count == 0 {
		e.first, e.highest = ms, ms
	}
	e.highest = max(e.highest, ms)
	delta := ms - e.first
	body := 1 + sizeVarint(delta) + sizeVarint(int64(e.count)) + sizeBytes(key) + sizeBytes(value)
	n, size := headerStats(headers)
	body += sizeVarint(int64(n)) + size

	b := binary.AppendVarint(e.set, int64(body))
	b = append(b, 0) // attributes, which mean nothing
	b = binary.AppendVarint(b, delta)
	b = binary.AppendVarint(b, int64(e.count))
	b = appendBytes(b, key)
	b = appendBytes(b, value)
	b = binary.AppendVarint(b, int64(n))
	if n > 0 {
		for name, v := range headers.All() {
			b = binary.AppendVarint(b, int64(len(name)))
			b = append(b, name...)
			b = appendBytes(b, v)
		}
	}
	e.set = b
	e.count++
}

// Finish completes the batch and returns the record set as a request holds it: its
// size, then the batch. It lives until the next Reset. Finish may be called again
// for another producer.
func (e *Encoder) Finish(p Producer) ([]byte, error) {
	out := e.set
	if e.compression != 0 {
		if err := e.pack(); err != nil {
			return nil, err
		}
		out = e.packed.Bytes()
	}
	attributes := uint16(e.compression)
	if p.Transactional {
		attributes |= transactionalBit
	}
	binary.BigEndian.PutUint32(out, uint32(len(out)-sizePrefix))
	b := out[sizePrefix:]
	binary.BigEndian.PutUint32(b[batchLengthAt:], uint32(len(b)-batchLengthAt-4))
	binary.BigEndian.PutUint32(b[12:], ^uint32(0)) // the leader's epoch, which the broker sets
	b[16] = magic
	h := binary.BigEndian.AppendUint16(b[attributesAt:attributesAt], attributes)
	h = binary.BigEndian.AppendUint32(h, uint32(e.count-1))
	h = binary.BigEndian.AppendUint64(h, uint64(e.first))
	h = binary.BigEndian.AppendUint64(h, uint64(e.highest))
	h = binary.BigEndian.AppendUint64(h, uint64(p.ID))
	h = binary.BigEndian.AppendUint16(h, uint16(p.Epoch))
	h = binary.BigEndian.AppendUint32(h, uint32(p.Sequence))
	binary.BigEndian.AppendUint32(h, uint32(e.count))
	binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[attributesAt:], castagnoli))
	return out, nil
}

// pack compresses the records behind a copy of what precedes them.
func (e *Encoder) pack() error {
	codec := e.compression.Codec()
	if codec == nil {
		return fmt.Errorf("compression %d is not known", e.compression)
	}
	e.packed.Reset()
	e.packed.Write(e.set[:sizePrefix+headerSize])
	w := codec.NewWriter(&e.packed)
	if _, err := w.Write(e.set[sizePrefix+headerSize:]); err != nil {
		return fmt.Errorf("compress with %s: %w", e.compression, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("compress with %s: %w", e.compression, err)
	}
	return nil
}

// headerStats returns the number of headers and what they take.
func headerStats(h sdk.Headers) (n, size int) {
	if len(h) == 0 {
		return 0, 0
	}
	for name, v := range h.All() {
		n++
		size += sizeVarint(int64(len(name))) + len(name) + sizeBytes(v)
	}
	return n, size
}

// sizeVarint is the length of v as a zigzag varint.
func sizeVarint(v int64) int {
	return (bits.Len64(uint64(v<<1)^uint64(v>>63)|1) + 6) / 7
}

func sizeBytes(b []byte) int {
	if b == nil {
		return 1
	}
	return sizeVarint(int64(len(b))) + len(b)
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 1) // -1
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}
