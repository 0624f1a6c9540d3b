package checkpoint_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
)

// desk is a pipeline's ledger on a tree of its own, in its first epoch.
type desk struct {
	*testing.T
	tree    *tree
	lead    testLead
	session *session
	*checkpoint.Ledger
	st      *storage.Storage
	history checkpoint.History
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{T: t, tree: newTree()}
	st, err := storage.Open(t.Context(), "mem://")
	d.must(err)
	d.st = st
	d.takeOffice()
	d.begin()
	return d
}

// takeOffice makes a new leader with a session of its own.
func (d *desk) takeOffice() {
	d.lead, d.session = d.tree.lead(), &session{tree: d.tree}
	d.Ledger = checkpoint.NewLedger(d.session, d.lead, "p")
}

func (d *desk) begin() {
	d.Helper()
	h, err := d.Begin(d.Context(), checkpoint.Generation{Parallelism: map[string]int{"src": 1, "sink": 1}})
	d.must(err)
	d.history = h
}

func (d *desk) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *desk) load() checkpoint.History {
	d.Helper()
	h, err := d.Load(d.Context())
	d.must(err)
	return h
}

func (d *desk) pending() checkpoint.Pending {
	return checkpoint.Pending{ID: fmt.Sprint("id", d.tree.created), Epoch: d.history.Lineage.Epoch, Leader: d.lead.epoch,
		Hosts: []string{"a"}, OpenedAt: time.Unix(1000, 0).UTC()}
}

// open opens the next checkpoint.
func (d *desk) open() checkpoint.Pending {
	d.Helper()
	p, err := d.Open(d.Context(), d.pending())
	d.must(err)
	return p
}

// complete makes a whole checkpoint, with one object of state and so many
// committables.
func (d *desk) complete(change func(*checkpoint.Record), files ...string) checkpoint.Record {
	d.Helper()
	p := d.open()
	m := checkpoint.Manifest{Pipeline: "p", UID: d.history.Lineage.UID, N: p.N, Epoch: p.Epoch}
	ev := checkpoint.StoreManifest(d.Context(), d.st, m, []checkpoint.Ack{d.ack(p.N, files...)})
	d.must(ev.Err)
	r := checkpoint.Record{N: p.N, UID: m.UID, Epoch: p.Epoch, Manifest: ev.Manifest, State: checkpoint.Running,
		Committables: ev.Committables, Bytes: ev.Bytes, OpenedAt: p.OpenedAt, CompletedAt: p.OpenedAt.Add(time.Second)}
	if newest := d.load().Newest(); newest != nil {
		r.Prev = newest.N
	}
	if change != nil {
		change(&r)
	}
	d.must(d.Write(d.Context(), r))
	return r
}

func (d *desk) ack(n uint64, files ...string) checkpoint.Ack {
	d.Helper()
	w := checkpoint.NewSnapshotWriter(d.st, checkpoint.TaskName{
		UID: d.history.Lineage.UID, N: n, Epoch: d.history.Lineage.Epoch, Node: "src", Task: "0"}, nil)
	d.must(w.Add(d.Context(), entry(1, "s", splitState{0, int(n), ballast})))
	src, err := w.Finish(d.Context())
	d.must(err)
	var sink checkpoint.TaskState
	for _, f := range files {
		e := entry(6, f, f)
		e.Checkpoint = n
		sink.Committables = append(sink.Committables, e)
	}
	return checkpoint.Ack{Host: "a", N: n, Nodes: []checkpoint.NodeState{
		{Name: "src", Parallelism: 1, Tasks: []checkpoint.TaskState{src}},
		{Name: "sink", Parallelism: 1, Tasks: []checkpoint.TaskState{sink}},
	}}
}

func (d *desk) numbers() string {
	d.Helper()
	var all []string
	for _, r := range d.load().Records {
		all = append(all, fmt.Sprint(r.N))
	}
	return strings.Join(all, " ")
}

func (d *desk) objects() int {
	d.Helper()
	infos, err := d.st.List(d.Context(), "")
	d.must(err)
	return len(infos)
}

