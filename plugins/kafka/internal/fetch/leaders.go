package fetch

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/sdk"
)

// seekLeaders finds the leaders of partitions that have none, again and again.
func (f *Fetcher) seekLeaders() {
	for {
		astray, at := f.leaderless()
		var due <-chan time.Time
		if len(astray) == 0 {
			if !at.IsZero() {
				due = time.After(time.Until(at))
			}
			select {
			case <-f.ctx.Done():
				return
			case <-f.seek:
			case <-due:
			}
			continue
		}
		f.find(astray)
		if f.ctx.Err() != nil {
			return
		}
	}
}

// leaderless returns the topics of the partitions to look for now, or when the next
// is to be looked for.
func (f *Fetcher) leaderless() (topics []string, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, all := time.Now(), map[string]bool{}
	for _, p := range f.partitions {
		switch {
		case p.leader >= 0:
		case !p.retryAt.After(now):
			all[p.Topic] = true
		case at.IsZero() || p.retryAt.Before(at):
			at = p.retryAt
		}
	}
	return slices.Sorted(maps.Keys(all)), at
}

// find asks for the leaders of topics and hands their partitions over.
func (f *Fetcher) find(topics []string) {
	meta, err := f.client.Metadata(f.ctx, topics)
	if f.ctx.Err() != nil {
		return
	}
	type leader struct {
		id, epoch int32
		err       error
	}
	found := map[client.TopicPartition]leader{}
	gone := map[string]error{}
	if err == nil {
		for _, t := range meta.Topics {
			if t.ErrorCode != 0 {
				gone[t.Name] = f.client.Explain(f.ctx, &client.TopicError{Topic: t.Name, Err: kafkago.Error(t.ErrorCode)})
			}
			for _, p := range t.Partitions {
				l := leader{id: p.LeaderID, epoch: p.LeaderEpoch}
				if p.LeaderID < 0 {
					l.err = f.client.Explain(f.ctx, fmt.Errorf("partition %v: %w", client.TopicPartition{Topic: t.Name, Partition: p.PartitionIndex}, kafkago.LeaderNotAvailable))
				}
				found[client.TopicPartition{Topic: t.Name, Partition: p.PartitionIndex}] = l
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for id, p := range f.partitions {
		if p.leader >= 0 || p.retryAt.After(now) || !slices.Contains(topics, p.Topic) {
			continue
		}
		l, ok := found[id]
		switch {
		case err != nil:
			f.astray(p, err)
		case !ok && gone[p.Topic] != nil:
			f.astray(p, gone[p.Topic])
		case !ok:
			f.astray(p, f.client.Explain(f.ctx, &client.TopicError{Topic: p.Topic, Err: kafkago.UnknownTopicOrPartition}))
		case l.err != nil:
			f.astray(p, l.err)
		default:
			f.lead(p, l.id, l.epoch)
		}
	}
}

// lead hands a partition to its leader's goroutine.
func (f *Fetcher) lead(p *Partition, id, epoch int32) {
	p.leader, p.epoch, p.held = id, epoch, false
	if p.read >= 0 && epoch > p.read {
		// A leader that lacked records may have been elected.
		p.held = true
		f.group.Go(func() { f.validateLog(p, id) })
		return
	}
	f.serve(id)
}

// serve wakes the broker's goroutine, or starts it.
func (f *Fetcher) serve(id int32) {
	if c, ok := f.brokers[id]; ok {
		wake(c)
		return
	}
	c := make(chan struct{}, 1)
	f.brokers[id] = c
	f.group.Go(func() { f.fetchFrom(id, c) })
}

// Failure tells that a partition cannot be fetched, once that has lasted a while, and
// why. It is fatal once it cannot be expected to pass.
func (f *Fetcher) Failure(p *Partition) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.err == nil {
		return nil
	}
	since := time.Since(p.failing)
	var gone *client.TopicError
	switch {
	case errors.As(p.err, &gone) && gone.Err == kafkago.UnknownTopicOrPartition, errors.Is(p.err, kafkago.UnknownTopicOrPartition):
		if since < f.options.GoneAfter {
			return nil
		}
		return sdk.Fatal(fmt.Errorf("partition %v is not there: topic %q was deleted, or this user may not see it any more: %w", p, p.Topic, p.err))
	case client.Permanent(p.err):
		return p.err
	case since < toldAfter:
		return nil
	}
	return sdk.Retry(fmt.Errorf("partition %v cannot be read for %v: %w", p, since.Round(time.Second), p.err), time.Second)
}

// toldAfter is how long a partition may be without a leader before that is told: an
// election takes a moment.
const toldAfter = 5 * time.Second
