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
	"sync"
	"time"

	"github.com/weirstream/weir/internal/testserver/proc"
)

// Broker is one broker of a cluster, whether it runs or not. Its methods may be
// called concurrently.
type Broker struct {
	// ID is its node id, from 1.
	ID int

	cluster *Cluster
	dir     string
	ports   map[Listener]int

	mu      sync.Mutex
	process *proc.Process // nil while it does not run
}

// Addr returns the broker's address on a listener. It keeps it when it is started
// again.
func (b *Broker) Addr(l Listener) string { return fmt.Sprintf("127.0.0.1:%d", b.ports[l]) }

// PID returns the id of its process, 0 while it does not run.
func (b *Broker) PID() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process == nil {
		return 0
	}
	return b.process.PID()
}

// Start starts the broker, with what is on its disk, and waits until it serves.
func (b *Broker) Start(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process != nil {
		return fmt.Errorf("broker %d runs already", b.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	args := append(b.cluster.installed.javaArgs(b.cluster.options.Warm), "kafka.Kafka", b.file("server.properties"))
	p, err := proc.Start(ctx, b.file("log"), readyLine, b.cluster.options.Detach, "java", args...)
	if err != nil {
		return fmt.Errorf("broker %d: %w", b.ID, err)
	}
	b.process = p
	return nil
}

// readyLine is in the log of a broker that serves.
const readyLine = "Kafka Server started"

// Kill ends the broker at once, as kill -9 does.
func (b *Broker) Kill() { b.end((*proc.Process).Kill) }

// Stop ends the broker as an operator does: it hands its partitions over first.
func (b *Broker) Stop() { b.end(func(p *proc.Process) { p.Stop(time.Minute) }) }

func (b *Broker) end(how func(*proc.Process)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process != nil {
		how(b.process)
		b.process = nil
	}
}

var errDown = errors.New("the broker does not run")

// Pause stops the broker's process without ending it, until Resume.
func (b *Broker) Pause() error { return b.running((*proc.Process).Pause) }

// Resume ends a pause.
func (b *Broker) Resume() error { return b.running((*proc.Process).Resume) }

func (b *Broker) running(do func(*proc.Process) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process == nil {
		return errDown
	}
	return do(b.process)
}

// Log returns what the broker has logged since its last start.
func (b *Broker) Log() string {
	text, err := os.ReadFile(b.file("log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

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
