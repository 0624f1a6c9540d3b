//go:build linux

package clustertest

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/weirstream/weir/host/engine"
)

// threeProcesses starts three hosts and a pipeline on all of them, and waits until
// it has made checkpoints.
func threeProcesses(t *testing.T, count int) *fleet {
	t.Helper()
	t.Parallel()
	f := newFleet(t, ensemble.Get(t).Servers())
	for _, id := range []string{"a", "b", "c"} {
		f.start(id, 12)
	}
	f.submit(f.generated("p", count, 20_000, 3))
	f.awaitCheckpoint("p", "", 2)
	return f
}

// other is a host that does not lead.
func (f *fleet) other() *served {
	f.t.Helper()
	leader := ""
	f.await("somebody leads", func() bool { leader = f.leaderID(); return leader != "" })
	for id, p := range f.procs {
		if id != leader {
			return p
		}
	}
	return nil
}

func (f *fleet) leaderProcess() *served {
	f.t.Helper()
	var leader *served
	f.await("somebody leads", func() bool { leader = f.procs[f.leaderID()]; return leader != nil })
	return leader
}

// TestHostsAreKilled, one after the other, the leader among them, and come back:
// every record comes out once, and no plugin process is left.
func TestHostsAreKilled(t *testing.T) {
	const n = 200_000
	f := threeProcesses(t, n)
	for i := range 3 {
		victim := f.other()
		if i == 1 {
			victim = f.leaderProcess()
		}
		epoch := f.pipeline("p").Status.Epoch
		plugins := victim.descendants()
		victim.kill()
		f.await("another epoch runs", func() bool {
			p := f.pipeline("p")
			return p.Assignment.Epoch > epoch && p.Assignment.Phase == engine.PhaseRun || p.Ended()
		})
		f.await("its plugins are gone", func() bool {
			for _, pid := range plugins {
				if syscall.Kill(pid, 0) == nil {
					return false
				}
			}
			return true
		})
		f.start(victim.id, 12)
	}
	f.awaitState("p", engine.StateFinished)
	f.expectGenerated("out-p", n)
	f.expectNothingHidden("out-p")
}

// TestAPausedHostChangesNothingWhenItWakes: its plugins close their tasks when they
// have not heard from it for the lease, its tasks run elsewhere by the time that it
// wakes, and what it and its plugins still write never becomes visible.
func TestAPausedHostChangesNothingWhenItWakes(t *testing.T) {
	const n = 200_000
	f := threeProcesses(t, n)
	for _, victim := range []*served{f.other(), f.leaderProcess()} {
		epoch := f.pipeline("p").Assignment.Epoch
		f.await("it stands still while its sink writes", func() bool {
			victim.signal(syscall.SIGSTOP)
			if victim.writing(f.path("out-p")) || f.pipeline("p").Ended() {
				return true
			}
			victim.signal(syscall.SIGCONT)
			return false
		})
		f.await("its plugins close their tasks", func() bool { return !victim.writing(f.path("out-p")) })
		f.await("another epoch runs", func() bool { return f.elsewhere("p", epoch, victim.id) })
		time.Sleep(500 * time.Millisecond) // it wakes in the middle of the other's work
		victim.signal(syscall.SIGCONT)
		f.await("it joins again", func() bool {
			_, err := f.store.Get(t.Context(), "hosts/"+victim.id)
			return err == nil
		})
	}
	f.awaitState("p", engine.StateFinished)
	f.expectGenerated("out-p", n)
	f.expectNothingHidden("out-p")
}

// TestALeaderIsKilledWithoutATask: no task notices, and checkpoints go on under the
// next.
func TestALeaderIsKilledWithoutATask(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ensemble.Get(t).Servers())
	leader := f.start("leader", 0)
	for _, id := range []string{"a", "b"} {
		f.start(id, 12)
	}
	const n = 200_000
	f.submit(f.generated("p", n, 20_000, 2))
	before := f.awaitCheckpoint("p", "leader", 2)
	leader.kill()
	f.await("another leads", func() bool { id := f.leaderID(); return id != "" && id != "leader" })
	f.awaitCheckpoint("p", f.leaderID(), 2)
	p := f.awaitState("p", engine.StateFinished)
	// A machine that is too busy to answer for seconds is another matter.
	if p.Status.Epoch != before.Status.Epoch && !strings.Contains(p.Status.Cause, "no answer from the coordination service") {
		t.Errorf("it took %d epochs: %s", p.Status.Epoch, p.Status.Cause)
	}
	f.expectGenerated("out-p", n)
	f.expectNothingHidden("out-p")
}

