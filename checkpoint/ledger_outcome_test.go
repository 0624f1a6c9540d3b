package checkpoint_test

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/embedded"
)

// writes are all that a leader writes, each from the same beginning: nothing is left
// of epoch 1; in epoch 2, record 1 is stored as savepoint "old", record 2 lists
// output and is finishing, checkpoint 3 is pending.
var writes = map[string]func(d *desk) error{
	"begin": func(d *desk) error {
		_, err := d.Begin(d.Context(), checkpoint.Generation{})
		return err
	},
	"fresh": func(d *desk) error { _, err := d.Fresh(d.Context(), ""); return err },
	"adopt": func(d *desk) error {
		r := d.load().Records[0]
		return d.Adopt(d.Context(), 2, checkpoint.Choice{
			Retract: true, Passed: []checkpoint.Passed{{Record: r, Err: errors.New("damaged")}}})
	},
	"swept": func(d *desk) error { return d.Swept(d.Context(), 2) },
	"open": func(d *desk) error {
		_, err := d.Open(d.Context(), checkpoint.Pending{ID: "new", Epoch: 2})
		return err
	},
	"ack":            func(d *desk) error { return d.Ack(d.Context(), checkpoint.Ack{Host: "b", N: 3}) },
	"write":          func(d *desk) error { return d.Write(d.Context(), thirdRecord(d)) },
	"confirm":        func(d *desk) error { return d.Confirm(d.Context(), thirdRecord(d)) },
	"close":          func(d *desk) error { return d.ClosePending(d.Context(), 3) },
	"save committed": func(d *desk) error { return d.SaveCommitted(d.Context(), 2) },
	"mark finished":  func(d *desk) error { return d.MarkFinished(d.Context(), 2) },
	"savepoint":      func(d *desk) error { return d.StoreSavepoint(d.Context(), d.st, "s", 2) },
	"delete":         func(d *desk) error { return d.DeleteSavepoint(d.Context(), d.st, "old") },
	"retain":         func(d *desk) error { return d.Retain(d.Context(), d.st, 1) },
}

func thirdRecord(d *desk) checkpoint.Record {
	return checkpoint.Record{N: 3, UID: d.history.Lineage.UID, Epoch: 2, State: checkpoint.Running}
}

func newBusyDesk(t *testing.T) *desk {
	d := newDesk(t)
	d.begin()
	d.complete(func(r *checkpoint.Record) { r.Savepoint = "old" })
	d.must(d.StoreSavepoint(t.Context(), d.st, "old", 1))
	d.complete(func(r *checkpoint.Record) { r.State = checkpoint.Finishing }, "f")
	p := d.pending()
	p.ID = "third"
	_, err := d.Open(t.Context(), p)
	d.must(err)
	return d
}

// plain is a history without what differs from run to run.
func plain(d *desk) checkpoint.History {
	h := d.load()
	h.Lineage.UID, h.Lineage.Former = "", nil
	for _, rs := range [][]checkpoint.Record{h.Records, h.Savepoints} {
		for i := range rs {
			rs[i].UID, rs[i].Manifest = "", checkpoint.Object{}
		}
	}
	return h
}

// TestALostReplyChangesNothing loses the reply to each write, or the write itself,
// and finds what there would be without that.
func TestALostReplyChangesNothing(t *testing.T) {
	for name, act := range writes {
		t.Run(name, func(t *testing.T) {
			sound := newBusyDesk(t)
			sound.must(act(sound))
			for _, arrives := range []bool{true, false} {
				d := newBusyDesk(t)
				lost := 0
				lose := func() error {
					if lost++; lost == 1 {
						return coordination.ErrUnknownOutcome
					}
					return nil
				}
				if arrives {
					d.session.reply = lose
				} else {
					d.session.write = func([]coordination.Op) error { return lose() }
				}
				d.must(act(d))
				if lost == 0 {
					t.Error("it writes nothing")
				}
				want, got := plain(sound), plain(d)
				if name == "begin" && arrives { // an epoch more is as good
					want.Lineage.Epoch, want.Lineage.Generations = got.Lineage.Epoch, got.Lineage.Generations
				}
				if !reflect.DeepEqual(want, got) {
					t.Errorf("the commit arrives: %v\nwant %+v\ngot  %+v", arrives, want, got)
				}
			}
		})
	}
}

