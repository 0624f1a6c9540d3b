package embedded

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/coordtest"
)

func TestContract(t *testing.T) {
	coordtest.Run(t, func(t testing.TB) coordtest.Backend { return openBackend(t) })
}

type backend struct {
	path string
	db   *DB
}

func openBackend(t testing.TB) *backend {
	t.Helper()
	b := &backend{path: filepath.Join(t.TempDir(), "coordination.db")}
	b.db = mustOpen(t, b.path)
	t.Cleanup(func() {
		if err := b.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *backend) Open(t testing.TB) coordination.Store { return mustStore(t, b.db) }

func (b *backend) Expire(t testing.TB, s coordination.Store) {
	if err := s.(*Store).Expire(); err != nil {
		t.Error(err)
	}
}

func (b *backend) Restart(t testing.TB) {
	t.Helper()
	if err := b.db.Close(); err != nil {
		t.Fatal(err)
	}
	b.db = mustOpen(t, b.path)
}

func mustOpen(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func mustStore(t testing.TB, db *DB) *Store {
	t.Helper()
	s, err := db.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
