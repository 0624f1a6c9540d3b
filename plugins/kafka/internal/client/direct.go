package client

import (
	"context"
	"io"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Exchange writes a request to a connection and reads the answer. version is that
// of the request's API which both sides speak.
type Exchange func(rw io.ReadWriter, version int16, clientID string) (any, error)

// AnyBroker sends a request to whichever broker is at hand.
const AnyBroker int32 = -1

// RoundTripTo has a request exchanged with a broker, by its id, within
// request.timeout.ms and the time that a connection may take. Unlike
// [Client.RoundTrip] it neither chooses the broker nor acts on the answer.
func (c *Client) RoundTripTo(ctx context.Context, broker int32, api protocol.ApiKey, exchange Exchange) (any, error) {
	return c.RoundTripToWithin(ctx, c.config.RequestTimeoutDuration()+c.config.setupTimeout(), broker, api, exchange)
}

// RoundTripToWithin is RoundTripTo with a time of its own.
func (c *Client) RoundTripToWithin(ctx context.Context, timeout time.Duration, broker int32, api protocol.ApiKey, exchange Exchange) (any, error) {
	r, err := c.RoundTripWithin(ctx, timeout, &direct{api, broker, c.config.ClientID, exchange, 0})
	if err != nil {
		return nil, err
	}
	return r.(*answer).content, nil
}

// Ask sends a request of kafka-go to a broker, as RoundTripTo does.
func (c *Client) Ask(ctx context.Context, broker int32, request protocol.Message) (any, error) {
	return c.RoundTripTo(ctx, broker, request.ApiKey(), func(rw io.ReadWriter, version int16, clientID string) (any, error) {
		return protocol.RoundTrip(rw, version, 0, clientID, request)
	})
}

// direct is a request that the transport does not look into.
type direct struct {
	api      protocol.ApiKey
	broker   int32
	clientID string
	exchange Exchange
	version  int16
}

// answer is its answer.
type answer struct {
	api     protocol.ApiKey
	content any
}

func (a *answer) ApiKey() protocol.ApiKey { return a.api }

// ApiKey implements [protocol.Message].
func (d *direct) ApiKey() protocol.ApiKey { return d.api }

// Broker implements [protocol.BrokerMessage].
func (d *direct) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	if d.broker == AnyBroker {
		return protocol.Broker{ID: -1}, nil
	}
	b, ok := cluster.Brokers[d.broker]
	if !ok {
		return protocol.Broker{}, kafkago.BrokerNotAvailable
	}
	return b, nil
}

// Required implements [protocol.RawExchanger].
func (d *direct) Required(versions map[protocol.ApiKey]int16) bool {
	d.version = versions[d.api]
	return true
}

// RawExchange implements [protocol.RawExchanger].
func (d *direct) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	content, err := d.exchange(rw, d.version, d.clientID)
	if err != nil {
		return nil, err
	}
	return &answer{d.api, content}, nil
}