// TestWhatCannotBeToldIsSaid loses a reply and then coordination itself.
func TestWhatCannotBeToldIsSaid(t *testing.T) {
	for name, act := range writes {
		t.Run(name, func(t *testing.T) {
			d := newBusyDesk(t)
			committed := false
			d.session.reply = func() error {
				committed = true
				return coordination.ErrUnknownOutcome
			}
			d.session.read = func() error {
				if committed {
					return coordination.ErrUnavailable
				}
				return nil
			}
			err := act(d)
			if committed && !errors.Is(err, coordination.ErrUnknownOutcome) {
				t.Errorf("got %v", err)
			}
			if errors.Is(err, checkpoint.ErrFenced) {
				t.Errorf("taken for somebody else's doing: %v", err)
			}
		})
	}
}

// TestWithoutCoordinationNothingIsWritten tells an absent service from a lost reply.
func TestWithoutCoordinationNothingIsWritten(t *testing.T) {
	for name, act := range writes {
		t.Run(name, func(t *testing.T) {
			d := newBusyDesk(t)
			before := plain(d)
			d.session.write = func([]coordination.Op) error { return coordination.ErrUnavailable }
			err := act(d)
			d.session.write = nil
			if err != nil && (!errors.Is(err, coordination.ErrUnavailable) || errors.Is(err, coordination.ErrUnknownOutcome)) {
				t.Errorf("got %v", err)
			}
			if !reflect.DeepEqual(before, plain(d)) {
				t.Errorf("something changed")
			}
		})
	}
}

func TestALedgerWithoutLeadershipWritesNoRecord(t *testing.T) {
	d := newBusyDesk(t)
	d.Ledger = checkpoint.NewLedger(d.session, nil, "p")
	for name, act := range writes {
		if name == "ack" { // any host's
			continue
		}
		before := plain(d)
		if err := act(d); err == nil && !reflect.DeepEqual(before, plain(d)) {
			t.Errorf("%s is written", name)
		}
	}
}

// TestTheLedgerOverTheEmbeddedStore goes through a checkpoint's life on the store
// of weir run.
func TestTheLedgerOverTheEmbeddedStore(t *testing.T) {
	ctx := t.Context()
	db, err := embedded.Open(filepath.Join(t.TempDir(), "db"), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := db.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	lead, err := coordination.Campaign(ctx, store, "p", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{T: t, tree: newTree(), Ledger: checkpoint.NewLedger(store, lead, "p"), lead: testLead{epoch: lead.Epoch()},
		st: newDesk(t).st}
	d.begin()
	first := d.complete(nil, "f")
	d.must(d.SaveCommitted(ctx, first.N))
	d.must(d.ReportCommitted(ctx, "a", checkpoint.Committed{Epoch: 1, Through: 1}))
	p := d.open()
	d.must(d.Ack(ctx, checkpoint.Ack{Host: "a", N: p.N}))
	d.must(d.ClosePending(ctx, p.N))
	third := d.complete(func(r *checkpoint.Record) { r.State, r.Savepoint = checkpoint.Finishing, "s" })
	d.must(d.StoreSavepoint(ctx, d.st, "s", third.N))
	d.must(d.MarkFinished(ctx, third.N))
	d.must(d.Retain(ctx, d.st, 1))
	d.begin()
	d.must(d.Swept(ctx, 2))
	d.must(d.Collect(ctx, d.st))
	h := d.load()
	if len(h.Records) != 1 || h.Newest().State != checkpoint.Finished || len(h.Savepoints) != 1 || h.Committed != 1 || h.Hosts["a"].Through != 1 {
		t.Errorf("now %+v", h)
	}
	d.must(lead.Resign(ctx))
	if err := d.ClosePending(ctx, 9); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("after resigning: %v", err)
	}
	d.must(store.Close())
	d.must(db.Close())
}
