package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/weirstream/weir/plugins/kafka/internal/fetch"
	"github.com/weirstream/weir/plugins/kafka/internal/recordbatch"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/format"
)

// position is where reading goes on.
type position struct {
	// Offset of the next record.
	Offset int64 `json:"offset"`
	// LeaderEpoch is that of the record before, by which a log is recognised that was
	// cut back and written anew; -1 where nothing was read.
	LeaderEpoch int32 `json:"leader_epoch"`
}

// reader decodes what was fetched of one partition.
type reader struct {
	source    *source
	split     split
	partition *fetch.Partition
	at        position

	section *fetch.Section // that is being read
	rest    []byte         // of its set: batches not begun
	batch   recordbatch.Batch
	records recordbatch.Records // of the batch
	within  bool                // records are left in the batch
	// aborting are the producers whose transactions, in this section, are aborted;
	// pending are the section's aborted transactions that begin later.
	aborting map[int64]bool
	pending  []fetch.AbortedTransaction

	plain   []byte // decompressed records
	headers sdk.Headers
	decoder format.Decoder // nil leaves values as they are
	failed  int            // bytes of failed values in this Read
	lag     *lag
}

// Open implements [sdk.Source].
func (s *source) Open(_ context.Context, sp sdk.Split[split], from *position) (sdk.Reader[position], error) {
	d := sp.Data
	r := &reader{source: s, split: d, at: position{d.From, -1}, aborting: map[int64]bool{}}
	if from != nil {
		r.at = *from
	}
	var err error
	if r.decoder, err = s.cfg.decoder(s.schemas, s.task.MaxRecord); err != nil {
		return nil, err
	}
	r.partition = s.fetcher.Open(d.partition(), r.at.Offset, r.at.LeaderEpoch, d.To)
	r.lag = s.progress.open(s.task, d, r.at.Offset)
	return r, nil
}

// Close implements [sdk.Reader].
func (r *reader) Close() error {
	r.drop()
	r.source.fetcher.Shut(r.partition)
	r.source.progress.close(r.lag)
	return nil
}

// ended says whether the split has no more records.
func (r *reader) ended() bool { return r.split.To >= 0 && r.at.Offset >= r.split.To }

// Read implements [sdk.Reader].
func (r *reader) Read(ctx context.Context, out *sdk.Collector) (position, error) {
	before := r.at
	r.failed = 0
	for !r.ended() {
		if r.section == nil && !r.next() {
			if r.at != before {
				break // what there is goes on its way
			}
			if err := r.wait(ctx); err != nil {
				return position{}, err
			}
			continue
		}
		full, err := r.decode(ctx, out)
		if err != nil && (!format.IsOutside(err) || r.at == before) {
			return position{}, err
		}
		if full || err != nil { // what there is goes on its way
			break
		}
	}
	r.source.progress.moved(r.lag, r.source.fetcher.End(r.partition), before.Offset, r.at.Offset)
	if r.ended() {
		return r.at, io.EOF
	}
	return r.at, nil
}

// next takes the next section, if one was fetched.
func (r *reader) next() bool {
	s, ok := r.source.fetcher.Take(r.partition)
	if !ok {
		return false
	}
	r.section, r.rest, r.pending = &s, s.Set, s.Aborted
	clear(r.aborting)
	slices.SortFunc(r.pending, func(a, b fetch.AbortedTransaction) int { return cmp.Compare(a.First, b.First) })
	return true
}

func (r *reader) drop() {
	if r.section != nil {
		r.section.Release()
	}
	r.section, r.rest, r.within = nil, nil, false
}

// wait waits until something was fetched, or tells why nothing can be.
func (r *reader) wait(ctx context.Context) error {
	if err := r.lost(ctx); err != nil {
		return err
	}
	if err := r.source.fetcher.Failure(r.partition); err != nil {
		return err
	}
	timer := time.NewTimer(time.Second) // to look whether an error lasts
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.partition.Ready():
	case <-timer.C:
	}
	return nil
}

// decode appends records of the section until a batch is full or the section ends.
func (r *reader) decode(ctx context.Context, out *sdk.Collector) (full bool, err error) {
	metadata := r.source.cfg.MetadataHeaders
	for {
		if !r.within {
			more, err := r.nextBatch()
			if err != nil {
				return false, fmt.Errorf("partition %v: %w", r.partition, err)
			}
			if !more {
				r.drop()
				return false, nil
			}
		}
		for rec := (recordbatch.Record{}); r.records.Next(&rec); {
			if rec.Offset < r.at.Offset {
				continue // a fetch from amid a batch gives all of it
			}
			if r.split.To >= 0 && rec.Offset >= r.split.To {
				r.at.Offset = r.split.To
				r.drop()
				return true, nil
			}
			row := sdk.Row{Key: rec.Key, Value: rec.Value, Origin: rec.Offset}
			if rec.HeaderCount > 0 || metadata {
				if row.Headers, err = r.headersOf(&rec); err != nil {
					return false, fmt.Errorf("partition %v, offset %d: %w", r.partition, rec.Offset, err)
				}
			}
			if rec.Time >= 0 {
				row.Time = sdk.UnixNano(rec.Time * int64(time.Millisecond))
			}
			enough := false
			if r.decoder == nil || row.Value == nil {
				out.Append(row)
			} else if enough, err = r.decoded(ctx, out, row); err != nil {
				return false, fmt.Errorf("partition %v, offset %d: %w", r.partition, rec.Offset, err)
			}
			r.at = position{rec.Offset + 1, r.batch.LeaderEpoch}
			if out.Full() || enough {
				return true, nil
			}
		}
		if err := r.records.Err(); err != nil {
			return false, fmt.Errorf("partition %v: %w", r.partition, err)
		}
		r.passed()
	}
}

