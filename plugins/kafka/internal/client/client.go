package client

import (
	"context"
	"errors"
	"net"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// Client talks to one cluster. Its methods may be called concurrently. Errors are
// as [Explain] returns them.
type Client struct {
	config    *Config
	transport *kafkago.Transport
	dialer    *dialer
	addr      net.Addr
	alive     context.Context // until it is closed
	end       context.CancelFunc

	// Around, if set, is called in place of each request, and makes it by send: tests
	// hold processes and lose answers there.
	Around func(request kafkago.Request, send func() (kafkago.Response, error)) (kafkago.Response, error)
}

// NoTopics is for [New] where the caller knows by itself which broker to ask.
var NoTopics = []string{}

// New makes a client; it connects when it is used. topics are those whose leaders
// it knows, for requests that do not say which broker is meant; none is all.
func New(c *Config, topics ...string) (*Client, error) {
	tlsConfig, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	mechanism, err := c.mechanism()
	if err != nil {
		return nil, err
	}
	d := &dialer{tls: tlsConfig, timeout: c.setupTimeout()}
	alive, end := context.WithCancel(context.Background())
	return &Client{
		config: c,
		dialer: d,
		alive:  alive,
		end:    end,
		addr:   kafkago.TCP(c.servers()...),
		transport: &kafkago.Transport{
			Context:        alive,
			Dial:           d.dial,
			DialTimeout:    c.setupTimeout(),
			IdleTimeout:    time.Duration(c.MaxIdle) * time.Millisecond,
			ClientID:       c.ClientID,
			SASL:           mechanism,
			MetadataTopics: topics,
			MetadataTTL:    layoutAge(topics),
		},
	}, nil
}

// layoutAge is how old the transport's idea of which broker is which may be. It is
// not told when that has changed, so it asks often where that is cheap.
func layoutAge(topics []string) time.Duration {
	if topics != nil && len(topics) <= 10 {
		return 2 * time.Second
	}
	return 6 * time.Second
}

func (c *Config) setupTimeout() time.Duration {
	return time.Duration(c.SetupTimeout) * time.Millisecond
}

// RequestTimeoutDuration is how long one request may take.
func (c *Config) RequestTimeoutDuration() time.Duration {
	return time.Duration(c.RequestTimeout) * time.Millisecond
}

// APITimeoutDuration is how long to try before an error is taken for one that
// stays.
func (c *Config) APITimeoutDuration() time.Duration {
	return time.Duration(c.APITimeout) * time.Millisecond
}

// Kafka returns kafka-go's own client. Its errors are for [Client.Explain].
func (c *Client) Kafka() *kafkago.Client {
	return &kafkago.Client{Addr: c.addr, Transport: c.transport, Timeout: c.config.RequestTimeoutDuration()}
}

// RoundTrip sends a request to the broker that it is for and returns the answer,
// within request.timeout.ms and the time that a connection may take.
func (c *Client) RoundTrip(ctx context.Context, request kafkago.Request) (kafkago.Response, error) {
	return c.RoundTripWithin(ctx, c.config.RequestTimeoutDuration()+c.config.setupTimeout(), request)
}

// RoundTripWithin is RoundTrip with a time of its own.
func (c *Client) RoundTripWithin(ctx context.Context, timeout time.Duration, request kafkago.Request) (kafkago.Response, error) {
	if c.alive.Err() != nil {
		return nil, errClosed
	}
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer context.AfterFunc(c.alive, cancel)()
	send := func() (kafkago.Response, error) { return c.transport.RoundTrip(within, c.addr, request) }
	if c.Around != nil {
		plain := send
		send = func() (kafkago.Response, error) { return c.Around(request, plain) }
	}
	response, err := send()
	if err == nil && response == nil {
		err = errors.New("no answer")
	}
	return response, c.Explain(ctx, err)
}

// Metadata asks a broker for the leaders of topics; nil is all topics. Unlike a
// kafka-go client it never answers from memory.
func (c *Client) Metadata(ctx context.Context, topics []string) (*metadata.Response, error) {
	response, err := c.Ask(ctx, AnyBroker, &metadata.Request{TopicNames: topics})
	if err != nil {
		return nil, err
	}
	return response.(*metadata.Response), nil
}

// probePatience is how long a probe tries again: a broker that restarts, or a
// coordinator that is elsewhere now, keeps no pipeline from its start.
const probePatience = 10 * time.Second

// Patiently repeats what a probe asks while its error may pass, for a while.
func (c *Client) Patiently(ctx context.Context, ask func() error) error {
	for end := time.Now().Add(min(probePatience, c.config.APITimeoutDuration())); ; {
		err := ask()
		if err == nil || Permanent(err) || errors.Is(err, kafkago.UnknownTopicOrPartition) || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Close closes the connections, also those that a request is under way on.
func (c *Client) Close() {
	c.end() // a request that comes later would begin to look for brokers again
	c.transport.CloseIdleConnections()
	c.dialer.close()
}
