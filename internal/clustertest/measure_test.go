//go:build linux

package clustertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

// These print figures and check nothing: WEIR_MEASURE=1 go test -v -run Measure.
func measuring(t *testing.T) *fleet {
	t.Helper()
	if os.Getenv("WEIR_MEASURE") == "" {
		t.Skip("WEIR_MEASURE is not set")
	}
	zk := zookeepertest.New(t, zookeepertest.Options{Nodes: 3})
	return newFleet(t, zk.Servers())
}

// growth watches how many bytes a sink has written, published or not, and when that
// grew.
type growth struct {
	mu      sync.Mutex
	dir     string
	sizes   map[string]int64
	last    time.Time
	longest time.Duration
	stop    chan struct{}
	done    chan struct{}
}

func watchGrowth(dir string) *growth {
	g := &growth{dir: dir, sizes: map[string]int64{}, last: time.Now(), stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(g.done)
		for {
			select {
			case <-g.stop:
				return
			case <-time.After(5 * time.Millisecond):
				g.look()
			}
		}
	}()
	return g
}

func (g *growth) look() {
	grew := false
	entries, _ := os.ReadDir(g.dir)
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue
		}
		// A part keeps its number when it is published under another name.
		name := strings.TrimLeft(e.Name(), ".")
		if info.Size() > g.sizes[name] {
			g.sizes[name], grew = info.Size(), true
		}
	}
	if grew {
		g.longest = max(g.longest, now.Sub(g.last))
		g.last = now
	}
}

// reset forgets the longest gap so far.
func (g *growth) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.longest = 0
}

func (g *growth) gap() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(g.longest, time.Since(g.last))
}

func (g *growth) end() {
	close(g.stop)
	<-g.done
}

// TestMeasureFailover: what the death of the leader, of a host, and a planned move
// cost in time, with a session timeout of four seconds.
func TestMeasureFailover(t *testing.T) {
	f := measuring(t)
	timeout := []string{"--session-timeout", "4s"}
	leader := f.start("leader", 0, timeout...)
	for _, id := range []string{"a", "b", "c"} {
		f.start(id, 3, timeout...)
	}
	f.submit(strings.Replace(f.generated("p", 1_000_000_000, 50_000, 2), "interval: 200ms", "interval: 1s", 1))
	f.awaitCheckpoint("p", "leader", 3)
	g := watchGrowth(f.path("out-p"))
	defer g.end()
	time.Sleep(3 * time.Second)
	t.Logf("undisturbed: longest gap %v", g.gap())

	g.reset()
	at := time.Now()
	before := f.pipeline("p").Status.Last.Number
	leader.kill()
	f.await("another leads", func() bool { id := f.leaderID(); return id != "" && id != "leader" })
	led := time.Since(at)
	f.await("a checkpoint", func() bool {
		s := f.pipeline("p").Status
		return s.Leader != "leader" && s.Last != nil && s.Last.Number > before+1 && s.State == engine.StateRunning
	})
	t.Logf("leader SIGKILL: another leads after %v, its first checkpoint after %v, longest gap at the sinks %v, epoch %d",
		led.Round(time.Millisecond), time.Since(at).Round(time.Millisecond), g.gap().Round(time.Millisecond), f.pipeline("p").Status.Epoch)

	// A host without the leadership; all tasks stop, and run again without it.
	victim := ""
	for _, id := range []string{"a", "b", "c"} {
		if id != f.leaderID() {
			victim = id
		}
	}
	g.reset()
	at = time.Now()
	f.procs[victim].kill()
	time.Sleep(time.Second)
	f.await("it grows again", func() bool {
		return g.gap() > 0 && f.pipeline("p").Status.Epoch > 1 && f.pipeline("p").Assignment.Phase == engine.PhaseRun
	})
	first := time.Now()
	f.await("it grows again", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.last.After(first.Add(-50 * time.Millisecond)) })
	t.Logf("host SIGKILL: its tasks emit again after %v, longest gap at the sinks %v", time.Since(at).Round(time.Millisecond), g.gap().Round(time.Millisecond))

	f.start(victim, 3, timeout...)
	time.Sleep(3 * time.Second)
	g.reset()
	for id := range f.pipeline("p").Assignment.Hosts {
		if id != f.leaderID() {
			victim = id
		}
	}
	at = time.Now()
	epoch := f.pipeline("p").Status.Epoch
	if err := f.client().Drain(t.Context(), victim, true); err != nil {
		t.Fatal(err)
	}
	f.await("the move", func() bool {
		p := f.pipeline("p")
		return p.Assignment.Epoch > epoch && p.Assignment.Phase == engine.PhaseRun && p.Assignment.Hosts[victim] == ""
	})
	moved := time.Since(at)
	time.Sleep(time.Second)
	t.Logf("planned move: done after %v, longest gap at the sinks %v", moved.Round(time.Millisecond), g.gap().Round(time.Millisecond))
}

