package fetch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
)

// epochCall asks where an epoch of a partition's leaders ended
// (OffsetForLeaderEpoch, version 3), which kafka-go does not know.
type epochCall struct {
	client.TopicPartition
	leader, read int32 // epochs: of the leader that is asked, and of the last batch read
}

// epochEnd is the answer: the offset behind the last record of the epoch, or of the
// greatest before it that the leader knows; -1 where it cannot tell.
type epochEnd struct {
	epoch int32
	end   int64
}

func (c *epochCall) exchange(rw io.ReadWriter, _ int16, clientID string) (any, error) {
	const version, correlation = 3, 1
	b := make([]byte, 4, 64+len(c.Topic)+len(clientID))
	i16 := func(v int) { b = binary.BigEndian.AppendUint16(b, uint16(v)) }
	i32 := func(v int32) { b = binary.BigEndian.AppendUint32(b, uint32(v)) }
	text := func(s string) { i16(len(s)); b = append(b, s...) }
	i16(int(protocol.OffsetForLeaderEpoch))
	i16(version)
	i32(correlation)
	text(clientID)
	i32(-1) // a consumer, not a replica
	i32(1)
	text(c.Topic)
	i32(1)
	i32(c.Partition)
	i32(c.leader)
	i32(c.read)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if _, err := rw.Write(b); err != nil {
		return nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return nil, err
	}
	size := int32(binary.BigEndian.Uint32(head[:])) - 4
	if size < 0 || size > 1<<20 {
		return nil, fmt.Errorf("a broker answered with %d bytes", size)
	}
	r := wireReader{b: make([]byte, size)}
	if _, err := io.ReadFull(rw, r.b); err != nil {
		return nil, err
	}
	r.int32() // throttle time
	r.int32()
	r.string()
	r.int32()
	code := kafkago.Error(r.int16())
	r.int32()
	end := &epochEnd{r.int32(), r.int64()}
	switch {
	case r.b == nil:
		return nil, errors.New("a broker's answer cannot be read")
	case code != 0:
		return nil, fmt.Errorf("end of epoch %d: %w", c.read, code)
	}
	return end, nil
}

// validateLog asks a new leader whether its log still holds what was read, and then
// goes on fetching. A log that was cut back, since a broker without all records was
// elected, may hold others at the same offsets.
func (f *Fetcher) validateLog(p *Partition, broker int32) {
	f.mu.Lock()
	call := &epochCall{p.TopicPartition, p.epoch, p.read}
	f.mu.Unlock()
	response, err := f.client.RoundTripTo(f.ctx, broker, protocol.OffsetForLeaderEpoch, call.exchange)
	if f.ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.partitions[p.TopicPartition] != p || p.leader != broker || p.read != call.read {
		return
	}
	if err != nil {
		f.astray(p, err)
		return
	}
	p.held = false
	if end := response.(*epochEnd); end.end >= 0 && end.end < p.next {
		p.lost, p.cutTo = true, end.end
		wake(p.ready)
	}
	f.serve(broker)
}
