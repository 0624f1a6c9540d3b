package conformance

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// sinkRun plays a pipeline that ends in the sink under test: it writes, takes
// checkpoints, commits what their records name, and after a failure starts anew
// from the last record, writing again what came behind it. At any time it knows what
// may and what must have been committed.
type sinkRun struct {
	t           *T
	parallelism int
	// member is the component with its configuration.
	member func() *pluginv1.Member

	p *rig.Plugin
	s *rig.Stage
	// epoch is that of s, and width its number of tasks.
	epoch uint64
	width int
	// record is the newest checkpoint whose record is written; nil for none.
	record *rig.Cut
	// inRecord are the records that it covers, since those behind it, and unrecorded
	// the newest checkpoints behind it.
	inRecord, since []exchange.Record
	// prepared are committables of records that have not been committed, and of
	// checkpoints since whose records were never written.
	prepared, unrecorded []*pluginv1.Entry
	// must are the records that have been committed for certain.
	must []exchange.Record
	// unfinished: the record's writer entries may hold records of inRecord.
	unfinished bool
	earlier    []*pluginv1.Generation
	retained   []*pluginv1.Entry
}

// newSinkRun starts a pipeline with a new process.
func (t *T) newSinkRun(parallelism int) *sinkRun {
	r := &sinkRun{t: t, parallelism: parallelism, member: t.Member}
	r.start()
	return r
}

func (r *sinkRun) node() rig.Node {
	return rig.Node{Member: r.member(), UID: r.t.uid, Epoch: r.epoch}
}

// start begins an epoch in a new process: everything that the record names is
// committed, what else earlier epochs left is swept, tasks open with their state,
// and what came behind the record is written again.
func (r *sinkRun) start() { r.startIn(r.t.Start()) }

func (r *sinkRun) startIn(p *rig.Plugin) {
	r.begin(p)
	r.commit()
	r.sweep()
	r.open()
}

// begin begins an epoch and does nothing outside.
func (r *sinkRun) begin(p *rig.Plugin) {
	if r.epoch > 0 {
		r.earlier = append(r.earlier, &pluginv1.Generation{Epoch: r.epoch, Parallelism: uint32(r.width), Pool: rig.NamePool})
	}
	r.epoch++
	r.width = r.parallelism
	r.p, r.s, r.unrecorded = p, nil, nil
}

// sweep removes what earlier epochs left, as each start does.
func (r *sinkRun) sweep() {
	if !r.t.Left.GetExactlyOnce() {
		return
	}
	if err := r.p.TrySweep(r.t.ctx, r.node(), r.sweeping()); err != nil {
		r.t.Fatalf("Sweep in epoch %d: %v", r.epoch, err)
	}
}

func (r *sinkRun) sweeping() rig.Sweep {
	s := rig.Sweep{Earlier: r.earlier, Keep: r.retained}
	if r.record != nil {
		s.Restored = r.record.Checkpoint
	}
	return s
}

// open opens the tasks, and writes again what came behind the record.
func (r *sinkRun) open() {
	open := r.t.Open(r.epoch, r.parallelism, r.record)
	open.Chain = []*pluginv1.Member{r.member()}
	r.s = r.p.Stage(open)
	again := r.since
	r.since = nil
	r.send(again)
}

// write writes n ordinary records.
func (r *sinkRun) write(n int) { r.send(r.t.Records(n)) }

// each writes n records to every task.
func (r *sinkRun) each(n int) {
	for i := range r.parallelism {
		all := r.t.Records(n)
		r.since = append(r.since, all...)
		r.s.Send(i, 0, all...)
	}
}

// send writes records, spread over the tasks in pieces.
func (r *sinkRun) send(all []exchange.Record) {
	r.since = append(r.since, all...)
	for len(all) > 0 {
		n := min(len(all), 1+r.t.Rand.IntN(max(1, len(all)/r.parallelism)+1))
		r.s.Send(r.t.Rand.IntN(r.parallelism), r.t.Rand.IntN(len(r.t.Ports())), all[:n]...)
		all = all[n:]
	}
}

