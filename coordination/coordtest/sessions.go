package coordtest

import (
	"context"
	"errors"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
)

var sessionRules = []rule{
	{"a closed store answers nothing, and its ephemeral records are gone", closedStore},
	{"a lost session answers nothing, and its ephemeral records are gone", lostSession},
	{"an ephemeral record belongs to its session alone", ephemeralOwner},
	{"no ephemeral record outlives its session by a race", ephemeralRace},
	{"anybody may replace an ephemeral record in one commit", ephemeralReplaced},
	{"a commit renews the lease", commitRenews},
	{"a restart keeps persistent records and no ephemeral ones", restartKeeps},
}

// ending describes one way for a session to end.
func ending(t *testing.T, b Backend, end func(coordination.Store), reason error, state ...coordination.SessionState) {
	s, other := b.Open(t), b.Open(t)
	ctx := testContext(t)
	must(t, s, coordination.CreateEphemeral("members/one", nil), coordination.Create("kept", nil))
	must(t, other, coordination.CreateEphemeral("members/two", nil))
	seeChildren(t, other, "members", 2)
	record, names, session := s.Watch(ctx, "kept"), s.WatchChildren(ctx, "members"), s.WatchSession(ctx)
	receive(t, record)
	receive(t, names)
	if got := receive(t, session); got != coordination.SessionConnected {
		t.Fatalf("session is %s, want %s", got, coordination.SessionConnected)
	}
	unread := s.Watch(ctx, "kept")

	end(s)

	for what, ch := range map[string]<-chan coordination.Change{"read": record, "unread": unread, "new": s.Watch(ctx, "kept")} {
		c := await(t, ch, func(c coordination.Change) bool { return c.Err != nil })
		if !errors.Is(c.Err, reason) {
			t.Errorf("%s watch ended with %v, want %v", what, c.Err, reason)
		}
		drained(t, ch)
	}
	l := await(t, names, func(l coordination.Listing) bool { return l.Err != nil })
	if !errors.Is(l.Err, reason) {
		t.Errorf("watch on children ended with %v, want %v", l.Err, reason)
	}
	drained(t, names)
	for _, want := range state {
		if got := receive(t, session); got != want {
			t.Errorf("session is %s, want %s", got, want)
		}
	}
	drained(t, session)
	drained(t, s.WatchSession(ctx))
	_, getErr := s.Get(ctx, "kept")
	_, childrenErr := s.Children(ctx, "")
	_, campaignErr := coordination.Campaign(ctx, s, "job", nil)
	for what, err := range map[string]error{
		"get": getErr, "children": childrenErr, "campaign": campaignErr,
		"commit": s.Commit(ctx, coordination.Set("kept", nil, 0)),
	} {
		if !errors.Is(err, reason) {
			t.Errorf("%s: %v, want %v", what, err, reason)
		}
	}
	wantNames(t, seeChildren(t, other, "members", 1), "two")
	must(t, other, coordination.Check("kept", 0))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close again: %v", err)
		}
	}
}

func closedStore(t *testing.T, b Backend) {
	s := b.Open(t)
	ch := s.Watch(testContext(t), "a")
	receive(t, ch)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for open := true; open; {
		select {
		case _, open = <-ch:
		default:
			t.Fatal("a watch still runs when Close has returned")
		}
	}
	ending(t, b, func(s coordination.Store) {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}, coordination.ErrClosed)
}

func lostSession(t *testing.T, b Backend) {
	ending(t, b, func(s coordination.Store) { b.Expire(t, s) }, coordination.ErrSessionLost, coordination.SessionLost)
}

func ephemeralOwner(t *testing.T, b Backend) {
	s, other := b.Open(t), b.Open(t)
	must(t, s, coordination.CreateEphemeral("a", nil))
	must(t, other, coordination.Set("a", []byte("by other"), 0))
	if rec := get(t, other, "a"); !rec.Ephemeral {
		t.Fatalf("set by another session left %+v", rec)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	must(t, s, coordination.Check("a", 1))
	third := b.Open(t)
	seeRecord(t, third, "a", true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	seeRecord(t, third, "a", false)
}

// ephemeralRace ends sessions while they create ephemeral records.
func ephemeralRace(t *testing.T, b Backend) {
	observer := b.Open(t)
	ctx := testContext(t)
	for range 15 {
		s := b.Open(t)
		started, over := make(chan struct{}), make(chan error)
		go func() {
			for i := 0; ; i++ {
				err := s.Commit(ctx, coordination.CreateEphemeral("members/"+strconv.Itoa(i), nil))
				if i == 0 {
					close(started)
				}
				if err != nil {
					over <- err
					return
				}
			}
		}()
		done(t, started, "the first commit")
		b.Expire(t, s)
		if err := receive(t, over); !errors.Is(err, coordination.ErrSessionLost) && !errors.Is(err, coordination.ErrUnknownOutcome) {
			t.Fatalf("commit in a lost session: %v", err)
		}
		seeChildren(t, observer, "members", 0)
	}
}

// ephemeralReplaced is how a host that starts again takes the place of its
// former session.
func ephemeralReplaced(t *testing.T, b Backend) {
	before, after := b.Open(t), b.Open(t)
	must(t, before, coordination.CreateEphemeral("hosts/one", []byte("before")))
	must(t, after, coordination.Delete("hosts/one", 0), coordination.CreateEphemeral("hosts/one", []byte("after")))
	b.Expire(t, before)
	third := b.Open(t)
	must(t, third, coordination.Check("hosts/one", 0))
	if rec := get(t, third, "hosts/one"); string(rec.Data) != "after" {
		t.Fatalf("the record is %q", rec.Data)
	}
}

func commitRenews(t *testing.T, b Backend) {
	s := b.Open(t)
	for range 3 {
		before := time.Now()
		must(t, s, coordination.CheckAbsent("a"))
		l := s.Lease()
		if passed := time.Since(before); l.Age < 0 || l.Age > passed {
			t.Fatalf("the lease is %s old, %s after before a commit that was answered", l.Age, passed)
		}
		switch {
		case l.Timeout == 0 && (l.Age != 0 || l.Left(0.5) != math.MaxInt64):
			t.Fatalf("a session that does not expire has a lease of age %s", l.Age)
		case l.Timeout != 0 && l.Left(0.5) != l.Timeout/2-l.Age:
			t.Fatalf("%s is left of half of %+v", l.Left(0.5), l)
		}
	}
}

func restartKeeps(t *testing.T, b Backend) {
	s := b.Open(t)
	must(t, s, coordination.Create("a/kept", []byte("data")), coordination.CreateEphemeral("a/gone", nil))
	must(t, s, coordination.Set("a/kept", []byte("more"), 0))
	before := get(t, s, "a/kept")
	b.Restart(t)
	s = b.Open(t)
	seeRecord(t, s, "a/gone", false)
	must(t, s, coordination.Create("b", nil)) // makes us see whatever was before
	after := get(t, s, "a/kept")
	if string(after.Data) != "more" || after.Version != 1 || after.Created != before.Created {
		t.Fatalf("kept %+v, want %+v", after, before)
	}
	if got := get(t, s, "b").Created; got <= before.Created {
		t.Fatalf("created %d after the restart, not after %d", got, before.Created)
	}
	wantNames(t, children(t, s, "a"), "kept")
	_, err := s.Get(context.Background(), "a/gone")
	if !errors.Is(err, coordination.ErrNotFound) {
		t.Fatal(err)
	}
}
