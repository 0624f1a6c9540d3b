// Package fetch gets record batches from the leaders of partitions, as they are on
// the wire, and keeps some ahead of who decodes them.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/plugins/kafka/internal/recordbatch"
)

// Fetcher keeps the queues of a task's open partitions filled. For each broker that
// leads some of them a goroutine asks for all of those whose queue has room, and
// asks again as soon as the answer is there: readers decode it meanwhile. Another
// goroutine looks for leaders that are not known.
type Fetcher struct {
	options Options
	client  *client.Client
	buffers buffers

	ctx   context.Context
	stop  context.CancelFunc
	group sync.WaitGroup

	mu         sync.Mutex
	partitions map[client.TopicPartition]*Partition
	brokers    map[int32]chan struct{} // wakes the broker's goroutine
	seek       chan struct{}           // wakes the one that looks for leaders; nil until there is one
}

// Options say what to ask brokers for.
type Options struct {
	// Committed leaves open transactions out, and tells which are aborted.
	Committed bool
	// MinBytes and MaxWait say how long a broker waits with its answer; MaxBytes and
	// PartitionMaxBytes how much it answers at once.
	MinBytes, MaxBytes, PartitionMaxBytes int
	MaxWait                               time.Duration
	// Buffer is how much is kept over all partitions, in bytes, roughly.
	Buffer         int
	RequestTimeout time.Duration
	// GoneAfter is how long a partition must be unknown to be taken for deleted.
	GoneAfter time.Duration
}

// isolation as the protocol numbers it.
func (o *Options) isolation() int8 {
	if o.Committed {
		return 1
	}
	return 0
}

// New returns a fetcher that connects when a partition is opened.
func New(o Options, c *client.Client) *Fetcher {
	f := &Fetcher{options: o, client: c, partitions: map[client.TopicPartition]*Partition{}, brokers: map[int32]chan struct{}{}}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

// Close ends the fetching. All partitions are shut before.
func (f *Fetcher) Close() { f.stop() }

// Wait returns when its goroutines have ended; the client must be closed.
func (f *Fetcher) Wait() { f.group.Wait() }

// Partition is an open partition: what the fetcher and a reader share. The fetcher's
// mutex guards it.
type Partition struct {
	client.TopicPartition
	next int64 // the offset to ask for
	to   int64 // the one to end before, or -1
	// leader is the broker to ask, or -1; epoch is the leader's.
	leader, epoch int32
	// read is the leader's epoch of the last batch that was fetched, -1 before.
	read int32
	held bool // nothing is asked for: the log may have been cut back behind read, or is corrupt

	queue  []Section
	queued int // bytes
	// highWater and lastStable are as the last answer said.
	highWater, lastStable int64

	// Since when, how often and why it could not be fetched.
	failing  time.Time
	failures int
	err      error
	retryAt  time.Time
	// lost says that next is not in the log; cutTo is where it was cut back to, -1
	// where that is not known.
	lost  bool
	cutTo int64
	// maxBytes was raised, since a batch did not fit.
	maxBytes int

	ready chan struct{} // something changed for the reader
}

// Ready is sent to when something may have changed for the partition's one reader.
func (p *Partition) Ready() <-chan struct{} { return p.ready }

// Section is what one answer had of a partition.
type Section struct {
	// Set holds record batches, the last of them perhaps cut off.
	Set []byte
	// Aborted are the aborted transactions that may have records in it.
	Aborted []AbortedTransaction
	answer  *fetched
}

// Release gives the section's memory back.
func (s Section) Release() { s.answer.release() }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Open begins to fetch a partition at an offset, and up to another, or -1 without
// end. epoch is the leader's of the record before, or -1: if the log has been cut
// back behind it, that is found.
func (f *Fetcher) Open(id client.TopicPartition, from int64, epoch int32, to int64) *Partition {
	p := &Partition{
		TopicPartition: id, next: from, to: to, leader: -1, read: epoch, cutTo: -1,
		highWater: -1, lastStable: -1, ready: make(chan struct{}, 1),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.partitions[p.TopicPartition] = p
	if f.seek == nil {
		f.seek = make(chan struct{}, 1)
		f.group.Go(f.seekLeaders)
	}
	wake(f.seek)
	return p
}

// Shut ends that, and drops what is queued.
func (f *Fetcher) Shut(p *Partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.partitions, p.TopicPartition)
	p.drop()
}

func (p *Partition) drop() {
	for _, s := range p.queue {
		s.Release()
	}
	p.queue, p.queued = nil, 0
}

// Take returns what was fetched next, if there is anything.
func (f *Fetcher) Take(p *Partition) (Section, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(p.queue) == 0 {
		return Section{}, false
	}
	s := p.queue[0]
	p.queue = slices.Delete(p.queue, 0, 1)
	p.queued -= len(s.Set)
	f.wakeBroker(p.leader)
	return s, true
}

// SeekTo goes on at another offset.
func (f *Fetcher) SeekTo(p *Partition, offset int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.drop()
	p.next, p.lost, p.cutTo, p.held, p.read = offset, false, -1, false, -1
	f.wakeBroker(p.leader)
}

// Lost says whether a partition's next offset is not in the log, once all that was
// fetched before is taken; where the log was cut back to, or -1; and who leads it.
func (f *Fetcher) Lost(p *Partition) (lost bool, cutTo int64, leader int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return p.lost && len(p.queue) == 0, p.cutTo, p.leader
}

// End is the offset behind the last record that can be read, -1 while it is not
// known.
func (f *Fetcher) End(p *Partition) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.options.Committed {
		return p.lastStable
	}
	return p.highWater
}

