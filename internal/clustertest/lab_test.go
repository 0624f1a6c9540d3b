//go:build linux

package clustertest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/checkpoint/storage/cloud"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/embedded"
	"github.com/weirstream/weir/host/cluster"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/journal"
	"github.com/weirstream/weir/host/peer"
	"github.com/weirstream/weir/host/process"
	"github.com/weirstream/weir/internal/testserver/netfault"
)

// patience is how long a test waits for what must come.
const patience = 4 * time.Minute

// lab is a cluster in this process, over one embedded store: each host is a session.
type lab struct {
	t     *testing.T
	dir   string
	db    *embedded.DB
	store coordination.Store // the test's own session
	log   *logBuffer
	level slog.Level // from which on hosts log
	mu    sync.Mutex
	hosts map[string]*host
	// plugins are the folders in which a host looks for plugins.
	plugins map[string]string
	// checkpoints is the URL of the checkpoint storage.
	checkpoints string
	// faulty puts a proxy between each two hosts, which is in ways.
	faulty bool
	// outage, where set, is put in front of each host's session.
	outage func(coordination.Store) coordination.Store
	ways   map[[2]string]*netfault.Proxy // from one, to another
}

// host is a host of the lab.
type host struct {
	lab     *lab
	id      string
	node    *cluster.Node
	server  *peer.Server
	mesh    *peer.Mesh
	cancel  context.CancelFunc
	done    chan error
	store   *embedded.Store
	journal *journal.Journal // what it logs
}

func newLab(t *testing.T) *lab {
	t.Helper()
	dir, err := os.MkdirTemp("", "wc")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, dir: dir, hosts: map[string]*host{}, log: &logBuffer{}, level: slog.LevelDebug, plugins: map[string]string{}, ways: map[[2]string]*netfault.Proxy{}}
	l.checkpoints = "file://" + l.path("checkpoints")
	if l.db, err = embedded.Open(filepath.Join(dir, "weir.db"), embedded.Options{}); err != nil {
		t.Fatal(err)
	}
	if l.store, err = l.db.NewStore(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, h := range l.alive() {
			l.crash(h)
		}
		for _, w := range l.ways {
			w.Close()
		}
		_ = l.store.Close()
		if err := l.db.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("what the hosts said:\n%s", l.log)
		}
		if os.Getenv("WEIR_FAULT_KEEP") == "" {
			_ = os.RemoveAll(dir)
		}
	})
	return l
}

func (l *lab) path(elem ...string) string { return filepath.Join(append([]string{l.dir}, elem...)...) }

// start starts a host.
func (l *lab) start(id string, slots int) *host {
	l.t.Helper()
	h := &host{lab: l, id: id, done: make(chan error, 1)}
	identity := peer.Identity{Cluster: "test", Host: id}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	h.server = peer.NewServer(identity, nil)
	go func() { _ = h.server.Serve(listener) }()
	h.journal = journal.New(2000, l.level)
	log := slog.New(h.journal.Handler(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug}))).With("host", id)
	sockets := l.path("run-" + id)
	if err := os.MkdirAll(sockets, 0o700); err != nil {
		l.t.Fatal(err)
	}
	library := &cluster.Library{
		BuiltIn:    process.Command{Args: []string{weir, "__plugin"}},
		Path:       l.pluginPath(id),
		Process:    process.Options{Log: log, SocketDir: sockets},
		StorageURL: l.checkpoints,
		Storage:    []storage.Option{storage.WithOpener(cloud.Open, cloud.Schemes...)},
		Log:        log,
	}
	h.node = cluster.New(cluster.Config{
		ID:   identity,
		Host: cluster.Host{Address: listener.Addr().String(), Slots: slots},
		Open: func(context.Context) (coordination.Store, error) {
			s, err := l.db.NewStore()
			if err != nil {
				return nil, err
			}
			l.mu.Lock()
			h.store = s
			l.mu.Unlock()
			if l.outage != nil {
				return l.outage(s), nil
			}
			return s, nil
		},
		Peers: func(instance string, d peer.Directory) engine.Peers {
			if h.mesh != nil {
				h.mesh.Close()
			}
			h.server.Renew(instance)
			h.mesh = peer.NewMesh(h.server, l.directory(id, d), nil)
			return h.mesh
		},
		Load: library.Load, Storage: library.OpenStorage, Settle: time.Second, Log: log, Journal: h.journal,
	})
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	go func() { h.done <- h.node.Run(ctx) }()
	l.mu.Lock()
	l.hosts[id] = h
	l.mu.Unlock()
	l.await("host "+id+" joins", func() bool {
		_, err := l.store.Get(context.Background(), "hosts/"+id)
		return err == nil
	})
	return h
}

// pluginPath is where a host looks for plugins; nil for the usual folders.
func (l *lab) pluginPath(id string) func(string) []string {
	dir, ok := l.plugins[id]
	if !ok {
		return nil
	}
	return func(string) []string { return []string{dir} }
}

// directory is how one host finds the others.
func (l *lab) directory(from string, d peer.Directory) peer.Directory {
	if !l.faulty {
		return d
	}
	return func(r engine.Run, to string) (peer.Address, error) {
		a, err := d(r, to)
		if err != nil {
			return a, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		way := [2]string{from, to}
		if l.ways[way] == nil {
			if l.ways[way], err = netfault.Start(a.Address); err != nil {
				return a, err
			}
		}
		a.Address = l.ways[way].Addr()
		return a, nil
	}
}

// sever lets no connection from one host to another live any more.
func (l *lab) sever(from, to string) {
	l.mu.Lock()
	way := l.ways[[2]string{from, to}]
	l.mu.Unlock()
	if way == nil {
		l.t.Fatalf("host %s has not connected to host %s", from, to)
	}
	way.Set(netfault.Fault{Refuse: true})
	way.Cut()
}

func (l *lab) alive() []*host {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*host
	for _, h := range l.hosts {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b *host) int { return strings.Compare(a.id, b.id) })
	return all
}

