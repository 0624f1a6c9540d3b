package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
)

// damage changes what a record's manifest names, or the manifest itself.
func (d *desk) damage(r checkpoint.Record, what string) {
	d.Helper()
	switch what {
	case "":
	case "manifest gone":
		d.must(d.st.Delete(d.Context(), r.Manifest.Name))
	case "object gone":
		m, err := checkpoint.ReadManifest(d.Context(), d.st, r)
		d.must(err)
		d.must(d.st.Delete(d.Context(), m.Objects()[0].Name))
	case "object changed":
		m, err := checkpoint.ReadManifest(d.Context(), d.st, r)
		d.must(err)
		name := m.Objects()[0].Name
		d.must(d.st.Delete(d.Context(), name))
		_, err = d.st.Put(d.Context(), name, []byte("something else"))
		d.must(err)
	}
}

func (d *desk) choose(o checkpoint.RestoreOptions) (checkpoint.Choice, error) {
	return checkpoint.Choose(d.Context(), d.st, d.load(), o)
}

func TestTheNewestRecordIsRestoredUnlessItIsDamaged(t *testing.T) {
	retract := checkpoint.RestoreOptions{Retract: true}
	accept := checkpoint.RestoreOptions{AcceptDuplicates: true}
	// Records 1, 2 and 3; whether 2 and 3 list output.
	for _, c := range []struct {
		name      string
		output    [4]bool
		damage    [4]string
		options   checkpoint.RestoreOptions
		want      uint64
		refused   string
		retract   bool
		duplicate bool
	}{
		{name: "whole", output: [4]bool{3: true}, want: 3},
		{name: "no output", damage: [4]string{3: "object gone"}, want: 2},
		{name: "no output, changed", damage: [4]string{3: "object changed"}, want: 2},
		{name: "no output twice", damage: [4]string{3: "manifest gone", 2: "object gone"}, want: 1},
		{name: "no output at all", damage: [4]string{3: "object gone", 2: "object gone", 1: "object gone"}, want: 0},
		{name: "output", output: [4]bool{3: true}, damage: [4]string{3: "object gone"}, refused: "checkpoint 3 cannot be restored"},
		{name: "output, manifest", output: [4]bool{3: true}, damage: [4]string{3: "manifest gone"}, refused: "its output may be published"},
		{name: "output before", output: [4]bool{2: true}, damage: [4]string{3: "object gone"}, want: 2},
		{name: "output on the way", output: [4]bool{2: true}, damage: [4]string{3: "object gone", 2: "object gone"}, refused: "checkpoint 2 cannot be restored"},
		{name: "retract", output: [4]bool{3: true}, damage: [4]string{3: "object gone"}, options: retract, want: 2, retract: true},
		{name: "nothing to retract", damage: [4]string{3: "object gone"}, options: retract, want: 2},
		{name: "accept", output: [4]bool{3: true}, damage: [4]string{3: "object gone"}, options: accept, want: 2, retract: true, duplicate: true},
		{name: "nothing to accept", options: accept, want: 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			for n := 1; n <= 3; n++ {
				var files []string
				if c.output[n] {
					files = []string{fmt.Sprint("f", n)}
				}
				r := d.complete(nil, files...)
				d.damage(r, c.damage[n])
			}
			got, err := d.choose(c.options)
			if c.refused != "" {
				var refused *checkpoint.RestoreError
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.refused) {
					t.Fatalf("got %v, want %s", err, c.refused)
				}
				return
			}
			d.must(err)
			if got.N() != c.want || got.Retract != c.retract || got.AcceptedDuplicates != c.duplicate {
				t.Errorf("got %d, retract %v, duplicates %v", got.N(), got.Retract, got.AcceptedDuplicates)
			}
			if got.N() > 0 && got.Manifest.N != got.N() {
				t.Errorf("manifest of %d", got.Manifest.N)
			}
		})
	}
}

func TestAFinishedPipelineNeedsNoState(t *testing.T) {
	d := newDesk(t)
	d.complete(nil)
	r := d.complete(func(r *checkpoint.Record) { r.State = checkpoint.Finishing }, "f")
	d.must(d.MarkFinished(t.Context(), r.N))
	d.damage(r, "manifest gone")
	c, err := d.choose(checkpoint.RestoreOptions{})
	d.must(err)
	if c.N() != r.N || c.Record.State != checkpoint.Finished || len(c.Passed) != 0 {
		t.Errorf("got %+v", c)
	}
}

