package simulated

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/coordtest"
)

func TestContract(t *testing.T) {
	coordtest.Run(t, func(t testing.TB) coordtest.Backend {
		return &backend{e: New(Options{Seed: coordtest.Seed(t), Delay: time.Millisecond, Lag: 3 * time.Millisecond})}
	})
}

type backend struct {
	e *Ensemble

	mu     sync.Mutex
	stores []*Store
}

func (b *backend) Open(t testing.TB) coordination.Store {
	s := b.e.Open()
	t.Cleanup(func() { _ = s.Close() })
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stores = append(b.stores, s)
	return s
}

func (b *backend) Expire(_ testing.TB, s coordination.Store) { s.(*Store).Expire() }

// Restart loses nothing but sessions: what is committed is durable.
func (b *backend) Restart(testing.TB) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.stores {
		s.Expire()
	}
	b.stores = nil
}

// next receives a session's next state and says when it came.
func next(t *testing.T, states <-chan coordination.SessionState, want coordination.SessionState) time.Time {
	t.Helper()
	if got := <-states; got != want {
		t.Fatalf("the session is %s, want %s", got, want)
	}
	return time.Now()
}

func TestACutSessionIsLostByItsClientsClockBeforeTheEnsembles(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			const timeout = 6 * time.Second
			e := New(Options{Seed: seed, Timeout: timeout})
			defer e.Close()
			s, other := e.Open(), e.Open()
			defer other.Close()
			defer s.Close()
			ctx := t.Context()
			if err := s.Commit(ctx, coordination.CreateEphemeral("e", nil)); err != nil {
				t.Fatal(err)
			}
			states := s.WatchSession(ctx)
			began := next(t, states, coordination.SessionConnected)
			s.Cut(true)
			if after := next(t, states, coordination.SessionSuspended).Sub(began); after < timeout/2 || after > timeout {
				t.Errorf("suspended after %s", after)
			}
			if err := s.Commit(ctx, coordination.Create("a", nil)); !errors.Is(err, coordination.ErrUnavailable) {
				t.Errorf("commit while suspended: %v", err)
			}
			lost := next(t, states, coordination.SessionLost)
			for c := range other.Watch(ctx, "e") {
				if !c.Found {
					break
				}
			}
			if time.Now().Before(lost) {
				t.Error("the ensemble ended the session before the client knew")
			}
		})
	}
}

func TestAPausedProcessFindsItsSessionLostWhenItWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{})
		defer e.Close()
		s := e.Open()
		defer s.Close()
		s.Pause(true)
		result := make(chan error)
		go func() { result <- s.Commit(context.Background(), coordination.Create("a", nil)) }()
		time.Sleep(time.Minute)
		select {
		case err := <-result:
			t.Fatalf("a call returned in a paused process: %v", err)
		default:
		}
		s.Pause(false)
		if err := <-result; !errors.Is(err, coordination.ErrSessionLost) {
			t.Fatalf("commit after a minute: %v", err)
		}
	})
}

func TestALostAnswerMayHaveTakenEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{Seed: 1, Loss: 0.5})
		defer e.Close()
		s := e.Open()
		defer s.Close()
		done, not := 0, 0
		for range 200 {
			err := s.Commit(t.Context(), coordination.CreateEphemeral("a", nil))
			if errors.Is(err, coordination.ErrUnknownOutcome) {
				if _, err := s.Get(t.Context(), "a"); err == nil {
					done++
				} else {
					not++
				}
			}
			for errors.Is(s.Commit(t.Context(), coordination.Delete("a", 0)), coordination.ErrUnknownOutcome) {
			}
		}
		if done == 0 || not == 0 {
			t.Errorf("of unknown outcomes %d took effect and %d did not", done, not)
		}
	})
}