// crash ends a host's session and everything that it runs, without a word.
func (l *lab) crash(h *host) {
	l.t.Helper()
	l.mu.Lock()
	delete(l.hosts, h.id)
	store := h.store
	l.mu.Unlock()
	_ = store.Close()
	h.cancel()
	h.server.Stop()
	select {
	case err := <-h.done:
		if err != nil && !errors.Is(err, context.Canceled) {
			l.t.Errorf("host %s: %v", h.id, err)
		}
	case <-time.After(patience):
		l.t.Fatalf("host %s does not end", h.id)
	}
	if h.mesh != nil {
		h.mesh.Close()
	}
}

// leave drains a host and waits until it has gone.
func (l *lab) leave(h *host) {
	l.t.Helper()
	h.node.Drain()
	select {
	case err := <-h.done:
		if err != nil {
			l.t.Errorf("host %s: %v", h.id, err)
		}
		h.done <- nil
	case <-time.After(patience):
		l.t.Fatalf("host %s does not drain", h.id)
	}
	l.crash(h)
}

func (l *lab) leader() *host {
	l.t.Helper()
	var leader *host
	l.await("somebody leads", func() bool {
		for _, h := range l.alive() {
			if h.node.Leads() {
				leader = h
			}
		}
		return leader != nil
	})
	return leader
}

func (l *lab) await(what string, cond func() bool) {
	l.t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func (l *lab) client() *cluster.Client { return cluster.NewClient(l.store) }

// submitter is the name under which the plugins of whoever submits stand.
const submitter = ""

// submit submits a pipeline file.
func (l *lab) submit(yaml string) string {
	l.t.Helper()
	library := &cluster.Library{
		BuiltIn: process.Command{Args: []string{weir, "__plugin"}}, Path: l.pluginPath(submitter),
		Process: process.Options{Log: slog.New(slog.DiscardHandler)}, Log: slog.New(slog.DiscardHandler),
	}
	spec, _, err := library.Check(context.Background(), cluster.Spec{File: "p.yaml", Dir: l.dir, Source: yaml})
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.client().Submit(context.Background(), spec, false); err != nil {
		l.t.Fatal(err)
	}
	return spec.Topology.Name
}

func (l *lab) pipeline(name string) cluster.Pipeline {
	l.t.Helper()
	p, err := l.client().Pipeline(context.Background(), name)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

// awaitState waits until a pipeline is in a state.
func (l *lab) awaitState(name string, want engine.State) cluster.Pipeline {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := l.client().Await(ctx, name, func(p cluster.Pipeline) bool {
		if p.Ended() && p.State() != want && (p.State() == engine.StateFailed || p.State() == engine.StateFinished) {
			l.t.Fatalf("pipeline %s is %s and not %s: %s", name, p.State(), want, p.Status.Error)
		}
		return p.State() == want && (p.Desired.Goal == cluster.GoalRun && p.Status.Desired == p.Desired.Revision || p.Ended())
	})
	if err != nil {
		l.t.Fatalf("pipeline %s is to be %s: %v (%s)", name, want, err, p.Status.Pending)
	}
	return p
}

// published counts the lines in the files that a sink has published.
func (l *lab) published(folder string) map[string]int {
	l.t.Helper()
	counts := map[string]int{}
	entries, err := os.ReadDir(l.path(folder))
	if err != nil && !os.IsNotExist(err) {
		l.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		f, err := os.Open(l.path(folder, e.Name()))
		if err != nil {
			l.t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			counts[lines.Text()]++
		}
		f.Close()
	}
	return counts
}

// expectGenerated checks that exactly the generator's first n records were
// published, each once.
func (l *lab) expectGenerated(folder string, n int) {
	l.t.Helper()
	seen := make([]int, n)
	for line, times := range l.published(folder) {
		var r struct{ Seq int }
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Seq < 0 || r.Seq >= n {
			l.t.Fatalf("a line that nobody has generated: %s (%v)", line, err)
		}
		seen[r.Seq] += times
	}
	missing, twice := 0, 0
	for _, times := range seen {
		switch {
		case times == 0:
			missing++
		case times > 1:
			twice++
		}
	}
	if missing+twice > 0 {
		l.t.Errorf("of %d records %d are missing and %d are there more than once", n, missing, twice)
	}
}

// expectNothingHidden checks that a finished sink has left nothing behind.
func (l *lab) expectNothingHidden(folder string) {
	l.t.Helper()
	entries, err := os.ReadDir(l.path(folder))
	if err != nil {
		l.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			l.t.Errorf("%s is left in %s", e.Name(), folder)
		}
	}
}

// logBuffer collects the log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// generated is a pipeline whose keyed edge leads from every host to every other.
func (l *lab) generated(name string, count, rate, parallelism int) string {
	return fmt.Sprintf(`
name: %s
parallelism: %d
checkpoint: {interval: 200ms, timeout: 20s}
restart: {attempts: 3, window: 1h, backoff: 10ms..100ms}
isolation: node
nodes:
  in: {source: generator, config: {count: %d, rate: %d, keys: 100, size: 100}}
  mid: {operator: expr, input: {from: in, partition: rebalance}, config: {filter: 'true'}}
  out: {sink: file, input: {from: mid, partition: rebalance}, config: {path: %s/, roll: {size: 1MiB}}}
`, name, parallelism, count, rate, l.path("out-"+name))
}
