//go:build linux || darwin

package embedded

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"testing"

	"github.com/weirstream/weir/coordination"
)

// A limit on the size of its files stands for a full disk, and makes bbolt fail
// in the same place: before the meta page.
func TestWithoutRoomNothingTakesEffectUntilThereIsRoom(t *testing.T) {
	if out, err := child(t, "limited", tempDB(t)).Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func writeWithoutRoom(path string) error {
	ctx := context.Background()
	db, err := Open(path, Options{})
	if err != nil {
		return err
	}
	s, err := db.NewStore()
	if err != nil {
		return err
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ)
	limit := func(size uint64) error {
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: before.Max})
	}
	large := make([]byte, coordination.MaxData)
	if err := errors.Join(s.Commit(ctx, coordination.Create("a", nil)), limit(64<<10)); err != nil {
		return err
	}
	for i := range int64(3) {
		err := s.Commit(ctx, coordination.Create("large", large), coordination.Set("a", []byte("x"), i))
		if !errors.Is(err, coordination.ErrUnavailable) {
			return fmt.Errorf("commit without room: %v, want %v", err, coordination.ErrUnavailable)
		}
		if _, err := s.Get(ctx, "large"); !errors.Is(err, coordination.ErrNotFound) {
			return fmt.Errorf("read after it: %v, want %v", err, coordination.ErrNotFound)
		}
		if err := s.Commit(ctx, coordination.Set("a", []byte("small"), i)); err != nil {
			return fmt.Errorf("commit for which there is room: %w", err)
		}
	}
	if err := limit(before.Cur); err != nil {
		return err
	}
	if err := s.Commit(ctx, coordination.Check("a", 3), coordination.Create("large", large)); err != nil {
		return fmt.Errorf("commit with room again: %w", err)
	}
	return db.Close()
}
