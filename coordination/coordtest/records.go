package coordtest

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/coordination"
)

var recordRules = []rule{
	{"a record is created, read, set and deleted", recordLife},
	{"a version counts sets and restarts with the record", versionRestarts},
	{"creation numbers grow with each commit", creationGrows},
	{"ancestors come with the first descendant and stay", ancestors},
	{"children are named in byte order", childrenOrder},
	{"put writes whatever is there", putOverwrites},
	{"delete tree removes everything below, and nothing beside", deleteTree},
	{"a malformed path is refused", malformedPaths},
	{"data is kept up to the limit and refused above", dataLimit},
	{"a commit above the limit is refused", commitLimit},
	{"data belongs to who gave it and who got it", dataIsCopied},
}

func recordLife(t *testing.T, b Backend) {
	s := b.Open(t)
	must(t, s, coordination.Create("a", []byte("one")))
	rec := get(t, s, "a")
	if string(rec.Data) != "one" || rec.Version != 0 || rec.Ephemeral || rec.Created == 0 {
		t.Fatalf("after create: %+v", rec)
	}
	must(t, s, coordination.Set("a", []byte("two"), 0))
	if rec := get(t, s, "a"); string(rec.Data) != "two" || rec.Version != 1 {
		t.Fatalf("after set: %+v", rec)
	}
	must(t, s, coordination.Set("a", nil, coordination.AnyVersion))
	if rec := get(t, s, "a"); len(rec.Data) != 0 || rec.Version != 2 {
		t.Fatalf("after set to nothing: %+v", rec)
	}
	must(t, s, coordination.Check("a", 2), coordination.Delete("a", 2))
	absent(t, s, "a")
	must(t, s, coordination.CheckAbsent("a"))
}

func versionRestarts(t *testing.T, b Backend) {
	s := b.Open(t)
	must(t, s, coordination.Create("a", nil))
	must(t, s, coordination.Set("a", nil, 0))
	old := get(t, s, "a")
	must(t, s, coordination.Delete("a", 1))
	must(t, s, coordination.Create("a", nil))
	must(t, s, coordination.Set("a", nil, 0))
	again := get(t, s, "a")
	if again.Version != old.Version {
		t.Fatalf("version %d after the same steps, want %d", again.Version, old.Version)
	}
	if again.Created <= old.Created {
		t.Fatalf("created %d, not after %d", again.Created, old.Created)
	}
}

func creationGrows(t *testing.T, b Backend) {
	s, other := b.Open(t), b.Open(t)
	must(t, s, coordination.Create("a", nil), coordination.Create("b/c", nil))
	a, parent, c := get(t, s, "a"), get(t, s, "b"), get(t, s, "b/c")
	if a.Created != c.Created || a.Created != parent.Created {
		t.Fatalf("one commit created %d, %d and %d", a.Created, parent.Created, c.Created)
	}
	must(t, other, coordination.Create("d", nil))
	d := get(t, other, "d")
	if d.Created <= a.Created {
		t.Fatalf("created %d, not after %d", d.Created, a.Created)
	}
	must(t, s, coordination.Set("a", []byte("x"), 0))
	if got := get(t, s, "a").Created; got != a.Created {
		t.Fatalf("set changed the creation number from %d to %d", a.Created, got)
	}
}

func ancestors(t *testing.T, b Backend) {
	s := b.Open(t)
	must(t, s, coordination.Create("a/b/c", []byte("x")))
	for _, path := range []string{"a", "a/b"} {
		if rec := get(t, s, path); len(rec.Data) != 0 || rec.Version != 0 || rec.Ephemeral {
			t.Fatalf("ancestor: %+v", rec)
		}
	}
	refused(t, s, 0, coordination.ErrExists, coordination.Create("a/b", nil))
	refused(t, s, 0, coordination.ErrNotEmpty, coordination.Delete("a/b", coordination.AnyVersion))
	refused(t, s, 0, coordination.ErrVersion, coordination.Delete("a/b", 1)) // the version is looked at first
	must(t, s, coordination.Set("a/b", []byte("data"), 0))
	must(t, s, coordination.Delete("a/b/c", 0))
	wantNames(t, children(t, s, "a"), "b")
	must(t, s, coordination.CreateEphemeral("e/f", nil))
	if get(t, s, "e").Ephemeral {
		t.Fatal("the ancestor of an ephemeral record is ephemeral")
	}
	must(t, s, coordination.Delete("a/b", 1))
	absent(t, s, "a/b")
}

func childrenOrder(t *testing.T, b Backend) {
	s := b.Open(t)
	// The names surround what separates paths in a file or on the wire.
	names := []string{"a", "a!", "a-b", "a.b", "a0", "b", "é", "日"}
	for i, n := range slices.Backward(names) {
		must(t, s, coordination.Create("dir/"+n, nil))
		if i%2 == 0 {
			must(t, s, coordination.Create("dir/"+n+"/below", nil))
		}
	}
	must(t, s, coordination.Create("dir-beside", nil), coordination.Create("di", nil))
	wantNames(t, children(t, s, "dir"), names...)
	wantNames(t, children(t, s, ""), "di", "dir", "dir-beside")
	wantNames(t, children(t, s, "dir/b"))
	wantNames(t, children(t, s, "not/there"))
}

func putOverwrites(t *testing.T, b Backend) {
	s := b.Open(t)
	for i, data := range []string{"one", "two"} {
		if err := coordination.Put(testContext(t), s, "a/b", []byte(data)); err != nil {
			t.Fatal(err)
		}
		if rec := get(t, s, "a/b"); string(rec.Data) != data || rec.Version != int64(i) {
			t.Fatalf("after put: %+v", rec)
		}
	}
}

