package zookeeper

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/coordtest"
	"github.com/weirstream/weir/internal/testserver/netfault"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

// faultTimeout is a session timeout that no fault of these tests exceeds: what the
// suite wants of a session has to hold.
const faultTimeout = 40 * time.Second

// steadyBackend is a backend whose sessions get over faults.
type steadyBackend struct {
	*backend
	faults *sync.Mutex // held while a fault needs the servers, or Restart
}

func (b steadyBackend) Open(t testing.TB) coordination.Store {
	return coordtest.Steady{Store: sureEnd{b.open(t)}}
}

func (b steadyBackend) Expire(t testing.TB, s coordination.Store) {
	b.backend.Expire(t, s.(coordtest.Steady).Store.(sureEnd).Store)
}

func (b steadyBackend) Restart(t testing.TB) {
	b.faults.Lock()
	defer b.faults.Unlock()
	b.backend.Restart(t)
}

// sureEnd is a Store that ends its session in its place when ZooKeeper could not be
// asked to, which Close tells and which lasts longer than the suite waits.
type sureEnd struct{ *Store }

func (s sureEnd) Close() error {
	err := s.Store.Close()
	for giveUp := time.Now().Add(testTimeout); err != nil && time.Now().Before(giveUp); time.Sleep(20 * time.Millisecond) {
		if endSession(s.Store) == nil {
			return nil
		}
	}
	return err
}

// during calls fault again and again while the test runs.
func during(t *testing.T, fault func(ctx context.Context, r *rand.Rand)) {
	t.Helper()
	r := rand.New(rand.NewPCG(coordtest.Seed(t), 0))
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			fault(ctx, r)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-over
	})
}

// sleep waits up to most, or until ctx ends.
func sleep(ctx context.Context, r *rand.Rand, most time.Duration) {
	timer := time.NewTimer(time.Duration(r.Int64N(int64(most))))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func TestContractWhileServersDie(t *testing.T) {
	e := zookeepertest.New(t, zookeepertest.Options{Nodes: 3})
	var faults sync.Mutex
	kills := 0
	during(t, func(ctx context.Context, r *rand.Rand) {
		sleep(ctx, r, 2*time.Second)
		faults.Lock()
		defer faults.Unlock()
		if ctx.Err() != nil {
			return
		}
		n := e.Nodes[r.IntN(len(e.Nodes))]
		if r.IntN(2) == 0 {
			if leader, err := e.Leader(ctx); err == nil {
				n = leader
			}
		}
		kills++
		n.Kill()
		sleep(ctx, r, 200*time.Millisecond)
		// Every server is to be there again, whatever has ended.
		if err := n.Start(context.Background()); err != nil {
			t.Error(err)
		}
		if err := e.Ready(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for range rounds(t) {
		coordtest.Run(t, func(t testing.TB) coordtest.Backend {
			b := newBackend(e)
			b.config.SessionTimeout, b.config.ConnectTimeout = faultTimeout, faultTimeout/20
			return steadyBackend{b, &faults}
		}, ofServers)
	}
	faults.Lock()
	defer faults.Unlock()
	t.Logf("%d servers were killed", kills)
	if kills == 0 {
		t.Error("no server was killed")
	}
}

func TestContractThroughAFaultyNetwork(t *testing.T) {
	e := ensemble.Get(t)
	p := newProxied(t, e, faultTimeout)
	var faults sync.Mutex
	during(t, func(ctx context.Context, r *rand.Rand) {
		faults.Lock()
		defer faults.Unlock()
		for _, proxy := range p.proxies {
			switch r.IntN(5) {
			case 0:
				proxy.Cut()
			case 1:
				proxy.Set(netfault.Fault{Delay: time.Duration(r.Int64N(int64(5 * time.Millisecond)))})
			case 2:
				proxy.Set(netfault.Fault{DropReplies: true})
			case 3:
				proxy.Set(netfault.Fault{DropRequests: true, Refuse: true})
			}
		}
		sleep(ctx, r, 100*time.Millisecond)
		p.set(netfault.Fault{})
		p.cut()
		sleep(ctx, r, 300*time.Millisecond)
	})
	for range rounds(t) {
		coordtest.Run(t, func(t testing.TB) coordtest.Backend {
			b := newBackend(e)
			b.config.SessionTimeout, b.config.ConnectTimeout = faultTimeout, faultTimeout/20
			b.config.via = p.config.via
			return steadyBackend{b, &faults}
		}, ofServers)
	}
	t.Logf("%d connections were made", p.accepted())
}
