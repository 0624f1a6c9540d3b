//go:build linux

package clustertest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/internal/testserver/kafkatest"
	"github.com/weirstream/weir/internal/testserver/netfault"
	"github.com/weirstream/weir/internal/testserver/proc"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

const (
	// stormTime is how long the storm lasts; WEIR_STORM, such as 2h, is another.
	stormTime = 45 * time.Second
	// calmTime bounds how long after the last fault everything runs again, on a busy
	// machine.
	calmTime = 2 * time.Minute
	// stormSlots let one host carry everything.
	stormSlots = 40
)

// seeded returns a random source whose seed is logged and can be given again.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("WEIR_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
	}
	t.Logf("replay with WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestStorm: hosts, the leader, plugins and servers of the ensemble are killed and
// paused, and hosts are cut off from the ensemble and from each other, at random and
// in overlap. Committed output equals input, every pipeline runs again soon after the
// last fault, and no process and no record of the dead is left.
func TestStorm(t *testing.T) {
	rng := seeded(t)
	lasts := stormTime
	if s := os.Getenv("WEIR_STORM"); s != "" {
		var err error
		if lasts, err = time.ParseDuration(s); err != nil {
			t.Fatalf("WEIR_STORM: %v", err)
		}
	}
	s := newStorm(t, rng)
	for _, id := range s.ids {
		s.start(id, stormSlots, s.args(id)...)
	}
	work := s.submitWork(lasts)
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		s.strike()
		time.Sleep(time.Duration(500+rng.IntN(3000)) * time.Millisecond)
	}
	s.calm()
	began := time.Now()
	for _, name := range work.names {
		s.await(name+" runs again", func() bool {
			p, err := s.client().Pipeline(t.Context(), name)
			return err == nil && (p.Assignment.Phase == engine.PhaseRun && p.Status.State == engine.StateRunning || p.State() == engine.StateFinished)
		})
	}
	took := time.Since(began)
	t.Logf("everything runs %v after the last fault", took.Round(time.Millisecond))
	if took > calmTime {
		t.Errorf("everything runs %v after the last fault, which is more than %v", took, calmTime)
	}
	work.check(s)
	s.expectNoLitter(work.names)
	s.expectNoOrphans()
}

// storm is a fleet to which things happen.
type storm struct {
	*fleet
	rng     *rand.Rand
	ids     []string
	zk      *zookeepertest.Ensemble
	servers map[string][]*netfault.Proxy // a host's ways to the ensemble
	peers   map[string]*netfault.Proxy   // the others' way to a host
	ports   map[string]int               // behind it

	paused          string // hosts; empty for none
	severed, walled string // from the ensemble, and from the other hosts
	down            int    // server of the ensemble; -1 for none
}