func deleteTree(t *testing.T, b Backend) {
	s := b.Open(t)
	must(t, s, coordination.Create("a/b/c", nil), coordination.Create("a/b/d/e", nil),
		coordination.Create("a/f", nil), coordination.CreateEphemeral("a/g", nil),
		coordination.Create("ab", nil), coordination.Create("a-b", nil))
	for range 2 { // the second finds nothing, which is no error
		if err := coordination.DeleteTree(testContext(t), s, "a"); err != nil {
			t.Fatal(err)
		}
		wantNames(t, children(t, s, ""), "a-b", "ab")
		wantNames(t, children(t, s, "a"))
	}
}

func malformedPaths(t *testing.T, b Backend) {
	s := b.Open(t)
	ctx := testContext(t)
	for _, path := range []string{
		"", "/", "/a", "a/", "a//b", ".", "a/./b", "..", "a/..", "a\x00b", "a\nb", "a\x7f", "a\u0085",
		"a\xff", "a\ue000b", "a\ufff0", "a\U0001F600", strings.Repeat("a", coordination.MaxPath+1),
	} {
		_, err := s.Get(ctx, path)
		_, childrenErr := s.Children(ctx, path)
		if path == "" {
			childrenErr = coordination.ErrInvalid // the root has children
		}
		change := receive(t, s.Watch(ctx, path))
		for what, err := range map[string]error{
			"get": err, "children": childrenErr, "watch": change.Err,
			"create":    s.Commit(ctx, coordination.Create(path, nil)),
			"ephemeral": s.Commit(ctx, coordination.CreateEphemeral(path, nil)),
			"set":       s.Commit(ctx, coordination.Set(path, nil, 0)),
			"delete":    s.Commit(ctx, coordination.Delete(path, 0)),
			"check":     s.Commit(ctx, coordination.Create("fine", nil), coordination.Check(path, 0)),
			"absence":   s.Commit(ctx, coordination.CheckAbsent(path)),
			"tree":      coordination.DeleteTree(ctx, s, path),
		} {
			if !errors.Is(err, coordination.ErrInvalid) {
				t.Errorf("%s of %q: %v, want %v", what, path, err, coordination.ErrInvalid)
			}
		}
	}
	for what, err := range map[string]error{
		"an empty commit":    s.Commit(ctx),
		"an unmade op":       s.Commit(ctx, coordination.Op{Path: "a"}),
		"a negative version": s.Commit(ctx, coordination.Set("a", nil, -2)),
	} {
		if !errors.Is(err, coordination.ErrInvalid) {
			t.Errorf("%s: %v, want %v", what, err, coordination.ErrInvalid)
		}
	}
	wantNames(t, children(t, s, ""))
	longest := strings.Repeat("a/", coordination.MaxPath/2-1) + "bb"
	must(t, s, coordination.Create(longest, nil), coordination.Create("... a:b@c%\u200d", nil))
	get(t, s, longest)
	get(t, s, "... a:b@c%\u200d")
}

func dataLimit(t *testing.T, b Backend) {
	s := b.Open(t)
	data := make([]byte, coordination.MaxData)
	r := newRand(Seed(t))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	must(t, s, coordination.Create("a", data))
	if rec := get(t, s, "a"); !bytes.Equal(rec.Data, data) {
		t.Fatal("the data came back changed")
	}
	more := append(data, 0)
	for _, op := range []coordination.Op{
		coordination.Create("b", more), coordination.CreateEphemeral("b", more), coordination.Set("a", more, 0),
	} {
		err := s.Commit(testContext(t), op)
		if !errors.Is(err, coordination.ErrTooLarge) || !strings.Contains(err.Error(), "524289 bytes") ||
			!strings.Contains(err.Error(), op.Path) {
			t.Errorf("%s of one byte too many: %v", op.Kind, err)
		}
	}
	absent(t, s, "b")
	if rec := get(t, s, "a"); rec.Version != 0 {
		t.Fatalf("a refused set left %d", rec.Version)
	}
}

func commitLimit(t *testing.T, b Backend) {
	s := b.Open(t)
	const paths = 3 * (1 + 64)
	first := make([]byte, coordination.MaxData)
	rest := make([]byte, coordination.MaxCommit-coordination.MaxData-paths)
	ops := []coordination.Op{coordination.Create("a", first), coordination.Create("b", rest), coordination.Create("c", nil)}
	over := slices.Clone(ops)
	over[2].Data = []byte{0}
	if err := s.Commit(testContext(t), over...); !errors.Is(err, coordination.ErrTooLarge) {
		t.Fatalf("one byte too many: %v", err)
	}
	wantNames(t, children(t, s, ""))
	must(t, s, ops...)
	if got := len(get(t, s, "b").Data); got != len(rest) {
		t.Fatalf("%d bytes came back of %d", got, len(rest))
	}
}

func dataIsCopied(t *testing.T, b Backend) {
	s := b.Open(t)
	want := bytes.Repeat([]byte("given"), 4000)
	scribble := func(data []byte) { copy(data, bytes.Repeat([]byte{'X'}, len(data))) }
	unchanged := func(whose string) {
		t.Helper()
		rec := get(t, s, "a")
		if !bytes.Equal(rec.Data, want) {
			t.Fatalf("a later write by the %s shows", whose)
		}
		scribble(rec.Data)
	}
	data := bytes.Clone(want)
	must(t, s, coordination.Create("a", data))
	scribble(data)
	unchanged("giver")
	unchanged("reader")
	scribble(receive(t, s.Watch(testContext(t), "a")).Record.Data)
	unchanged("watcher")
}
