package zookeepertest

import (
	"context"
	"sync"
	"testing"
)

// Shared is an ensemble that the tests of a package share: it starts when the
// first of them asks for it. TestMain stops it.
//
//	var ensemble zookeepertest.Shared
//
//	func TestMain(m *testing.M) {
//		code := m.Run()
//		ensemble.Stop()
//		os.Exit(code)
//	}
type Shared struct {
	Options Options

	once     sync.Once
	ensemble *Ensemble
	err      error
}

// Get returns the ensemble, or fails the test.
func (s *Shared) Get(t testing.TB) *Ensemble {
	t.Helper()
	s.once.Do(func() { s.ensemble, s.err = Start(context.Background(), s.Options) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.ensemble
}

// Stop stops the ensemble if it was started.
func (s *Shared) Stop() {
	if s.ensemble != nil {
		s.ensemble.Stop()
	}
}

// New starts an ensemble of the test's own.
func New(t testing.TB, o Options) *Ensemble {
	t.Helper()
	e, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	return e
}
