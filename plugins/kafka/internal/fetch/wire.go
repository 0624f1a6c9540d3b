package fetch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
)

// exchange returns a fetch whose answer is kept as it comes from the wire: record
// batches are decoded from there and nowhere else.
func (b *buffers) exchange(request *fetch.Request) client.Exchange {
	return func(rw io.ReadWriter, version int16, clientID string) (any, error) {
		return b.fetch(rw, version, clientID, request)
	}
}

// maxFetched bounds what an answer's length may say.
const maxFetched = 1 << 30

func (b *buffers) fetch(rw io.ReadWriter, version int16, clientID string, request *fetch.Request) (*fetched, error) {
	const correlation = 1
	if version < 4 {
		return nil, fmt.Errorf("%w: the broker offers version %d of Fetch, and 4 is needed (Kafka 0.11)", kafkago.UnsupportedVersion, version)
	}
	if err := protocol.WriteRequest(rw, version, correlation, clientID, request); err != nil {
		return nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return nil, err
	}
	size := int64(int32(binary.BigEndian.Uint32(head[:]))) - 4
	if id := binary.BigEndian.Uint32(head[4:]); id != correlation || size < 0 || size > maxFetched {
		return nil, fmt.Errorf("a broker answered a fetch with %d bytes to request %d", size, id)
	}
	a := b.get(int(size))
	if _, err := io.ReadFull(rw, a.bytes); err != nil {
		a.release()
		return nil, err
	}
	if err := a.parse(version); err != nil {
		a.release()
		return nil, err
	}
	return a, nil
}

// fetched is the answer to a fetch. Its bytes are shared by the partitions in it,
// and used again when all have released it.
type fetched struct {
	bytes      []byte
	err        kafkago.Error
	partitions []fetchedPartition

	refs    atomic.Int32
	buffers *buffers
}

// fetchedPartition is what an answer holds of one partition.
type fetchedPartition struct {
	topic      string
	partition  int32
	err        kafkago.Error
	highWater  int64 // behind the last record that all replicas have
	lastStable int64 // behind the last record of no open transaction
	logStart   int64 // -1 where the broker does not say
	aborted    []AbortedTransaction
	set        []byte // a view
}

// AbortedTransaction is one whose records a read_committed consumer never sees, from
// its first on.
type AbortedTransaction struct{ Producer, First int64 }

// parse reads the answer, all but its records.
func (a *fetched) parse(version int16) error {
	r := wireReader{b: a.bytes}
	r.int32() // throttle time
	if version >= 7 {
		a.err = kafkago.Error(r.int16())
		r.int32() // session
	}
	for range r.length(6) {
		topic := r.string()
		for range r.length(26) {
			p := fetchedPartition{topic: topic, partition: r.int32(), err: kafkago.Error(r.int16()), highWater: r.int64(), lastStable: r.int64(), logStart: -1}
			if version >= 5 {
				p.logStart = r.int64()
			}
			for range r.length(16) {
				p.aborted = append(p.aborted, AbortedTransaction{r.int64(), r.int64()})
			}
			if version >= 11 {
				r.int32() // preferred replica
			}
			p.set = r.bytes()
			a.partitions = append(a.partitions, p)
		}
	}
	if r.b == nil {
		return errors.New("a broker's answer to a fetch cannot be read")
	}
	return nil
}

func (a *fetched) hold() { a.refs.Add(1) }

func (a *fetched) release() {
	if a.refs.Add(-1) == 0 {
		a.buffers.put(a)
	}
}

// buffers recycles answers.
type buffers struct{ pool sync.Pool }

// get returns an answer with so many bytes, held once.
func (b *buffers) get(size int) *fetched {
	a, _ := b.pool.Get().(*fetched)
	if a == nil {
		a = &fetched{buffers: b}
	}
	if cap(a.bytes) < size {
		// Answers differ in size; a few steps of them fit more often.
		a.bytes = make([]byte, size, (size+bufferStep)/bufferStep*bufferStep)
	}
	a.bytes, a.err, a.partitions = a.bytes[:size], 0, a.partitions[:0]
	a.refs.Store(1)
	return a
}

const bufferStep = 256 << 10

func (b *buffers) put(a *fetched) {
	clear(a.partitions)
	b.pool.Put(a)
}

// wireReader reads an answer's fields. Its b is nil after one that does not fit.
type wireReader struct{ b []byte }

func (r *wireReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.b = nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *wireReader) int16() int16 {
	if v := r.take(2); v != nil {
		return int16(binary.BigEndian.Uint16(v))
	}
	return 0
}

func (r *wireReader) int32() int32 {
	if v := r.take(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

func (r *wireReader) int64() int64 {
	if v := r.take(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

func (r *wireReader) string() string { return string(r.take(int(r.int16()))) }

// bytes reads a record set; null is as empty.
func (r *wireReader) bytes() []byte {
	n := r.int32()
	if n < 0 {
		return nil
	}
	return r.take(int(n))
}

// length reads the length of an array, each of whose elements takes at least least
// bytes; null is as empty.
func (r *wireReader) length(least int) int {
	n := int(r.int32())
	if n < 0 {
		return 0
	}
	if n > len(r.b)/least {
		r.b = nil
		return 0
	}
	return n
}