func newStorm(t *testing.T, rng *rand.Rand) *storm {
	t.Helper()
	zk := zookeepertest.New(t, zookeepertest.Options{Nodes: 3})
	s := &storm{
		fleet: newFleet(t, zk.Servers()), rng: rng, ids: []string{"a", "b", "c"}, zk: zk, down: -1,
		servers: map[string][]*netfault.Proxy{}, peers: map[string]*netfault.Proxy{}, ports: map[string]int{},
	}
	ports, err := proc.Ports(len(s.ids))
	if err != nil {
		t.Fatal(err)
	}
	proxy := func(to string) *netfault.Proxy {
		p, err := netfault.Start(to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	for i, id := range s.ids {
		s.ports[id] = ports[i]
		s.peers[id] = proxy(fmt.Sprintf("127.0.0.1:%d", ports[i]))
		for _, n := range zk.Nodes {
			s.servers[id] = append(s.servers[id], proxy(n.Addr()))
		}
	}
	return s
}

// args are those of a host that reaches everybody, and is reached, through proxies.
func (s *storm) args(id string) []string {
	var servers []string
	for _, p := range s.servers[id] {
		servers = append(servers, p.Addr())
	}
	return []string{
		"--zookeeper", strings.Join(servers, ","),
		"--advertise", s.peers[id].Addr(), "--peer-listen", fmt.Sprintf("127.0.0.1:%d", s.ports[id]),
	}
}

// faults that hide what passes, or end and refuse it.
func (s *storm) cut() netfault.Fault {
	if s.rng.IntN(2) == 0 {
		return netfault.Fault{Refuse: true}
	}
	return netfault.Fault{DropRequests: true, DropReplies: true}
}

// strike lets one thing happen.
func (s *storm) strike() {
	id := s.ids[s.rng.IntN(len(s.ids))]
	what := "nothing"
	switch s.rng.IntN(9) {
	case 0, 1: // a host dies, and another life of it begins
		what = "killed"
		s.wake(id)
		s.procs[id].kill()
		s.serve(id, stormSlots, s.args(id)...)
	case 2: // a host stands still, for less or more than its session lives
		if s.paused == "" {
			what, s.paused = "paused", id
			s.procs[id].signal(syscall.SIGSTOP)
		}
	case 3: // a plugin dies
		if plugins := s.procs[id].descendants(); len(plugins) > 0 && s.paused != id {
			what = "a plugin killed"
			_ = syscall.Kill(plugins[s.rng.IntN(len(plugins))], syscall.SIGKILL)
		}
	case 4: // a server of the ensemble dies, the leader as likely as another
		if s.down < 0 {
			what, s.down = "a server killed", s.rng.IntN(len(s.zk.Nodes))
			s.zk.Nodes[s.down].Kill()
		}
	case 5: // a host does not reach the ensemble
		if s.severed == "" {
			what, s.severed = "cut off from the ensemble", id
			fault := s.cut()
			for _, p := range s.servers[id] {
				p.Set(fault)
				if fault.Refuse {
					p.Cut()
				}
			}
		}
	case 6: // no other host reaches a host
		if s.walled == "" {
			what, s.walled = "cut off from other hosts", id
			fault := s.cut()
			s.peers[id].Set(fault)
			if fault.Refuse {
				s.peers[id].Cut()
			}
		}
	default:
		what = "calm"
		s.calm()
	}
	s.t.Logf("%s: %s: %s; paused %q, cut off %q and %q, server down %d",
		time.Now().Format("15:04:05.000"), id, what, s.paused, s.severed, s.walled, s.down)
}

func (s *storm) wake(id string) {
	if s.paused == id && id != "" {
		s.procs[id].signal(syscall.SIGCONT)
		s.paused = ""
	}
}

// calm ends every fault, and starts hosts that have ended: one that has no session in
// time when it starts says so and ends, and its service manager starts it again.
func (s *storm) calm() {
	s.wake(s.paused)
	for _, p := range s.servers[s.severed] {
		p.Set(netfault.Fault{})
	}
	if p := s.peers[s.walled]; p != nil {
		p.Set(netfault.Fault{})
	}
	s.severed, s.walled = "", ""
	if s.down >= 0 {
		if err := s.zk.Nodes[s.down].Start(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
		s.down = -1
	}
	for _, id := range s.ids {
		select {
		case <-s.procs[id].done:
			s.serve(id, stormSlots, s.args(id)...)
		default:
		}
	}
}

// stormWork is what the storm blows at.
type stormWork struct {
	names         []string
	count, events int // records of the generators, and of what goes through Kafka
}

// submitWork submits pipelines whose input lasts about as long as the storm, in which
// they stand still for part of the time: from hosts to hosts, through windows by key, into Kafka, and out of it.
func (s *storm) submitWork(lasts time.Duration) stormWork {
	seconds := max(1, int(lasts*2/3/time.Second))
	rate, through := 4000, 1500
	if lasts > 5*time.Minute { // what is checked lies in memory
		rate, through = 1000, 500
	}
	w := stormWork{names: []string{"p", "q", "windows", "produce", "consume"}, count: rate * seconds, events: through * seconds}
	broker := kafkatest.New(s.t, kafkatest.Options{})
	topic := broker.Topic(s.t, 3, nil)
	often := strings.NewReplacer("attempts: 3", "attempts: 1000") // plugins are killed all the time
	s.submit(often.Replace(s.generated("p", w.count, rate, 2)))
	s.submit(often.Replace(s.generated("q", w.count, rate, 3)))
	settings := `
parallelism: 2
checkpoint: {interval: 500ms, timeout: 20s}
restart: {attempts: 1000, window: 1h, backoff: 10ms..100ms}
nodes:
`
	s.submit("name: windows" + settings + fmt.Sprintf(`
  in: {source: generator, config: {count: %d, rate: %d, keys: 100, size: 100}, event_time: {from: record}}
  sums: {operator: window, input: in, config: {size: 1s, aggregates: {n: count(), seqs: sum(json.seq)}}}
  out: {sink: file, input: sums, config: {path: %s/, roll: {size: 1MiB}}}
`, w.count, rate, s.path("out-windows")))
	s.submit("name: produce" + settings + fmt.Sprintf(`
  in: {source: generator, config: {count: %d, rate: %d, keys: 100, size: 100, splits: 2}}
  out: {sink: kafka, input: in, config: {bootstrap.servers: "%s", topic: %s}}
`, w.events, through, broker.Bootstrap(), topic))
	s.submit("name: consume" + settings + fmt.Sprintf(`
  in: {source: kafka, config: {bootstrap.servers: "%s", topic: %s, auto.offset.reset: earliest, isolation.level: read_committed}}
  out: {sink: file, input: in, config: {path: %s/, roll: {size: 1MiB, interval: 2s}}}
`, broker.Bootstrap(), topic, s.path("out-consume")))
	return w
}

// awaitEnd waits until a pipeline has finished, as long as its checkpoints go on: how
// much the storm has left to do is not known.
func (s *storm) awaitEnd(name string) {
	s.t.Helper()
	for done := false; !done; {
		last := s.pipeline(name).Status.Last
		s.await(name+" finishes, or makes another checkpoint", func() bool {
			p := s.pipeline(name)
			done = p.State() == engine.StateFinished
			return done || p.Status.Last != nil && (last == nil || p.Status.Last.Number > last.Number)
		})
		if p := s.pipeline(name); p.State() == engine.StateFailed {
			s.t.Fatalf("pipeline %s has failed: %s", name, p.Status.Error)
		}
	}
}

// check waits for the end of all input and compares what came out.
func (w stormWork) check(s *storm) {
	for _, name := range w.names[:4] {
		s.awaitEnd(name)
	}
	for lines := -1; lines < w.events; {
		before := lines
		s.await("more is consumed of what was produced", func() bool {
			time.Sleep(500 * time.Millisecond) // counting takes a while
			lines = s.lines("out-consume")
			return lines > before
		})
	}
	if err := s.client().Stop(s.t.Context(), "consume", ""); err != nil {
		s.t.Fatal(err)
	}
	s.awaitState("consume", engine.StateStopped)
	for _, name := range []string{"p", "q"} {
		s.expectGenerated("out-"+name, w.count)
		s.expectNothingHidden("out-" + name)
	}
	s.expectGenerated("out-consume", w.events)
	s.expectWindows("out-windows", "out-p")
	s.expectNothingHidden("out-windows")
	for _, name := range w.names {
		p := s.pipeline(name)
		s.t.Logf("%s: %d epochs, %d restarts, %d of them counted", name, p.Status.Epoch, p.Status.Total, len(p.Status.Restarts))
	}
}

// expectNoLitter checks that ZooKeeper holds nothing of the dead.
func (s *storm) expectNoLitter(names []string) {
	s.t.Helper()
	children := func(path string) []string {
		list, err := s.store.Children(s.t.Context(), path)
		if err != nil {
			s.t.Fatal(err)
		}
		return list
	}
	s.await("every host is there, once", func() bool {
		return slices.Equal(children("hosts"), s.ids) && len(children("elections/leader")) == len(s.ids)
	})
	for _, name := range names {
		a := s.pipeline(name).Assignment
		part := func(id string) bool { return a.Hosts[id] != "" || a.Leaving[id] != "" }
		for _, dir := range []string{"reports", "progress"} {
			for _, id := range children("pipelines/" + name + "/" + dir) {
				if !part(id) {
					s.t.Errorf("pipelines/%s/%s/%s is left of a host that has no part in it", name, dir, id)
				}
			}
		}
		for _, id := range s.ids {
			if slices.Contains(children("assigned/"+id), name) != part(id) {
				s.t.Errorf("assigned/%s has %v, and %s has hosts %v, leaving %v", id, children("assigned/"+id), name, a.Hosts, a.Leaving)
			}
		}
		if pending := children("pipelines/" + name + "/checkpoints/pending"); len(pending) > 0 {
			s.t.Errorf("checkpoints %v of %s are pending, which has ended", pending, name)
		}
	}
}

// expectNoOrphans checks that every plugin is one of a host that lives, and none is
// left when no host does.
func (s *storm) expectNoOrphans() {
	s.t.Helper()
	s.await("every plugin has its host", func() bool {
		var own int
		for _, p := range s.procs {
			own += len(p.descendants())
		}
		return own == len(pluginProcesses())
	})
	for _, p := range s.procs {
		p.kill()
	}
	s.await("no plugin outlives the hosts", func() bool { return len(pluginProcesses()) == 0 })
}