func TestNoStartFromNothingWhereOlderCheckpointsWereDropped(t *testing.T) {
	d := newDesk(t)
	d.complete(nil)
	r := d.complete(nil)
	d.must(d.Retain(t.Context(), d.st, 1))
	d.damage(r, "object gone")
	_, err := d.choose(checkpoint.RestoreOptions{Retract: true, AcceptDuplicates: true})
	if err == nil || !strings.Contains(err.Error(), "checkpoint 1 before it is not kept any more") {
		t.Errorf("got %v", err)
	}
}

func TestAStorageThatCannotBeReadIsNoDamage(t *testing.T) {
	d := newDesk(t)
	d.complete(nil)
	d.complete(nil)
	_, err := checkpoint.Choose(t.Context(), storage.New(deaf{}, "test://"), d.load(), checkpoint.RestoreOptions{Retract: true})
	var refused *checkpoint.RestoreError
	if !errors.Is(err, errBrokenPipe) || errors.As(err, &refused) || !strings.Contains(err.Error(), "checkpoint 2") {
		t.Errorf("got %v", err)
	}
}

// deaf is a storage that cannot be reached.
type deaf struct{ storage.Driver }

func (deaf) Read(context.Context, string) ([]byte, error) { return nil, errBrokenPipe }

func TestWhatWasPassedOverStaysAbandoned(t *testing.T) {
	d := newDesk(t)
	d.complete(nil)
	bad := d.complete(nil, "f")
	d.damage(bad, "object gone")
	d.begin()
	c, err := d.choose(checkpoint.RestoreOptions{Retract: true})
	d.must(err)
	for range 2 {
		d.must(d.Adopt(t.Context(), 2, c))
	}
	h := d.load()
	if h.Records[0].State != checkpoint.Abandoned || !strings.Contains(h.Records[0].Reason, "object not found") || h.Newest().N != 1 {
		t.Errorf("now %+v", h.Records)
	}
	if g := h.Lineage.Generations[1]; g.Restored != 1 || !h.Lineage.Retract {
		t.Errorf("now %+v", h.Lineage)
	}

	// The epoch ends before its sweep: the next one still has to retract.
	d.begin()
	again, err := d.choose(checkpoint.RestoreOptions{Retract: true})
	d.must(err)
	if !again.Retract || again.N() != 1 {
		t.Errorf("the next start: %+v", again)
	}
	if _, err := d.choose(checkpoint.RestoreOptions{}); err == nil || !strings.Contains(err.Error(), "not every sink can") {
		t.Errorf("with a sink that cannot retract: %v", err)
	}
	d.must(d.Adopt(t.Context(), 3, again))
	d.must(d.Swept(t.Context(), 3))
	if c, err := d.choose(checkpoint.RestoreOptions{}); err != nil || c.Retract {
		t.Errorf("after the sweep: %+v, %v", c, err)
	}

	// The next checkpoint goes on from the one that was restored.
	r := d.complete(nil)
	if r.Prev != 1 {
		t.Errorf("checkpoint %d comes after %d", r.N, r.Prev)
	}
}

func TestASavepointOfAnAbandonedCheckpointIsGivenUp(t *testing.T) {
	d := newDesk(t)
	d.complete(func(r *checkpoint.Record) { r.Savepoint = "good" })
	d.damage(d.complete(func(r *checkpoint.Record) { r.Savepoint = "bad" }), "object gone")
	d.begin()
	c, err := d.choose(checkpoint.RestoreOptions{})
	d.must(err)
	s := d.history.Start(d.lead.epoch, c)
	if len(s.Savepoints) != 1 || s.Savepoints["good"] != 1 || s.Newest.N != 1 || s.Committed != 1 {
		t.Errorf("starts from %+v", s)
	}
	d.must(d.Adopt(t.Context(), 2, c))
	if err := d.StoreSavepoint(t.Context(), d.st, "bad", 2); err == nil || !strings.Contains(err.Error(), "abandoned") {
		t.Errorf("stored: %v", err)
	}
}

