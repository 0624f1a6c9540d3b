package conformance

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

var sinkEpochCases = []Case{
	{
		ID: "WC-SNK-030", Title: "a task of an old epoch that runs on changes nothing", Kinds: sinks, Needs: all(recovers, shared),
		Demands: "A process of an old epoch is left alive while a newer one restores. The old tasks go on writing, pass barriers and flush, before and after the new ones have published: the committed output is unchanged.",
		Why:     "A paused machine wakes at any time. A check before the write cannot stop it: only names can.",
		Fix:     "Put uid and epoch into every name that is made outside, and publish in Commit alone.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			r.write(60)
			r.checkpoint()
			r.commit()
			r.write(30)
			old := r.s
			r.begin(t.Start())
			r.commit()
			r.sweep()
			t.haunt(old)
			r.open()
			t.haunt(old)
			r.check("while a task of an old epoch ran on")
			r.write(30)
			r.checkpoint()
			t.haunt(old)
			r.commit()
			r.check("while a task of an old epoch ran on")
			t.haunt(old)
			r.finish()
		},
	},
	{
		ID: "WC-SNK-031", Title: "Commit and Sweep below the highest epoch seen are refused", Kinds: sinks, Needs: exactlyOnce,
		Demands: "A process that has seen an epoch of a node refuses Commit and Sweep of an older one with FAILED_PRECONDITION; of another node, and of another uid, it accepts them.",
		Why:     "A call that was on its way when the pipeline restarted must not act in the new epoch.",
		Fix:     "Remember the highest epoch for {uid, node}, of Open, Commit and Sweep alike, and compare before anything else.",
		run: func(t *T) {
			p := t.Start()
			at := func(uid, node string, epoch uint64) rig.Node {
				m := t.Member()
				m.Node = node
				return rig.Node{Member: m, UID: uid, Epoch: epoch}
			}
			sweep := func(n rig.Node) error { return p.TrySweep(t.ctx, n, rig.Sweep{}) }
			commit := func(n rig.Node) error { return p.TryCommit(t.ctx, n, nil) }
			calls := map[string]func(rig.Node) error{"Sweep": sweep, "Commit": commit}
			if err := sweep(at(t.uid, Node, 7)); err != nil {
				t.Fatalf("Sweep in epoch 7, the first: %v", err)
			}
			for _, name := range []string{"Sweep", "Commit"} {
				if err := calls[name](at(t.uid, Node, 6)); status.Code(err) != codes.FailedPrecondition {
					t.Fatalf("%s of epoch 6 after one of epoch 7 should be refused with FAILED_PRECONDITION, and was answered with: %v", name, err)
				}
				for _, n := range []rig.Node{at(t.uid, Node, 7), at(t.uid, "other", 1), at(t.uid+"b", Node, 1)} {
					if err := calls[name](n); err != nil {
						t.Fatalf("%s of {uid %s, node %s, epoch %d}: %v", name, n.UID, n.Member.Node, n.Epoch, err)
					}
				}
			}
			if err := commit(at(t.uid, Node, 9)); err != nil {
				t.Fatalf("Commit of epoch 9: %v", err)
			}
			if err := sweep(at(t.uid, Node, 8)); status.Code(err) != codes.FailedPrecondition {
				t.Fatalf("Sweep of epoch 8 after a Commit of epoch 9 should be refused with FAILED_PRECONDITION, and was answered with: %v", err)
			}
		},
	},
	{
		ID: "WC-SNK-032", Title: "Sweep spares what a retained record names", Kinds: sinks, Needs: recovers,
		Demands: "Unfinished output that the writer entries of the record name is still there after Sweep, and after a second one, and goes on.",
		Why:     "What is swept too much is lost for good: its records do not come again.",
		Fix:     "Read `keep` in Sweep before anything is removed, and refuse with an error where an entry cannot be read.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			r.write(60)
			r.checkpoint()
			r.each(4)
			r.checkpoint()
			r.commit()
			r.kill()
			r.begin(t.Start())
			r.commit()
			r.sweep()
			r.sweep()
			r.kill()
			r.start()
			r.finish()
		},
	},
	{
		ID: "WC-SNK-033", Title: "Sweep spares other nodes and other pipelines", Kinds: sinks, Needs: all(recovers, shared),
		Demands: "Output that another node, and another pipeline with a uid of its own, have prepared with the same configuration is still there after a Sweep, and can be committed.",
		Why:     "Two nodes may write to one folder, table or topic.",
		Fix:     "Remove by name, and compare uid and node whole: `out` is a prefix of `out-2`.",
		run: func(t *T) {
			r := t.newSinkRun(1)
			p := t.Start()
			type other struct {
				open    rig.Open
				node    rig.Node
				records []exchange.Record
				cut     *rig.Cut
			}
			var others []*other
			for _, who := range []struct{ uid, node string }{{t.uid, Node + "2"}, {t.uid, "x" + Node}, {t.uid + "2", Node}} {
				o := &other{open: t.Open(1, 1, nil), records: t.Records(10)}
				m := t.Member()
				m.Node = who.node
				o.open.Chain, o.open.UID = []*pluginv1.Member{m}, who.uid
				o.node = rig.Node{Member: m, UID: who.uid, Epoch: 1}
				s := p.Stage(o.open)
				s.Send(0, 0, o.records...)
				o.cut = s.Checkpoint(rig.Roll)
				others = append(others, o)
			}
			r.write(10)
			r.restart()
			var all []exchange.Record
			for _, o := range others {
				if err := p.TryCommit(t.ctx, o.node, o.cut.Committables()); err != nil {
					t.Fatalf("Commit of node %s, uid %s, after the Sweep of node %s, uid %s: %v", o.node.Member.Node, o.node.UID, Node, t.uid, err)
				}
				all = append(all, o.records...)
			}
			r.inRecord = append(r.inRecord, all...)
			r.finish()
		},
	},
	{
		ID: "WC-SNK-034", Title: "Sweep removes what earlier epochs left", Kinds: sinks,
		Needs: all(recovers, func(t *Target) Missing {
			if t.Entry.Objects == nil {
				return notConfigured("`objects`, which lists what the sink has outside")
			}
			return ""
		}),
		Demands: "After killed epochs that left written and prepared output, of more tasks than there are now, a Sweep leaves nothing outside beside what was there before them.",
		Why:     "Else every failure leaves files, transactions or rows that nobody ever removes.",
		Fix:     "Sweep comes once a node, and not once a task: find what earlier epochs left by their numbers and their parallelism in `earlier`, whatever tasks exist now.",
		run: func(t *T) {
			n := t.Parallelism()
			if n > 1 {
				n++
			}
			r := t.newSinkRun(n)
			r.write(60)
			r.checkpoint(rig.Roll)
			r.commit()
			r.kill()
			r.start()
			before := t.objects()
			r.kill()
			for range 2 {
				r.begin(t.Start())
				r.commit()
				r.sweep()
				r.open()
				r.write(40)
				r.abandon(rig.Roll)
				r.write(40)
				r.abandon()
				r.kill()
			}
			r.rescale(1)
			r.begin(t.Start())
			r.commit()
			r.sweep()
			for _, o := range t.objects() {
				if !slices.Contains(before, o) {
					t.Logf("before: %s", strings.Join(before, ", "))
					t.Fatalf("after Sweep this is left of an earlier epoch: %s", o)
				}
			}
			r.open()
			r.finish()
		},
	},
	{
		ID: "WC-SNK-035", Title: "Sweep withdraws what later checkpoints published", Kinds: sinks, Needs: all(recovers, retracts),
		Demands: "Below a checkpoint that is committed an older one is restored: Sweep with `retract` takes back what checkpoints behind it published, nothing else, and everything is there once in the end.",
		Why:     "It is how a pipeline goes back to a savepoint, or past a damaged checkpoint, without doubling its output.",
		Fix:     "Keep the checkpoint's number in the name of what is published, and remove what is above restored_checkpoint.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			r.write(60)
			r.checkpoint()
			r.commit()
			older := *r
			r.write(60)
			r.checkpoint(rig.Roll)
			r.commit()
			r.write(20)
			r.checkpoint(rig.Roll)
			r.commit()
			r.kill()
			again := slices.Concat(r.inRecord[len(older.inRecord):], r.since)
			// Back to the older record, in a new epoch.
			r.record, r.inRecord, r.must, r.retained = older.record, older.inRecord, older.must, older.retained
			r.prepared, r.since, r.unfinished = nil, again, older.unfinished
			r.begin(t.Start())
			s := r.sweeping()
			s.Retract = true
			if err := r.p.TrySweep(t.ctx, r.node(), s); err != nil {
				t.Fatalf("Sweep with retract, checkpoint %d restored: %v", s.Restored, err)
			}
			r.unseen("after what was published behind the restored checkpoint was withdrawn", again)
			r.open()
			r.finish()
		},
	},
	{
		ID: "WC-SNK-036", Title: "a newer version takes over what an older one left", Kinds: sinks, Needs: all(recovers, previously),
		Demands: "The older version (--previous) writes and prepares; the newer one commits its committables, restores its snapshot and goes on. Everything is there once.",
		Why:     "An upgrade that begins with --fresh loses or doubles what is on its way.",
		Fix:     "Read the committables and the writer state of older versions; add fields and change none.",
		run: func(t *T) {
			r := &sinkRun{t: t, parallelism: t.Parallelism(), member: t.PreviousMember}
			r.startIn(t.StartPrevious())
			r.write(60)
			r.checkpoint()
			r.commit()
			r.write(60)
			r.checkpoint()
			r.write(10)
			r.kill()
			r.member = t.Member
			r.start()
			r.check("after the newer version has restored")
			r.write(20)
			r.finish()
		},
	},
}

func previously(t *Target) Missing {
	if !t.previous {
		return notConfigured("--previous, an older version of the plugin")
	}
	return ""
}

// haunt lets the tasks of an old epoch go on: they write, pass a barrier and
// prepare. That they refuse to is as good.
func (t *T) haunt(old *rig.Stage) {
	for i := range old.Tasks {
		old.Send(i, 0, t.Records(10)...)
	}
	old.Haunt(rig.Roll)
}

// objects lists what the sink has outside.
func (t *T) objects() []string {
	out, err := t.command("objects", t.entry.Objects, nil, nil, 0)
	if err != nil {
		t.Brokenf("%s: objects: %v", t.kit.config.Name(), err)
	}
	var all []string
	for _, l := range strings.Split(string(out), "\n") {
		if l != "" {
			all = append(all, l)
		}
	}
	slices.Sort(all)
	return all
}
