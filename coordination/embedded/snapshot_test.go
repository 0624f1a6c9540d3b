package embedded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/coordtest"
)

// lockstep is a commit that leaves every record of a set with the same number,
// in records of very different sizes, and one of the set anew each time. That
// makes bbolt move and reuse pages.
const lockstepRecords = 12

func lockstep(n int) []coordination.Op {
	number := strconv.AppendInt(nil, int64(n), 10)
	ops := []coordination.Op{coordination.Create("unique/"+string(number), nil)}
	if n > 3 {
		ops = append(ops, coordination.Delete("unique/"+strconv.Itoa(n-3), 0))
	}
	for i := range lockstepRecords {
		data := append(slices.Clone(number), make([]byte, (n*7919+i*104729)%(1<<(i+4)))...)
		path := "set/" + strconv.Itoa(i)
		if n == 1 {
			ops = append(ops, coordination.Create(path, data))
		} else {
			ops = append(ops, coordination.Set(path, data, int64(n-2)))
		}
	}
	return ops
}

// inStep reads the number that all records of the set have. It is 0 where there
// is no set.
func inStep(t testing.TB, r coordination.Reader) int {
	t.Helper()
	ctx := context.Background()
	number := -1
	for i := range lockstepRecords {
		rec, err := r.Get(ctx, "set/"+strconv.Itoa(i))
		if errors.Is(err, coordination.ErrNotFound) && i == 0 {
			return 0
		}
		if err != nil {
			t.Fatal(err)
		}
		digits := slices.IndexFunc(append(rec.Data, 0), func(b byte) bool { return b == 0 })
		n, err := strconv.Atoi(string(rec.Data[:digits]))
		if err != nil {
			t.Fatal(err)
		}
		if number >= 0 && n != number {
			t.Fatalf("record %d is at %d, those before it at %d: a commit was cut in two", i, n, number)
		}
		number = n
	}
	if _, err := r.Get(ctx, "unique/"+strconv.Itoa(number)); err != nil {
		t.Fatal(err)
	}
	return number
}

func TestASnapshotBesideAWriterIsOneCommit(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	path := tempDB(t)
	db := mustOpen(t, path)
	s := mustStore(t, db)
	commit(t, s, lockstep(1)...)
	ctx, stop := context.WithCancel(context.Background())
	r := newRand(coordtest.Seed(t))
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 2; ctx.Err() == nil; n++ {
			if err := s.Commit(context.Background(), lockstep(n)...); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
		}
	})
	last := 0
	for range 150 {
		snapshot, err := OpenSnapshot(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		n := inStep(t, snapshot)
		if n < last {
			t.Fatalf("a snapshot at %d after one at %d", n, last)
		}
		last = n
		if err := snapshot.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	wg.Wait()
	t.Logf("150 snapshots during %d commits", last)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Fatalf("copies were left: %v, %v", left, err)
	}
}

// A copy into which a commit fell is thrown away, whatever it looks like.
func TestACopyThatMeetsACommitIsNotUsed(t *testing.T) {
	path := tempDB(t)
	db := mustOpen(t, path)
	defer db.Close()
	s := mustStore(t, db)
	commit(t, s, coordination.Create("a", nil))
	from, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.Create(filepath.Join(t.TempDir(), "copy"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	for _, c := range []struct {
		name   string
		during func()
		quiet  bool
	}{
		{"nothing", func() {}, true},
		{"a commit", func() { commit(t, s, coordination.Set("a", nil, coordination.AnyVersion)) }, false},
		{"two commits", func() {
			commit(t, s, coordination.Set("a", nil, coordination.AnyVersion))
			commit(t, s, coordination.Set("a", nil, coordination.AnyVersion))
		}, false},
	} {
		before, err := readMeta(from)
		if err != nil {
			t.Fatal(err)
		}
		c.during()
		quiet, err := copySince(before, to, from)
		if quiet != c.quiet || err != nil {
			t.Errorf("%s: quiet is %t, %v; want %t", c.name, quiet, err, c.quiet)
		}
	}
}

func TestASnapshotIsTriedUntilItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	tries := 0
	err := untilQuiet(ctx, func() (bool, error) {
		if tries++; tries == 4 {
			cancel()
		}
		return false, nil
	})
	if !errors.Is(err, context.Canceled) || tries != 4 {
		t.Fatalf("%v after %d tries, want %v after 4", err, tries, context.Canceled)
	}
}

func TestASnapshotReadsAsAStoreDoes(t *testing.T) {
	path := tempDB(t)
	db := mustOpen(t, path)
	defer db.Close()
	s := mustStore(t, db)
	commit(t, s, coordination.Create("dir/a", []byte("x")), coordination.CreateEphemeral("dir/b", nil))
	snapshot, err := OpenSnapshot(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, coordination.Set("dir/a", []byte("later"), 0))
	ctx := context.Background()
	rec, err := snapshot.Get(ctx, "dir/a")
	if err != nil || string(rec.Data) != "x" || rec.Version != 0 || rec.Created == 0 {
		t.Errorf("get: %+v, %v", rec, err)
	}
	if rec, err := snapshot.Get(ctx, "dir/b"); err != nil || !rec.Ephemeral {
		t.Errorf("get: %+v, %v", rec, err)
	}
	if names, err := snapshot.Children(ctx, "dir"); err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("children: %q, %v", names, err)
	}
	if _, err := snapshot.Get(ctx, "dir/c"); !errors.Is(err, coordination.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	if _, err := snapshot.Get(ctx, "dir//c"); !errors.Is(err, coordination.ErrInvalid) {
		t.Errorf("get: %v", err)
	}
	if err := snapshot.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Get(ctx, "dir/a"); !errors.Is(err, coordination.ErrClosed) {
		t.Errorf("get: %v", err)
	}
}
