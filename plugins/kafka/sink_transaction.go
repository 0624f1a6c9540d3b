package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/addpartitionstotxn"
	"github.com/segmentio/kafka-go/protocol/endtxn"
	"github.com/segmentio/kafka-go/protocol/initproducerid"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/sdk"
)

// transactionalID is the name under which one transaction after the other of a task
// is written. It carries uid and epoch: no process of another epoch uses it, save to
// end what was left in it.
func transactionalID(uid, node string, epoch uint64, task, number int) string {
	return fmt.Sprintf("weir-%s-%s-%d-%d-%d", uid, node, epoch, task, number)
}

// defaultPool is how many ids a task uses where the host does not say.
const defaultPool = 7

// transactions are those of one task: one is written to, others wait for their
// commits. Its methods are the loop's.
type transactions struct {
	client  *client.Client
	owner   sdk.Owner
	task    int
	commits *sdk.Commits
	timeout time.Duration
	within  time.Duration // of all tries of a call

	// free are the numbers of ids that may be used, the one that was used longest
	// ago first: the broker needs some time after a commit.
	free []int
	// named holds, for each number that is not free, the checkpoint that named it.
	named map[int]uint64
	// usual are the partitions of the last transaction: they are likely needed
	// again, and added at once.
	usual map[topicPartition]bool
	added map[topicPartition]bool // of the open one
	began time.Time               // when the broker began to count its timeout, at the earliest
}

type topicPartition struct {
	topic     string
	partition int
}

func newTransactions(c *client.Client, t *sdk.Task, timeout, within time.Duration) *transactions {
	x := &transactions{
		client: c, owner: t.Owner, task: t.Index, commits: t.Commits, timeout: timeout, within: within, named: map[int]uint64{},
	}
	pool := t.Pool
	if pool == 0 {
		pool = defaultPool
	}
	for n := range pool {
		x.free = append(x.free, n)
	}
	return x
}

// begin opens a session on an id that nobody will commit any more. Without one it
// waits for commits.
func (x *transactions) begin(ctx context.Context) (*session, error) {
	number, err := x.take(ctx)
	if err != nil {
		return nil, err
	}
	id := transactionalID(x.owner.UID, x.owner.Node, x.owner.Epoch, x.task, number)
	s, err := initProducer(ctx, x.client, id, x.timeout, x.within)
	if err != nil {
		return nil, err
	}
	s.number = number
	x.added = map[topicPartition]bool{}
	return s, nil
}

// take takes an id from the pool.
func (x *transactions) take(ctx context.Context) (int, error) {
	for {
		through := x.commits.Through()
		oldest := uint64(0)
		for _, n := range x.numbers() {
			switch c := x.named[n]; {
			case c <= through:
				delete(x.named, n)
				x.free = append(x.free, n)
			case oldest == 0 || c < oldest:
				oldest = c
			}
		}
		if len(x.free) > 0 {
			n := x.free[0]
			x.free = x.free[1:]
			return n, nil
		}
		if err := x.commits.Await(ctx, oldest); err != nil {
			return 0, err
		}
	}
}

// numbers are those that are named, the oldest checkpoint's first.
func (x *transactions) numbers() []int {
	var all []int
	for n := range x.named {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b int) int {
		if x.named[a] < x.named[b] {
			return -1
		}
		return 1
	})
	return all
}

// name says that a checkpoint names the session's id, so that it is not free until
// that is committed.
func (x *transactions) name(s *session, checkpoint uint64) { x.named[s.number] = checkpoint }

// add makes partitions part of the transaction: what is written to another would
// not be committed with it.
func (x *transactions) add(ctx context.Context, s *session, parts []*partition) error {
	needed := map[topicPartition]bool{}
	for _, p := range parts {
		if tp := (topicPartition{p.topic.name, p.id}); !x.added[tp] {
			needed[tp] = true
		}
	}
	if len(needed) == 0 {
		return nil
	}
	if len(x.added) == 0 {
		x.began = time.Now()
		if len(x.usual) > 0 {
			all := maps.Clone(needed)
			maps.Copy(all, x.usual)
			if x.call(ctx, s, all) == nil {
				return nil
			}
			// One of them may be gone, and need not be missed.
		}
	}
	var last error
	err := persist(ctx, x.within, func() error {
		last = x.call(ctx, s, needed)
		return last
	})
	switch {
	case errors.Is(last, kafkago.UnknownTopicOrPartition):
		err = fmt.Errorf("%w: %w", err, errGone)
	case fenced(err):
		err = fmt.Errorf("the broker has ended it: it is older than transaction.timeout.ms, or a newer epoch of this pipeline runs: %w", err)
	}
	return inCall("add partitions to the transaction "+s.transaction, err)
}

