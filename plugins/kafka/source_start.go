package kafka

import (
	"context"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/sdk"
)

// ListOffsets takes these in place of a time.
const (
	atEarliest = kafkago.FirstOffset // the first record
	atLatest   = kafkago.LastOffset  // behind the last
)

// timeAsked returns a configured place as ListOffsets takes it.
func timeAsked(place string) (int64, error) {
	switch place {
	case "earliest":
		return atEarliest, nil
	case "latest":
		return atLatest, nil
	}
	t, err := time.Parse(time.RFC3339Nano, place)
	return t.UnixMilli(), err
}

// ranges says where each partition is read from, and up to where. What was not
// there at the first start is read from its first record.
func (c *SourceConfig) ranges(ctx context.Context, cl *client.Client, partitions []located, first bool) ([]split, error) {
	if len(partitions) == 0 {
		return nil, nil
	}
	from, err := c.starts(ctx, cl, partitions, first)
	if err != nil {
		return nil, err
	}
	to, err := c.ends(ctx, cl, partitions)
	if err != nil {
		return nil, err
	}
	splits := make([]split, len(partitions))
	for i, p := range partitions {
		splits[i] = split{Topic: p.Topic, Partition: p.Partition, From: from[p.TopicPartition], To: -1}
		if to != nil {
			splits[i].To = to[p.TopicPartition]
		}
	}
	return splits, nil
}

func (c *SourceConfig) starts(ctx context.Context, cl *client.Client, partitions []located, first bool) (map[client.TopicPartition]int64, error) {
	if !first {
		return c.offsets(ctx, cl, partitions, atEarliest)
	}
	place := c.Start
	from := map[client.TopicPartition]int64{}
	if place == "" || place == "group" {
		place = c.AutoReset
		if c.GroupID != "" {
			var err error
			if from, err = committed(ctx, cl, c.GroupID, partitions); err != nil {
				return nil, err
			}
		}
	}
	var open []located
	for _, p := range partitions {
		if o, ok := offsetOf(c.StartOffsets, p.TopicPartition); ok {
			from[p.TopicPartition] = o
		}
		if _, ok := from[p.TopicPartition]; !ok {
			open = append(open, p)
		}
	}
	if len(open) == 0 {
		return from, nil
	}
	if place == "none" {
		return nil, sdk.Fatal(fmt.Errorf("partition %v has no position to begin at: group %q has none, and auto.offset.reset is none", open[0], c.GroupID))
	}
	at, err := timeAsked(place)
	if err != nil {
		return nil, sdk.Fatal(err)
	}
	rest, err := c.offsets(ctx, cl, open, at)
	for p, o := range rest {
		from[p] = o
	}
	return from, err
}

// ends returns where each partition ends; nil is nowhere.
func (c *SourceConfig) ends(ctx context.Context, cl *client.Client, partitions []located) (map[client.TopicPartition]int64, error) {
	if c.EndOffsets != nil {
		to := map[client.TopicPartition]int64{}
		for _, p := range partitions {
			to[p.TopicPartition], _ = offsetOf(c.EndOffsets, p.TopicPartition)
		}
		return to, nil
	}
	if c.End == "" {
		return nil, nil
	}
	at, err := timeAsked(c.End)
	if err != nil {
		return nil, sdk.Fatal(err)
	}
	return c.offsets(ctx, cl, partitions, at)
}

// offsets asks the leaders for the first offset that is not older than a time (ms),
// or at one of the places above. Where all records are older it is behind the last.
func (c *SourceConfig) offsets(ctx context.Context, cl *client.Client, partitions []located, at int64) (map[client.TopicPartition]int64, error) {
	isolation := int8(0)
	if c.committed() {
		isolation = 1
	}
	requests := map[int32]*listoffsets.Request{} // by leader
	for _, p := range partitions {
		if p.leader < 0 {
			return nil, cl.Explain(ctx, fmt.Errorf("partition %v: %w", p, kafkago.LeaderNotAvailable))
		}
		r := requests[p.leader]
		if r == nil {
			r = &listoffsets.Request{ReplicaID: -1, IsolationLevel: isolation}
			requests[p.leader] = r
		}
		if n := len(r.Topics); n == 0 || r.Topics[n-1].Topic != p.Topic {
			r.Topics = append(r.Topics, listoffsets.RequestTopic{Topic: p.Topic})
		}
		t := &r.Topics[len(r.Topics)-1]
		t.Partitions = append(t.Partitions, listoffsets.RequestPartition{Partition: p.Partition, CurrentLeaderEpoch: -1, Timestamp: at})
	}
	out := map[client.TopicPartition]int64{}
	var later []located // than the last record
	for leader, r := range requests {
		response, err := cl.Ask(ctx, leader, r)
		if err != nil {
			return nil, err
		}
		for _, t := range response.(*listoffsets.Response).Topics {
			for _, p := range t.Partitions {
				id := client.TopicPartition{Topic: t.Topic, Partition: p.Partition}
				switch {
				case p.ErrorCode != 0:
					return nil, cl.Explain(ctx, fmt.Errorf("offsets of partition %v: %w", id, kafkago.Error(p.ErrorCode)))
				case p.Offset < 0:
					later = append(later, located{id, leader})
				default:
					out[id] = p.Offset
				}
			}
		}
	}
	if len(later) > 0 && at != atLatest {
		rest, err := c.offsets(ctx, cl, later, atLatest)
		for p, o := range rest {
			out[p] = o
		}
		if err != nil {
			return nil, err
		}
	}
	for _, p := range partitions {
		if _, ok := out[p.TopicPartition]; !ok {
			return nil, sdk.Retry(fmt.Errorf("broker %d does not tell the offsets of partition %v", p.leader, p), 0)
		}
	}
	return out, nil
}
