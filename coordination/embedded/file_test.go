package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"go.etcd.io/bbolt"
)

func tempDB(t testing.TB) string { return filepath.Join(t.TempDir(), "coordination.db") }

func commit(t testing.TB, s coordination.Store, ops ...coordination.Op) {
	t.Helper()
	if err := s.Commit(context.Background(), ops...); err != nil {
		t.Fatal(err)
	}
}

// written returns the path of a closed database with some records in it.
func written(t testing.TB) string {
	t.Helper()
	path := tempDB(t)
	db := mustOpen(t, path)
	s := mustStore(t, db)
	for i := range 20 {
		commit(t, s, coordination.Create(fmt.Sprintf("records/%d", i), make([]byte, 5000)))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestASecondOpenIsRefused(t *testing.T) {
	path := tempDB(t)
	db := mustOpen(t, path)
	_, err := Open(path, Options{LockTimeout: time.Millisecond})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Fatalf("second open: %v, want %v with the path", err, ErrLocked)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mustOpen(t, path).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyTheDatabaseLiesInItsFolder(t *testing.T) {
	path := tempDB(t)
	// What a process killed while it created the database leaves.
	stale := func(when string) {
		if err := os.WriteFile(path+".new-"+when, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stale("before")
	if err := mustOpen(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	stale("after")
	db := mustOpen(t, path)
	defer db.Close()
	s, err := OpenSnapshot(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v, want one file", entries, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v, want a file for its owner alone", info.Mode(), err)
	}
}

func TestADamagedFileIsAnErrorAndStaysAsItIs(t *testing.T) {
	truncate := func(size int64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.Truncate(path, size); err != nil {
				t.Fatal(err)
			}
		}
	}
	overwrite := func(from, to int64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt([]byte(strings.Repeat("garbage ", int(to-from)/8)), from)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		damage func(*testing.T, string)
		want   string
	}{
		{"emptied", truncate(0), "shorter than 8192 bytes"},
		{"cut within the meta pages", truncate(5000), "shorter than 8192 bytes"},
		{"cut behind the meta pages", truncate(8192), "cut short, 8192 bytes of"},
		{"cut by half", truncate(65536), "cut short, 65536 bytes of"},
		{"both meta pages overwritten", overwrite(0, 8192), "no valid meta page"},
		{"all but the meta pages overwritten", overwrite(8192, 65536), ""},
		{"something else", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("a log line\n", 2000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "no valid meta page"},
		{"of another program", func(t *testing.T, path string) { rewrite(t, path, (*bbolt.Tx).DeleteBucket) }, "something else"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := written(t)
			c.damage(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, openErr := Open(path, Options{})
			_, snapshotErr := OpenSnapshot(context.Background(), path)
			for what, err := range map[string]error{"open": openErr, "snapshot": snapshotErr} {
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("%s: %v, want %v with %q and the path", what, err, ErrDamaged, c.want)
				}
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
				t.Errorf("the file was changed, %v", err)
			}
		})
	}
}

// rewrite changes the format bucket behind the package's back.
func rewrite(t *testing.T, path string, change func(*bbolt.Tx, []byte) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { return change(tx, bucketFormat) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestANewerFormatIsRefused(t *testing.T) {
	path := written(t)
	rewrite(t, path, func(tx *bbolt.Tx, name []byte) error {
		return tx.Bucket(name).Put(keyFormat, []byte{0, 0, 0, 0, 0, 0, 0, format + 1})
	})
	_, openErr := Open(path, Options{})
	_, snapshotErr := OpenSnapshot(context.Background(), path)
	for what, err := range map[string]error{"open": openErr, "snapshot": snapshotErr} {
		if err == nil || !strings.Contains(err.Error(), "format is 2, and format 1 is known") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAMissingFolderOrFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "coordination.db")
	if _, err := Open(path, Options{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("open: %v", err)
	}
	if _, err := OpenSnapshot(context.Background(), path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("snapshot: %v", err)
	}
}

func TestAClosedDatabaseOpensNoStore(t *testing.T) {
	db := mustOpen(t, tempDB(t))
	for range 2 {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.NewStore(); !errors.Is(err, coordination.ErrClosed) {
		t.Fatalf("new store: %v, want %v", err, coordination.ErrClosed)
	}
}

// A failed sync leaves bbolt showing a transaction that may not be on disk. The
// test says so of one that is.
func TestAFailedSyncEndsEverySession(t *testing.T) {
	path := tempDB(t)
	db := mustOpen(t, path)
	s := mustStore(t, db)
	l, err := coordination.Campaign(context.Background(), s, "job", nil)
	if err != nil {
		t.Fatal(err)
	}
	var visible int
	if err := db.bolt.View(func(tx *bbolt.Tx) error { visible = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("sync failed")
	if err := db.commitFailed(visible+1, cause); !errors.Is(err, coordination.ErrUnavailable) || !errors.Is(err, cause) {
		t.Fatalf("a transaction that does not show: %v", err)
	}
	commit(t, s, coordination.Create("goes/on", nil))
	if err := db.bolt.View(func(tx *bbolt.Tx) error { visible = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := db.commitFailed(visible, cause); !errors.Is(err, coordination.ErrUnknownOutcome) || !errors.Is(err, cause) {
		t.Fatalf("a transaction that shows: %v", err)
	}
	<-l.Lost()
	if _, err := s.Get(context.Background(), "goes/on"); !errors.Is(err, coordination.ErrSessionLost) || !errors.Is(err, cause) {
		t.Errorf("get: %v", err)
	}
	if _, err := db.NewStore(); !errors.Is(err, coordination.ErrUnavailable) || !errors.Is(err, cause) {
		t.Errorf("new store: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, path)
	defer db.Close()
	if _, err := mustStore(t, db).Get(context.Background(), "goes/on"); err != nil {
		t.Fatal(err)
	}
}

func TestACommitThatWaitedWhileItsSessionEndedDoesNothing(t *testing.T) {
	db := mustOpen(t, tempDB(t))
	defer db.Close()
	s := mustStore(t, db)
	ctx := context.Background()
	var commit, expire error
	var wg sync.WaitGroup
	db.writing <- struct{}{} // it is somebody else's turn
	wg.Go(func() { commit = s.Commit(ctx, coordination.Create("a", nil)) })
	time.Sleep(time.Millisecond) // most likely it waits now; the rule holds also if not
	wg.Go(func() { expire = s.Expire() })
	<-s.ended
	<-db.writing
	wg.Wait()
	if !errors.Is(commit, coordination.ErrSessionLost) || expire != nil {
		t.Errorf("commit: %v, expire: %v", commit, expire)
	}
	if _, err := mustStore(t, db).Get(ctx, "a"); !errors.Is(err, coordination.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
}

func TestACommitWaitsForItsTurnNoLongerThanItsContext(t *testing.T) {
	db := mustOpen(t, tempDB(t))
	defer db.Close()
	s := mustStore(t, db)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	db.writing <- struct{}{}
	err := s.Commit(ctx, coordination.Create("a", nil))
	<-db.writing
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, coordination.ErrUnknownOutcome) {
		t.Fatalf("commit: %v", err)
	}
}