func TestBeginClosesThePendingCheckpointInTheCommitThatBumpsTheEpoch(t *testing.T) {
	d := newDesk(t)
	p := d.open()
	d.must(d.Ack(t.Context(), checkpoint.Ack{Host: "a", N: p.N}))
	if h := d.load(); h.Pending == nil || len(h.Acks) != 1 {
		t.Fatalf("before: %+v", h)
	}
	d.tree.applied = func(ops []coordination.Op) {
		kinds := map[coordination.OpKind]int{}
		for _, op := range ops {
			kinds[op.Kind]++
		}
		if kinds[coordination.OpSet] != 1 || kinds[coordination.OpDelete] != 2 || kinds[coordination.OpCheck] != 1 {
			t.Errorf("one commit with %v", ops)
		}
	}
	uid := d.history.Lineage.UID
	d.begin()
	l := d.history.Lineage
	if l.UID != uid || l.Epoch != 2 || len(l.Generations) != 2 || l.Generations[1].Epoch != 2 || d.history.Pending != nil {
		t.Errorf("after: %+v", d.history)
	}
}

func TestOfAnEarlierEpochOrLeaderNothingIsWritten(t *testing.T) {
	late := map[string]func(d *desk, l *checkpoint.Ledger, p checkpoint.Pending, r checkpoint.Record) error{
		"open": func(d *desk, l *checkpoint.Ledger, p checkpoint.Pending, _ checkpoint.Record) error {
			p.ID = "late"
			_, err := l.Open(d.Context(), p)
			return err
		},
		"write": func(d *desk, l *checkpoint.Ledger, _ checkpoint.Pending, r checkpoint.Record) error {
			return l.Write(d.Context(), r)
		},
		"confirm": func(d *desk, l *checkpoint.Ledger, _ checkpoint.Pending, r checkpoint.Record) error {
			return l.Confirm(d.Context(), r)
		},
	}
	guarded := map[string]func(d *desk, l *checkpoint.Ledger, p checkpoint.Pending, r checkpoint.Record) error{
		"begin": func(d *desk, l *checkpoint.Ledger, _ checkpoint.Pending, _ checkpoint.Record) error {
			_, err := l.Begin(d.Context(), checkpoint.Generation{})
			return err
		},
		"fresh": func(d *desk, l *checkpoint.Ledger, _ checkpoint.Pending, _ checkpoint.Record) error {
			_, err := l.Fresh(d.Context(), "")
			return err
		},
		"close": func(d *desk, l *checkpoint.Ledger, p checkpoint.Pending, _ checkpoint.Record) error {
			return l.ClosePending(d.Context(), p.N)
		},
		"save committed": func(d *desk, l *checkpoint.Ledger, _ checkpoint.Pending, _ checkpoint.Record) error {
			return l.SaveCommitted(d.Context(), 7)
		},
		"in charge": func(d *desk, l *checkpoint.Ledger, p checkpoint.Pending, _ checkpoint.Record) error {
			return l.InCharge(d.Context(), p.Epoch)
		},
	}
	check := func(t *testing.T, act func(*desk, *checkpoint.Ledger, checkpoint.Pending, checkpoint.Record) error, replace func(*desk)) {
		t.Helper()
		d := newDesk(t)
		p := d.open()
		r := checkpoint.Record{N: p.N, UID: d.history.Lineage.UID, Epoch: p.Epoch, State: checkpoint.Running}
		old := d.Ledger
		replace(d)
		before := d.load()
		if err := act(d, old, p, r); !errors.Is(err, checkpoint.ErrFenced) {
			t.Errorf("got %v", err)
		}
		if after := d.load(); !reflect.DeepEqual(before, after) {
			t.Errorf("was %+v\nand is %+v", before, after)
		}
	}
	for name, act := range late {
		t.Run(name+"/epoch", func(t *testing.T) { check(t, act, (*desk).begin) })
		guarded[name] = act
	}
	for name, act := range guarded {
		t.Run(name+"/leader", func(t *testing.T) {
			check(t, act, func(d *desk) { d.tree.depose(d.lead); d.takeOffice() })
		})
	}
}

