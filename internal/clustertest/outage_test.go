//go:build linux

package clustertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirstream/weir/host/cluster"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/internal/testserver/netfault"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

// A third of these session timeouts is what a busy machine may take to do what must
// be done within it: to elect a leader of the ensemble, or to close tasks.
const (
	outageTimeout  = 15 * time.Second
	longestTimeout = zookeepertest.MaxSessionTimeout
)

func timeout(d time.Duration) []string { return []string{"--session-timeout", d.String()} }

// writing says whether a plugin of a host has a file of a sink's folder open: it has
// a task there.
func (p *served) writing(dir string) bool {
	for _, pid := range p.descendants() {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, f := range files {
			if target, err := os.Readlink(f); err == nil && strings.HasPrefix(target, dir+"/") {
				return true
			}
		}
	}
	return false
}

// awaitStill waits until nothing is written into a sink's folder any more. A sink
// gathers records before it writes, so that must be so for a while.
func (f *fleet) awaitStill(folder string) {
	f.t.Helper()
	since, size := time.Now(), f.written(folder)
	f.await("every task stops", func() bool {
		if now := f.written(folder); now != size {
			since, size = time.Now(), now
		}
		return time.Since(since) > 5*time.Second
	})
}

// written is how many bytes lie in a sink's folder, published or not.
func (f *fleet) written(folder string) (n int64) {
	entries, _ := os.ReadDir(f.path(folder))
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}

// now reads a pipeline; it is false while the ensemble does not answer.
func (f *fleet) now(name string) (cluster.Pipeline, bool) {
	p, err := f.client().Pipeline(f.t.Context(), name)
	return p, err == nil
}

// elsewhere says that an epoch after this one runs without a host, or has ended.
func (f *fleet) elsewhere(name string, epoch uint64, host string) bool {
	p, ok := f.now(name)
	return ok && (p.Assignment.Epoch > epoch && p.Assignment.Phase == engine.PhaseRun && p.Assignment.Hosts[host] == "" || p.Ended())
}

// TestTheEnsembleLosesItsLeaderThenItsQuorum: the first restarts nothing. Without a
// quorum, since another server's disk is full, data flows until the leases are short,
// then every task stops; whoever asks is told, and so is who starts a host at the
// server that is left, which can only be read. All goes on from the last record when
// there is a quorum again.
func TestTheEnsembleLosesItsLeaderThenItsQuorum(t *testing.T) {
	t.Parallel()
	zk := zookeepertest.New(t, zookeepertest.Options{Nodes: 3, Config: map[string]string{"readonlymode.enabled": "true"}})
	f := newFleet(t, zk.Servers())
	for _, id := range []string{"a", "b"} {
		f.start(id, 12, timeout(outageTimeout)...)
	}
	asked := f.apiOf("a")
	const n = 200_000
	f.submit(f.generated("p", n, 5_000, 2))
	epoch := f.awaitCheckpoint("p", "", 2).Assignment.Epoch

	first, err := zk.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first.Kill()
	completed := 0
	f.await("checkpoints go on under the ensemble's next leader", func() bool {
		p, ok := f.now("p")
		if ok && completed == 0 {
			completed = p.Status.Completed
		}
		return ok && p.Status.Completed >= completed+2
	})
	if p, _ := f.now("p"); p.Assignment.Epoch != epoch {
		t.Errorf("epoch %d has become %d: %s", epoch, p.Assignment.Epoch, p.Status.Cause)
	}

	second, err := zk.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := second.FillDisk(); err != nil {
		t.Fatal(err)
	}
	before := f.written("out-p")
	f.await("data flows without a quorum", func() bool { return f.written("out-p") > before })
	for id, p := range f.procs {
		f.await("host "+id+" closes its tasks", func() bool {
			return strings.Contains(p.output.String(), "no answer from the coordination service for two thirds of the session timeout: closing the tasks")
		})
	}
	f.awaitStill("out-p")
	status := exec.CommandContext(t.Context(), weir, "status", "p", "--server", asked)
	out, err := status.CombinedOutput()
	if text := string(out); err == nil || !strings.Contains(text, "ZooKeeper has not answered") && !strings.Contains(text, "has no session with the coordination service") {
		t.Errorf("the status without a quorum: %v\n%s", err, out)
	}
	second.Kill() // it may still take part in elections
	for _, node := range zk.Nodes {
		if node == first || node == second {
			continue
		}
		f.await("the server that is left can be read", func() bool { return node.Mode(t.Context()) == "read-only" })
		f.refused("a server that can only be read", f.serve("c", 1, "--zookeeper", node.Addr(), "--session-timeout", "2s", "--connect-timeout", "1s"), "read-only")
	}
	if err := zk.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := f.awaitState("p", engine.StateFinished)
	if p.Assignment.Epoch <= epoch || len(p.Status.Restarts) != 0 {
		t.Errorf("epoch %d, counted restarts %v", p.Assignment.Epoch, p.Status.Restarts)
	}
	f.expectGenerated("out-p", n)
	f.expectNothingHidden("out-p")
}

