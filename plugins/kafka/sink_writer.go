package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/sdk"
)

// writer is one task of the sink.
type writer struct {
	client       *client.Client
	router       *router
	encoding     *encoding // nil: values are written as they are
	topics       *topics
	producer     *producer
	transactions *transactions // nil without
	task         *sdk.Task

	fixed  *topic // the constant topic
	places []int32
	chosen []*partition // of the batch that is being placed
}

// committable is a transaction that waits for its commit.
type committable struct {
	Transaction string    `json:"transactional_id"`
	Producer    int64     `json:"producer_id"`
	Epoch       int16     `json:"producer_epoch"`
	Checkpoint  uint64    `json:"checkpoint"`
	Written     []written `json:"written"`
	// Expires is when the broker gives the transaction up, at the earliest.
	Expires time.Time `json:"expires"`
}

// written are the offsets that a transaction has written in a partition. Between them
// may be those of others.
type written struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	First     int64  `json:"first"`
	Last      int64  `json:"last"`
}

func (r written) String() string {
	return fmt.Sprintf("%s[%d] %d to %d", r.Topic, r.Partition, r.First, r.Last)
}

func newWriter(ctx context.Context, cfg *SinkConfig, t *sdk.Task, c *client.Client) (*writer, error) {
	r, faults := newRouter(cfg)
	if len(faults) > 0 {
		return nil, sdk.Fatal(faults[0])
	}
	encoding, err := cfg.encoding()
	if err != nil {
		return nil, err
	}
	w := &writer{
		encoding: encoding,
		client:   c, router: r, task: t,
		topics: &topics{client: c, create: cfg.Create, within: cfg.APITimeoutDuration(), known: map[string]*topic{}, missing: map[string]missingTopic{}},
	}
	w.producer = newProducer(cfg, c, t, w.topics)
	if err := w.open(ctx, cfg); err != nil {
		w.producer.close()
		w.encoding.close()
		return nil, err
	}
	return w, nil
}

func (w *writer) open(ctx context.Context, cfg *SinkConfig) (err error) {
	if w.router.topic != "" {
		if w.fixed, err = w.topics.get(ctx, w.router.topic, w.producer.newPartition); err != nil {
			return err
		}
		if n := len(w.fixed.all()); w.router.fixed >= n {
			return sdk.Fatal(fmt.Errorf("topic %q has no partition %d: there are %d, from 0", w.fixed.name, w.router.fixed, n))
		}
		if err := w.encoding.ready(ctx, w.fixed.name); err != nil {
			return err
		}
	}
	if w.task.Guarantee != sdk.ExactlyOnce {
		w.producer.session, err = initProducer(ctx, w.client, "", 0, cfg.APITimeoutDuration())
		return err
	}
	timeout, err := transactionTimeout(ctx, cfg, w.client)
	if err != nil {
		return err
	}
	w.transactions = newTransactions(w.client, w.task, timeout, cfg.APITimeoutDuration())
	return nil
}

// Write implements [sdk.Sink].
func (w *writer) Write(ctx context.Context, in *sdk.Batch, failed *sdk.Collector) error {
	if w.fixed != nil && w.fixed.old() {
		// New partitions are not urgent: an error is one of the next question.
		_ = w.topics.ask(ctx, w.fixed)
	}
	h := &held{batch: in, failed: failed, size: in.Size(), log: w.producer.backlog, spans: 1}
	if err := w.producer.backlog.add(ctx, h.size); err != nil {
		return err
	}
	in.Hold()
	defer h.settle()
	if w.router.computes() {
		return w.writeComputed(ctx, h)
	}
	all := span{held: h, end: in.Len()}
	if w.encoding != nil {
		if err := w.encodeAll(ctx, h); err != nil {
			return err
		}
		if h.encoded.failed {
			all.index, all.end = h.encoded.good, len(h.encoded.good)
		}
	}
	parts := w.fixed.all()
	switch keys := in.Keys(); {
	case all.len() == 0: // all have failed
		return nil
	case w.router.fixed >= 0:
		return w.put(ctx, parts[w.router.fixed], all)
	case keys.Ends == nil && keys.Data == nil: // no record has a key
		return w.put(ctx, w.fixed.sticky.next(parts, h.size, w.producer.batchSize), all)
	}
	return w.writeKeyed(ctx, h, parts)
}

// writeKeyed puts records where their keys say.
func (w *writer) writeKeyed(ctx context.Context, h *held, parts []*partition) error {
	n := h.batch.Len()
	w.places = slices.Grow(w.places[:0], n)[:n]
	for i := range n {
		key := h.batch.At(i).Key()
		if key == nil {
			w.places[i] = int32(w.fixed.sticky.next(parts, h.size/n, w.producer.batchSize).id)
		} else {
			w.places[i] = int32(partitionOf(key, len(parts)))
		}
	}
	if e := h.encoded; e != nil && e.failed {
		good := e.good
		for i := range n {
			if len(good) > 0 && int(good[0]) == i {
				good = good[1:]
			} else {
				w.places[i] = nowhere
			}
		}
	}
	return w.spread(ctx, h, parts)
}

// nowhere is the place of a record that has failed.
const nowhere = -1

// spread puts record i into the partition places[i], each partition's as one span.
func (w *writer) spread(ctx context.Context, h *held, parts []*partition) error {
	ends := make([]int, len(parts))
	for _, p := range w.places {
		if p != nowhere {
			ends[p]++
		}
	}
	w.chosen = w.chosen[:0]
	sum := 0
	for p, count := range ends {
		ends[p] = sum
		if sum += count; count > 0 {
			w.chosen = append(w.chosen, parts[p])
		}
	}
	index := make([]uint32, len(w.places))
	for i, p := range w.places {
		if p == nowhere {
			continue
		}
		index[ends[p]] = uint32(i)
		ends[p]++
	}
	if err := w.ready(ctx, w.chosen); err != nil {
		return err
	}
	at := 0
	for _, p := range w.chosen {
		p.put(span{held: h, index: index, at: at, end: ends[p.id]})
		at = ends[p.id]
	}
	return nil
}

