package coordtest

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
)

var watchRules = []rule{
	{"a watch starts with the present state and follows the record", watchFollows},
	{"a watch on children starts with the present names and follows them", watchChildrenFollows},
	{"a watch needs no receiver and keeps the newest state", watchCoalesces},
	{"a watch never misses the last change nor goes back", watchLastChange},
	{"a watch on children never misses the last change", watchLastChild},
	{"a watch ends with its context", watchEnds},
}

func watchFollows(t *testing.T, b Backend) {
	s, other := b.Open(t), b.Open(t)
	ch := s.Watch(testContext(t), "a/b")
	want := func(found bool, data string, version int64) {
		t.Helper()
		c := receive(t, ch)
		if c.Err != nil || c.Found != found || c.Record.Path != "a/b" ||
			string(c.Record.Data) != data || c.Record.Version != version {
			t.Fatalf("got %+v, want found %t, %q at version %d", c, found, data, version)
		}
	}
	want(false, "", 0)
	must(t, other, coordination.Create("a/b", []byte("one")))
	want(true, "one", 0)
	must(t, s, coordination.Set("a/b", []byte("two"), 0))
	want(true, "two", 1)
	must(t, other, coordination.Set("a/b", []byte("two"), 1)) // the same data is a change too
	want(true, "two", 2)
	must(t, other, coordination.Create("a/b/below", nil), coordination.Create("a/beside", nil))
	must(t, other, coordination.Delete("a/b/below", 0))
	must(t, other, coordination.Delete("a/b", 2))
	want(false, "", 0) // and nothing for what was below and beside
	must(t, other, coordination.CreateEphemeral("a/b", nil))
	want(true, "", 0)
	must(t, other, coordination.Delete("a/b", 0), coordination.Create("a/b", []byte("again")))
	want(true, "again", 0) // another record at the same version
}

func watchChildrenFollows(t *testing.T, b Backend) {
	s, other := b.Open(t), b.Open(t)
	root, dir := s.WatchChildren(testContext(t), ""), s.WatchChildren(testContext(t), "dir")
	want := func(ch <-chan coordination.Listing, names ...string) {
		t.Helper()
		l := receive(t, ch)
		if l.Err != nil {
			t.Fatal(l.Err)
		}
		wantNames(t, l.Names, names...)
	}
	want(root)
	want(dir)
	must(t, other, coordination.Create("dir/b", nil))
	want(root, "dir")
	want(dir, "b")
	must(t, other, coordination.Create("dir/a", nil))
	want(dir, "a", "b")
	must(t, other, coordination.Set("dir/a", []byte("x"), 0), coordination.Create("dir/a/below", nil))
	must(t, other, coordination.Delete("dir/b", 0))
	want(dir, "a") // and nothing for what happened to and below a child
	must(t, other, coordination.Delete("dir/a/below", 0), coordination.Delete("dir/a", 1), coordination.Delete("dir", 0))
	want(dir)
	want(root)
	must(t, other, coordination.Create("dir/c", nil))
	want(dir, "c")
}

func watchCoalesces(t *testing.T, b Backend) {
	const sets = 40
	s := b.Open(t)
	must(t, s, coordination.Create("a", nil))
	ch := s.Watch(testContext(t), "a")
	for i := range sets {
		must(t, s, coordination.Set("a", nil, int64(i)))
	}
	// One value may lie in the channel, one may be on its way, then comes the last.
	values := 1
	for receive(t, ch).Record.Version != sets {
		values++
	}
	if values > 3 {
		t.Fatalf("%d values after %d changes without a receiver", values, sets)
	}
}

