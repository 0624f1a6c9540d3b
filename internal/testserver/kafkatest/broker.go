package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weirstream/weir/internal/testserver/proc"
)

// Broker is one broker of a cluster, whether it runs or not. Its methods may be
// called concurrently.
type Broker struct {
	// Server is its process. Stop lets it hand its partitions over first.
	*proc.Server
	// ID is its node id, from 1.
	ID int

	cluster *Cluster
	dir     string
	ports   map[Listener]int
}

func newBroker(c *Cluster, id int) *Broker {
	b := &Broker{ID: id, cluster: c, dir: filepath.Join(c.dir, fmt.Sprintf("broker-%d", id)), ports: map[Listener]int{}}
	b.Server = proc.NewServer(fmt.Sprintf("broker %d", id), b.file("log"))
	return b
}

// Addr returns the broker's address on a listener. It keeps it when it is started
// again.
func (b *Broker) Addr(l Listener) string { return fmt.Sprintf("127.0.0.1:%d", b.ports[l]) }

// Start starts the broker, with what is on its disk, and waits until it serves.
func (b *Broker) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	args := append(b.cluster.installed.javaArgs(b.cluster.options.Warm), "kafka.Kafka", b.file("server.properties"))
	return b.Launch(ctx, readyLine, b.cluster.options.Detach, "java", args...)
}

// readyLine is in the log of a broker that serves.
const readyLine = "Kafka Server started"

func (b *Broker) file(name string) string { return filepath.Join(b.dir, name) }

// format writes the broker's configuration and an empty disk.
func (b *Broker) format(clusterID string, checkpoint []byte) error {
	data := b.file("data")
	if err := errors.Join(os.RemoveAll(b.dir), os.MkdirAll(data, 0o755)); err != nil {
		return err
	}
	meta := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", clusterID, b.ID, randomID())
	return errors.Join(
		os.WriteFile(filepath.Join(data, "meta.properties"), []byte(meta), 0o644),
		os.WriteFile(filepath.Join(data, "bootstrap.checkpoint"), checkpoint, 0o644),
		os.WriteFile(b.file("server.properties"), []byte(b.properties()), 0o644),
	)
}

// properties returns the broker's configuration.
func (b *Broker) properties() string {
	c := b.cluster
	var voters, listeners, protocols, advertised []string
	for _, other := range c.Brokers {
		voters = append(voters, fmt.Sprintf("%d@%s", other.ID, other.Addr(controller)))
	}
	for _, l := range c.listeners() {
		listeners = append(listeners, fmt.Sprintf("%s://%s", l, b.Addr(l)))
		protocols = append(protocols, fmt.Sprintf("%s:%s", l, l.protocol()))
		if l != controller {
			advertised = append(advertised, fmt.Sprintf("%s://%s", l, b.Addr(l)))
		}
	}
	replicas, inSync := "1", "1"
	if len(c.Brokers) >= 3 {
		replicas, inSync = "3", "2"
	}
	p := map[string]string{
		"process.roles":                                    "broker,controller",
		"node.id":                                          fmt.Sprint(b.ID),
		"controller.quorum.voters":                         strings.Join(voters, ","),
		"controller.listener.names":                        string(controller),
		"inter.broker.listener.name":                       string(Plaintext),
		"listeners":                                        strings.Join(listeners, ","),
		"advertised.listeners":                             strings.Join(advertised, ","),
		"listener.security.protocol.map":                   strings.Join(protocols, ","),
		"log.dirs":                                         b.file("data"),
		"auto.create.topics.enable":                        "false",
		"default.replication.factor":                       replicas,
		"min.insync.replicas":                              inSync,
		"offsets.topic.num.partitions":                     "1",
		"offsets.topic.replication.factor":                 replicas,
		"transaction.state.log.num.partitions":             "1",
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    inSync,
		"share.coordinator.state.topic.num.partitions":     "1",
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            inSync,
		"group.initial.rebalance.delay.ms":                 "0",
		// A lost broker is noticed, and one that comes back taken in, soon.
		"broker.session.timeout.ms":    "3000",
		"broker.heartbeat.interval.ms": "500",
		"log.cleaner.backoff.ms":       "200",
		// Records of tests have times of long ago, by which a broker would delete them.
		"log.retention.ms": "-1",
		// Transactions that time out are looked for often.
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
	}
	if c.Secrets != nil {
		maps.Copy(p, c.Secrets.properties())
	}
	maps.Copy(p, c.options.Config)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&text, "%s=%s\n", name, p[name])
	}
	return text.String()
}
