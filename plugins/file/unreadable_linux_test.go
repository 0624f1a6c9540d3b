package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weirstream/weir/sdk"
)

// asNobody runs f with the rights of a user who owns nothing, where the test has
// more.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	runtime.LockOSThread() // the rights are the thread's
	defer runtime.UnlockOSThread()
	if _, err := unix.SetfsuidRetUid(65534); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := unix.SetfsuidRetUid(0); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// openDir returns a folder that everyone may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAFileThatMayNotBeReadIsTold(t *testing.T) {
	dir := openDir(t)
	path := filepath.Join(dir, "secret.txt")
	write(t, path, "one\n")
	s := &source{cfg: &SourceConfig{Path: dir}, task: testTask(1000)}
	split := splitOf(t, s)
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		faults := s.cfg.Probe(t.Context(), sdk.Probe{})
		if len(faults) != 1 || faults[0].Field != "path" {
			t.Fatalf("faults: %v", faults)
		}
		wantError(t, faults[0], path, "may not be read by this user: give it the right to")
		_, err := s.Open(t.Context(), split, nil)
		wantError(t, err, path, "may not be read by this user")
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v is no fs.ErrPermission", err)
		}
	})
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		_, err := s.cfg.list()
		wantError(t, err, dir, "may not be read by this user")
	})
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestAFolderThatMayNotBeWrittenToIsTold(t *testing.T) {
	dir := openDir(t)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		_, err := openWriter(osDisk{}, &SinkConfig{Path: dir + "/new/"}, newSinkTask(), nil)
		wantError(t, err, dir, "permission denied")
	})
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}