// passed goes on behind the batch: its last records may not be there.
func (r *reader) passed() {
	r.within = false
	r.at = position{max(r.at.Offset, r.batch.LastOffset+1), r.batch.LeaderEpoch}
	if r.split.To >= 0 {
		r.at.Offset = min(r.at.Offset, r.split.To)
	}
}

// nextBatch begins the next batch whose records are to be read; more is false at
// the section's end.
func (r *reader) nextBatch() (more bool, err error) {
	committed := r.source.cfg.committed()
	for len(r.rest) > 0 && !r.ended() {
		b, rest, err := recordbatch.Cut(r.rest)
		if errors.Is(err, recordbatch.ErrPartial) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		r.batch, r.rest = b, rest
		for len(r.pending) > 0 && r.pending[0].First <= b.LastOffset {
			r.aborting[r.pending[0].Producer] = true
			r.pending = r.pending[1:]
		}
		switch {
		case b.LastOffset < r.at.Offset:
		case b.Control():
			aborts, err := b.Aborts()
			if err != nil {
				return false, err
			}
			if aborts {
				delete(r.aborting, b.ProducerID)
			}
			r.passed()
		case committed && b.Transactional() && r.aborting[b.ProducerID]:
			r.passed()
		default:
			r.records, err = r.batch.Records(&r.plain)
			r.within = true
			return true, err
		}
	}
	return false, nil
}

// headersOf returns the record's headers as they travel.
func (r *reader) headersOf(rec *recordbatch.Record) (sdk.Headers, error) {
	h, rest := r.headers[:0], rec.Headers
	for range rec.HeaderCount {
		name, value, more, ok := recordbatch.NextHeader(rest)
		if !ok {
			return nil, errors.New("its headers are corrupt")
		}
		h, rest = h.AddBytes(name, value), more
	}
	if r.source.cfg.MetadataHeaders {
		var number [20]byte
		h = h.Add("kafka.topic", []byte(r.split.Topic))
		h = h.Add("kafka.partition", strconv.AppendInt(number[:0], int64(r.split.Partition), 10))
		h = h.Add("kafka.offset", strconv.AppendInt(number[:0], rec.Offset, 10))
	}
	r.headers = h
	return h, nil
}

// lost handles a position that is not in the log any more, as out_of_range says.
func (r *reader) lost(ctx context.Context) error {
	lost, cutTo, leader := r.source.fetcher.Lost(r.partition)
	if !lost {
		return nil
	}
	cfg, cl := r.source.cfg, r.source.client
	here := []located{{r.partition.TopicPartition, leader}}
	earliest, err := cfg.offsets(ctx, cl, here, atEarliest)
	if err != nil {
		return err
	}
	latest, err := cfg.offsets(ctx, cl, here, atLatest)
	if err != nil {
		return err
	}
	first, end := earliest[r.partition.TopicPartition], latest[r.partition.TopicPartition]
	var what string
	to := first
	switch {
	case cutTo >= 0:
		what = fmt.Sprintf("the log was cut back to offset %d by an unclean election: what was read from there to offset %d is gone, and other records may stand there", cutTo, r.at.Offset-1)
		to = cutTo
	case r.at.Offset < first:
		what = fmt.Sprintf("the records at offsets %d to %d were deleted before they were read", r.at.Offset, first-1)
	case r.at.Offset > end:
		what = fmt.Sprintf("the log ends at offset %d and reading was at %d: it was cut back, or the topic was created anew", end, r.at.Offset)
	default:
		r.source.fetcher.SeekTo(r.partition, r.at.Offset)
		return nil
	}
	what = fmt.Sprintf("partition %v: %s", r.partition, what)
	switch {
	case cfg.OutOfRange == "fail":
		return sdk.Fatal(fmt.Errorf("%s; to go on, set out_of_range to earliest or latest", what))
	case cfg.OutOfRange == "latest" && cutTo < 0:
		to = end
	}
	r.source.task.Log.Error("reading goes on elsewhere, as out_of_range says", "partition", r.partition.String(), "why", what, "from", r.at.Offset, "to", to)
	r.source.skipped(r.split).Add(float64(max(to-r.at.Offset, 0)))
	r.drop()
	r.at = position{to, -1}
	r.source.fetcher.SeekTo(r.partition, to)
	return nil
}