func (w *writer) put(ctx context.Context, p *partition, s span) error {
	w.chosen = append(w.chosen[:0], p)
	if err := w.ready(ctx, w.chosen); err != nil {
		return err
	}
	p.put(s)
	return nil
}

// writeComputed evaluates topic and partition for each record.
func (w *writer) writeComputed(ctx context.Context, h *held) error {
	index := map[*partition][]uint32{}
	w.chosen = w.chosen[:0]
	if w.encoding != nil {
		h.encoded = &encoded{}
	}
	for i := range h.batch.Len() {
		r := h.batch.At(i)
		p, err := w.place(ctx, h, r)
		var bad *badPlace
		if errors.As(err, &bad) {
			h.failed.Fail(r, bad)
			h.encoded.skip()
			continue
		}
		if err != nil {
			return err
		}
		if w.encoding != nil {
			if ok, err := w.encode(ctx, h, r, p.topic.name); err != nil {
				return err
			} else if !ok {
				continue
			}
		}
		if index[p] == nil {
			w.chosen = append(w.chosen, p)
		}
		index[p] = append(index[p], uint32(i))
	}
	if err := w.ready(ctx, w.chosen); err != nil {
		return err
	}
	for _, p := range w.chosen {
		p.put(span{held: h, index: index[p], end: len(index[p])})
	}
	return nil
}

// badPlace says that a record's topic or partition is none.
type badPlace struct{ err error }

func (b *badPlace) Error() string { return b.err.Error() }

// place evaluates where one record goes.
func (w *writer) place(ctx context.Context, h *held, r sdk.Record) (*partition, error) {
	if err := w.router.env.Fill(r, w.router.uses); err != nil {
		return nil, &badPlace{err}
	}
	name, err := w.router.topicOf()
	if err != nil {
		return nil, &badPlace{err}
	}
	t := w.fixed
	if t == nil {
		if t, err = w.topics.get(ctx, name, w.producer.newPartition); topicFault(err) {
			return nil, &badPlace{err}
		} else if err != nil {
			return nil, err
		}
	}
	parts := t.all()
	n, err := w.router.partitionOf(len(parts))
	switch {
	case err != nil:
		return nil, &badPlace{err}
	case n >= 0:
		return parts[n], nil
	case r.Key() != nil:
		return parts[partitionOf(r.Key(), len(parts))], nil
	}
	return t.sticky.next(parts, h.size/h.batch.Len(), w.producer.batchSize), nil
}

// ready sees to it that the partitions may be written to.
func (w *writer) ready(ctx context.Context, parts []*partition) (err error) {
	if w.transactions == nil || len(parts) == 0 {
		return nil
	}
	if w.producer.session == nil {
		if w.producer.session, err = w.transactions.begin(ctx); err != nil {
			return err
		}
	}
	err = w.transactions.add(ctx, w.producer.session, parts)
	if !errors.Is(err, errGone) || w.producer.computed || w.topics.create != nil {
		return err // a restart fails the records that need the topic, or creates it
	}
	return sdk.Fatal(err)
}

// Flush implements [sdk.Sink].
func (w *writer) Flush(ctx context.Context) error { return w.producer.flush(ctx) }

// Prepare implements [sdk.TwoPhase]. Everything has been acknowledged: a transaction
// into which something is on its way must not be ended.
func (w *writer) Prepare(_ context.Context, c sdk.Checkpoint) ([]committable, error) {
	s := w.producer.session
	if w.transactions == nil || s == nil || len(w.transactions.added) == 0 {
		return nil, nil
	}
	if !w.producer.backlog.settled() {
		return nil, errors.New("records are still on their way")
	}
	out := committable{
		Transaction: s.transaction, Producer: s.producer, Epoch: s.epoch, Checkpoint: c.Number,
		Expires: w.transactions.began.Add(w.transactions.timeout),
	}
	w.transactions.usual = map[topicPartition]bool{}
	for tp := range w.transactions.added {
		t := w.topics.at(tp.topic)
		p := t.all()[tp.partition]
		if p.session == s && p.first >= 0 {
			out.Written = append(out.Written, written{tp.topic, tp.partition, p.first, p.last})
		}
		if p.session == s {
			w.transactions.usual[tp] = true
		}
	}
	slices.SortFunc(out.Written, func(a, b written) int {
		if a.Topic != b.Topic && a.Topic < b.Topic || a.Topic == b.Topic && a.Partition < b.Partition {
			return -1
		}
		return 1
	})
	w.transactions.name(s, c.Number)
	w.producer.session = nil
	w.transactions.added = nil
	return []committable{out}, nil
}

// abortTimeout bounds what closing does for consumers.
const abortTimeout = 2 * time.Second

// Close implements [sdk.Sink].
func (w *writer) Close() error {
	settled := w.producer.backlog.settled()
	w.producer.close()
	if s := w.producer.session; settled && w.transactions != nil && s != nil && len(w.transactions.added) > 0 {
		// No checkpoint names this one and nothing is on its way into it, so that it
		// may go at once. Else the next start, or its timeout, ends it.
		ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
		defer cancel()
		if err := w.transactions.abort(ctx, s); err != nil {
			w.task.Log.Debug("an unfinished transaction was not aborted; it will be by the next start", "transaction", s.transaction, "error", err)
		}
	}
	w.client.Close()
	w.encoding.close()
	return nil
}
