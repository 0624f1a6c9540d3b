package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/coordtest"
)

// combining is a backend whose sessions combine commits.
type combining struct{ *backend }

func (b combining) Open(t testing.TB) coordination.Store {
	c := coordination.Combine(b.backend.Open(t), time.Millisecond)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (b combining) Expire(t testing.TB, s coordination.Store) {
	b.backend.Expire(t, s.(*coordination.Combined).Store)
}

// TestContractOfCombinedCommits: who combines commits keeps to the contract.
func TestContractOfCombinedCommits(t *testing.T) {
	coordtest.Run(t, func(t testing.TB) coordtest.Backend { return combining{openBackend(t)} })
}

// counted counts commits, and holds the first back.
type counted struct {
	coordination.Store
	commits atomic.Int32
	first   sync.Once
	begun   chan struct{}
	release chan struct{}
}

func (s *counted) Commit(ctx context.Context, ops ...coordination.Op) error {
	s.commits.Add(1)
	s.first.Do(func() {
		close(s.begun)
		<-s.release
	})
	return s.Store.Commit(ctx, ops...)
}

// gathered lets callers commit while a first commit is under way, so that they wait
// for the same next one, and returns what each was answered and how many commits the
// session saw.
func gathered(t *testing.T, s coordination.Store, ctx func(int) context.Context, ops [][]coordination.Op, before func(waiting func(int))) ([]error, int32) {
	t.Helper()
	under := &counted{Store: s, begun: make(chan struct{}), release: make(chan struct{})}
	c := coordination.Combine(under, 0)
	var group sync.WaitGroup
	group.Go(func() {
		if err := c.Commit(t.Context(), coordination.CheckAbsent("nothing")); err != nil {
			t.Error(err)
		}
	})
	<-under.begun
	errs := make([]error, len(ops))
	var done atomic.Int32
	for i := range ops {
		group.Go(func() {
			errs[i] = c.Commit(ctx(i), ops[i]...)
			done.Add(1)
		})
		eventually(t, func() bool { return c.Waiting()+int(done.Load()) > i })
	}
	if before != nil {
		before(func(n int) {
			eventually(t, func() bool { return c.Waiting() == n })
		})
	}
	close(under.release)
	group.Wait()
	return errs, under.commits.Load()
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Error("what must come does not come")
			return
		}
	}
}

func always(t *testing.T) func(int) context.Context {
	return func(int) context.Context { return t.Context() }
}

func TestCommitsThatWaitTravelTogether(t *testing.T) {
	s := openBackend(t).Open(t)
	defer s.Close()
	var ops [][]coordination.Op
	for i := range 50 {
		ops = append(ops, []coordination.Op{coordination.Create(fmt.Sprintf("a/%d", i), nil)})
	}
	errs, commits := gathered(t, s, always(t), ops, nil)
	if err := errors.Join(errs...); err != nil || commits != 2 {
		t.Errorf("%d commits, %v", commits, err)
	}
	if names, err := s.Children(t.Context(), "a"); err != nil || len(names) != 50 {
		t.Errorf("%d records, %v", len(names), err)
	}
}

// TestAConflictIsItsOwnersAlone: those that travel with it take effect, and the
// index is that of the owner's operation.
func TestAConflictIsItsOwnersAlone(t *testing.T) {
	s := openBackend(t).Open(t)
	defer s.Close()
	errs, _ := gathered(t, s, always(t), [][]coordination.Op{
		{coordination.Create("a", nil)},
		{coordination.Create("b", nil), coordination.Set("c", nil, 3)},
		{coordination.Create("d", nil)},
	}, nil)
	var conflict *coordination.ConflictError
	if !errors.As(errs[1], &conflict) || conflict.Index != 1 || conflict.Path != "c" || errs[0] != nil || errs[2] != nil {
		t.Errorf("%v", errs)
	}
	if names, err := s.Children(t.Context(), ""); err != nil || fmt.Sprint(names) != "[a d]" {
		t.Errorf("%v, %v", names, err)
	}
}

// TestWhoNoLongerWaitsIsNotWritten: a commit that is given up before it is under way
// never takes effect.
func TestWhoNoLongerWaitsIsNotWritten(t *testing.T) {
	s := openBackend(t).Open(t)
	defer s.Close()
	impatient, giveUp := context.WithCancel(t.Context())
	errs, _ := gathered(t, s, func(i int) context.Context {
		if i == 0 {
			return impatient
		}
		return t.Context()
	}, [][]coordination.Op{{coordination.Create("a", nil)}, {coordination.Create("b", nil)}}, func(waiting func(int)) {
		giveUp()
		waiting(1)
	})
	if !errors.Is(errs[0], context.Canceled) || errs[1] != nil {
		t.Errorf("%v", errs)
	}
	if names, err := s.Children(t.Context(), ""); err != nil || fmt.Sprint(names) != "[b]" {
		t.Errorf("%v, %v", names, err)
	}
}

// TestCommitsArePaced: a second one waits for the pause since the first.
func TestCommitsArePaced(t *testing.T) {
	const pause = 100 * time.Millisecond
	c := coordination.Combine(openBackend(t).Open(t), pause)
	defer c.Close()
	began := time.Now()
	for i := range 3 {
		if err := c.Commit(t.Context(), coordination.Create(fmt.Sprint(i), nil)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 2*pause {
		t.Errorf("three commits took %v", took)
	}
}