// TestAHostThatIsCutOffStopsItsTasksBeforeOthersOwnThem, and joins again when it is
// not.
func TestAHostThatIsCutOffStopsItsTasksBeforeOthersOwnThem(t *testing.T) {
	t.Parallel()
	servers := ensemble.Get(t).Servers()
	way, err := netfault.Start(servers)
	if err != nil {
		t.Fatal(err)
	}
	defer way.Close()
	f := newFleet(t, servers)
	for _, id := range []string{"a", "b"} {
		f.start(id, 12, timeout(outageTimeout)...)
	}
	victim := f.start("c", 12, append(timeout(outageTimeout), "--zookeeper", way.Addr())...)
	const n = 150_000
	f.submit(f.generated("p", n, 5_000, 3))
	p := f.awaitCheckpoint("p", "", 2)
	if p.Assignment.Tasks["out[0]"] != "c" && p.Assignment.Tasks["out[1]"] != "c" && p.Assignment.Tasks["out[2]"] != "c" {
		t.Fatalf("host c has no task of the sink: %v", p.Assignment.Tasks)
	}
	way.Set(netfault.Fault{DropRequests: true, DropReplies: true})
	f.await("the others own its tasks", func() bool { return f.elsewhere("p", p.Assignment.Epoch, "c") })
	if victim.writing(f.path("out-p")) {
		t.Error("host c still has a task of the sink")
	}
	if !strings.Contains(victim.output.String(), "closing the tasks") {
		t.Error("host c does not say why it closed its tasks")
	}
	way.Set(netfault.Fault{})
	f.await("it joins again", func() bool {
		hosts, err := f.client().Hosts(t.Context())
		return err == nil && slices.ContainsFunc(hosts, func(h cluster.HostStatus) bool { return h.ID == "c" })
	})
	if p := f.awaitState("p", engine.StateFinished); len(p.Status.Restarts) != 0 {
		t.Errorf("counted restarts %v", p.Status.Restarts)
	}
	f.expectGenerated("out-p", n)
	f.expectNothingHidden("out-p")
}

// TestAHostThatRestartsWithinItsSessionIsAnother: its tasks are lost at once, not
// when the session of its former life ends.
func TestAHostThatRestartsWithinItsSessionIsAnother(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ensemble.Get(t).Servers())
	f.start("a", 12, timeout(longestTimeout)...) // leads
	victim := f.start("b", 12, timeout(longestTimeout)...)
	const n = 200_000
	f.submit(f.generated("p", n, 20_000, 2))
	p := f.awaitCheckpoint("p", "", 2)
	former := p.Assignment.Hosts["b"]
	if former == "" {
		t.Fatalf("host b has no task: %v", p.Assignment.Tasks)
	}
	killed := time.Now()
	victim.kill()
	f.start("b", 12, timeout(longestTimeout)...)
	f.await("its next life has its tasks", func() bool {
		p := f.pipeline("p")
		return p.Assignment.Phase == engine.PhaseRun && p.Assignment.Hosts["b"] != former || p.Ended()
	})
	if took := time.Since(killed); took > longestTimeout*2/3 {
		t.Errorf("that took %v, which is about the session timeout", took)
	}
	if p := f.awaitState("p", engine.StateFinished); len(p.Status.Restarts) != 0 {
		t.Errorf("counted restarts %v", p.Status.Restarts)
	}
	f.expectGenerated("out-p", n)
	f.expectNothingHidden("out-p")
}

// TestAllHostsAreKilledAndComeBack: what ran goes on by itself, and what has finished
// does not run again.
func TestAllHostsAreKilledAndComeBack(t *testing.T) {
	const n = 200_000
	f := threeProcesses(t, n)
	f.submit(f.generated("short", 1000, 0, 1))
	short := f.awaitState("short", engine.StateFinished)
	for _, p := range f.procs {
		p.signal(syscall.SIGKILL)
	}
	for _, p := range f.procs {
		<-p.done
	}
	if p := f.pipeline("p"); p.Ended() || len(p.Assignment.Tasks) == 0 || len(p.Progress) == 0 {
		t.Errorf("what is known: %+v, tasks %v, progress of %d hosts", p.Status, p.Assignment.Tasks, len(p.Progress))
	}
	for _, id := range []string{"a", "b", "c"} {
		f.serve(id, 12)
	}
	p := f.awaitState("p", engine.StateFinished)
	if p.Assignment.Epoch < 2 {
		t.Errorf("epoch %d", p.Assignment.Epoch)
	}
	if again := f.pipeline("short"); again.Assignment.Epoch != short.Assignment.Epoch {
		t.Errorf("the pipeline that had finished is in epoch %d", again.Assignment.Epoch)
	}
	for _, name := range []string{"p", "short"} {
		f.expectNothingHidden("out-" + name)
	}
	f.expectGenerated("out-p", n)
	f.expectGenerated("out-short", 1000)
}
