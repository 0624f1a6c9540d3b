package zookeeper

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/internal/testserver/netfault"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

// proxied is a cluster whose sessions reach the servers by proxies of ours.
type proxied struct {
	config  Config
	proxies map[string]*netfault.Proxy
}

func newProxied(t testing.TB, e *zookeepertest.Ensemble, timeout time.Duration) *proxied {
	t.Helper()
	p := &proxied{config: testConfig(e), proxies: map[string]*netfault.Proxy{}}
	p.config.SessionTimeout, p.config.ConnectTimeout = timeout, timeout/4
	for _, n := range e.Nodes {
		proxy, err := netfault.Start(n.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proxy.Close)
		p.proxies[n.Addr()] = proxy
	}
	p.config.via = func(addr string) string { return p.proxies[addr].Addr() }
	return p
}

func (p *proxied) set(f netfault.Fault) {
	for _, proxy := range p.proxies {
		proxy.Set(f)
	}
}

func (p *proxied) cut() {
	for _, proxy := range p.proxies {
		proxy.Cut()
	}
}

func (p *proxied) accepted() (n int) {
	for _, proxy := range p.proxies {
		n += proxy.Accepted()
	}
	return n
}

// wantState receives the session's next state.
func wantState(t testing.TB, states <-chan coordination.SessionState, want coordination.SessionState) {
	t.Helper()
	select {
	case got := <-states:
		if got != want {
			t.Fatalf("the session is %s, want %s", got, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("the session is never %s", want)
	}
}

func TestASessionThatIsCutOffIsSuspendedThenLostAndStaysLost(t *testing.T) {
	const timeout = 3 * time.Second
	p := newProxied(t, single.Get(t), timeout)
	s := mustOpen(t, p.config)
	if got := s.Lease().Timeout; got != timeout {
		t.Fatalf("granted %s", got)
	}
	if err := s.Commit(t.Context(), coordination.CreateEphemeral("e", nil)); err != nil {
		t.Fatal(err)
	}
	states := s.WatchSession(t.Context())
	wantState(t, states, coordination.SessionConnected)
	before := now() - s.Lease().Age // when the last answered request was sent

	p.set(netfault.Fault{DropRequests: true})
	wantState(t, states, coordination.SessionSuspended)
	if age := s.Lease().Age; age < timeout*2/3 {
		t.Errorf("suspended after %s", age)
	}
	if _, err := s.Get(t.Context(), "e"); !errors.Is(err, coordination.ErrUnavailable) {
		t.Errorf("get while suspended: %v", err)
	}
	if err := s.Commit(t.Context(), coordination.Create("a", nil)); !errors.Is(err, coordination.ErrUnavailable) {
		t.Errorf("commit while suspended: %v", err)
	}
	wantState(t, states, coordination.SessionLost)
	if passed := now() - before; passed < timeout {
		t.Errorf("lost after %s", passed)
	}
	p.set(netfault.Fault{})
	connections := p.accepted()
	if _, open := <-states; open {
		t.Error("there is a state after lost")
	}
	other := mustOpen(t, testConfigLike(p.config))
	if err := s.Commit(t.Context(), coordination.Create("a", nil)); !errors.Is(err, coordination.ErrSessionLost) {
		t.Errorf("commit when lost: %v", err)
	}
	for c := range other.Watch(t.Context(), "e") {
		if !c.Found {
			break
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if n := p.accepted(); n != connections {
		t.Errorf("a lost session has connected %d times more", n-connections)
	}
}

// testConfigLike reaches the same cluster without proxies.
func testConfigLike(c Config) Config {
	c.via = nil
	return c
}

func TestASessionThatIsHeardInTimeLosesNothing(t *testing.T) {
	const timeout = 6 * time.Second
	p := newProxied(t, single.Get(t), timeout)
	s := mustOpen(t, p.config)
	if err := s.Commit(t.Context(), coordination.CreateEphemeral("e", nil)); err != nil {
		t.Fatal(err)
	}
	states, changes := s.WatchSession(t.Context()), s.Watch(t.Context(), "a")
	wantState(t, states, coordination.SessionConnected)
	<-changes
	p.set(netfault.Fault{DropReplies: true})
	wantState(t, states, coordination.SessionSuspended)
	p.set(netfault.Fault{})
	wantState(t, states, coordination.SessionConnected)
	// A watch goes on, and the ephemeral record is there.
	if err := s.Commit(t.Context(), coordination.Check("e", 0), coordination.Create("a", nil)); err != nil {
		t.Fatal(err)
	}
	if c := <-changes; !c.Found {
		t.Fatalf("the watch sent %+v", c)
	}
}

func TestALeaseCountsFromWhenTheRequestWasSent(t *testing.T) {
	const delay = 400 * time.Millisecond // each way
	p := newProxied(t, single.Get(t), testTimeout)
	s := mustOpen(t, p.config)
	p.set(netfault.Fault{Delay: delay})
	before := now()
	if err := s.Commit(t.Context(), coordination.Create("a", nil)); err != nil {
		t.Fatal(err)
	}
	if took := now() - before; took < 2*delay {
		t.Fatalf("the commit took %s through a delay of %s", took, 2*delay)
	}
	if age := s.Lease().Age; age < 2*delay {
		t.Errorf("the lease is %s old when an answer comes that took %s", age, 2*delay)
	}
}

// A server that is cut off from the leader answers reads.
func TestAReadDoesNotRenewALease(t *testing.T) {
	e := ensemble.Get(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	leader, err := e.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig(e)
	for _, n := range e.Nodes {
		if n != leader {
			c.Servers = n.Addr()
		}
	}
	s := mustOpen(t, c)
	if err := s.Commit(ctx, coordination.Create("a", nil)); err != nil {
		t.Fatal(err)
	}
	if err := leader.Pause(); err != nil {
		t.Fatal(err)
	}
	paused := now()
	reads := 0
	for now()-paused < time.Second {
		if _, err := s.Get(ctx, "a"); err != nil {
			t.Error(err)
			break
		}
		reads++
	}
	age := s.Lease().Age
	if err := leader.Resume(); err != nil {
		t.Fatal(err)
	}
	if age < time.Second {
		t.Errorf("the lease is %s old after %d reads from a follower whose leader was silent for a second", age, reads)
	}
	if err := s.Commit(ctx, coordination.Set("a", nil, 0)); err != nil {
		t.Error(err)
	}
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestAServerThatFallsSilentIsLeftBeforeTheSessionIsSuspended(t *testing.T) {
	e := ensemble.Get(t)
	p := newProxied(t, e, testTimeout)
	p.config.ConnectTimeout = testTimeout / 20
	s := mustOpen(t, p.config)
	states := s.WatchSession(t.Context())
	wantState(t, states, coordination.SessionConnected)
	server := serverOf(t, s, e).Addr()
	p.proxies[server].Set(netfault.Fault{DropReplies: true})
	if err := s.Commit(t.Context(), coordination.Create("a", nil)); !errors.Is(err, coordination.ErrUnknownOutcome) {
		t.Fatalf("commit to a silent server: %v", err)
	}
	if err := coordination.Put(t.Context(), s, "b", nil); err != nil {
		t.Fatal(err)
	}
	select {
	case state := <-states:
		t.Fatalf("the session was %s", state)
	default:
	}
}

func TestCloseSaysWhenTheServiceDidNotHearOfIt(t *testing.T) {
	const timeout = 2 * time.Second
	p := newProxied(t, single.Get(t), timeout)
	s, other := mustOpen(t, p.config), mustOpen(t, testConfigLike(p.config))
	if err := s.Commit(t.Context(), coordination.CreateEphemeral("e", nil)); err != nil {
		t.Fatal(err)
	}
	p.set(netfault.Fault{DropRequests: true})
	if err := s.Close(); err == nil {
		t.Error("a session was closed that nobody heard of")
	}
	for c := range other.Watch(t.Context(), "e") { // it expires
		if !c.Found {
			break
		}
	}
}
