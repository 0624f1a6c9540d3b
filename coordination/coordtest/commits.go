package coordtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/weirstream/weir/coordination"
)

var commitRules = []rule{
	{"a refused commit writes nothing and names the operation", refusals},
	{"each operation sees those before it", opsInOrder},
	{"a check of absence leaves nothing behind", absenceLeavesNothing},
	{"a commit whose context has ended does nothing", endedContext},
	{"conditional sets lose no update", noLostUpdate},
	{"random commits agree with a model", agreesWithModel},
}

func refusals(t *testing.T, b Backend) {
	s, other := b.Open(t), b.Open(t)
	must(t, other, coordination.CreateEphemeral("eph", nil))
	must(t, s, coordination.Create("dir/there", []byte("x")))
	seeRecord(t, s, "eph", true)
	before, beside := coordination.Create("new", nil), coordination.Set("dir", []byte("y"), 0)
	for _, c := range []struct {
		op   coordination.Op
		want error
	}{
		{coordination.Create("dir/there", nil), coordination.ErrExists},
		{coordination.CreateEphemeral("dir/there", nil), coordination.ErrExists},
		{coordination.Create("eph/below", nil), coordination.ErrEphemeralParent},
		{coordination.Create("eph/far/below", nil), coordination.ErrEphemeralParent},
		{coordination.CreateEphemeral("eph/below", nil), coordination.ErrEphemeralParent},
		{coordination.Set("dir/gone", nil, coordination.AnyVersion), coordination.ErrNotFound},
		{coordination.Set("far/away/gone", nil, 0), coordination.ErrNotFound},
		{coordination.Set("dir/there", nil, 1), coordination.ErrVersion},
		{coordination.Delete("dir/gone", 0), coordination.ErrNotFound},
		{coordination.Delete("dir/there", 1), coordination.ErrVersion},
		{coordination.Delete("dir", coordination.AnyVersion), coordination.ErrNotEmpty},
		{coordination.Check("dir/gone", coordination.AnyVersion), coordination.ErrNotFound},
		{coordination.Check("dir/there", 7), coordination.ErrVersion},
		{coordination.CheckAbsent("dir/there"), coordination.ErrExists},
		{coordination.CheckAbsent("eph/below"), coordination.ErrEphemeralParent},
	} {
		refused(t, s, 0, c.want, c.op, before, beside)
		refused(t, s, 1, c.want, before, c.op, beside)
		refused(t, s, 2, c.want, before, beside, c.op)
		refused(t, s, 1, c.want, before, c.op, c.op) // the first of two
		wantNames(t, children(t, s, ""), "dir", "eph")
		wantNames(t, children(t, s, "dir"), "there")
		if rec := get(t, s, "dir"); rec.Version != 0 || len(rec.Data) != 0 {
			t.Fatalf("%s %s left %+v", c.op.Kind, c.op.Path, rec)
		}
	}
}

func opsInOrder(t *testing.T, b Backend) {
	s := b.Open(t)
	must(t, s,
		coordination.CheckAbsent("a/b"),
		coordination.Create("a/b", []byte("1")),
		coordination.Check("a/b", 0),
		coordination.Set("a/b", []byte("2"), 0),
		coordination.Set("a/b", []byte("3"), 1),
		coordination.Check("a", 0),
	)
	if rec := get(t, s, "a/b"); string(rec.Data) != "3" || rec.Version != 2 {
		t.Fatalf("after create and two sets: %+v", rec)
	}
	must(t, s,
		coordination.Delete("a/b", 2),
		coordination.Delete("a", 0),
		coordination.CreateEphemeral("a", []byte("again")),
	)
	if rec := get(t, s, "a"); string(rec.Data) != "again" || rec.Version != 0 || !rec.Ephemeral {
		t.Fatalf("after delete and create: %+v", rec)
	}
	refused(t, s, 1, coordination.ErrNotFound, coordination.Delete("a", 0), coordination.Set("a", nil, 0))
	refused(t, s, 1, coordination.ErrExists, coordination.Create("c", nil), coordination.CheckAbsent("c"))
}

