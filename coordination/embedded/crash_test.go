//go:build linux || darwin

package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/coordtest"
)

// Tests that need another process start this binary again with a role.
const (
	envRole = "WEIR_TEST_ROLE"
	envPath = "WEIR_TEST_PATH"
)

var roles = map[string]func(path string) error{
	"lockstep": lockstepForever,
	"limited":  writeWithoutRoom,
}

func TestMain(m *testing.M) {
	if role := roles[os.Getenv(envRole)]; role != nil {
		if err := role(os.Getenv(envPath)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func child(t testing.TB, role, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envRole+"="+role, envPath+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// lockstepForever commits in lockstep from where the file is, beside an
// ephemeral record, and prints each number once its commit has returned.
func lockstepForever(path string) error {
	ctx := context.Background()
	db, err := Open(path, Options{})
	if err != nil {
		return err
	}
	s, err := db.NewStore()
	if err != nil {
		return err
	}
	if err := s.Commit(ctx, coordination.CreateEphemeral("alive", nil)); err != nil {
		return err
	}
	n := 0
	if rec, err := s.Get(ctx, "set/0"); err == nil {
		n = int(rec.Version) + 1
	} else if !errors.Is(err, coordination.ErrNotFound) {
		return err
	}
	for {
		n++
		if err := s.Commit(ctx, lockstep(n)...); err != nil {
			return fmt.Errorf("commit %d: %w", n, err)
		}
		fmt.Println(n)
	}
}

// Whatever the moment of the kill, the file opens, holds each commit whole or
// not at all, none that was reported is missing, and nobody is alive in it.
func TestAKilledProcessLeavesWholeCommits(t *testing.T) {
	r := newRand(coordtest.Seed(t))
	path, reported := tempDB(t), 0
	for round := range 40 {
		if r.IntN(4) == 0 { // be killed while creating the file, too
			path, reported = tempDB(t), 0
		}
		acked := killAtRandom(t, r, path)
		low := max(reported, acked)
		reported = checkAfterKill(t, path, low, low+1)
		t.Logf("round %d: %d commits reported, %d found", round, acked, reported)
	}
}

// killAtRandom runs the process, kills it after some commits and a little time,
// and returns the last number that it reported.
func killAtRandom(t *testing.T, r *rand.Rand, path string) (acked int) {
	t.Helper()
	cmd := child(t, "lockstep", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	commits, more := r.IntN(6), time.Duration(r.IntN(5000))*time.Microsecond
	if commits == 0 {
		more *= 4 // into the start
	}
	for range commits {
		if lines.Scan() {
			acked, _ = strconv.Atoi(lines.Text())
		}
	}
	time.Sleep(more)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		acked, _ = strconv.Atoi(lines.Text())
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the process ended by itself: %v", cmd.ProcessState)
	}
	return acked
}

func checkAfterKill(t *testing.T, path string, low, high int) (found int) {
	t.Helper()
	ctx := context.Background()
	snapshot, err := OpenSnapshot(ctx, path)
	seen := 0
	if err == nil {
		seen = inStep(t, snapshot)
		err = snapshot.Close()
	} else if errors.Is(err, os.ErrNotExist) && high <= 1 {
		err = nil
	}
	if err != nil {
		t.Fatal(err)
	}
	db := mustOpen(t, path)
	defer db.Close()
	s := mustStore(t, db)
	found = inStep(t, s)
	if found != seen || found < low || found > high {
		t.Fatalf("found %d, a snapshot before it %d; want %d to %d", found, seen, low, high)
	}
	if _, err := s.Get(ctx, "alive"); !errors.Is(err, coordination.ErrNotFound) {
		t.Fatalf("an ephemeral record of the dead process: %v", err)
	}
	if left, err := filepath.Glob(path + ".new-*"); err != nil || len(left) > 0 {
		t.Fatalf("left beside the database: %q, %v", left, err)
	}
	return found
}
