//go:build linux

package clustertest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/cluster"
	"github.com/weirstream/weir/host/engine"
)

// three starts three hosts and a pipeline on all of them, and waits until it has
// made a checkpoint.
func three(t *testing.T, name string, count int) (*lab, cluster.Pipeline) {
	t.Helper()
	t.Parallel()
	l := newLab(t)
	for _, id := range []string{"a", "b", "c"} {
		l.start(id, 12)
	}
	l.submit(l.generated(name, count, 20_000, 3))
	return l, l.awaitCheckpoint(name, "", 2)
}

// awaitCheckpoint waits until the pipeline has completed some checkpoints under a
// leader, any where that is empty, or has ended.
func (l *lab) awaitCheckpoint(name, leader string, n int) (p cluster.Pipeline) {
	l.t.Helper()
	l.await("checkpoints of "+name, func() bool {
		p = l.pipeline(name)
		return (p.Status.Completed >= n || p.Ended()) && (leader == "" || p.Status.Leader == leader)
	})
	return p
}

func (l *lab) host(id string) *host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hosts[id]
}

// TestANewLeaderTouchesNoTask: it takes the running epoch over, whose checkpoints go
// on.
func TestANewLeaderTouchesNoTask(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	leader := l.start("leader", 0) // leads, since it is the first, and has no task
	for _, id := range []string{"a", "b"} {
		l.start(id, 6)
	}
	const n = 200_000
	l.submit(l.generated("p", n, 20_000, 2))
	before := l.awaitCheckpoint("p", "leader", 2)
	l.crash(leader)
	l.awaitCheckpoint("p", l.leader().id, 2)
	if p := l.awaitState("p", engine.StateFinished); p.Status.Epoch != before.Status.Epoch {
		t.Errorf("epoch %d has become %d: %s", before.Status.Epoch, p.Status.Epoch, p.Status.Cause)
	}
	l.expectGenerated("out-p", n)
	l.expectNothingHidden("out-p")
}

// TestTheTasksOfALostHostRunElsewhere, from the last checkpoint, whether it led or
// not; that counts as no failure of the pipeline.
func TestTheTasksOfALostHostRunElsewhere(t *testing.T) {
	for _, which := range []string{"the leader", "another"} {
		t.Run(which, func(t *testing.T) {
			const n = 100_000
			l, _ := three(t, "p", n)
			leader := l.leader()
			victim := leader
			if which == "another" {
				victim = l.host(map[string]string{"a": "b", "b": "c", "c": "a"}[leader.id])
			}
			l.crash(victim)
			p := l.awaitState("p", engine.StateFinished)
			if p.Status.Epoch < 2 || len(p.Status.Restarts) != 0 {
				t.Errorf("epoch %d, counted restarts %v", p.Status.Epoch, p.Status.Restarts)
			}
			for task, h := range p.Assignment.Tasks {
				if h == victim.id {
					t.Errorf("task %s is still on host %s", task, h)
				}
			}
			l.expectGenerated("out-p", n)
			l.expectNothingHidden("out-p")
		})
	}
}

// TestASessionThatIsLostIsFollowedByAnother, as another instance of the host, which
// has none of the tasks that the former had: a new epoch gives it some.
func TestASessionThatIsLostIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := l.start("a", 10)
	const n = 60_000
	l.submit(l.generated("p", n, 10_000, 1))
	p := l.awaitCheckpoint("p", "", 1)
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	l.await("its next instance has the tasks", func() bool {
		q := l.pipeline("p")
		return q.Assignment.Phase == engine.PhaseRun && q.Assignment.Hosts["a"] != p.Assignment.Hosts["a"]
	})
	p = l.awaitState("p", engine.StateFinished)
	if p.Assignment.Epoch != 2 || len(p.Status.Restarts) != 0 {
		t.Errorf("epoch %d, counted restarts %v", p.Assignment.Epoch, p.Status.Restarts)
	}
	l.expectGenerated("out-p", n)
	l.expectNothingHidden("out-p")
}

// partly is a session in which what concerns a pipeline's epoch fails at times.
type partly struct {
	coordination.Store
	unread, unwritten *atomic.Int32 // how often it still fails
}

func (s *partly) Get(ctx context.Context, path string) (coordination.Record, error) {
	if path == "pipelines/p/epoch" && s.unread.Add(-1) >= 0 {
		return coordination.Record{}, coordination.ErrUnavailable
	}
	return s.Store.Get(ctx, path)
}

func (s *partly) Commit(ctx context.Context, ops ...coordination.Op) error {
	for _, op := range ops {
		if op.Path == "pipelines/p/epoch" && op.Kind != coordination.OpCheck && s.unwritten.Add(-1) >= 0 {
			return coordination.ErrUnavailable
		}
	}
	return s.Store.Commit(ctx, ops...)
}

// TestAnOutageWhileAnEpochBeginsFailsNothing, however many restarts the policy
// allows.
func TestAnOutageWhileAnEpochBeginsFailsNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var unread, unwritten atomic.Int32
	unread.Store(3)
	unwritten.Store(5)
	l.outage = func(s coordination.Store) coordination.Store { return &partly{s, &unread, &unwritten} }
	l.submit(l.generated("p", 1000, 0, 1))
	l.start("a", 10)
	p := l.awaitState("p", engine.StateFinished)
	if unread.Load() > 0 || unwritten.Load() > 0 || len(p.Status.Restarts) != 0 {
		t.Errorf("%d and %d failures to come, counted restarts %v", unread.Load(), unwritten.Load(), p.Status.Restarts)
	}
	l.expectGenerated("out-p", 1000)
}