// TestMeasureEdge: records a second over a keyed edge between two hosts.
func TestMeasureEdge(t *testing.T) {
	f := measuring(t)
	f.start("a", 1)
	f.start("b", 2)
	const n = 20_000_000
	f.submit(fmt.Sprintf(`
name: edge
checkpoint: {interval: 1s}
isolation: node
nodes:
  in: {source: generator, config: {count: %d, rate: 0, keys: 1000, size: 100}}
  out: {sink: discard, input: {from: in, partition: key}, parallelism: 2}
`, n))
	f.await("it runs", func() bool { return f.pipeline("edge").Assignment.Phase == engine.PhaseRun })
	t.Logf("tasks: %v", f.pipeline("edge").Assignment.Tasks)
	at := time.Now()
	f.awaitState("edge", engine.StateFinished)
	took := time.Since(at)
	t.Logf("keyed edge between two hosts: %.2f M records/s", n/took.Seconds()/1e6)
}

// TestMeasureIdle: what an idle cluster with ten idle pipelines costs.
func TestMeasureIdle(t *testing.T) {
	f := measuring(t)
	for _, id := range []string{"a", "b", "c"} {
		f.start(id, 40)
	}
	if err := os.WriteFile(f.path("followed"), []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		f.submit(fmt.Sprintf(`
name: idle%d
checkpoint: {interval: 1s}
nodes:
  in: {source: file, config: {path: %s, format: lines, follow: true}}
  out: {sink: file, input: in, config: {path: %s/}}
`, i, f.path("followed"), f.path(fmt.Sprint("idle", i))))
	}
	for i := range 10 {
		f.await("it runs", func() bool { return f.pipeline(fmt.Sprint("idle", i)).Assignment.Phase == engine.PhaseRun })
	}
	time.Sleep(10 * time.Second)
	const span = 20 * time.Second
	cpu := map[string]time.Duration{}
	for id, p := range f.procs {
		cpu[id] = cpuOf(p.cmd.Process.Pid)
	}
	zxid := f.zxid()
	time.Sleep(span)
	for id, p := range f.procs {
		t.Logf("host %s: %.2f%% of a core", id, 100*float64(cpuOf(p.cmd.Process.Pid)-cpu[id])/float64(span))
	}
	t.Logf("%.2f ZooKeeper writes a second", float64(f.zxid()-zxid)/span.Seconds())
}

// zxid is about how many writes the ensemble has done.
func (f *fleet) zxid() uint64 {
	err := f.store.Commit(f.t.Context(), coordination.Create("measure/"+fmt.Sprint(time.Now().UnixNano()), nil))
	if err != nil {
		f.t.Fatal(err)
	}
	names, err := f.store.Children(f.t.Context(), "measure")
	if err != nil || len(names) == 0 {
		f.t.Fatal(err)
	}
	r, err := f.store.Get(f.t.Context(), "measure/"+names[len(names)-1])
	if err != nil {
		f.t.Fatal(err)
	}
	return r.Created
}

// cpuOf is the processor time that a process has used.
func cpuOf(pid int) time.Duration {
	stat, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "stat"))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	var user, system int64
	fields := strings.Fields(rest)
	if len(fields) > 12 {
		fmt.Sscan(fields[11], &user)
		fmt.Sscan(fields[12], &system)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // ticks of a hundredth
}
