package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/plugins/kafka/internal/recordbatch"
	"github.com/weirstream/weir/sdk"
)

// producer delivers records to partitions. Each partition has a goroutine while it
// has records, which encodes what waits, sends it, and only then the next: so order
// is kept, and the busier a partition is the larger its batches get. The loop hands
// records over and changes the session while nothing is on its way.
type producer struct {
	client  *client.Client
	topics  *topics
	backlog *backlog
	// computed: topics and partitions come from expressions, so that a wrong one is
	// the record's fault.
	computed bool

	batchSize int
	linger    time.Duration
	timeout   time.Duration // of one request
	within    time.Duration // of all tries
	encoders  sync.Pool

	ctx     context.Context
	cancel  context.CancelFunc
	group   sync.WaitGroup
	session *session
	hurry   atomic.Pointer[chan struct{}] // closed while a flush waits
	sent    *sdk.Counter
	batches *sdk.Counter
	retries *sdk.Counter
}

// session is who writes: a producer, within its transaction.
type session struct {
	transaction string // id; empty outside of transactions
	number      int    // the id's, in the pool
	producer    int64
	epoch       int16
}

func newProducer(cfg *SinkConfig, c *client.Client, t *sdk.Task, ts *topics) *producer {
	p := &producer{
		client:    c,
		topics:    ts,
		backlog:   newBacklog(int(cfg.BufferSize)),
		computed:  cfg.Topic.IsExpr() || cfg.Partition.IsExpr(),
		batchSize: int(cfg.BatchSize),
		linger:    time.Duration(cfg.Linger) * time.Millisecond,
		timeout:   cfg.RequestTimeoutDuration(),
		within:    cfg.APITimeoutDuration(),
		sent:      t.Metrics.Counter("kafka_sent_bytes", "Bytes of record batches that brokers have acknowledged.", "bytes"),
		batches:   t.Metrics.Counter("kafka_sent_batches", "Record batches that brokers have acknowledged.", ""),
		retries:   t.Metrics.Counter("kafka_send_retries", "Record batches that had to be sent again.", ""),
	}
	compression := cfg.compression()
	p.encoders.New = func() any { return recordbatch.NewEncoder(compression) }
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.calm()
	return p
}

// calm lets batches linger again after a flush.
func (p *producer) calm() {
	c := make(chan struct{})
	p.hurry.Store(&c)
}

// flush waits until everything is delivered.
func (p *producer) flush(ctx context.Context) error {
	close(*p.hurry.Load())
	defer p.calm()
	return p.backlog.empty(ctx)
}

// close ends all sending.
func (p *producer) close() {
	p.cancel()
	p.backlog.fail(errClosed)
	p.group.Wait()
}

var errClosed = errors.New("the sink is closed")

// partition is one partition that is written to.
type partition struct {
	producer *producer
	topic    *topic
	id       int
	leader   atomic.Int32

	mu      sync.Mutex
	queue   []span
	queued  int // records
	running bool
	failed  bool          // nothing is sent any more
	more    chan struct{} // a token when a full batch waits

	// The sender's own, and the loop's while nothing is on its way.
	pending  []span
	limit    int // bytes of a batch that the broker takes, if less than asked for
	session  *session
	sequence int32
	first    int64 // offsets of the session, -1 where not known
	last     int64
}

func (p *producer) newPartition(t *topic, id int) *partition {
	return &partition{producer: p, topic: t, id: id, more: make(chan struct{}, 1), limit: p.batchSize, first: -1, last: -1}
}

func (p *partition) String() string { return fmt.Sprintf("topic %q, partition %d", p.topic.name, p.id) }

// put hands records over.
func (p *partition) put(s span) {
	p.mu.Lock()
	if p.failed { // as the backlog tells the loop at its next look
		p.mu.Unlock()
		return
	}
	s.retain()
	p.queue = append(p.queue, s)
	p.queued += s.size * s.len() / s.batch.Len()
	full := p.queued >= p.producer.batchSize
	start := !p.running
	p.running = true
	p.mu.Unlock()
	if full {
		select {
		case p.more <- struct{}{}:
		default:
		}
	}
	if start {
		p.producer.group.Go(p.send)
	}
}

// send delivers what waits, until nothing does.
func (p *partition) send() {
	e := p.producer.encoders.Get().(*recordbatch.Encoder)
	for p.take() {
		reusable, err := p.deliver(e)
		if err != nil {
			p.drop()
			return
		}
		if !reusable {
			e = p.producer.encoders.New().(*recordbatch.Encoder)
		}
	}
	p.producer.encoders.Put(e)
}