// checkpoint takes a checkpoint and writes its record: from here on it is what a
// start goes on from.
func (r *sinkRun) checkpoint(options ...rig.BarrierOption) *rig.Cut {
	cut := r.s.Checkpoint(options...)
	r.recorded(cut, options...)
	return cut
}

// recorded makes a checkpoint the newest record. Its manifest has what earlier ones
// prepared and nobody has committed.
func (r *sinkRun) recorded(cut *rig.Cut, options ...rig.BarrierOption) {
	b := &pluginv1.Barrier{}
	for _, o := range options {
		o(b)
	}
	r.record = cut
	r.inRecord = append(r.inRecord, r.since...)
	r.since = nil
	r.prepared = append(append(r.prepared, r.unrecorded...), cut.Committables()...)
	r.unrecorded = nil
	r.unfinished = !b.GetRoll() && !b.GetHalt()
	r.retained = cut.Entries(pluginv1.Entry_KIND_WRITER)
	cut.Complete()
}

// abandon takes a checkpoint whose record is never written.
func (r *sinkRun) abandon(options ...rig.BarrierOption) *rig.Cut {
	cut := r.s.Checkpoint(options...)
	r.unrecorded = append(r.unrecorded, cut.Committables()...)
	cut.Abort()
	return cut
}

// commit commits everything that the newest record names.
func (r *sinkRun) commit() {
	if !r.t.Left.GetExactlyOnce() || r.record == nil {
		return
	}
	r.commitBy(r.p)
}

func (r *sinkRun) commitBy(p *rig.Plugin) {
	if len(r.prepared) > 0 {
		if err := p.TryCommit(r.t.ctx, r.node(), r.prepared); err != nil {
			r.t.Fatalf("Commit of %d committables of checkpoints up to %d, in epoch %d: %v", len(r.prepared), r.record.Checkpoint, r.epoch, err)
		}
	}
	r.committed()
	if p == r.p && r.s != nil {
		r.s.Committed(r.record.Checkpoint)
	}
}

// committed notes that the record's committables are published.
func (r *sinkRun) committed() {
	r.prepared = nil
	if !r.unfinished {
		r.must = slices.Clone(r.inRecord)
	}
}

// kill kills the process of the plugin.
func (r *sinkRun) kill() { r.p.SIGKILL() }

// restart kills the process and starts anew.
func (r *sinkRun) restart() {
	r.kill()
	r.start()
}

// rescale makes the next epoch one of n tasks.
func (r *sinkRun) rescale(n int) { r.parallelism = n }

// next is the number of the next checkpoint.
func (r *sinkRun) next() uint64 { return r.s.Last() + 1 }

// finish ends the input, commits and checks that everything came once.
func (r *sinkRun) finish() {
	r.checkpoint(rig.End, rig.Roll)
	r.commit()
	if r.t.Left.GetExactlyOnce() {
		r.must = slices.Clone(r.inRecord)
	}
	r.s.Close()
	if d := difference(r.inRecord, r.t.Committed(), r.t.fields()); d != "" {
		r.t.Fatalf("of %d records, at the end: %s", len(r.inRecord), d)
	}
}

// check looks at what is committed while the pipeline runs: everything of the
// records that have been committed, and nothing that has not.
func (r *sinkRun) check(when string) {
	may := r.inRecord
	if r.t.entry.Read.ShowsUncommitted {
		may = append(slices.Clone(r.inRecord), r.since...)
	}
	got := r.t.Committed()
	if d := between(r.must, may, got, r.t.fields()); d != "" {
		r.t.Fatalf("%s: %s", when, d)
	}
}

// unseen checks that none of the records is committed.
func (r *sinkRun) unseen(when string, records []exchange.Record) {
	if r.t.entry.Read.ShowsUncommitted {
		return
	}
	got := r.t.Committed()
	for _, want := range records {
		for _, g := range got {
			if exchange.Equal(want, g, r.t.fields()) {
				r.t.Fatalf("%s: %s is seen outside", when, want.Select(r.t.fields()))
			}
		}
	}
}

// cloneEntries are copies that a call may change.
func cloneEntries(all []*pluginv1.Entry) []*pluginv1.Entry {
	out := make([]*pluginv1.Entry, len(all))
	for i, e := range all {
		out[i] = proto.CloneOf(e)
	}
	return out
}
