package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/sdk"
)

const (
	// topicsAge is how often topics are looked at for new partitions.
	topicsAge = time.Minute
	// missingAge is how long a topic that is not there is not asked for again.
	missingAge = 5 * time.Second
	// leaderPause is the least time between two questions for a topic's leaders.
	leaderPause = 100 * time.Millisecond
)

// topics knows the topics that are written to. It is safe for concurrent use.
type topics struct {
	client *client.Client
	create *Create // nil where none is created
	// within bounds the wait for a new topic's leaders.
	within time.Duration

	mu      sync.Mutex
	known   map[string]*topic
	missing map[string]missingTopic
}

type missingTopic struct {
	err   error
	until time.Time
}

// topic is one topic and its partitions.
type topic struct {
	name string

	mu    sync.Mutex // of asking
	asked time.Time

	partitions atomic.Pointer[[]*partition] // grows only
	make       func(t *topic, id int) *partition
	sticky     sticky // the loop's
}

func (t *topic) all() []*partition { return *t.partitions.Load() }

// errNoTopic says that a topic does not exist.
var errNoTopic = errors.New("does not exist")

// topicFault reports whether an error is about a topic rather than the cluster.
func topicFault(err error) bool {
	return errors.Is(err, errNoTopic) || errors.Is(err, kafkago.InvalidTopic) || errors.Is(err, kafkago.TopicAuthorizationFailed)
}

// get returns a topic, creating it where that is asked for.
func (ts *topics) get(ctx context.Context, name string, make func(t *topic, id int) *partition) (*topic, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.known[name]; t != nil {
		return t, nil
	}
	if m, ok := ts.missing[name]; ok && time.Now().Before(m.until) {
		return nil, m.err
	}
	t := &topic{name: name, make: make}
	t.partitions.Store(&[]*partition{})
	err := ts.load(ctx, t)
	if err == nil {
		ts.known[name] = t
		delete(ts.missing, name)
	} else if ctx.Err() == nil {
		ts.missing[name] = missingTopic{err, time.Now().Add(missingAge)}
	}
	return t, err
}

// at returns a topic that is known.
func (ts *topics) at(name string) *topic {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.known[name]
}

// load asks for a topic that is not known, until it has a leader for each
// partition.
func (ts *topics) load(ctx context.Context, t *topic) error {
	ctx, cancel := context.WithTimeoutCause(ctx, ts.within,
		fmt.Errorf("topic %q has partitions without a leader after %v", t.name, ts.within))
	defer cancel()
	created := false
	for {
		err := ts.ask(ctx, t)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errNoTopic) && ts.create != nil && !created:
			created = true
			if err := ts.createTopic(ctx, t.name); err != nil {
				return err
			}
		case errors.Is(err, errNoTopic) && !created:
			return sdk.Fatal(fmt.Errorf("%w: create it (kafka-topics --create --topic %s), or let the sink do so: create: {}", err, t.name))
		case !retriable(err) && !errors.Is(err, errNoTopic):
			return err
		}
		if err := sleep(ctx, leaderPause); err != nil {
			return err
		}
	}
}

// ask brings a topic's partitions and leaders up to date.
func (ts *topics) ask(ctx context.Context, t *topic) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.asked) < leaderPause {
		return nil // another partition has just asked
	}
	m, err := ts.client.Metadata(ctx, []string{t.name})
	if err != nil {
		return err
	}
	if len(m.Topics) != 1 {
		return fmt.Errorf("topic %q: the broker told of %d topics", t.name, len(m.Topics))
	}
	switch code := kafkago.Error(m.Topics[0].ErrorCode); code {
	case 0:
	case kafkago.UnknownTopicOrPartition:
		return fmt.Errorf("topic %q %w", t.name, errNoTopic)
	default:
		return ts.client.Explain(ctx, fmt.Errorf("topic %q: %w", t.name, code))
	}
	if err := t.update(m.Topics[0].Partitions); err != nil {
		return ts.client.Explain(ctx, err)
	}
	t.asked = time.Now()
	return nil
}

// update takes over partitions and leaders; new partitions only once they have a
// leader.
func (t *topic) update(told []metadata.ResponsePartition) error {
	parts := t.all()
	leaders := make([]int32, max(len(told), len(parts)))
	for i := range leaders {
		leaders[i] = -1
	}
	for _, p := range told {
		if i := int(p.PartitionIndex); i >= 0 && i < len(leaders) && p.ErrorCode != int16(kafkago.LeaderNotAvailable) {
			leaders[i] = p.LeaderID
		}
	}
	grown := parts[:len(parts):len(parts)]
	for i, leader := range leaders {
		if i < len(parts) {
			parts[i].leader.Store(leader)
			continue
		}
		if leader < 0 {
			if len(parts) == 0 {
				return fmt.Errorf("topic %q, partition %d: %w", t.name, i, kafkago.LeaderNotAvailable)
			}
			break
		}
		p := t.make(t, i)
		p.leader.Store(leader)
		grown = append(grown, p)
	}
	t.partitions.Store(&grown)
	return nil
}

// old reports whether it is time to look for new partitions.
func (t *topic) old() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(t.asked) > topicsAge
}

func (ts *topics) createTopic(ctx context.Context, name string) error {
	request := &createtopics.Request{
		TimeoutMs: int32(ts.within.Milliseconds()),
		Topics: []createtopics.RequestTopic{{
			Name: name, NumPartitions: int32(ts.create.Partitions), ReplicationFactor: int16(ts.create.Replication),
		}},
	}
	for k, v := range ts.create.Configs {
		request.Topics[0].Configs = append(request.Topics[0].Configs, createtopics.RequestConfig{Name: k, Value: v})
	}
	r, err := ts.client.Ask(ctx, client.AnyBroker, request)
	if err != nil {
		return fmt.Errorf("create topic %q: %w", name, err)
	}
	answer, ok := r.(*createtopics.Response)
	if !ok || len(answer.Topics) != 1 {
		return fmt.Errorf("create topic %q: the broker answered something else", name)
	}
	switch code := kafkago.Error(answer.Topics[0].ErrorCode); code {
	case 0, kafkago.TopicAlreadyExists:
		return nil
	default:
		return ts.client.Explain(ctx, fmt.Errorf("create topic %q: %w: %s", name, code, answer.Topics[0].ErrorMessage))
	}
}