// TestSIGTERMDrainsAHost: its tasks move without loss and without a failure, and it
// exits with 0.
func TestSIGTERMDrainsAHost(t *testing.T) {
	const n = 200_000
	f := threeProcesses(t, n)
	for _, id := range []string{"a", "b"} {
		p := f.procs[id]
		p.signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(patience):
			t.Fatalf("host %s does not end", id)
		}
		if p.err != nil {
			t.Errorf("host %s: %v", id, p.err)
		}
	}
	p := f.awaitState("p", engine.StateFinished)
	if p.Status.Total != 0 {
		t.Errorf("%d restarts: %s", p.Status.Total, p.Status.Cause)
	}
	f.expectGenerated("out-p", n)
	f.expectNothingHidden("out-p")
}

// TestServeRefusesWhatCannotBe, and says what to do.
func TestServeRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ensemble.Get(t).Servers())
	f.start("a", 1)
	refused := f.refused
	first := f.procs["a"]
	refused("the same host twice", f.serve("a", 1), "runs on this machine already")
	f.procs["a"] = first
	address := ""
	f.await("its record", func() bool {
		hosts, err := f.client().Hosts(t.Context())
		if err == nil && len(hosts) == 1 {
			address = hosts[0].Address
		}
		return address != ""
	})
	refused("an address twice", f.serve("b", 1, "--advertise", address, "--peer-listen", "127.0.0.1:0"), "host a advertises "+address+" too")
	refused("plain data beyond this machine", f.serve("b", 1, "--advertise", "192.0.2.1:4000"), "give --tls-cert, --tls-key and --tls-ca, or say --insecure")
	refused("an API that anybody can use", f.serve("b", 1, "--listen", "0.0.0.0:0"), "give it a token with --api-token-file, or certificates with --tls-cert, --tls-key and --tls-ca, or say --insecure")
	short := func(args ...string) []string {
		return append(args, "--session-timeout", "2s", "--connect-timeout", "1s")
	}
	refused("nobody there", f.serve("b", 1, short("--zookeeper", "127.0.0.1:1")...), "127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused")
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	address = web.Listener.Addr().String()
	refused("another service", f.serve("b", 1, short("--zookeeper", address)...), address+": it takes connections but does not answer as a ZooKeeper")
	chroot := "/" + f.name + "-none"
	refused("no such chroot", f.serve("b", 1, short("--zookeeper", f.servers+chroot)...), "the chroot "+chroot+" does not exist: create it, or leave it out")
	conn, _, err := zk.Connect(strings.Split(f.servers, ","), sessionTimeout, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	foreign := f.name + "-foreign"
	if _, err := conn.Create("/weir/"+foreign, []byte("mine"), 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	refused("what is not Weir's", f.serve("b", 1, short("--cluster", foreign)...), "/weir/"+foreign+` holds something that is not Weir's ("mine"): choose another cluster name or chroot`)
	locked := f.name + "-locked"
	if _, err := conn.Create("/weir/"+locked, nil, 0, zk.DigestACL(zk.PermAll, "weir", "secret")); err != nil {
		t.Fatal(err)
	}
	password := f.path("password")
	if err := os.WriteFile(password, []byte("guess\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("wrong credentials", f.serve("b", 1, short("--cluster", locked, "--zookeeper-user", "weir", "--zookeeper-password-file", password)...), "its ACL is for other credentials")
}

// refused checks that a host ends by itself, and says why.
func (f *fleet) refused(what string, p *served, part string) {
	f.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
		f.t.Fatalf("%s: it runs", what)
	}
	if p.err == nil || !strings.Contains(p.output.String(), part) {
		f.t.Errorf("%s: %v\n%s", what, p.err, p.output)
	}
	delete(f.procs, p.id)
}