func TestANumberIsNeverUsedTwice(t *testing.T) {
	d := newDesk(t)
	first := d.open()
	d.must(d.ClosePending(t.Context(), first.N))
	second := d.open() // given up by whoever opened it
	d.begin()
	third := d.open()
	if first.N != 1 || second.N != 2 || third.N != 3 {
		t.Errorf("numbers %d, %d, %d", first.N, second.N, third.N)
	}
	if h := d.load(); h.Pending.N != 3 || h.Sequence.Last != 3 {
		t.Errorf("now %+v", h)
	}
	again := d.pending()
	again.ID = third.ID
	if p, err := d.Open(t.Context(), again); err != nil || p.N != 3 {
		t.Errorf("opened again as %d, %v", p.N, err)
	}
}

func TestWhatABarrierToldIsKnownToTheNextLeader(t *testing.T) {
	d := newDesk(t)
	p := d.pending()
	p.Ended, p.Halt = []string{"src"}, true
	p, err := d.Open(t.Context(), p)
	d.must(err)
	d.must(d.ClosePending(t.Context(), p.N))
	d.tree.depose(d.lead)
	d.takeOffice()
	s := d.load().Resume(d.lead.epoch)
	if !s.Running || !s.Sequence.Halted || len(s.Sequence.Ended) != 1 || s.Sequence.Epoch != s.Epoch {
		t.Errorf("resumes from %+v", s)
	}
}

func TestAnAckAfterTheDecisionIsLate(t *testing.T) {
	d := newDesk(t)
	host := checkpoint.NewLedger(&session{tree: d.tree}, nil, "p")
	p := d.open()
	for range 2 { // doubled
		d.must(host.Ack(t.Context(), checkpoint.Ack{Host: "a", N: p.N}))
	}
	d.must(d.ClosePending(t.Context(), p.N))
	for _, n := range []uint64{p.N, p.N + 5} {
		if err := host.Ack(t.Context(), checkpoint.Ack{Host: "b", N: n}); !errors.Is(err, checkpoint.ErrLate) {
			t.Errorf("ack of %d: %v", n, err)
		}
	}
	if h := d.load(); h.Pending != nil {
		t.Errorf("the ack made a pending record: %+v", h.Pending)
	}
}

func TestAnAckThatMeetsTheDecisionMakesNoPendingRecord(t *testing.T) {
	d := newDesk(t)
	p := d.open()
	late := &session{tree: d.tree, write: func([]coordination.Op) error {
		return d.ClosePending(t.Context(), p.N) // between the ack's plan and its commit
	}}
	err := checkpoint.NewLedger(late, nil, "p").Ack(t.Context(), checkpoint.Ack{Host: "a", N: p.N})
	if h := d.load(); !errors.Is(err, checkpoint.ErrLate) || h.Pending != nil {
		t.Errorf("got %v, pending %+v", err, h.Pending)
	}
}

func TestTheRecordConsumesThePendingRecordAndItsAcks(t *testing.T) {
	d := newDesk(t)
	p := d.open()
	host := checkpoint.NewLedger(&session{tree: d.tree}, nil, "p")
	// An ack comes between the plan and the commit.
	once := true
	d.session.write = func([]coordination.Op) error {
		if once {
			once = false
			return host.Ack(t.Context(), checkpoint.Ack{Host: "a", N: p.N})
		}
		return nil
	}
	r := checkpoint.Record{N: p.N, UID: d.history.Lineage.UID, Epoch: 1, State: checkpoint.Running}
	d.must(d.Write(t.Context(), r))
	if h := d.load(); h.Pending != nil || len(h.Records) != 1 || h.Newest().N != p.N {
		t.Errorf("now %+v", h)
	}
	d.must(d.Confirm(t.Context(), r))
	r.Bytes = 99 // somebody else's
	if err := d.Write(t.Context(), r); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("another record of the number: %v", err)
	}
	if err := d.ClosePending(t.Context(), p.N); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("closed after its record: %v", err)
	}
}

