// Package kafkatest runs Apache Kafka for tests: real brokers in KRaft mode, plain java
// processes on loopback, with plaintext, TLS and SASL listeners. A broker can be
// killed, paused and started again with what it has on its disk.
package kafkatest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/weirstream/weir/internal/testserver/proc"
)

// Options say which brokers to start. The zero Options are one broker with a
// plaintext listener.
type Options struct {
	// Brokers is how many; 0 is one. With three, topics and the internal ones are
	// replicated and a broker may be lost.
	Brokers int
	// Secure adds the listeners of [Listener], users and ACLs: who is not a super
	// user may do nothing until a test allows it.
	Secure bool
	// Features are versions of features to format the disks with, such as
	// "transaction.version=0".
	Features []string
	// Config holds further properties of the brokers, by Kafka's own names.
	Config map[string]string
	// Dir is where everything lies; empty is a temporary folder, removed by Stop.
	Dir string
	// Port is the first broker's; 0 is a free one.
	Port int
	// Detach lets the brokers outlive this process.
	Detach bool
	// Warm lets the JVM compile as it does in production: for measurements. A test
	// is over before that pays.
	Warm bool
}

// startTimeout bounds the start of a broker on a slow and busy machine.
const startTimeout = 3 * time.Minute

// Cluster is a set of running brokers.
type Cluster struct {
	Brokers []*Broker
	// Secrets are the users and the files of the TLS listeners; set where
	// Options.Secure is.
	Secrets *Secrets

	options   Options
	installed *installed
	dir       string
	temporary bool
}

// Start starts a cluster and waits until each broker serves. The first call on a
// machine downloads Kafka.
func Start(ctx context.Context, o Options) (c *Cluster, err error) {
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	c = &Cluster{options: o, dir: o.Dir}
	defer func() {
		if err != nil {
			c.Stop()
			c, err = nil, fmt.Errorf("start Kafka: %w", err)
		}
	}()
	if c.dir == "" {
		c.temporary = true
		if c.dir, err = os.MkdirTemp("", "kafka-"); err != nil {
			return c, err
		}
	}
	if o.Secure {
		if c.Secrets, err = makeSecrets(c.dir); err != nil {
			return c, err
		}
	}
	if c.installed, err = install(ctx); err != nil {
		return c, err
	}
	for try := 1; ; try++ {
		if err = c.launch(ctx); err == nil || try == 3 || !strings.Contains(err.Error(), "Address already in use") {
			return c, err
		}
		c.killAll()
	}
}

// launch gives the brokers ports and disks and starts them.
func (c *Cluster) launch(ctx context.Context) error {
	listeners := c.listeners()
	ports, err := proc.Ports(c.options.Brokers * len(listeners))
	if err != nil {
		return err
	}
	if c.options.Port != 0 {
		ports[0] = c.options.Port
	}
	c.Brokers = nil
	for id := 1; id <= c.options.Brokers; id++ {
		b := newBroker(c, id)
		for i, l := range listeners {
			b.ports[l] = ports[(id-1)*len(listeners)+i]
		}
		c.Brokers = append(c.Brokers, b)
	}
	checkpoint, err := c.installed.bootstrap(ctx, c.options.Features, c.Secrets)
	if err != nil {
		return err
	}
	clusterID := randomID()
	for _, b := range c.Brokers {
		if err := b.format(clusterID, checkpoint); err != nil {
			return err
		}
	}
	// A broker is ready when the quorum has a leader, so they start side by side.
	results := make(chan error)
	for _, b := range c.Brokers {
		go func() { results <- b.Start(ctx) }()
	}
	var errs []error
	for range c.Brokers {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// Bootstrap returns the plaintext addresses of all brokers, as bootstrap.servers
// takes them.
func (c *Cluster) Bootstrap() string { return c.Servers(Plaintext) }

// Servers returns the addresses of a listener.
func (c *Cluster) Servers(l Listener) string {
	var all []string
	for _, b := range c.Brokers {
		all = append(all, b.Addr(l))
	}
	return strings.Join(all, ",")
}

// Stop ends every broker and removes a temporary folder. Nothing of them is kept,
// so none of them is given time.
func (c *Cluster) Stop() {
	c.killAll()
	if c.temporary {
		_ = os.RemoveAll(c.dir)
	}
}

func (c *Cluster) killAll() {
	for _, b := range c.Brokers {
		b.Kill()
	}
}

// randomID returns an id as Kafka makes them: 16 random bytes in base 64.
func randomID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	id[0] &= 0x7f // no leading '-', which tools take for a flag
	return base64.RawURLEncoding.EncodeToString(id[:])
}