// TestADrainedHostGivesItsTasksAway without loss and without a failure: by a halt
// barrier, a record, and a new epoch.
func TestADrainedHostGivesItsTasksAway(t *testing.T) {
	const n = 300_000
	l, _ := three(t, "p", n)
	for _, id := range []string{"a", "b"} {
		l.leave(l.host(id))
	}
	var p cluster.Pipeline
	l.await("it runs", func() bool { p = l.pipeline("p"); return p.Assignment.Phase == engine.PhaseRun || p.Ended() })
	if hosts := slices.Compact(slices.Sorted(values(p.Assignment.Tasks))); !slices.Equal(hosts, []string{"c"}) {
		t.Errorf("the tasks are on %v", hosts)
	}
	p = l.awaitState("p", engine.StateFinished)
	if p.Status.Total != 0 {
		t.Errorf("%d restarts: %s", p.Status.Total, p.Status.Cause)
	}
	l.expectGenerated("out-p", n)
	l.expectNothingHidden("out-p")
}

func values(p engine.Placement) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, h := range p {
			if !yield(h) {
				return
			}
		}
	}
}

// TestAHostThatJoinsTakesItsShare, once the cluster has settled.
func TestAHostThatJoinsTakesItsShare(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start("a", 10)
	const n = 200_000
	l.submit(l.generated("p", n, 20_000, 2))
	l.awaitCheckpoint("p", "", 1)
	l.start("b", 10)
	l.await("host b has tasks", func() bool {
		p := l.pipeline("p")
		return p.Assignment.Phase == engine.PhaseRun && slices.Contains(slices.Collect(values(p.Assignment.Tasks)), "b")
	})
	p := l.awaitState("p", engine.StateFinished)
	if p.Status.Epoch != 2 || p.Status.Total != 0 {
		t.Errorf("epoch %d, %d restarts: %s", p.Status.Epoch, p.Status.Total, p.Status.Cause)
	}
	l.expectGenerated("out-p", n)
}

// TestAPipelineStopsAndGoesOn: where it stopped, also after every host has gone. One
// that has finished never runs again.
func TestAPipelineStopsAndGoesOn(t *testing.T) {
	const n = 200_000
	l, _ := three(t, "p", n)
	ctx := context.Background()
	if err := l.client().Stop(ctx, "p", ""); err != nil {
		t.Fatal(err)
	}
	p := l.awaitState("p", engine.StateStopped)
	if p.Assignment.Phase != engine.PhaseClose {
		t.Errorf("stopped in phase %s", p.Assignment.Phase)
	}
	for _, h := range l.alive() {
		l.crash(h)
	}
	l.start("d", 10)
	if err := l.client().Resume(ctx, "p", false); err != nil {
		t.Fatal(err)
	}
	l.awaitState("p", engine.StateFinished)
	l.expectGenerated("out-p", n)
	l.expectNothingHidden("out-p")
	epoch := l.pipeline("p").Assignment.Epoch
	if err := l.client().Resume(ctx, "p", false); err != nil {
		t.Fatal(err)
	}
	p = l.awaitState("p", engine.StateFinished)
	if p.Assignment.Epoch != epoch {
		t.Error("a finished pipeline has run again")
	}
}

// TestPipelinesResumeByThemselvesWhenAllHostsHaveDied, and until then it can be read
// what ran, where and how far.
func TestPipelinesResumeByThemselvesWhenAllHostsHaveDied(t *testing.T) {
	const n = 200_000
	l, _ := three(t, "p", n)
	var sessions sync.WaitGroup
	for _, h := range l.alive() {
		sessions.Go(func() { _ = h.store.Close() })
	}
	sessions.Wait()
	for _, h := range l.alive() {
		l.crash(h)
	}
	p := l.pipeline("p")
	if p.Ended() || len(p.Assignment.Tasks) != 10 || len(p.Progress) == 0 {
		t.Errorf("what is known: %+v, tasks %v, progress of %d hosts", p.Status, p.Assignment.Tasks, len(p.Progress))
	}
	l.start("d", 10)
	l.awaitState("p", engine.StateFinished)
	l.expectGenerated("out-p", n)
}

// TestAPipelineThatFindsNoRoomWaitsAndSaysSo, and runs once there is some.
func TestAPipelineThatFindsNoRoomWaitsAndSaysSo(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start("a", 5)
	l.submit(l.generated("p", 1000, 0, 2))
	l.await("it waits", func() bool {
		return l.pipeline("p").State() == engine.StatePending && l.pipeline("p").Status.Pending != ""
	})
	if why := l.pipeline("p").Status.Pending; !strings.Contains(why, "6 tasks and 5 slots are free on a") {
		t.Error(why)
	}
	l.start("b", 1)
	l.awaitState("p", engine.StateFinished)
	l.expectGenerated("out-p", 1000)
}

// TestAPipelineThatFailsSaysWhy, with the host, the task and the plugin, and runs
// again when it is told to.
func TestAPipelineThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start("a", 10)
	yaml := l.generated("p", 1000, 0, 1)
	l.submit(strings.Replace(yaml, "filter: 'true'", "set: {x: 'json.nothing.at.all + 1'}", 1))
	p := l.awaitState("p", engine.StateFailed)
	if p.Status.Error == "" || len(p.Failures) == 0 || p.Failures[0].Host != "a" || p.Failures[0].Node != "mid" || p.Failures[0].Plugin != "weir" {
		t.Fatalf("%q, %+v", p.Status.Error, p.Failures)
	}
	l.submit(yaml)
	l.awaitState("p", engine.StateFinished)
	l.expectGenerated("out-p", 1000)
}