func TestAcceptedDuplicatesAreRemembered(t *testing.T) {
	d := newDesk(t)
	d.complete(nil)
	d.damage(d.complete(nil, "f"), "manifest gone")
	d.begin()
	c, err := d.choose(checkpoint.RestoreOptions{AcceptDuplicates: true})
	d.must(err)
	d.must(d.Adopt(t.Context(), 2, c))
	d.begin()
	d.must(d.Swept(t.Context(), 3))
	if got := d.load().Lineage.AcceptedDuplicates; fmt.Sprint(got) != "[2]" {
		t.Errorf("remembered: %v", got)
	}
}

func TestWriterEntriesOfEveryReadableRecordAreKept(t *testing.T) {
	d := newDesk(t)
	for i := range 3 {
		p := d.open()
		a := d.ack(p.N)
		a.Nodes[1].Tasks[0].Writer = checkpoint.Entries{entry(5, fmt.Sprint("w", i+1), "unfinished")}
		ev := checkpoint.StoreManifest(t.Context(), d.st, checkpoint.Manifest{UID: d.history.Lineage.UID, N: p.N, Epoch: 1}, []checkpoint.Ack{a})
		d.must(ev.Err)
		d.must(d.Write(t.Context(), checkpoint.Record{N: p.N, UID: d.history.Lineage.UID, Epoch: 1, Prev: p.N - 1,
			Manifest: ev.Manifest, State: checkpoint.Running}))
	}
	d.damage(d.load().Records[1], "manifest gone")
	c, err := d.choose(checkpoint.RestoreOptions{})
	d.must(err)
	var kept []string
	for _, e := range c.Keep["sink"] {
		kept = append(kept, e.GetId())
	}
	if fmt.Sprint(kept) != "[w3 w1]" || len(c.Passed) != 1 || c.Passed[0].Record.N != 2 || c.N() != 3 {
		t.Errorf("restores %d, keeps %v, passes over %v", c.N(), kept, c.Passed)
	}
}

func TestWhatIsDamagedAfterItWasChosenIsNotAbandoned(t *testing.T) {
	d := newDesk(t)
	r := d.complete(nil)
	reads := 0
	once := &hooked{data: map[string][]byte{}}
	once.before = func(name string) {
		if name == r.Manifest.Name {
			if reads++; reads > 1 {
				delete(once.data, name)
			}
		}
	}
	infos, err := d.st.List(t.Context(), "")
	d.must(err)
	for _, i := range infos {
		once.data[i.Name], err = d.raw(i.Name)
		d.must(err)
	}
	c, err := checkpoint.Choose(t.Context(), storage.New(once, "test://"), d.load(), checkpoint.RestoreOptions{})
	d.must(err)
	if c.N() != r.N || len(c.Passed) != 0 {
		t.Errorf("restores %d, passes over %v", c.N(), c.Passed)
	}
}

func TestASavepointIsWhereANewUIDBegins(t *testing.T) {
	d := newDesk(t)
	d.complete(nil)
	r := d.complete(func(r *checkpoint.Record) { r.Savepoint = "s" }, "f")
	d.must(d.StoreSavepoint(t.Context(), d.st, "s", r.N))
	_, err := d.Fresh(t.Context(), "s")
	d.must(err)
	d.begin()
	if err := d.DeleteSavepoint(t.Context(), d.st, "s"); err == nil || !strings.Contains(err.Error(), "begins with it") {
		t.Errorf("deleted: %v", err)
	}
	c, err := d.choose(checkpoint.RestoreOptions{})
	d.must(err)
	if !c.FromSavepoint || c.N() != 2 || len(c.Manifest.Committables(0)) != 0 {
		t.Errorf("chose %+v", c)
	}
	d.must(d.Adopt(t.Context(), 1, c))
	if s := d.history.Start(1, c); s.Newest != nil {
		t.Errorf("starts from %+v", s)
	}
	if p := d.open(); p.N != 3 {
		t.Errorf("the next number is %d", p.N)
	}
	d.must(d.Collect(t.Context(), d.st))
	if _, err := checkpoint.Verify(t.Context(), d.st, d.load().Savepoints[0]); err != nil {
		t.Errorf("the savepoint lost something: %v", err)
	}
}
