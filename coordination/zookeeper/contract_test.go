package zookeeper

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/coordtest"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
	"go.uber.org/goleak"
)

func TestContract(t *testing.T) {
	servers := single.Get(t)
	coordtest.Run(t, func(t testing.TB) coordtest.Backend { return newBackend(servers) }, ofServers)
}

func TestContractOnAnEnsemble(t *testing.T) {
	if rounds(t) == 1 {
		t.Skip("the suite runs on an ensemble whose servers die; WEIR_FAULT_ROUNDS above 1 adds one that is left alone")
	}
	servers := ensemble.Get(t)
	coordtest.Run(t, func(t testing.TB) coordtest.Backend { return newBackend(servers) }, ofServers)
}

// ofServers is what a server that a test has started again leaves running.
var ofServers = goleak.IgnoreAnyFunction("github.com/weirstream/weir/internal/testserver/proc.Start.func1")

// testTimeout is a session timeout that a busy machine does not exceed.
const testTimeout = 10 * time.Second

// backend is a cluster of its own in an ensemble that others use too.
type backend struct {
	servers *zookeepertest.Ensemble
	config  Config

	mu     sync.Mutex
	stores []*Store
}

func newBackend(servers *zookeepertest.Ensemble) *backend {
	return &backend{servers: servers, config: testConfig(servers)}
}

// testConfig is a cluster that no other test has.
func testConfig(servers *zookeepertest.Ensemble) Config {
	return Config{
		Servers: servers.Servers(), Cluster: "test-" + rand.Text(),
		SessionTimeout: testTimeout, ConnectTimeout: testTimeout,
	}
}

func (b *backend) Open(t testing.TB) coordination.Store { return b.open(t) }

func (b *backend) open(t testing.TB) *Store {
	t.Helper()
	s := mustOpen(t, b.config)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stores = append(b.stores, s)
	return s
}

func mustOpen(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Expire ends the session in its place: whoever knows its id and password is the
// session.
func (b *backend) Expire(t testing.TB, store coordination.Store) {
	t.Helper()
	s := store.(*Store)
	giveUp := time.After(time.Minute)
	for {
		// Who connects as a session takes it from whom has it, who takes it back.
		err := endSession(s)
		pause := time.After(20 * time.Millisecond)
		if err == nil {
			pause = giveUp
		}
		select {
		case <-s.ended:
			if err := s.alive(); !errors.Is(err, coordination.ErrSessionLost) {
				t.Errorf("the session ended with %v", err)
			}
			return
		case <-pause:
		}
		if err == nil {
			t.Error("the store does not know that its session is over")
			return
		}
	}
}

// Restart starts the servers anew. ZooKeeper's sessions live through that, so they
// are ended before.
func (b *backend) Restart(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	stores := b.stores
	b.stores = nil
	b.mu.Unlock()
	for _, s := range stores {
		if s.alive() == nil {
			b.Expire(t, s)
		}
	}
	b.servers.KillAll()
	if err := b.servers.StartAll(context.Background()); err != nil {
		t.Fatal(err)
	}
}
