package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
)

// refusal is a broker's answer that a batch will never be taken because of records
// in it.
type refusal struct {
	err      error
	tooLarge bool
	// records are those that are to blame; none is all.
	records []recordError
}

type recordError struct {
	index   int
	message string
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refusalOf returns the refusal that an error code is, or nil.
func (p *partition) refusalOf(code kafkago.Error, message string) *refusal {
	f := &refusal{}
	advice := ""
	switch code {
	case kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge:
		f.tooLarge = true
		advice = "the topic's max.message.bytes is smaller"
	case kafkago.InvalidTimestamp:
		advice = "the topic does not take records of this time (message.timestamp.before.max.ms, message.timestamp.after.max.ms)"
	case kafkago.InvalidRecord:
		advice = "a compacted topic takes no record without a key"
	case kafkago.TopicAuthorizationFailed, kafkago.InvalidTopic:
		if !p.producer.computed {
			return nil
		}
	default:
		return nil
	}
	if message != "" {
		advice = message
	}
	f.err = fmt.Errorf("%v: %w", p, code)
	if advice != "" {
		f.err = fmt.Errorf("%w: %s", f.err, advice)
	}
	return f
}

// refused fails the records that are to blame and puts the others back in front of
// those that wait. It returns what is settled.
func (p *partition) refused(taken []span, why *refusal, size int) []span {
	count := 0
	for _, s := range taken {
		count += s.len()
	}
	if why.tooLarge && count > 1 {
		// The records that make it too large are found by halving.
		p.limit = max(size/2, 1)
		p.putBack(taken)
		return nil
	}
	blamed := map[int]string{}
	for _, r := range why.records {
		blamed[r.index] = r.message
	}
	var good []span
	n := 0
	for _, s := range taken {
		for i := s.at; i < s.end; i++ {
			message, bad := blamed[n]
			n++
			if !bad && len(blamed) > 0 {
				one := s
				one.at, one.end = i, i+1
				good = append(good, one)
				continue
			}
			err := error(why)
			if message != "" {
				err = fmt.Errorf("%w: %s", why, message)
			}
			s.failed.Fail(s.record(i), err)
		}
	}
	for i := range good {
		good[i].retain()
	}
	p.putBack(good)
	return taken
}

// putBack puts spans, which are still retained, in front of those that wait.
func (p *partition) putBack(spans []span) { p.pending = slices.Concat(spans, p.pending) }

// retriable reports whether the same request may be answered otherwise later.
func retriable(err error) bool {
	var code kafkago.Error
	if errors.As(err, &code) {
		switch code {
		case kafkago.ConcurrentTransactions, kafkago.BrokerNotAvailable, kafkago.TransactionCoordinatorFenced:
			return true
		}
		return code.Temporary()
	}
	var connection *client.ConnectError
	var network net.Error
	return errors.As(err, &connection) || errors.As(err, &network) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, net.ErrClosed)
}

// fenced reports whether the broker does not know a transaction's producer any
// more, or another one has its id.
func fenced(err error) bool {
	for _, code := range []kafkago.Error{
		kafkago.InvalidProducerEpoch, kafkago.ProducerFenced, kafkago.InvalidTransactionState,
		kafkago.InvalidProducerIDMapping, kafkago.UnknownProducerId, kafkago.OutOfOrderSequenceNumber,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// unmarked takes an error's class away: for one that has been retried for long enough,
// or that another call may cure.
type unmarked struct{ err error }

func (u unmarked) Error() string { return u.err.Error() }