func TestARecordThatIsClosedCannotBeWritten(t *testing.T) {
	d := newDesk(t)
	p := d.open()
	d.must(d.ClosePending(t.Context(), p.N))
	d.must(d.ClosePending(t.Context(), p.N))
	r := checkpoint.Record{N: p.N, UID: d.history.Lineage.UID, Epoch: 1}
	if err := d.Write(t.Context(), r); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("got %v", err)
	}
}

func TestARecordStaysSmall(t *testing.T) {
	d := newDesk(t)
	p := d.open()
	r := checkpoint.Record{N: p.N, UID: d.history.Lineage.UID, Epoch: 1, Reason: strings.Repeat("x", 17<<10)}
	if err := d.Write(t.Context(), r); err == nil || !strings.Contains(err.Error(), "at most 16384") {
		t.Errorf("got %v", err)
	}
}

func TestCommittedThroughOnlyRises(t *testing.T) {
	d := newDesk(t)
	for _, n := range []uint64{3, 2, 5} {
		d.must(d.SaveCommitted(t.Context(), n))
	}
	d.must(d.ReportCommitted(t.Context(), "a", checkpoint.Committed{Epoch: 1, Through: 4}))
	if h := d.load(); h.Committed != 5 || h.Hosts["a"].Through != 4 {
		t.Errorf("now %d, %v", h.Committed, h.Hosts)
	}
}

func TestFinishingBecomesFinishedOnce(t *testing.T) {
	d := newDesk(t)
	running := d.complete(nil)
	if err := d.MarkFinished(t.Context(), running.N); err == nil || !strings.Contains(err.Error(), "it is running") {
		t.Errorf("got %v", err)
	}
	r := d.complete(func(r *checkpoint.Record) { r.State = checkpoint.Finishing })
	for range 2 {
		d.must(d.MarkFinished(t.Context(), r.N))
	}
	if s := d.load().Newest().State; s != checkpoint.Finished {
		t.Errorf("it is %s", s)
	}
}

func TestFreshMakesANewUIDAndKeepsSavepointsAlone(t *testing.T) {
	d := newDesk(t)
	r := d.complete(func(r *checkpoint.Record) { r.Savepoint = "s" })
	d.must(d.SaveCommitted(t.Context(), r.N))
	d.must(d.ReportCommitted(t.Context(), "a", checkpoint.Committed{Through: r.N}))
	d.must(d.StoreSavepoint(t.Context(), d.st, "s", r.N))
	d.open()
	was := d.history.Lineage.UID
	before, err := d.Fresh(t.Context(), "")
	d.must(err)
	if len(before.Records) != 1 || before.Lineage.UID != was {
		t.Errorf("before: %+v", before)
	}
	h := d.load()
	if h.Lineage.UID == was || h.Lineage.Former[0] != was || h.Lineage.Epoch != 0 || len(h.Records) != 0 || h.Pending != nil ||
		h.Committed != 0 || len(h.Hosts) != 0 || h.Sequence.Last != 0 || len(h.Savepoints) != 1 {
		t.Errorf("after: %+v", h)
	}
	d.begin()
	if p := d.open(); p.N != 1 || p.Epoch != 1 {
		t.Errorf("the first checkpoint is %d of epoch %d", p.N, p.Epoch)
	}
	if _, err := d.Fresh(t.Context(), "unknown"); !errors.Is(err, coordination.ErrNotFound) {
		t.Errorf("from an unknown savepoint: %v", err)
	}
}

func TestGenerationsStayListedWhileARecordIsOfThem(t *testing.T) {
	d := newDesk(t)
	d.complete(nil) // of epoch 1
	d.begin()       // epoch 2 leaves no record
	d.begin()       // 3
	d.must(d.Swept(t.Context(), 3))
	var epochs []uint64
	for _, g := range d.load().Lineage.Generations {
		epochs = append(epochs, g.Epoch)
	}
	if fmt.Sprint(epochs) != "[1 3]" {
		t.Errorf("listed: %v", epochs)
	}
	if err := d.Swept(t.Context(), 2); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("swept by an earlier epoch: %v", err)
	}
}