func (f *Fetcher) wakeBroker(id int32) {
	if c, ok := f.brokers[id]; ok {
		wake(c)
	}
}

// fetchFrom serves the partitions that one broker leads, until there is none.
func (f *Fetcher) fetchFrom(broker int32, woken chan struct{}) {
	for f.ctx.Err() == nil {
		request, asked, more := f.request(broker)
		if !more {
			return
		}
		if request == nil {
			select {
			case <-f.ctx.Done():
			case <-woken:
			}
			continue
		}
		wait := time.Duration(request.MaxWaitTime)*time.Millisecond + f.options.RequestTimeout
		response, err := f.client.RoundTripToWithin(f.ctx, wait, broker, protocol.Fetch, f.buffers.exchange(request))
		switch answer, _ := response.(*fetched); {
		case err == nil:
			f.deliver(asked, answer)
			answer.release()
		case f.ctx.Err() == nil:
			f.failed(asked, err)
		}
	}
}

// waitBesideFull is how long a broker may wait with its answer while there are
// partitions that were not asked for since their queues are full: when those have
// room again, they are asked for.
const waitBesideFull = 20 * time.Millisecond

// request asks for every partition that the broker leads and that has room; request is
// nil where none has. more is false where it leads none: the goroutine ends.
func (f *Fetcher) request(broker int32) (request *fetch.Request, asked map[client.TopicPartition]asking, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	limit := min(max(f.options.Buffer/(2*max(len(f.partitions), 1)), 64<<10), f.options.PartitionMaxBytes)
	full := false
	topics := map[string][]fetch.RequestPartition{}
	for _, p := range f.partitions {
		if p.leader != broker {
			continue
		}
		more = true
		switch {
		case p.lost || p.held || p.to >= 0 && p.next >= p.to:
			continue
		case p.queued >= limit:
			full = true
			continue
		}
		if asked == nil {
			asked = map[client.TopicPartition]asking{}
		}
		asked[p.TopicPartition] = asking{p, p.next}
		topics[p.Topic] = append(topics[p.Topic], fetch.RequestPartition{
			Partition: p.Partition, CurrentLeaderEpoch: p.epoch, FetchOffset: p.next, LogStartOffset: -1, PartitionMaxBytes: int32(max(limit, p.maxBytes)),
		})
	}
	if !more {
		delete(f.brokers, broker)
		return nil, nil, false
	}
	if asked == nil {
		return nil, nil, true
	}
	request = &fetch.Request{
		ReplicaID: -1, MaxWaitTime: int32(f.options.MaxWait.Milliseconds()), MinBytes: int32(f.options.MinBytes),
		MaxBytes: int32(f.options.MaxBytes), IsolationLevel: f.options.isolation(), SessionEpoch: -1,
	}
	if full {
		request.MaxWaitTime = min(request.MaxWaitTime, int32(waitBesideFull.Milliseconds()))
	}
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		request.Topics = append(request.Topics, fetch.RequestTopic{Topic: topic, Partitions: topics[topic]})
	}
	return request, asked, true
}

