// Package coordtest is the contract of package coordination as tests: a suite
// that every implementation passes unchanged, and [Faulty], a Store that loses
// replies, for whoever builds on one.
//
// The suite knows nothing of an implementation but what [Backend] offers. It
// reads across sessions only by waiting, since a read may lag behind another
// session's commit; on its own session it reads at once.
package coordtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"go.uber.org/goleak"
)

// Backend is an empty instance of an implementation, made for one test. It
// fails the test when it cannot do what is asked.
type Backend interface {
	// Open opens a session. The backend closes it when the test ends, if the
	// test has not.
	Open(t testing.TB) coordination.Store
	// Expire ends a session as the service does when it has not heard of it for
	// too long, and returns when the Store knows.
	Expire(t testing.TB, s coordination.Store)
	// Restart stops the service and starts it again with its durable data. No
	// session survives it.
	Restart(t testing.TB)
}

type rule struct {
	name string
	test func(*testing.T, Backend)
}

// Run runs the suite. For each test it calls open once; what open starts has to
// end in t's cleanup, goroutines included, but for those of a service that serves
// several tests, which the options name.
func Run(t *testing.T, open func(t testing.TB) Backend, ofService ...goleak.Option) {
	for _, r := range slices.Concat(recordRules, commitRules, watchRules, sessionRules, electionRules, outcomeRules) {
		t.Run(r.name, func(t *testing.T) {
			already := append([]goleak.Option{goleak.IgnoreCurrent()}, ofService...)
			t.Cleanup(func() { goleak.VerifyNone(t, already...) }) // the last of the cleanups
			r.test(t, open(t))
		})
	}
}

// Seed returns the seed of a randomised test: WEIR_SEED where that is set, else
// a fresh one. It is logged, so that a failing run can be repeated.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if env := os.Getenv("WEIR_SEED"); env != "" {
		var err error
		if seed, err = strconv.ParseUint(env, 10, 64); err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
	}
	t.Logf("WEIR_SEED=%d", seed)
	return seed
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// patience is how long the suite waits for what has to happen.
const patience = 30 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// must commits ops.
func must(t testing.TB, s coordination.Store, ops ...coordination.Op) {
	t.Helper()
	if err := s.Commit(testContext(t), ops...); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// refused commits ops and wants a conflict at this index.
func refused(t testing.TB, s coordination.Store, index int, want error, ops ...coordination.Op) {
	t.Helper()
	err := s.Commit(testContext(t), ops...)
	var c *coordination.ConflictError
	if !errors.As(err, &c) || !errors.Is(err, want) {
		t.Fatalf("commit: %v, want a conflict: %v", err, want)
	}
	if c.Index != index || c.Path != ops[index].Path || c.Kind != ops[index].Kind {
		t.Fatalf("conflict at operation %d (%s %s), want %d (%s %s)",
			c.Index, c.Kind, c.Path, index, ops[index].Kind, ops[index].Path)
	}
}

// get reads a record that the session knows of.
func get(t testing.TB, s coordination.Reader, path string) coordination.Record {
	t.Helper()
	rec, err := s.Get(testContext(t), path)
	if err != nil {
		t.Fatalf("get %s: %v", path, err)
	}
	if rec.Path != path {
		t.Fatalf("get %s: the record's path is %q", path, rec.Path)
	}
	return rec
}

// absent wants that the session knows of no record at path.
func absent(t testing.TB, s coordination.Reader, path string) {
	t.Helper()
	if rec, err := s.Get(testContext(t), path); !errors.Is(err, coordination.ErrNotFound) {
		t.Fatalf("get %s: %+v, %v, want %v", path, rec, err, coordination.ErrNotFound)
	}
}

func children(t testing.TB, s coordination.Reader, path string) []string {
	t.Helper()
	names, err := s.Children(testContext(t), path)
	if err != nil {
		t.Fatalf("children of %q: %v", path, err)
	}
	return names
}

func wantNames(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("names are %q, want %q", got, want)
	}
}

// receive takes one value of a watch.
func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-ch:
		if !ok {
			t.Fatal("the channel is closed, want a value")
		}
		return v
	case <-time.After(patience):
		t.Fatal("no value came")
	}
	panic("not reached")
}

// await takes values until one satisfies ok.
func await[T any](t testing.TB, ch <-chan T, ok func(T) bool) T {
	t.Helper()
	for {
		if v := receive(t, ch); ok(v) {
			return v
		}
	}
}

// drained wants that the channel is closed, after values that do not matter.
func drained[T any](t testing.TB, ch <-chan T) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case _, ok := <-ch:
			if !ok {
				return
			}
		case <-timeout:
			t.Fatal("the channel stays open")
		}
	}
}

// done waits for a channel that is closed without a value.
func done(t testing.TB, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatalf("%s did not happen", what)
	}
}

// seeRecord waits until the session sees a record at path, or none.
func seeRecord(t testing.TB, s coordination.Store, path string, there bool) coordination.Record {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	return await(t, s.Watch(ctx, path), func(c coordination.Change) bool {
		if c.Err != nil {
			t.Fatalf("watch %s: %v", path, c.Err)
		}
		return c.Found == there
	}).Record
}

// seeChildren waits until the session sees this many children.
func seeChildren(t testing.TB, s coordination.Store, path string, count int) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	return await(t, s.WatchChildren(ctx, path), func(l coordination.Listing) bool {
		if l.Err != nil {
			t.Fatalf("watch children of %s: %v", path, l.Err)
		}
		return len(l.Names) == count
	}).Names
}
