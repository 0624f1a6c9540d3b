package storage

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// drivers opens each kind of storage anew.
var drivers = map[string]func(t *testing.T) *Storage{
	"file": func(t *testing.T) *Storage { return openTest(t, "file://"+filepath.ToSlash(t.TempDir())) },
	"mem":  func(t *testing.T) *Storage { return openTest(t, "mem://") },
}

func openTest(t *testing.T, url string) *Storage {
	t.Helper()
	s, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func eachDriver(t *testing.T, test func(t *testing.T, s *Storage)) {
	for name, open := range drivers {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func mustPut(t *testing.T, s *Storage, name string, data []byte) Object {
	t.Helper()
	o, err := s.Put(t.Context(), name, data)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func names(t *testing.T, s *Storage, prefix string) []string {
	t.Helper()
	infos, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, i := range infos {
		all = append(all, i.Name)
	}
	return all
}

func TestAnObjectComesBackByNameSizeAndChecksum(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *Storage) {
		for name, data := range map[string][]byte{
			"u/1/2/node/0/abc": []byte("state"),
			"u/empty":          {},
			"u/large":          bytes.Repeat([]byte("0123456789abcdef"), 1<<17),
		} {
			o := mustPut(t, s, name, data)
			if o.Name != name || o.Size != int64(len(data)) || !strings.HasPrefix(o.Checksum, "sha256:") {
				t.Fatalf("put returned %+v", o)
			}
			got, err := s.Get(t.Context(), o)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("get %s: %d bytes, %v", name, len(got), err)
			}
		}
	})
}

func TestAnObjectThatDoesNotMatchIsRefused(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *Storage) {
		written := mustPut(t, s, "u/1/x", []byte("0123456789"))
		longer, shorter, other := written, written, written
		longer.Size, shorter.Size = 20, 5
		other.Checksum = checksum([]byte("9876543210"))
		for _, c := range []struct {
			o    Object
			want string
		}{
			{longer, "cut short, 10 of 20 bytes"},
			{shorter, "10 bytes where 5 were written"},
			{other, "the checksum of its 10 bytes is"},
		} {
			_, err := s.Get(t.Context(), c.o)
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) ||
				!strings.Contains(err.Error(), "u/1/x") || !strings.Contains(err.Error(), s.String()) {
				t.Errorf("got %v, want corrupt: %s", err, c.want)
			}
		}
		missing := written
		missing.Name = "u/1/y"
		if _, err := s.Get(t.Context(), missing); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "u/1/y") {
			t.Errorf("missing object: %v", err)
		}
	})
}

func TestListingsAreSortedAndBelowThePrefix(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *Storage) {
		for _, n := range []string{"v/1", "u/2/b", "u/10", "u/2/a", "uu/1"} {
			mustPut(t, s, n, []byte(n))
		}
		if got := strings.Join(names(t, s, "u/"), " "); got != "u/10 u/2/a u/2/b" {
			t.Errorf("below u/: %s", got)
		}
		if got := strings.Join(names(t, s, ""), " "); got != "u/10 u/2/a u/2/b uu/1 v/1" {
			t.Errorf("everything: %s", got)
		}
		if got := names(t, s, "nowhere/"); len(got) != 0 {
			t.Errorf("below nothing: %s", got)
		}
	})
}

func TestDeleteOfAnAbsentObjectIsNoError(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *Storage) {
		o := mustPut(t, s, "u/1/x", []byte("x"))
		for range 2 {
			if err := s.Delete(t.Context(), o.Name); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Get(t.Context(), o); !errors.Is(err, ErrNotFound) {
			t.Errorf("after delete: %v", err)
		}
	})
}

func TestNoNameLeadsOutOfTheStorage(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *Storage) {
		for _, name := range []string{"", ".", "..", "../x", "u/../../x", "/etc/passwd", "u//x", "u/./x", "u/"} {
			if _, err := s.Put(t.Context(), name, nil); !errors.Is(err, ErrInvalid) {
				t.Errorf("put %q: %v", name, err)
			}
			if _, err := s.Get(t.Context(), Object{Name: name}); !errors.Is(err, ErrInvalid) {
				t.Errorf("get %q: %v", name, err)
			}
			if err := s.Delete(t.Context(), name); !errors.Is(err, ErrInvalid) {
				t.Errorf("delete %q: %v", name, err)
			}
		}
		if _, err := s.List(t.Context(), "../"); !errors.Is(err, ErrInvalid) {
			t.Errorf("list: %v", err)
		}
	})
}

func TestPutsAndDeletesMayRunAtTheSameTime(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *Storage) {
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for range 50 {
					name := "u/1/" + string(rune('a'+g)) + "/x"
					if _, err := s.Put(t.Context(), name, []byte("x")); err != nil {
						t.Error(err)
					}
					if err := s.Delete(t.Context(), name); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if left := names(t, s, ""); len(left) != 0 {
			t.Errorf("left behind: %s", left)
		}
	})
}

// lying is a driver whose writes change a byte.
type lying struct{ Driver }

func (l lying) Write(ctx context.Context, name string, data []byte) error {
	bad := bytes.Clone(data)
	bad[0]++
	return l.Driver.Write(ctx, name, bad)
}

func TestPutReadsBackWhatItWrote(t *testing.T) {
	s := drivers["mem"](t)
	bad := New(lying{s.driver}, "test://")
	if _, err := bad.Put(t.Context(), "u/1/x", []byte("x")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	if left := names(t, s, ""); len(left) != 0 {
		t.Errorf("left behind: %s", left)
	}
}

func TestFaultsOfAURLAreNamedWithoutItsSecrets(t *testing.T) {
	for url, want := range map[string]string{
		"s3://bucket/x?secret=hush":       `scheme "s3" is not one of file, mem`,
		"ftp://user:hush@host/x":          `scheme "ftp" is not one of file, mem`,
		"/var/lib/weir":                   `scheme "" is not one of`,
		"file://relative/path":            "file:///var/lib/weir",
		"file:///x?hush=1":                "file:///var/lib/weir",
		"file:///hush%zz":                 "invalid URL escape",
		"file://" + "/dev/null/no-folder": "not a directory",
	} {
		_, err := Open(t.Context(), url)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the error tells a secret: %v", url, err)
		}
	}
}
