package kafka

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/plugins/kafka/internal/fetch"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/format"
)

// split is a partition, or a range of it.
type split struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// From is the first offset to read, To the one to end before, or -1.
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

func (s split) partition() client.TopicPartition {
	return client.TopicPartition{Topic: s.Topic, Partition: s.Partition}
}

// cursor is what the enumeration has found: how many partitions of each topic.
type cursor map[string]int32

// source is one instance: the enumerator's, or a reading task's.
type source struct {
	cfg      *SourceConfig
	task     *sdk.Task
	client   *client.Client
	fetcher  *fetch.Fetcher
	progress progress
	schemas  *format.Schemas // nil without a schema registry
}

func newSource(_ context.Context, cfg *SourceConfig, t *sdk.Task) (*source, error) {
	c, err := client.New(&cfg.Config, client.NoTopics...)
	if err != nil {
		return nil, sdk.Fatal(err)
	}
	s := &source{cfg: cfg, task: t, client: c}
	if s.schemas, err = cfg.open(); err != nil {
		c.Close()
		return nil, err
	}
	s.fetcher = fetch.New(cfg.fetching(), c)
	return s, nil
}

// Close implements [sdk.Source].
func (s *source) Close() error {
	s.fetcher.Close()
	s.client.Close()
	s.fetcher.Wait()
	if s.schemas != nil {
		s.schemas.Close()
	}
	return nil
}

// SplitInterval implements [sdk.SplitPoller].
func (s *source) SplitInterval() time.Duration {
	return time.Duration(s.cfg.MetadataMaxAge) * time.Millisecond
}

// Splits implements [sdk.Source]; SplitsAfter is called in its place.
func (s *source) Splits(ctx context.Context) ([]sdk.Split[split], bool, error) {
	all, _, more, err := s.SplitsAfter(ctx, nil)
	return all, more, err
}

// SplitsAfter implements [sdk.SplitsAfter].
func (s *source) SplitsAfter(ctx context.Context, at []byte) (fresh []sdk.Split[split], next []byte, more bool, err error) {
	first := at == nil
	known := cursor{}
	if !first {
		if err := json.Unmarshal(at, &known); err != nil {
			return nil, nil, false, sdk.Fatal(fmt.Errorf("cursor of the kafka source: %w", err))
		}
	}
	found, err := s.listPatiently(ctx, first)
	if err != nil {
		return nil, nil, false, err
	}
	if first {
		if err := s.cfg.namesOffsetsOf(found); err != nil {
			return nil, nil, false, sdk.Fatal(err)
		}
	}
	var unknown []located
	for _, p := range found {
		if p.Partition >= known[p.Topic] {
			unknown = append(unknown, p)
		}
	}
	if s.cfg.EndOffsets != nil {
		unknown = slices.DeleteFunc(unknown, func(p located) bool {
			_, named := offsetOf(s.cfg.EndOffsets, p.TopicPartition)
			return !named
		})
	}
	ranges, err := s.cfg.ranges(ctx, s.client, unknown, first)
	if err != nil {
		return nil, nil, false, err
	}
	for _, r := range ranges {
		fresh = append(fresh, sdk.Split[split]{ID: r.partition().String(), Data: r})
	}
	for _, p := range found {
		known[p.Topic] = max(known[p.Topic], p.Partition+1)
	}
	if len(fresh) > 0 && !first {
		s.task.Log.Info("new partitions are read from their first record", "partitions", names(fresh))
	}
	if next, err = json.Marshal(known); err != nil {
		return nil, nil, false, err
	}
	// A bounded source reads what is there at its start.
	return fresh, next, !s.cfg.bounded(), nil
}

func names(splits []sdk.Split[split]) (ids []string) {
	for _, s := range splits {
		ids = append(ids, s.ID)
	}
	return ids
}

// located is a partition and who leads it.
type located struct {
	client.TopicPartition
	leader int32 // broker id, -1 where there is none at present
}

// list returns all partitions of the configuration's topics, in order.
func (c *SourceConfig) list(ctx context.Context, cl *client.Client) ([]located, error) {
	wanted := c.named()
	meta, err := cl.Metadata(ctx, wanted)
	if err != nil {
		return nil, err
	}
	matches := func(string) bool { return true }
	if wanted == nil {
		pattern, err := c.pattern()
		if err != nil {
			return nil, sdk.Fatal(err)
		}
		matches = pattern.MatchString
	}
	var all []located
	for _, t := range meta.Topics {
		if !matches(t.Name) || wanted == nil && t.IsInternal {
			continue
		}
		// Without a leader a partition has an error, and is there all the same.
		if code := kafkago.Error(t.ErrorCode); code != 0 && code != kafkago.LeaderNotAvailable {
			return nil, cl.Explain(ctx, &client.TopicError{Topic: t.Name, Err: code})
		}
		for _, p := range t.Partitions {
			all = append(all, located{client.TopicPartition{Topic: t.Name, Partition: p.PartitionIndex}, p.LeaderID})
		}
	}
	slices.SortFunc(all, func(a, b located) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return all, nil
}

// listPatiently gives a topic that is not there some time to appear: it may have
// been created just now. Later it is the readers' affair that it is gone.
func (s *source) listPatiently(ctx context.Context, first bool) ([]located, error) {
	end := time.Now().Add(s.cfg.APITimeoutDuration())
	for {
		found, err := s.cfg.list(ctx, s.client)
		var gone *client.TopicError
		if !errors.As(err, &gone) || gone.Err != kafkago.UnknownTopicOrPartition {
			return found, err
		}
		if !first {
			return nil, nil
		}
		if time.Now().After(end) {
			return nil, sdk.Fatal(fmt.Errorf("%w: create it (kafka-topics --create), or correct the name", err))
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return nil, err
		}
	}
}