// take waits for the linger and takes over what waits. Without anything the sender
// ends.
func (p *partition) take() bool {
	if len(p.pending) == 0 && p.producer.linger > 0 {
		p.wait()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = append(p.pending, p.queue...)
	clear(p.queue)
	p.queue, p.queued = p.queue[:0], 0
	select {
	case <-p.more:
	default:
	}
	p.running = len(p.pending) > 0
	return p.running
}

func (p *partition) wait() {
	p.mu.Lock()
	enough := p.queued == 0 || p.queued >= p.producer.batchSize
	p.mu.Unlock()
	if enough {
		return
	}
	timer := time.NewTimer(p.producer.linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.more:
	case <-*p.producer.hurry.Load():
	case <-p.producer.ctx.Done():
	}
}

// drop lets go of everything when the writer has failed.
func (p *partition) drop() {
	p.mu.Lock()
	p.failed = true
	left := append(p.pending, p.queue...)
	p.pending, p.queue = nil, nil
	p.mu.Unlock()
	for i := range left {
		left[i].settle()
	}
}

// encode puts as many pending records into a batch as it holds, at least one, and
// returns which.
func (p *partition) encode(e *recordbatch.Encoder) (taken []span) {
	size, waiting := recordbatch.Overhead(0), 0
	for i := range p.pending {
		s := &p.pending[i]
		waiting += s.size*s.len()/s.batch.Len() + recordbatch.RecordOverhead*s.len()
	}
	e.Reset(min(p.limit, waiting) + recordbatch.Overhead(0))
	now := sdk.TimeOf(time.Now())
	done := 0
	for ; done < len(p.pending); done++ {
		s := &p.pending[done]
		at := s.at
		for ; at < s.end; at++ {
			r := s.record(at)
			key, value, headers := r.Key(), s.value(at, r), r.Headers()
			size += len(key) + len(value) + len(headers) + recordbatch.RecordOverhead
			if size > p.limit && e.Len() > 0 {
				break
			}
			when := r.Time()
			if when.IsZero() {
				when = now
			}
			e.Append(key, value, headers, when.UnixMilli())
		}
		if at > s.at {
			part := *s
			part.end = at
			part.retain()
			taken = append(taken, part)
			s.at = at
		}
		if at < s.end {
			break
		}
		s.settle()
	}
	p.pending = append(p.pending[:0], p.pending[done:]...)
	return taken
}

// deliver sends one batch until it is resolved, or fails the writer. The encoder's
// memory must not be used again where a try has not been answered: it may still be
// read.
func (p *partition) deliver(e *recordbatch.Encoder) (reusable bool, err error) {
	session := p.producer.session
	if p.session != session {
		p.session, p.sequence, p.first, p.last = session, 0, -1, -1
	}
	taken := p.encode(e)
	defer func() {
		if err != nil {
			// Before the records are let go of: a flush that saw none left and no
			// error would call them delivered.
			p.producer.backlog.fail(err)
		}
		for i := range taken {
			taken[i].settle()
		}
	}()
	set, err := e.Finish(recordbatch.Producer{
		ID: session.producer, Epoch: session.epoch, Sequence: p.sequence, Transactional: session.transaction != "",
	})
	if err != nil {
		return false, sdk.Fatal(err)
	}
	request := &produceRequest{
		transactionalID: session.transaction, topic: p.topic.name, partition: int32(p.id),
		timeoutMs: int32(p.producer.timeout.Milliseconds()), set: set,
	}
	n := int32(e.Len())
	offset, answered, err := p.attempts(request)
	var refused *refusal
	switch {
	case err == nil:
		p.producer.batches.Inc()
		p.producer.sent.Add(float64(len(set)))
		p.sequence = (p.sequence + n) & 0x7fffffff
		if offset >= 0 {
			if p.first < 0 {
				p.first = offset
			}
			p.last = offset + int64(n) - 1
		}
	case errors.As(err, &refused):
		taken = p.refused(taken, refused, len(set))
		err = nil
	}
	return answered, err
}

// giveUp is for how long a topic that was there may be gone: a new leader may not
// know it yet.
const giveUp = 20 * time.Second

// attempts sends a request until it is answered for good, and returns the first
// record's offset, -1 where it is not known. answered is false where a try was not.
func (p *partition) attempts(r *produceRequest) (offset int64, answered bool, err error) {
	ctx := p.producer.ctx
	start, pause := time.Now(), 50*time.Millisecond
	answered = true
	var missing time.Time
	for try := 0; ; try++ {
		err := error(kafkago.LeaderNotAvailable)
		if leader := p.leader.Load(); leader >= 0 {
			answer, sendErr := r.send(ctx, p.producer.client, leader)
			switch code := kafkago.Error(answer.ErrorCode); {
			case sendErr != nil:
				answered = false
				err = sendErr
			case code == 0 || code == kafkago.DuplicateSequenceNumber:
				return answer.BaseOffset, answered, nil
			default:
				if f := p.refusalOf(code, answer.ErrorMessage); f != nil {
					for _, e := range answer.RecordErrors {
						f.records = append(f.records, recordError{int(e.BatchIndex), e.BatchIndexErrorMessage})
					}
					return 0, answered, f
				}
				err = code
			}
		}
		if ctx.Err() != nil {
			return 0, answered, errClosed
		}
		if !retriable(err) {
			return 0, answered, p.ended(ctx, err, r)
		}
		askErr := p.producer.topics.ask(ctx, p.topic)
		if !errors.Is(askErr, errNoTopic) {
			missing = time.Time{}
		} else if missing.IsZero() {
			missing = time.Now()
		} else if time.Since(missing) > min(giveUp, p.producer.within/2) {
			return 0, answered, p.gone(askErr)
		}
		if time.Since(start) > p.producer.within {
			return 0, answered, unmarked{fmt.Errorf("%v: not delivered within %v: %w", p, p.producer.within, p.producer.client.Explain(ctx, err))}
		}
		p.producer.retries.Inc()
		if err := sleep(ctx, pause); err != nil {
			return 0, answered, errClosed
		}
		pause = min(2*pause, time.Second)
	}
}

// gone is the error of a topic that does not exist any more.
func (p *partition) gone(err error) error {
	err = fmt.Errorf("%w any more: was it deleted?", err)
	if p.producer.computed {
		return &refusal{err: err}
	}
	if p.producer.topics.create != nil {
		return err // the restart creates it
	}
	return sdk.Fatal(err)
}

// ended is an error that no further try helps.
func (p *partition) ended(ctx context.Context, err error, r *produceRequest) error {
	if fenced(err) && r.transactionalID != "" {
		return fmt.Errorf("%v: the transaction %s was ended by the broker: %w: it is older than transaction.timeout.ms, "+
			"or a newer epoch of this pipeline runs", p, r.transactionalID, err)
	}
	return fmt.Errorf("%v: %w", p, p.producer.client.Explain(ctx, err))
}