// errGone says that a topic is not there into which this task has written before.
var errGone = errors.New("it does not exist any more: was it deleted?")

// call adds partitions, in one call.
func (x *transactions) call(ctx context.Context, s *session, parts map[topicPartition]bool) error {
	byTopic := map[string][]int32{}
	for tp := range parts {
		byTopic[tp.topic] = append(byTopic[tp.topic], int32(tp.partition))
	}
	request := &addpartitionstotxn.Request{TransactionalID: s.transaction, ProducerID: s.producer, ProducerEpoch: s.epoch}
	for topic, ids := range byTopic {
		request.Topics = append(request.Topics, addpartitionstotxn.RequestTopic{Name: topic, Partitions: ids})
	}
	r, err := x.client.RoundTrip(ctx, request)
	if err != nil {
		return err
	}
	for _, t := range r.(*addpartitionstotxn.Response).Results {
		for _, p := range t.Results {
			if code := kafkago.Error(p.ErrorCode); code != 0 && code != notAttempted {
				return x.client.Explain(ctx, fmt.Errorf("topic %q, partition %d: %w", t.Name, p.PartitionIndex, code))
			}
		}
	}
	maps.Copy(x.added, parts)
	return nil
}

// notAttempted is what a broker answers for a partition where another one was
// refused; kafka-go has another name for it.
const notAttempted = kafkago.Error(55)

// abort gives an open transaction up, so that consumers need not wait for its
// timeout. Only one that no checkpoint names, and into which nothing is on its way.
func (x *transactions) abort(ctx context.Context, s *session) error {
	return endTransaction(ctx, x.client, s.transaction, s.producer, s.epoch, false)
}

// initProducer opens a session. Of a transactional id, it aborts what is open, and
// shuts out whoever used it before.
func initProducer(ctx context.Context, c *client.Client, id string, timeout, within time.Duration) (*session, error) {
	s := &session{transaction: id}
	err := persist(ctx, within, func() error {
		r, err := c.RoundTrip(ctx, &initproducerid.Request{
			TransactionalID: id, TransactionTimeoutMs: int32(timeout.Milliseconds()), ProducerID: -1, ProducerEpoch: -1,
		})
		if err != nil {
			return err
		}
		answer := r.(*initproducerid.Response)
		if code := kafkago.Error(answer.ErrorCode); code != 0 {
			err := c.Explain(ctx, code)
			if code == kafkago.InvalidTransactionTimeout {
				err = fmt.Errorf("transaction.timeout.ms is %d, more than transaction.max.timeout.ms of the broker: %w", timeout.Milliseconds(), err)
			}
			return err
		}
		s.producer, s.epoch = answer.ProducerID, answer.ProducerEpoch
		return nil
	})
	if err != nil && id == "" {
		return nil, inCall("get a producer id", err)
	}
	return s, inCall("begin the transaction "+id, err)
}

// endTransaction commits or aborts, in one call.
func endTransaction(ctx context.Context, c *client.Client, id string, producer int64, epoch int16, commit bool) error {
	r, err := c.RoundTrip(ctx, &endtxn.Request{TransactionalID: id, ProducerID: producer, ProducerEpoch: epoch, Committed: commit})
	if err != nil {
		return err
	}
	if code := kafkago.Error(r.(*endtxn.Response).ErrorCode); code != 0 {
		return c.Explain(ctx, code)
	}
	return nil
}

// persist repeats a call while its error is one that passes, for so long.
func persist(ctx context.Context, within time.Duration, call func() error) error {
	start, pause := time.Now(), 5*time.Millisecond
	for {
		err := call()
		if err == nil || !retriable(err) || ctx.Err() != nil {
			return err
		}
		if time.Since(start) > within {
			return unmarked{fmt.Errorf("not done within %v: %w", within, err)}
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
}

func inCall(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
