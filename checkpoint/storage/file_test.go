package storage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func openFolder(t *testing.T) (*Storage, *fileDriver, string) {
	dir := filepath.Join(t.TempDir(), "state")
	s := openTest(t, "file://"+filepath.ToSlash(dir))
	return s, s.driver.(*fileDriver), dir
}

func TestAFullDiskIsNamedAndLeavesNothingBehind(t *testing.T) {
	s, d, dir := openFolder(t)
	d.fill = func(f *os.File, data []byte) error {
		if _, err := f.Write(data[:len(data)/2]); err != nil {
			return err
		}
		return &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	_, err := s.Put(t.Context(), "u/1/2/node/0/x", []byte("0123456789"))
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "storage full") {
		t.Fatalf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	d.fill = fill
	mustPut(t, s, "u/1/2/node/0/x", []byte("0123456789"))
}

func TestAStorageThatWasRemovedIsNotMadeAnew(t *testing.T) {
	for name, remove := range map[string]func(t *testing.T, dir string){
		"removed": func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) },
		"replaced": func(t *testing.T, dir string) {
			must(t, os.Rename(dir, dir+".away"))
			must(t, os.Mkdir(dir, 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, dir := openFolder(t)
			o := mustPut(t, s, "u/1/x", []byte("x"))
			remove(t, dir)
			_, put := s.Put(t.Context(), "u/2/x", []byte("x"))
			_, list := s.List(t.Context(), "")
			for op, err := range map[string]error{"put": put, "list": list, "delete": s.Delete(t.Context(), o.Name)} {
				if !errors.Is(err, ErrGone) {
					t.Errorf("%s: got %v", op, err)
				}
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("made in its place: %v", left)
			}
		})
	}
}

func TestAReadFromARemovedStorageSaysSo(t *testing.T) {
	s, _, dir := openFolder(t)
	o := mustPut(t, s, "u/1/x", []byte("x"))
	must(t, os.RemoveAll(dir))
	if _, err := s.Get(t.Context(), o); !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
}

func TestAFileThatWasCutShortOnDiskIsRefused(t *testing.T) {
	s, _, dir := openFolder(t)
	o := mustPut(t, s, "u/1/x", []byte("0123456789"))
	must(t, os.Truncate(filepath.Join(dir, "u", "1", "x"), 4))
	if _, err := s.Get(t.Context(), o); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "4 of 10") {
		t.Errorf("got %v", err)
	}
}

func TestAnInterruptedWriteIsListedToBeCollected(t *testing.T) {
	s, d, _ := openFolder(t)
	d.fill = func(*os.File, []byte) error { panic("killed") }
	func() {
		defer func() { _ = recover() }()
		_, _ = s.Put(t.Context(), "u/1/x", []byte("x"))
	}()
	left := names(t, s, "u/")
	if len(left) != 1 || left[0] != "u/1/x.partial" {
		t.Fatalf("listed: %s", left)
	}
	must(t, s.Delete(t.Context(), left[0]))
	if left := names(t, s, ""); len(left) != 0 {
		t.Errorf("left behind: %s", left)
	}
}

func TestFoldersThatBecomeEmptyGo(t *testing.T) {
	s, _, dir := openFolder(t)
	mustPut(t, s, "u/1/1/a/0/x", []byte("x"))
	mustPut(t, s, "u/1/1/b/0/x", []byte("x"))
	must(t, s.Delete(t.Context(), "u/1/1/a/0/x"))
	if _, err := os.Stat(filepath.Join(dir, "u", "1", "1", "a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty folder stays: %v", err)
	}
	must(t, s.Delete(t.Context(), "u/1/1/b/0/x"))
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAStorageIsMadeWithItsParents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	s := openTest(t, "file://"+filepath.ToSlash(dir))
	o := mustPut(t, s, "u/1/x", []byte("x"))
	again := openTest(t, "file://"+filepath.ToSlash(dir))
	if _, err := again.Get(t.Context(), o); err != nil {
		t.Error(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
