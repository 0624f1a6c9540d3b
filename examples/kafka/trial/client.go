package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// client produces and consumes.
type client struct {
	servers string
	kafka   *kgo.Client
	admin   *kadm.Client
}

func connect(servers string) (*client, error) {
	k, err := kgo.NewClient(kgo.SeedBrokers(servers))
	if err != nil {
		return nil, err
	}
	return &client{servers, k, kadm.NewClient(k)}, nil
}

func (c *client) close() { c.kafka.Close() }

// produce writes records to a new topic of four partitions.
func (c *client) produce(ctx context.Context, topic string, records []*kgo.Record) error {
	if _, err := c.admin.CreateTopic(ctx, 4, 1, nil, topic); err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	for _, r := range records {
		r.Topic = topic
	}
	if err := c.kafka.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("produce to topic %s: %w", topic, err)
	}
	return nil
}

// consume reads the committed records of a topic from first to last, partition by
// partition.
func (c *client) consume(ctx context.Context, topic string) ([]*kgo.Record, error) {
	ends, err := c.settled(ctx, topic)
	if err != nil {
		return nil, err
	}
	// Markers of commits are kept, since they are what is last.
	k, err := kgo.NewClient(kgo.SeedBrokers(c.servers), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer k.Close()
	open := map[int32]int64{} // partitions that are not read to their end
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			open[o.Partition] = o.Offset
		}
	})
	parts := make([][]*kgo.Record, len(ends[topic]))
	for len(open) > 0 {
		fetched := k.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return nil, fmt.Errorf("consume topic %s: %w", topic, err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			if r.Offset >= open[r.Partition]-1 {
				delete(open, r.Partition)
			}
			if !r.Attrs.IsControl() {
				parts[r.Partition] = append(parts[r.Partition], r)
			}
		})
	}
	var all []*kgo.Record
	for _, p := range parts {
		all = append(all, p...)
	}
	return all, nil
}

// settled returns where a topic ends once no transaction is open in it: a broker
// answers a commit before consumers see it.
func (c *client) settled(ctx context.Context, topic string) (kadm.ListedOffsets, error) {
	for {
		ends, err := c.admin.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return nil, fmt.Errorf("ask for the end of topic %s: %w", topic, err)
		}
		committed, err := c.admin.ListCommittedOffsets(ctx, topic)
		if err == nil {
			err = committed.Error()
		}
		if err != nil {
			return nil, fmt.Errorf("ask for the end of topic %s: %w", topic, err)
		}
		open := false
		ends.Each(func(o kadm.ListedOffset) { open = open || committed[topic][o.Partition].Offset < o.Offset })
		if !open {
			return ends, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("a transaction stays open in topic %s: %w", topic, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