// watchLastChange lets writers change a few records while watchers of all
// sessions receive at random speed.
func watchLastChange(t *testing.T, b Backend) {
	const sessions, paths, changes = 3, 3, 40
	seed := Seed(t)
	path := func(i int) string { return "rec/" + strconv.Itoa(i) }
	ctx := testContext(t)
	var writers, watchers sync.WaitGroup
	stores := make([]coordination.Store, sessions)
	for i := range stores {
		stores[i] = b.Open(t)
	}
	for i := range paths {
		s, r := stores[i%sessions], newRand(seed+uint64(i))
		writers.Go(func() { changeRandomly(t, ctx, s, r, path(i), changes) })
	}
	for i, s := range stores {
		for p := range paths {
			ch, r := s.Watch(ctx, path(p)), newRand(seed+uint64(100+10*i+p))
			watchers.Go(func() { watchUntilEnd(t, ch, r) })
		}
	}
	writers.Wait()
	watchers.Wait()
}

const end = "the end"

// changeRandomly creates, sets and deletes one record and leaves it at the end.
func changeRandomly(t *testing.T, ctx context.Context, s coordination.Store, r *rand.Rand, path string, changes int) {
	there := false
	for i := range changes {
		last := i == changes-1
		data := []byte(strconv.Itoa(i))
		if last {
			data = []byte(end)
		}
		op := coordination.Create(path, data)
		switch {
		case there && !last && r.IntN(3) == 0:
			op = coordination.Delete(path, coordination.AnyVersion)
		case there:
			op = coordination.Set(path, data, coordination.AnyVersion)
		}
		if err := s.Commit(ctx, op); err != nil {
			t.Errorf("change %d of %s: %v", i, path, err)
			return
		}
		there = op.Kind != coordination.OpDelete
	}
}

// watchUntilEnd receives until the end shows, and wants order on the way.
func watchUntilEnd(t *testing.T, ch <-chan coordination.Change, r *rand.Rand) {
	var last coordination.Record
	for {
		var c coordination.Change
		select {
		case c = <-ch:
		case <-time.After(patience):
			t.Error("the last change did not come")
			return
		}
		if c.Err != nil {
			t.Error(c.Err)
			return
		}
		if c.Found {
			if now := c.Record; now.Created < last.Created || now.Created == last.Created && now.Version <= last.Version {
				t.Errorf("%s went from %d/%d to %d/%d", now.Path, last.Created, last.Version, now.Created, now.Version)
			}
			last = c.Record
		}
		if string(c.Record.Data) == end {
			return
		}
		time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
	}
}

func watchLastChild(t *testing.T, b Backend) {
	const changes = 40
	seed := Seed(t)
	ctx := testContext(t)
	writer, reader := b.Open(t), b.Open(t)
	names := []string{"a", "b", "c", "d"}
	var want []string
	var wg sync.WaitGroup
	wg.Go(func() {
		r := newRand(seed)
		for range changes {
			n := names[r.IntN(len(names))]
			op := coordination.Create("dir/"+n, nil)
			i, there := slices.BinarySearch(want, n)
			if there {
				op, want = coordination.Delete("dir/"+n, 0), slices.Delete(want, i, i+1)
			} else {
				want = slices.Insert(want, i, n)
			}
			if err := writer.Commit(ctx, op); err != nil {
				t.Error(err)
				return
			}
		}
		if err := writer.Commit(ctx, coordination.Create("dir/z-end", nil)); err != nil {
			t.Error(err)
		}
	})
	r := newRand(seed + 1)
	got := await(t, reader.WatchChildren(ctx, "dir"), func(l coordination.Listing) bool {
		time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
		return slices.Contains(l.Names, "z-end")
	})
	wg.Wait()
	wantNames(t, got.Names, append(want, "z-end")...)
}

func watchEnds(t *testing.T, b Backend) {
	s := b.Open(t)
	ctx, cancel := context.WithCancel(testContext(t))
	record, names, session := s.Watch(ctx, "a"), s.WatchChildren(ctx, "a"), s.WatchSession(ctx)
	receive(t, record)
	receive(t, names)
	receive(t, session)
	unread := s.Watch(ctx, "a")
	cancel()
	drained(t, record)
	drained(t, names)
	drained(t, session)
	drained(t, unread)
	drained(t, s.Watch(ctx, "a"))
	must(t, s, coordination.Create("a", nil)) // the session goes on
}
