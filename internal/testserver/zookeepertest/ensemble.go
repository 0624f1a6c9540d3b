// Package zookeepertest runs Apache ZooKeeper for tests: one server or an ensemble
// of several, plain java processes on loopback. A server can be killed, paused and
// started again with what it has on its disk.
package zookeepertest

import (
	"context"
	"crypto/tls"
	_ "embed" // pom.xml
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/internal/testserver/jars"
	"github.com/weirstream/weir/internal/testserver/proc"
)

//go:embed pom.xml
var pom []byte

// Options say what to start. The zero Options are one server.
type Options struct {
	// Nodes is how many servers; 0 is one.
	Nodes int
	// TLS makes every server speak nothing else to clients, who need a certificate
	// of the same authority: see Ensemble.ClientTLS.
	TLS bool
	// Config holds further settings by ZooKeeper's own names. Such as begin with
	// "zookeeper." or "readonlymode." are system properties of the JVM.
	Config map[string]string
	// Dir is where everything lies; empty is a temporary folder, removed by Stop.
	Dir string
	// Detach lets the servers outlive this process.
	Detach bool
	// Warm lets the JVM compile as it does in production, with more memory: for
	// measurements.
	Warm bool
}

// The settings that decide what sessions may be: a timeout is a multiple of the
// tick, and within these.
const (
	Tick              = 500 * time.Millisecond
	MinSessionTimeout = time.Second
	MaxSessionTimeout = time.Minute
)

// startTimeout bounds the start of an ensemble on a slow and busy machine.
const startTimeout = 3 * time.Minute

// Ensemble is a set of servers.
type Ensemble struct {
	Nodes []*Node
	// ClientTLS is what a client needs; nil without Options.TLS.
	ClientTLS *tls.Config

	options   Options
	classpath string
	dir       string
	temporary bool
}

// Start starts an ensemble and waits until each server serves. The first call on a
// machine downloads ZooKeeper.
func Start(ctx context.Context, o Options) (e *Ensemble, err error) {
	o.Nodes = max(o.Nodes, 1)
	e = &Ensemble{options: o, dir: o.Dir}
	defer func() {
		if err != nil {
			e.Stop()
			e, err = nil, fmt.Errorf("start ZooKeeper: %w", err)
		}
	}()
	if e.dir == "" {
		e.temporary = true
		if e.dir, err = os.MkdirTemp("", "zookeeper-"); err != nil {
			return e, err
		}
	}
	if e.classpath, err = install(ctx); err != nil {
		return e, err
	}
	if o.TLS {
		if e.ClientTLS, err = e.writeSecrets(); err != nil {
			return e, err
		}
	}
	for try := 1; ; try++ {
		if err = e.launch(ctx); err == nil || try == 3 || !strings.Contains(err.Error(), "Address already in use") {
			return e, err
		}
		e.KillAll()
	}
}

// install returns the class path of ZooKeeper on this machine.
func install(ctx context.Context) (string, error) {
	folder, err := jars.Fetch(ctx, "zookeeper", pom)
	if err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.jar"))
	slices.Sort(files)
	return strings.Join(files, string(os.PathListSeparator)), err
}

// launch gives the servers ports and empty disks and starts them.
func (e *Ensemble) launch(ctx context.Context) error {
	const each = 3 // clients, followers, election
	ports, err := proc.Ports(e.options.Nodes * each)
	if err != nil {
		return err
	}
	e.Nodes = nil
	for i := range e.options.Nodes {
		n := &Node{
			ID: i + 1, ensemble: e, dir: filepath.Join(e.dir, fmt.Sprintf("node-%d", i+1)),
			client: ports[i*each], follower: ports[i*each+1], election: ports[i*each+2],
		}
		n.Server = proc.NewServer(fmt.Sprintf("server %d", n.ID), n.file("log"))
		e.Nodes = append(e.Nodes, n)
	}
	for _, n := range e.Nodes {
		if err := n.format(); err != nil {
			return err
		}
	}
	return e.StartAll(ctx)
}

// StartAll starts every server that does not run, with what is on its disk, and
// waits until they serve. One that is alone does not, so they start side by side.
func (e *Ensemble) StartAll(ctx context.Context) error {
	results := make(chan error)
	started := 0
	for _, n := range e.Nodes {
		if n.PID() == 0 {
			started++
			go func() { results <- n.Start(ctx) }()
		}
	}
	var errs []error
	for range started {
		errs = append(errs, <-results)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return e.Ready(ctx)
}

// Ready waits until every server that runs serves.
func (e *Ensemble) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, n := range e.Nodes {
		if n.PID() == 0 {
			continue
		}
		if err := n.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Servers returns the addresses of all servers, as a client wants them.
func (e *Ensemble) Servers() string {
	var all []string
	for _, n := range e.Nodes {
		all = append(all, n.Addr())
	}
	return strings.Join(all, ",")
}

// Leader returns the server that leads, waiting for one until ctx ends.
func (e *Ensemble) Leader(ctx context.Context) (*Node, error) {
	for {
		for _, n := range e.Nodes {
			if m := n.Mode(ctx); m == "leader" || m == "standalone" {
				return n, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no server leads: %w", ctx.Err())
		case <-time.After(pollPause):
		}
	}
}

// Stop ends every server and removes a temporary folder. Nothing is kept, so none
// is given time.
func (e *Ensemble) Stop() {
	e.KillAll()
	if e.temporary {
		_ = os.RemoveAll(e.dir)
	}
}

// KillAll ends every server at once.
func (e *Ensemble) KillAll() {
	for _, n := range e.Nodes {
		n.Kill()
	}
}
