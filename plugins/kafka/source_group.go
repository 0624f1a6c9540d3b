package kafka

import (
	"context"
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
)

// committed returns a group's positions in these partitions, where it has one.
func committed(ctx context.Context, cl *client.Client, group string, partitions []located) (map[client.TopicPartition]int64, error) {
	request := &kafkago.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{}}
	for _, p := range partitions {
		request.Topics[p.Topic] = append(request.Topics[p.Topic], int(p.Partition))
	}
	out := map[client.TopicPartition]int64{}
	if len(partitions) == 0 {
		return out, nil
	}
	response, err := cl.Kafka().OffsetFetch(ctx, request)
	if err == nil {
		err = response.Error
	}
	if err != nil {
		return nil, cl.Explain(ctx, fmt.Errorf("positions of group %q: %w", group, err))
	}
	for topic, all := range response.Topics {
		for _, p := range all {
			id := client.TopicPartition{Topic: topic, Partition: int32(p.Partition)}
			if p.Error != nil {
				return nil, cl.Explain(ctx, fmt.Errorf("position of group %q in partition %v: %w", group, id, p.Error))
			}
			if p.CommittedOffset >= 0 {
				out[id] = p.CommittedOffset
			}
		}
	}
	return out, nil
}

// CheckpointCompleted implements [sdk.PositionObserver]: other tools see in the
// group how far the pipeline is. Nothing is read from there but at a first start.
func (s *source) CheckpointCompleted(ctx context.Context, at map[string]position) error {
	if s.cfg.GroupID == "" || len(at) == 0 {
		return nil
	}
	request := &kafkago.OffsetCommitRequest{GroupID: s.cfg.GroupID, GenerationID: -1, Topics: map[string][]kafkago.OffsetCommit{}}
	for id, p := range at {
		tp, err := client.ParseTopicPartition(id)
		if err != nil {
			return err
		}
		request.Topics[tp.Topic] = append(request.Topics[tp.Topic], kafkago.OffsetCommit{Partition: int(tp.Partition), Offset: p.Offset})
	}
	response, err := s.client.Kafka().OffsetCommit(ctx, request)
	var errs []error
	if err != nil {
		errs = append(errs, err)
	} else {
		for topic, all := range response.Topics {
			for _, p := range all {
				if p.Error != nil {
					errs = append(errs, fmt.Errorf("partition %v: %w", client.TopicPartition{Topic: topic, Partition: int32(p.Partition)}, p.Error))
				}
			}
		}
	}
	err = errors.Join(errs...)
	if errors.Is(err, kafkago.UnknownMemberId) || errors.Is(err, kafkago.IllegalGeneration) {
		err = fmt.Errorf("%w: other consumers are in the group; give this pipeline a group.id of its own", err)
	}
	if err != nil {
		return s.client.Explain(ctx, fmt.Errorf("commit positions to group %q: %w", s.cfg.GroupID, err))
	}
	return nil
}
