package client

import (
	"fmt"
	"strconv"
	"strings"
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String names it as splits and messages do: topic:0.
func (p TopicPartition) String() string { return fmt.Sprintf("%s:%d", p.Topic, p.Partition) }

// ParseTopicPartition reads what String returns.
func ParseTopicPartition(id string) (TopicPartition, error) {
	i := strings.LastIndexByte(id, ':')
	n, err := strconv.ParseUint(id[i+1:], 10, 31)
	if i < 0 || err != nil {
		return TopicPartition{}, fmt.Errorf("%q is not as topic:0", id)
	}
	return TopicPartition{id[:i], int32(n)}, nil
}