func absenceLeavesNothing(t *testing.T, b Backend) {
	s := b.Open(t)
	must(t, s, coordination.CheckAbsent("a/b/c"), coordination.CheckAbsent("d"))
	wantNames(t, children(t, s, ""))
	must(t, s, coordination.Create("a", nil))
	must(t, s, coordination.CheckAbsent("a/b/c"), coordination.Set("a", nil, 0))
	wantNames(t, children(t, s, "a"))
}

func endedContext(t *testing.T, b Backend) {
	s := b.Open(t)
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	_, getErr := s.Get(ctx, "a")
	_, childrenErr := s.Children(ctx, "")
	for what, err := range map[string]error{
		"commit": s.Commit(ctx, coordination.Create("a", nil)), "get": getErr, "children": childrenErr,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want %v", what, err, context.Canceled)
		}
	}
	absent(t, s, "a")
}

// noLostUpdate lets several sessions count up one record, and a second one in
// the same commit.
func noLostUpdate(t *testing.T, b Backend) {
	const sessions, each = 4, 15
	setup := b.Open(t)
	must(t, setup, coordination.Create("one", []byte("0")), coordination.Create("two", []byte("0")))
	ctx := testContext(t)
	increment := func(s coordination.Store) error {
		for {
			one, err := s.Get(ctx, "one")
			if err != nil {
				return err
			}
			two, err := s.Get(ctx, "two")
			if err != nil {
				return err
			}
			err = s.Commit(ctx, coordination.Set("one", plusOne(one.Data), one.Version),
				coordination.Set("two", plusOne(two.Data), two.Version))
			if !errors.Is(err, coordination.ErrVersion) {
				return err
			}
		}
	}
	var wg sync.WaitGroup
	errs := make(chan error, sessions*each)
	for range sessions {
		s := b.Open(t)
		wg.Go(func() {
			for range each {
				errs <- increment(s)
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	// A commit of our own makes what others did visible to us.
	must(t, setup, coordination.Set("one", nil, sessions*each), coordination.Check("two", sessions*each))
	if got := string(get(t, setup, "two").Data); got != strconv.Itoa(sessions*each) {
		t.Fatalf("counted to %s of %d", got, sessions*each)
	}
}

func plusOne(data []byte) []byte {
	n, _ := strconv.Atoi(string(data))
	return strconv.AppendInt(nil, int64(n)+1, 10)
}

// agreesWithModel commits random operations from two sessions in turn and
// compares each answer, and now and then everything that is stored.
func agreesWithModel(t *testing.T, b Backend) {
	r := newRand(Seed(t))
	sessions := []coordination.Store{b.Open(t), b.Open(t)}
	ctx := testContext(t)
	m := model{}
	for step := range 250 {
		s := sessions[r.IntN(len(sessions))]
		ops := randomOps(r, m)
		next, index, want := m.commit(ops)
		err := s.Commit(ctx, ops...)
		var c *coordination.ConflictError
		switch {
		case want == nil && err == nil:
			m = next
		case want != nil && errors.Is(err, want) && errors.As(err, &c) && c.Index == index:
		default:
			t.Fatalf("step %d: %v, want %v at operation %d of\n%s", step, err, want, index, describe(ops))
		}
		if step%10 == 0 {
			must(t, s, coordination.Create("seen/"+strconv.Itoa(step), nil))
			m, _, _ = m.commit([]coordination.Op{coordination.Create("seen/"+strconv.Itoa(step), nil)})
			if got := stored(t, s, "", model{}); !maps.EqualFunc(got, m, modelRecord.equal) {
				t.Fatalf("step %d: stored %v, want %v", step, got, m)
			}
		}
	}
}

// model is what should be stored, by path.
type model map[string]modelRecord

type modelRecord struct {
	data      string
	version   int64
	ephemeral bool
}

func (a modelRecord) equal(b modelRecord) bool { return a == b }

func (m model) commit(ops []coordination.Op) (next model, index int, err error) {
	next = maps.Clone(m)
	for i, op := range ops {
		if err := next.apply(op); err != nil {
			return m, i, err
		}
	}
	return next, 0, nil
}

func (m model) apply(op coordination.Op) error {
	rec, found := m[op.Path]
	switch op.Kind {
	case coordination.OpCreate, coordination.OpCreateEphemeral, coordination.OpCheckAbsent:
		if found {
			return coordination.ErrExists
		}
		for p := range m.ancestors(op.Path) {
			if m[p].ephemeral {
				return coordination.ErrEphemeralParent
			}
		}
		if op.Kind == coordination.OpCheckAbsent {
			return nil
		}
		for p := range m.ancestors(op.Path) {
			if _, found := m[p]; !found {
				m[p] = modelRecord{}
			}
		}
		m[op.Path] = modelRecord{data: string(op.Data), ephemeral: op.Kind == coordination.OpCreateEphemeral}
		return nil
	}
	switch {
	case !found:
		return coordination.ErrNotFound
	case op.Version != coordination.AnyVersion && op.Version != rec.version:
		return coordination.ErrVersion
	case op.Kind == coordination.OpSet:
		m[op.Path] = modelRecord{string(op.Data), rec.version + 1, rec.ephemeral}
	case op.Kind == coordination.OpDelete:
		for p := range m {
			if strings.HasPrefix(p, op.Path+"/") {
				return coordination.ErrNotEmpty
			}
		}
		delete(m, op.Path)
	}
	return nil
}

func (m model) ancestors(path string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for p, _ := coordination.Split(path); p != ""; p, _ = coordination.Split(p) {
			if !yield(p) {
				return
			}
		}
	}
}

// randomOps makes operations over few paths, most of them possible.
func randomOps(r *rand.Rand, m model) []coordination.Op {
	ops := make([]coordination.Op, 1+r.IntN(4))
	for i := range ops {
		path := string(rune('a' + r.IntN(3)))
		for range r.IntN(3) {
			path += "/" + string(rune('a'+r.IntN(3)))
		}
		version := m[path].version
		switch r.IntN(4) {
		case 0:
			version++
		case 1:
			version = coordination.AnyVersion
		}
		data := []byte(strconv.Itoa(r.IntN(1000)))
		_, found := m[path]
		switch k := r.IntN(7); {
		case found && k < 3:
			ops[i] = coordination.Set(path, data, version)
		case found && k < 5:
			ops[i] = coordination.Delete(path, version)
		case k < 4:
			ops[i] = coordination.Create(path, data)
		case k == 4:
			ops[i] = coordination.CreateEphemeral(path, data)
		case k == 5:
			ops[i] = coordination.CheckAbsent(path)
		default:
			ops[i] = coordination.Check(path, version)
		}
	}
	return ops
}

func describe(ops []coordination.Op) string {
	lines := make([]string, len(ops))
	for i, op := range ops {
		lines[i] = fmt.Sprintf("%d: %s %s version %d", i, op.Kind, op.Path, op.Version)
	}
	return strings.Join(lines, "\n")
}

// stored reads everything below path.
func stored(t testing.TB, s coordination.Reader, path string, into model) model {
	t.Helper()
	names := children(t, s, path)
	if !slices.IsSorted(names) {
		t.Fatalf("children of %q are not sorted: %q", path, names)
	}
	for _, n := range names {
		p := strings.TrimPrefix(path+"/"+n, "/")
		rec := get(t, s, p)
		into[p] = modelRecord{string(rec.Data), rec.Version, rec.Ephemeral}
		stored(t, s, p, into)
	}
	return into
}
