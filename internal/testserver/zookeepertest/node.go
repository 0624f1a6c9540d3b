package zookeepertest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/internal/testserver/proc"
)

// Node is one server of an ensemble, whether it runs or not. Its methods may be
// called concurrently.
type Node struct {
	// Server is its process.
	*proc.Server
	// ID is its number in the ensemble, from 1.
	ID int

	ensemble                   *Ensemble
	dir                        string
	client, follower, election int // ports
}

const (
	pollPause = 20 * time.Millisecond
	// readyLine is in the log of a server that takes connections, if it has joined
	// others or not.
	readyLine = "binding to port"
)

// Addr returns the server's address for clients. It keeps it when it is started
// again.
func (n *Node) Addr() string { return fmt.Sprintf("127.0.0.1:%d", n.client) }

// Start starts the server with what is on its disk. It does not wait for the
// others of the ensemble; see [Ensemble.Ready].
func (n *Node) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return n.Launch(ctx, readyLine, n.ensemble.options.Detach, "java", n.javaArgs()...)
}

// Mode asks the server what it is: standalone, leader, follower or read-only, and
// "" where it does not serve.
func (n *Node) Mode(ctx context.Context) string {
	_, after, found := strings.Cut(n.Ask(ctx, "srvr"), "Mode: ")
	if !found {
		return ""
	}
	mode, _, _ := strings.Cut(after, "\n")
	return mode
}

// askTimeout bounds one question; a paused server answers none.
const askTimeout = 2 * time.Second

// Ask sends one of ZooKeeper's four-letter words and returns the answer, "" where
// there is none.
func (n *Node) Ask(ctx context.Context, word string) string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", n.Addr())
	if err != nil {
		return ""
	}
	defer conn.Close()
	if config := n.ensemble.ClientTLS; config != nil {
		conn = tls.Client(conn, config)
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err := conn.Write([]byte(word)); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// ready waits until the server serves.
func (n *Node) ready(ctx context.Context) error {
	for n.Mode(ctx) == "" {
		select {
		case <-ctx.Done():
			return fmt.Errorf("server %d does not serve: %w", n.ID, ctx.Err())
		case <-time.After(pollPause):
		}
	}
	return nil
}

func (n *Node) file(name string) string { return filepath.Join(n.dir, name) }

// format writes the server's configuration and an empty disk.
func (n *Node) format() error {
	return errors.Join(
		os.RemoveAll(n.dir),
		os.MkdirAll(n.file("data"), 0o755),
		os.WriteFile(n.file("data/myid"), fmt.Appendln(nil, n.ID), 0o644),
		os.WriteFile(n.file("zoo.cfg"), []byte(n.config()), 0o644),
	)
}

// config returns the server's configuration.
func (n *Node) config() string {
	c := map[string]string{
		"tickTime":           fmt.Sprint(Tick.Milliseconds()),
		"minSessionTimeout":  fmt.Sprint(MinSessionTimeout.Milliseconds()),
		"maxSessionTimeout":  fmt.Sprint(MaxSessionTimeout.Milliseconds()),
		"initLimit":          "20",
		"syncLimit":          "10",
		"maxClientCnxns":     "0",
		"dataDir":            n.file("data"),
		"admin.enableServer": "false",
		// Words that tests ask.
		"4lw.commands.whitelist": "srvr,mntr,cons,wchs,ruok",
	}
	if n.ensemble.options.TLS {
		maps.Copy(c, n.ensemble.tlsConfig())
		c["secureClientPortAddress"], c["secureClientPort"] = "127.0.0.1", fmt.Sprint(n.client)
	} else {
		c["clientPortAddress"], c["clientPort"] = "127.0.0.1", fmt.Sprint(n.client)
	}
	if nodes := n.ensemble.Nodes; len(nodes) > 1 {
		for _, other := range nodes {
			c[fmt.Sprintf("server.%d", other.ID)] = fmt.Sprintf("127.0.0.1:%d:%d", other.follower, other.election)
		}
	}
	for name, value := range n.ensemble.options.Config {
		if !isProperty(name) {
			c[name] = value
		}
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(&text, "%s=%s\n", name, c[name])
	}
	return text.String()
}

func isProperty(name string) bool {
	return strings.HasPrefix(name, "zookeeper.") || strings.HasPrefix(name, "readonlymode.")
}

func (n *Node) javaArgs() []string {
	e := n.ensemble
	args := []string{
		"-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true", "-Dzookeeper.jmx.log4j.disable=true", "-Dzookeeper.preAllocSize=1024",
	}
	if e.options.Warm {
		args = append(args, "-Xmx512m")
	} else {
		args = append(args, "-Xmx96m", "-XX:TieredStopAtLevel=1")
	}
	for name, value := range e.options.Config {
		if isProperty(name) {
			args = append(args, "-D"+name+"="+value)
		}
	}
	return append(args, "-cp", e.classpath, "org.apache.zookeeper.server.quorum.QuorumPeerMain", n.file("zoo.cfg"))
}
