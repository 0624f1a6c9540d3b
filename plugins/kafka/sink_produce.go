package kafka

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
)

// produceRequest writes one record set to one partition, acknowledged by all
// in-sync replicas.
type produceRequest struct {
	transactionalID string // empty is none
	topic           string
	partition       int32
	timeoutMs       int32
	// set is the record set behind its size.
	set []byte
}

// send sends the request to a broker and returns its answer for the partition. The
// set may be read until long after ctx has ended.
func (r *produceRequest) send(ctx context.Context, c *client.Client, broker int32) (produce.ResponsePartition, error) {
	var none produce.ResponsePartition
	answer, err := c.RoundTripTo(ctx, broker, protocol.Produce, r.exchange)
	if err != nil {
		return none, err
	}
	topics := answer.(*produce.Response).Topics
	if len(topics) != 1 || len(topics[0].Partitions) != 1 || topics[0].Topic != r.topic || topics[0].Partitions[0].Partition != r.partition {
		return none, fmt.Errorf("topic %q, partition %d: the broker answered something else", r.topic, r.partition)
	}
	return topics[0].Partitions[0], nil
}

// exchange writes the set from where it is: kafka-go would copy it first.
func (r *produceRequest) exchange(rw io.ReadWriter, version int16, clientID string) (any, error) {
	const correlation = 0
	if version < 3 {
		return nil, fmt.Errorf("produce v%d: %w", version, kafkago.UnsupportedVersion)
	}
	b := make([]byte, 4, 128+len(clientID)+len(r.transactionalID)+len(r.topic)+smallSet)
	b = binary.BigEndian.AppendUint16(b, uint16(protocol.Produce))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, correlation)
	b = appendString(b, clientID)
	if r.transactionalID == "" {
		b = append(b, 0xff, 0xff) // null
	} else {
		b = appendString(b, r.transactionalID)
	}
	b = append(b, 0xff, 0xff) // acks: all
	b = binary.BigEndian.AppendUint32(b, uint32(r.timeoutMs))
	b = binary.BigEndian.AppendUint32(b, 1)
	b = appendString(b, r.topic)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, uint32(r.partition))
	binary.BigEndian.PutUint32(b, uint32(len(b)-4+len(r.set)))

	// A small set goes in one write, and one packet, with what precedes it.
	rest := r.set
	if len(rest) <= smallSet {
		b, rest = append(b, rest...), nil
	}
	if _, err := rw.Write(b); err != nil {
		return nil, err
	}
	if rest != nil {
		if _, err := rw.Write(rest); err != nil {
			return nil, err
		}
	}
	id, response, err := protocol.ReadResponse(rw, protocol.Produce, version)
	if err == nil && id != correlation {
		err = fmt.Errorf("the answer is of request %d", id)
	}
	return response, err
}

const smallSet = 16 << 10

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}
