package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weirstream/weir/sdk"
)

// Explain returns err with the cluster's name, what to do about it, and its class:
// [sdk.Retry] where it is likely to pass, [sdk.Fatal] where no restart cures it.
// ctx is the caller's own: when that has ended, so has the call.
func (c *Client) Explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	var done *explained
	if errors.As(err, &done) {
		return err
	}
	advice, class := c.config.advice(err)
	if advice != "" {
		advice = ": " + advice
	}
	return class(&explained{fmt.Errorf("%v: %w%s", c.config, err, advice)})
}

// explained is an error with advice.
type explained struct{ error }

func (e *explained) Unwrap() error { return e.error }

// Permanent reports whether an explained error will not pass by itself.
func Permanent(err error) bool {
	var p *permanent
	return errors.As(err, &p)
}

type permanent struct{ error }

func (p *permanent) Unwrap() error { return p.error }

func retry(err error) error    { return sdk.Retry(err, 0) }
func fatal(err error) error    { return sdk.Fatal(&permanent{err}) }
func unmarked(err error) error { return err }

// advice says what to do about an error.
func (c *Config) advice(err error) (string, func(error) error) {
	var (
		code       kafkago.Error
		authority  x509.UnknownAuthorityError
		hostname   x509.HostnameError
		invalid    x509.CertificateInvalidError
		header     tls.RecordHeaderError
		name       *net.DNSError
		connection *ConnectError
	)
	switch {
	case errors.As(err, &code):
		return c.codeAdvice(code)
	case errors.Is(err, errNoBroker):
		return "bootstrap.servers needs the port of a Kafka listener", fatal
	case errors.Is(err, errWantsTLS):
		return "this listener speaks TLS: set security.protocol to SSL or SASL_SSL", fatal
	case errors.As(err, &authority):
		return "give the authority's certificate in ssl.truststore.location", fatal
	case errors.As(err, &hostname):
		return "the certificate is of another host: connect by its name, or set ssl.server.name", fatal
	case errors.As(err, &invalid):
		return "the broker's certificate is not valid", fatal
	case errors.As(err, &header) && strings.HasPrefix(string(header.RecordHeader[:]), "HTTP"):
		return "no Kafka broker, it answers in HTTP: bootstrap.servers needs the port of a Kafka listener", fatal
	case errors.As(err, &header):
		return "this listener does not speak TLS: set security.protocol to PLAINTEXT or SASL_PLAINTEXT, or use another port", fatal
	case strings.Contains(err.Error(), "remote error: tls:"): // crypto/tls has no type for it
		return "the broker refuses the TLS connection: it may want a client certificate (ssl.keystore.location), or another one", fatal
	case errors.As(err, &name) && name.IsNotFound:
		return "no such host: look at bootstrap.servers, and at advertised.listeners of the brokers", retry
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprintf("the broker closed the connection; if it always does, security.protocol (%s) does not fit the listener", c.SecurityProtocol), retry
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time; is it a Kafka listener?", retry
	case errors.As(err, &connection):
		return "is the broker up, and reachable at this address?", retry
	case strings.Contains(err.Error(), "SCRAM") || strings.Contains(err.Error(), "server-error"):
		return c.passwordAdvice(), fatal
	}
	return "", retry
}

func (c *Config) passwordAdvice() string {
	user, _, _ := c.credentials()
	return fmt.Sprintf("wrong password, or no user %q for %s", user, c.SASLMechanism)
}

// codeAdvice says what to do about a broker's error code.
func (c *Config) codeAdvice(code kafkago.Error) (string, func(error) error) {
	switch code {
	case kafkago.SASLAuthenticationFailed:
		return c.passwordAdvice(), fatal
	case kafkago.UnsupportedSASLMechanism:
		return fmt.Sprintf("the broker has not enabled %s: set another sasl.mechanism", c.SASLMechanism), fatal
	case kafkago.IllegalSASLState:
		return "the listener wants another security.protocol", fatal
	case kafkago.TopicAuthorizationFailed:
		return "this user lacks a right to the topic: an administrator grants it (kafka-acls --add)", fatal
	case kafkago.GroupAuthorizationFailed:
		return "this user lacks the right to read the group: an administrator grants it (kafka-acls --add --group)", fatal
	case kafkago.ClusterAuthorizationFailed, kafkago.TransactionalIDAuthorizationFailed, kafkago.BrokerAuthorizationFailed:
		return "this user lacks the right: an administrator grants it (kafka-acls --add)", fatal
	case kafkago.UnsupportedVersion:
		return "the brokers are too old", fatal
	case kafkago.InvalidTopic:
		return "the topic's name is not allowed", fatal
	case kafkago.InvalidConfiguration, kafkago.InvalidReplicationFactor, kafkago.InvalidPartitionNumber, kafkago.PolicyViolation,
		kafkago.InvalidTransactionTimeout, kafkago.InvalidGroupId, kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge:
		return "", fatal
	case kafkago.BrokerNotAvailable:
		return "the broker is not up", retry
	}
	if code.Temporary() {
		return "", retry
	}
	return "", unmarked
}

// blamed is the field that an error is about, as far as can be told.
func blamed(err error) string {
	var field *fieldError
	switch {
	case errors.As(err, &field):
		return field.field
	case errors.Is(err, kafkago.SASLAuthenticationFailed):
		return "sasl.username"
	case errors.Is(err, kafkago.UnsupportedSASLMechanism):
		return "sasl.mechanism"
	}
	return "bootstrap.servers"
}

// TopicError is a broker's error about a topic.
type TopicError struct {
	Topic string
	Err   kafkago.Error
}

// Error says which topic, and what is wrong with it.
func (e *TopicError) Error() string {
	if e.Err == kafkago.UnknownTopicOrPartition {
		return fmt.Sprintf("topic %q does not exist, or this user may not see it", e.Topic)
	}
	return fmt.Sprintf("topic %q: %v", e.Topic, e.Err)
}

func (e *TopicError) Unwrap() error { return e.Err }
