//go:build linux

package clustertest

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination/zookeeper"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

// ensemble is one server that the tests share; those that harm it have their own.
var ensemble zookeepertest.Shared

// sessionTimeout is that of the hosts here: long enough for a busy machine.
const sessionTimeout = 5 * time.Second

// fleet is a cluster of `weir serve` processes over a real ensemble.
type fleet struct {
	*lab
	name    string
	servers string
	procs   map[string]*served
}

// served is one `weir serve`.
type served struct {
	id     string
	cmd    *exec.Cmd
	done   chan struct{}
	err    error
	output *logBuffer
}

// newFleet returns a cluster without a host.
func newFleet(t *testing.T, servers string, change ...func(*zookeeper.Config)) *fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "wf")
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{
		lab:     &lab{t: t, dir: dir, log: &logBuffer{}, hosts: map[string]*host{}},
		name:    filepath.Base(dir),
		servers: servers, procs: map[string]*served{},
	}
	c := zookeeper.Config{Servers: servers, Cluster: f.name, SessionTimeout: longestTimeout}
	for _, do := range change {
		do(&c)
	}
	store, err := zookeeper.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	f.store = store
	t.Cleanup(func() {
		for _, p := range f.procs {
			p.kill()
		}
		if err := store.Close(); err != nil {
			t.Log(err)
		}
		if t.Failed() {
			t.Logf("what the hosts said:\n%s", f.log)
		}
		if os.Getenv("WEIR_FAULT_KEEP") == "" {
			_ = os.RemoveAll(dir)
		}
	})
	return f
}

// serve starts a host.
func (f *fleet) serve(id string, slots int, args ...string) *served {
	f.t.Helper()
	cmd := exec.Command(weir, append([]string{
		"serve", "--listen", "127.0.0.1:0", "--zookeeper", f.servers, "--cluster", f.name, "--host-id", id,
		"--session-timeout", sessionTimeout.String(), "--slots", strconv.Itoa(slots),
		"--checkpoint-storage", "file://" + f.path("checkpoints"), "--state-dir", f.path("state"), "--log-level", "debug",
	}, args...)...)
	p := &served{id: id, cmd: cmd, done: make(chan struct{}), output: &logBuffer{}}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(f.log, p.output), io.MultiWriter(f.log, p.output)
	// A host does not outlive a test that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	f.procs[id] = p
	return p
}

// start starts a host and waits until it has joined. One that has no session in time,
// or loses it before, ends; on a busy machine it is started again, as a service
// manager does.
func (f *fleet) start(id string, slots int, args ...string) *served {
	f.t.Helper()
	p := f.serve(id, slots, args...)
	f.await("host "+id+" joins", func() bool {
		select {
		case <-p.done:
			if out := p.output.String(); !strings.Contains(out, "no session after") && !strings.Contains(out, "has not answered") {
				f.t.Fatalf("host %s has ended: %v\n%s", id, p.err, p.output)
			}
			p = f.serve(id, slots, args...)
		default:
		}
		return strings.Contains(p.output.String(), "joined the cluster")
	})
	return p
}

func (p *served) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends the host at once, with nothing said.
func (p *served) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// leaderID is the host that leads, as ZooKeeper has it.
func (f *fleet) leaderID() string {
	hosts, err := f.client().Hosts(context.Background())
	if err != nil {
		return ""
	}
	for _, h := range hosts {
		if h.Leads {
			return h.ID
		}
	}
	return ""
}

// descendants are the plugin processes of a host.
func (p *served) descendants() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(p.cmd.Process.Pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}
