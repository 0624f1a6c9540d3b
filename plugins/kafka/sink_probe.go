package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/sdk"
)

// Probe implements [sdk.Prober].
func (c *SinkConfig) Probe(ctx context.Context, p sdk.Probe) []sdk.FieldError {
	cl, faults := c.Connect(ctx)
	if len(faults) > 0 {
		return faults
	}
	defer cl.Close()
	faults = append(c.Warnings(), c.probe(ctx)...)
	if name, ok := c.Topic.Const.(string); ok {
		faults = append(faults, c.probeTopic(ctx, cl, name)...)
	}
	if c.Guarantee == "exactly_once" {
		faults = append(faults, c.probeTimeout(ctx, cl, p.CommitWithin)...)
	}
	return faults
}

// Bits of a topic's authorized operations, and what they are where the broker does
// not say.
const (
	mayWrite    = 1 << 4
	notTold     = -1 << 31
	nothingTold = 0
)

func (c *SinkConfig) probeTopic(ctx context.Context, cl *client.Client, name string) []sdk.FieldError {
	fault := func(err error) []sdk.FieldError { return []sdk.FieldError{sdk.Faultf("topic", "%v", err)} }
	answer, err := cl.Ask(ctx, client.AnyBroker, &metadata.Request{TopicNames: []string{name}, IncludeTopicAuthorizedOperations: true})
	if err != nil {
		return fault(err)
	}
	m, ok := answer.(*metadata.Response)
	if !ok || len(m.Topics) != 1 {
		return fault(fmt.Errorf("topic %q: the broker told of another", name))
	}
	t := m.Topics[0]
	switch code := kafkago.Error(t.ErrorCode); {
	case code == kafkago.UnknownTopicOrPartition && c.Create != nil:
		return []sdk.FieldError{sdk.Warnf("topic", "topic %q does not exist: it is created at the first start", name)}
	case code == kafkago.UnknownTopicOrPartition:
		return fault(fmt.Errorf("topic %q does not exist: create it (kafka-topics --create --topic %s), or let the sink do so: create: {}", name, name))
	case code != 0 && !code.Temporary():
		return fault(cl.Explain(ctx, fmt.Errorf("topic %q: %w", name, code)))
	}
	if ops := t.TopicAuthorizedOperations; ops != notTold && ops != nothingTold && ops&mayWrite == 0 {
		return fault(fmt.Errorf("this user may not write to topic %q: an administrator grants it (kafka-acls --add --producer)", name))
	}
	if n, ok := c.Partition.Const.(int64); ok && len(t.Partitions) > 0 && n >= int64(len(t.Partitions)) {
		return []sdk.FieldError{sdk.Faultf("partition", "topic %q has no partition %d: there are %d, from 0", name, n, len(t.Partitions))}
	}
	return nil
}

// probeTimeout checks that a transaction lives for as long as the pipeline may need
// to commit it.
func (c *SinkConfig) probeTimeout(ctx context.Context, cl *client.Client, needed time.Duration) []sdk.FieldError {
	const field = "transaction.timeout.ms"
	most, err := maxTransactionTimeout(ctx, cl)
	timeout := time.Duration(c.TransactionTimeout) * time.Millisecond
	switch {
	case err != nil && timeout == 0:
		return []sdk.FieldError{sdk.Warnf(field, "the broker does not say how long a transaction may take (transaction.max.timeout.ms), %v is taken: %v", usualTimeout, err)}
	case err != nil:
		return []sdk.FieldError{sdk.Warnf(field, "whether the broker allows it could not be asked: %v", err)}
	case timeout > most:
		return []sdk.FieldError{sdk.Faultf(field, "is %d, but the broker allows at most %d (transaction.max.timeout.ms): lower it, leave it away, or raise the broker's",
			c.TransactionTimeout, most.Milliseconds())}
	case timeout == 0:
		timeout = most
	}
	if timeout < needed {
		return []sdk.FieldError{sdk.Faultf(field, "a transaction lives for %v, but with the pipeline's checkpoint interval and timeout, tolerated failures and restart backoff "+
			"its commit may take %v, and what is not committed in time is lost: raise it (and transaction.max.timeout.ms of the broker), or lower those", timeout, needed)}
	}
	return nil
}

// usualTimeout is transaction.max.timeout.ms of a broker that has no other.
const usualTimeout = 15 * time.Minute

// transactionTimeout returns the configured timeout, or the longest that the broker
// allows.
func transactionTimeout(ctx context.Context, cfg *SinkConfig, c *client.Client) (time.Duration, error) {
	if cfg.TransactionTimeout > 0 {
		return time.Duration(cfg.TransactionTimeout) * time.Millisecond, nil
	}
	var most time.Duration
	err := persist(ctx, cfg.APITimeoutDuration(), func() (err error) {
		most, err = maxTransactionTimeout(ctx, c)
		return err
	})
	switch {
	case errors.Is(err, errNotTold):
		return usualTimeout, nil
	case err != nil:
		return 0, err
	}
	return most, nil
}

// errNotTold says that the broker does not tell its configuration: the user may
// lack the right to ask.
var errNotTold = errors.New("not told")

// maxTransactionTimeout asks a broker for its transaction.max.timeout.ms.
func maxTransactionTimeout(ctx context.Context, c *client.Client) (time.Duration, error) {
	const property = "transaction.max.timeout.ms"
	m, err := c.Metadata(ctx, client.NoTopics)
	if err != nil {
		return 0, err
	}
	if len(m.Brokers) == 0 {
		return 0, fmt.Errorf("no broker: %w", errNotTold)
	}
	id := m.Brokers[0].NodeID
	answer, err := c.Ask(ctx, id, &describeconfigs.Request{Resources: []describeconfigs.RequestResource{{
		ResourceType: int8(kafkago.ResourceTypeBroker), ResourceName: strconv.Itoa(int(id)), ConfigNames: []string{property},
	}}})
	if err != nil {
		return 0, err
	}
	r, ok := answer.(*describeconfigs.Response)
	if !ok || len(r.Resources) != 1 {
		return 0, fmt.Errorf("broker %d: %w", id, errNotTold)
	}
	if code := kafkago.Error(r.Resources[0].ErrorCode); code != 0 {
		if retriable(code) {
			return 0, c.Explain(ctx, code)
		}
		return 0, fmt.Errorf("broker %d: %w: %w", id, errNotTold, code)
	}
	for _, e := range r.Resources[0].ConfigEntries {
		if ms, err := strconv.ParseInt(e.ConfigValue, 10, 64); e.ConfigName == property && err == nil {
			return time.Duration(ms) * time.Millisecond, nil
		}
	}
	return 0, fmt.Errorf("broker %d: %w", id, errNotTold)
}
