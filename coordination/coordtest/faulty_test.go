package coordtest_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/coordtest"
	"github.com/weirstream/weir/coordination/embedded"
)

func TestAFaultDoesWhatItSays(t *testing.T) {
	db, err := embedded.Open(filepath.Join(t.TempDir(), "coordination.db"), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := db.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, c := range []struct {
		path      string
		fault     coordtest.Fault
		want      error
		tookPlace bool
	}{
		{"no-fault", coordtest.NoFault, nil, true},
		{"lost-request", coordtest.LoseRequest, coordination.ErrUnknownOutcome, false},
		{"lost-reply", coordtest.LoseReply, coordination.ErrUnknownOutcome, true},
		{"unreachable", coordtest.Unreachable, coordination.ErrUnavailable, false},
	} {
		f := coordtest.NewFaulty(store, coordtest.Once(c.fault, func(ops []coordination.Op) bool {
			return ops[0].Path == c.path
		}))
		if err := f.Commit(ctx, coordination.Create("other/"+c.path, nil)); err != nil {
			t.Errorf("%s: a commit that does not match: %v", c.path, err)
		}
		if err := f.Commit(ctx, coordination.Create(c.path, nil)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.path, err, c.want)
		}
		_, err := f.Get(ctx, c.path)
		if tookPlace := err == nil; tookPlace != c.tookPlace {
			t.Errorf("%s: it took place: %t, want %t", c.path, tookPlace, c.tookPlace)
		}
		if err := f.Commit(ctx, coordination.CheckAbsent(c.path)); (err == nil) == c.tookPlace || errors.Is(err, coordination.ErrUnknownOutcome) {
			t.Errorf("%s: the second commit that matches: %v", c.path, err)
		}
	}
}

func TestFaultsRepeatFromTheirSeed(t *testing.T) {
	draw := func() (faults [200]coordtest.Fault) {
		decide := coordtest.Randomly(42, 0.5)
		for i := range faults {
			faults[i] = decide(nil)
		}
		return faults
	}
	first := draw()
	if first != draw() {
		t.Fatal("the same seed gave other faults")
	}
	counts := map[coordtest.Fault]int{}
	for _, f := range first {
		counts[f]++
	}
	if len(counts) != 4 {
		t.Fatalf("faults drawn: %v, want each of four", counts)
	}
}
