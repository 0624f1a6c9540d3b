package zookeeper

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/coordtest"
	"github.com/weirstream/weir/internal/race"
	"github.com/weirstream/weir/internal/testserver/netfault"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

// A commit that was given up waits in a server that was paused. The session goes on
// with another server, reads that the commit did not take effect, and then the
// first server wakes.
func TestWhatAReadProvesAbsentNeverComes(t *testing.T) {
	e := ensemble.Get(t)
	c := testConfig(e)
	c.ConnectTimeout = testTimeout / 20
	s := mustOpen(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range 20 {
		n := serverOf(t, s, e)
		if mode := n.Mode(ctx); mode != "follower" { // of whom the others can do without
			s.reconnect()
			if _, err := s.Get(ctx, "never"); !errors.Is(err, coordination.ErrNotFound) {
				t.Fatal(err)
			}
			continue
		}
		if err := n.Pause(); err != nil {
			t.Fatal(err)
		}
		path := "a" + strconv.Itoa(i)
		outcome := s.Commit(ctx, coordination.Create(path, nil))
		_, before := s.Get(ctx, path)
		if err := n.Resume(); err != nil {
			t.Fatal(err)
		}
		if err := e.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		// By now the server has passed on what it had.
		if err := coordination.Put(ctx, coordtest.Steady{Store: s}, "b", nil); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(outcome, coordination.ErrUnknownOutcome) || !errors.Is(before, coordination.ErrNotFound) {
			continue
		}
		if err := s.Commit(ctx, coordination.CheckAbsent(path)); err != nil {
			t.Errorf("a commit that a read had proved absent took effect later: %v", err)
		}
		return
	}
	t.Error("no commit was given up before it took effect")
}

// serverOf returns the server that a session is connected to.
func serverOf(t *testing.T, s *Store, e *zookeepertest.Ensemble) *zookeepertest.Node {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range e.Nodes {
		if n.Addr() == s.session.link.server {
			return n
		}
	}
	t.Fatalf("no server is %s", s.session.link.server)
	return nil
}

// reconnect ends the connection, for another to another server.
func (s *Store) reconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session.link.Close()
}

// Commits whose connections are cut at random are repeated only where a read shows
// that they did not take effect. Their conditions would find out a read that was
// wrong, either way.
func TestReadingBackTellsTheOutcomeOfACommitThatWasCutOff(t *testing.T) {
	if race.Enabled {
		// go-zookeeper/zk reads lastZxid for the watches that it sets while the answer
		// to a request that a dead connection left may set it; a connection that is cut
		// every few milliseconds comes to that.
		t.Skip("the client library has a data race of its own here; make test runs this without the race detector")
	}
	const count = 150
	p := newProxied(t, ensemble.Get(t), testTimeout)
	r := rand.New(rand.NewPCG(coordtest.Seed(t), 0))
	s := mustOpen(t, p.config)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := s.Commit(ctx, coordination.Create("n", nil)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(r.IntN(30)) * time.Millisecond):
			}
			switch r.IntN(3) {
			case 0:
				p.set(netfault.Fault{Delay: time.Duration(r.IntN(5)) * time.Millisecond})
			case 1:
				p.set(netfault.Fault{DropReplies: true})
				time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
				p.set(netfault.Fault{})
			default:
				p.cut()
			}
		}
	})
	unknown, done := 0, 0
	for i := range int64(count) {
		for {
			// Some are given up by their caller.
			cctx, cancel := ctx, context.CancelFunc(func() {})
			if i%4 == 0 {
				cctx, cancel = context.WithTimeout(ctx, time.Duration(1+i)*200*time.Microsecond)
			}
			err := s.Commit(cctx, coordination.Set("n", strconv.AppendInt(nil, i+1, 10), i))
			cancel()
			if err == nil {
				break
			}
			if errors.Is(err, coordination.ErrUnknownOutcome) {
				unknown++
				rec, err := s.Get(ctx, "n")
				if err != nil {
					t.Fatal(err)
				}
				if rec.Version == i+1 {
					done++
					break
				}
				if rec.Version != i {
					t.Fatalf("version %d after %d commits", rec.Version, i)
				}
			} else if !errors.Is(err, coordination.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("commit %d: %v", i, err)
			}
		}
	}
	close(stop)
	cutting.Wait()
	p.set(netfault.Fault{})
	rec, err := s.Get(ctx, "n")
	if err != nil || rec.Version != count || string(rec.Data) != strconv.Itoa(count) {
		t.Fatalf("%+v, %v after %d commits", rec, err, count)
	}
	t.Logf("%d outcomes were unknown, %d of them had taken effect", unknown, done)
	if unknown == 0 {
		t.Error("no outcome was unknown")
	}
}