// asking is a partition that was asked for, and from where.
type asking struct {
	*Partition
	from int64
}

// current says whether the answer is still wanted.
func (f *Fetcher) current(a asking) bool {
	return f.partitions[a.TopicPartition] == a.Partition && a.next == a.from && !a.lost
}

// failed is told when a broker did not answer at all.
func (f *Fetcher) failed(asked map[client.TopicPartition]asking, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range asked {
		if f.current(a) {
			f.astray(a.Partition, err)
		}
	}
}

// astray marks a partition whose leader is to be looked for.
func (f *Fetcher) astray(p *Partition, err error) {
	if p.failures == 0 {
		p.failing = time.Now()
	}
	p.failures++
	p.err, p.leader = err, -1
	p.retryAt = time.Now().Add(min(50*time.Millisecond<<min(p.failures, 6), time.Second))
	wake(p.ready)
	wake(f.seek)
}

// deliver queues what an answer holds for each partition.
func (f *Fetcher) deliver(asked map[client.TopicPartition]asking, answer *fetched) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range answer.partitions {
		got := &answer.partitions[i]
		a, ok := asked[client.TopicPartition{Topic: got.topic, Partition: got.partition}]
		if !ok || !f.current(a) {
			continue
		}
		delete(asked, a.TopicPartition)
		switch err := cmpErr(answer.err, got.err); err {
		case 0:
			f.queue(a.Partition, got, answer)
		case kafkago.OffsetOutOfRange:
			a.lost = true
			wake(a.ready)
		default:
			f.astray(a.Partition, f.client.Explain(f.ctx, fmt.Errorf("fetch partition %v: %w", a, err)))
		}
	}
	for _, a := range asked {
		if f.current(a) {
			f.astray(a.Partition, f.client.Explain(f.ctx, fmt.Errorf("fetch partition %v: %w", a, cmpErr(answer.err, kafkago.Unknown))))
		}
	}
}

func cmpErr(a, b kafkago.Error) kafkago.Error {
	if a != 0 {
		return a
	}
	return b
}

func (f *Fetcher) queue(p *Partition, got *fetchedPartition, answer *fetched) {
	p.failures, p.err = 0, nil
	p.highWater, p.lastStable = got.highWater, got.lastStable
	wake(p.ready)
	if len(got.set) == 0 {
		return
	}
	next, epoch, whole := recordbatch.End(got.set)
	if !whole {
		// Brokers before 0.10.1 cut the first batch off too. A corrupt one is the
		// reader's to report.
		if _, _, err := recordbatch.Cut(got.set); errors.Is(err, recordbatch.ErrPartial) {
			p.maxBytes = min(2*max(p.maxBytes, len(got.set)), maxFetched)
			return
		}
		next, epoch = p.next, p.read
		p.held = true
	}
	p.maxBytes = 0
	answer.hold()
	p.queue = append(p.queue, Section{got.set, got.aborted, answer})
	p.queued += len(got.set)
	p.next, p.read = next, epoch
}
