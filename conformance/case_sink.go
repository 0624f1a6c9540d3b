package conformance

import (
	"fmt"
	"slices"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
)

var sinkCases = []Case{
	{
		ID: "WC-SNK-001", Title: "every record arrives, once", Kinds: sinks, Needs: isRead,
		Demands: "Records written by several tasks over several checkpoints, each committed, are all there at the end of the input: none is lost, doubled or changed.",
		Why:     "It is what a sink is for.",
		Fix:     "Compare what was sent with what is named in the message. A batch may hold thousands of records, and a task gets many batches before a barrier.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			for range 3 {
				r.write(t.ordinary() / 3)
				r.checkpoint()
				r.commit()
				r.check("after a commit")
			}
			r.write(5)
			r.finish()
		},
	},
	{
		ID: "WC-SNK-002", Title: "the last batch is not kept back at the end of the input", Kinds: sinks, Needs: isRead,
		Demands: "A few records, written right before the barrier that ends the input, are there when it has passed and its output is committed; so are those of an input that was empty before.",
		Why:     "A sink that waits for a full buffer loses the end of every bounded input, and nobody sees it until the numbers are compared.",
		Fix:     "Flush whatever is buffered at each barrier, however little it is.",
		run: func(t *T) {
			r := t.newSinkRun(1)
			r.checkpoint()
			r.commit()
			r.write(1)
			r.checkpoint()
			r.commit()
			r.write(2)
			r.finish()
		},
	},
	{
		ID: "WC-SNK-003", Title: "records that are easily got wrong arrive as they were", Kinds: sinks, Needs: isRead,
		Demands: "Empty and null values and keys, any bytes, UTF-8, headers in their order with repeated names, null and empty values, times and no time, arrive as they were, as far as conformance.yaml says that the outside carries them.",
		Why:     "null deletes in many systems and empty does not. Bytes that pass through a string type are replaced without a word.",
		Fix:     "Keep bytes bytes, and null apart from empty. What the outside cannot hold is a failed record, never a changed one.",
		run: func(t *T) {
			r := t.newSinkRun(1)
			for _, s := range t.Special() {
				r.send([]exchange.Record{s})
			}
			r.send(t.Special())
			r.finish()
		},
	},
	{
		ID: "WC-SNK-004", Title: "a huge record arrives", Kinds: sinks, Needs: isRead,
		Demands: "A record close to the host's limit of 8 MiB, or of records.max_size, arrives whole, among small ones.",
		Why:     "Servers that use a library's default refuse messages above 4 MiB, and then the task restarts for ever.",
		Fix:     "Set the receive limit of the gRPC server to 256 MiB. A limit of the outside belongs into records.max_size, and a record above it is a failed record.",
		run: func(t *T) {
			r := t.newSinkRun(1)
			r.write(3)
			r.send(t.Sized(1, t.MaxValue()-16))
			r.write(3)
			r.finish()
		},
	},
	{
		ID: "WC-SNK-005", Title: "nothing is seen before it is committed", Kinds: sinks, Needs: all(exactlyOnce, isRead, hidesUncommitted),
		Demands: "What has been written, and what has been prepared at a barrier, is not seen outside until Commit is called.",
		Why:     "The checkpoint may fail after the barrier. Then the records come again, and are there twice.",
		Fix:     "Prepare under a hidden name, in a transaction or in a staging table; publish in Commit and nowhere else.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			r.write(t.ordinary())
			first := slices.Clone(r.since)
			r.checkpoint(rig.Roll)
			r.unseen("after its barrier and before Commit", first)
			r.write(20)
			r.abandon()
			r.unseen("two barriers later and before Commit", first)
			r.s.Sound()
			r.commit()
			r.check("after Commit")
			r.finish()
		},
	},
	{
		ID: "WC-SNK-006", Title: "Commit alone publishes what a rolling barrier prepared", Kinds: sinks, Needs: all(exactlyOnce, isRead),
		Demands: "After a barrier with `roll` the committables hold everything: once they are committed all records are seen, without another barrier and without the tasks that wrote them.",
		Why:     "A savepoint and a drained pipeline end here. What stays in writer state is published by nobody.",
		Fix:     "At `roll`, `halt` and `end` close what is open and prepare it.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			r.write(t.ordinary())
			r.checkpoint(rig.Roll)
			r.kill()
			r.p = t.Start()
			r.commit()
			r.must = r.inRecord
			r.check("after Commit by another process")
		},
	},
	{
		ID: "WC-SNK-007", Title: "Commit is idempotent", Kinds: sinks, Needs: all(exactlyOnce, isRead),
		Demands: "The same committables, committed again in the same process, in another process and at once in one call with newer ones, publish nothing twice and give no error.",
		Why:     "The host repeats Commit until it hears an answer: after a lost reply, and after every restore.",
		Fix:     "Find out in Commit whether the output is published already, by its name or a marker written with it, and answer without an error then.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			r.write(t.ordinary())
			first := cloneEntries(r.checkpoint(rig.Roll).Committables())
			r.commit()
			for i := range 3 {
				t.commitAgain(r, r.p, first, fmt.Sprintf("the same committables, time %d", i+2))
			}
			r.write(20)
			r.checkpoint(rig.Roll)
			r.prepared = append(cloneEntries(first), r.prepared...)
			r.commit()
			r.check("after a Commit of old and new together")
			t.commitAgain(r, t.Start(), first, "the same committables in another process")
			r.finish()
		},
	},
	{
		ID: "WC-SNK-008", Title: "an old checkpoint is committed after newer ones were prepared", Kinds: sinks, Needs: all(exactlyOnce, isRead),
		Demands: "Three checkpoints are prepared before the first is committed; then all are, and everything is there once.",
		Why:     "Commits run beside the stream. When they are slow the next barriers do not wait for them.",
		Fix:     "Give each checkpoint's output a name of its own; keep nothing in the task that Commit needs.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			var cuts []*rig.Cut
			for range 3 {
				r.write(t.ordinary() / 3)
				cuts = append(cuts, r.checkpoint(rig.Roll))
			}
			r.write(10)
			for _, c := range cuts {
				if err := r.p.TryCommit(t.ctx, r.node(), c.Committables()); err != nil {
					t.Fatalf("Commit of checkpoint %d with checkpoint %d prepared: %v", c.Checkpoint, r.record.Checkpoint, err)
				}
			}
			r.committed()
			r.check("after the commits")
			r.finish()
		},
	},
	{
		ID: "WC-SNK-009", Title: "what a failed checkpoint prepared is published with the next", Kinds: sinks, Needs: all(exactlyOnce, isRead),
		Demands: "The output of a checkpoint that was aborted stays prepared and is committed with the next one, once.",
		Why:     "There is no abort of output: the records do not come again as long as the task lives.",
		Fix:     "Do nothing with output when Aborted comes. What was named at one barrier is not named at the next.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			r.write(50)
			r.abandon()
			r.write(50)
			r.abandon(rig.Roll)
			r.write(50)
			r.checkpoint(rig.Roll)
			r.commit()
			r.check("after the commit of the third checkpoint")
			r.finish()
		},
	},
	{
		ID: "WC-SNK-010", Title: "checkpoints without records do no harm", Kinds: sinks, Needs: isRead,
		Demands: "Barriers with nothing between them pass, name nothing that changes the output, and their committables, none included, can be committed.",
		Why:     "An idle pipeline takes checkpoints for hours.",
		Fix:     "Prepare nothing where nothing was written; accept a Commit without committables.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			for range 3 {
				r.checkpoint()
				r.commit()
			}
			if t.Left.GetExactlyOnce() {
				if err := r.p.TryCommit(t.ctx, r.node(), nil); err != nil {
					t.Fatalf("Commit without committables: %v", err)
				}
			}
			for _, options := range [][]rig.BarrierOption{nil, {rig.Roll}} {
				r.write(10)
				r.checkpoint(options...)
				r.commit()
				for range 2 {
					r.checkpoint()
					r.commit()
				}
				r.check("after idle checkpoints")
			}
			r.finish()
		},
	},
	{
		ID: "WC-SNK-011", Title: "tasks of one process do not mix", Kinds: sinks, Needs: all(isRead, several),
		Demands: "Several tasks that write at the same time, with their barriers at different times, publish each its own: what one prepared for a checkpoint holds no record that another wrote behind its barrier.",
		Why:     "State that is shared by accident, a package variable or a file name, mixes tasks up as soon as there are two.",
		Fix:     "Keep everything in the task, and its index in every name.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			for range 4 {
				r.write(60)
				// The second task gets records behind its barrier while the first has
				// not seen its own.
				b := r.s.Trigger()
				late := t.Records(30)
				for i := range r.parallelism {
					r.s.Send(i, 0, late[i*30/r.parallelism:(i+1)*30/r.parallelism]...)
				}
				r.recorded(r.s.AwaitCut(b))
				r.since = append(r.since, late...)
				r.commit()
				r.check("after a commit")
			}
			r.finish()
		},
	},
	{
		ID: "WC-SNK-012", Title: "a record that fails is told with the right place, and the others arrive", Kinds: sinks, Needs: all(isRead, hasBad),
		Demands: "Of a batch with bad records among good ones exactly the bad ones leave on `errors`, whole, with the headers weir.error and weir.component; the good ones arrive. With the policy `skip` nothing leaves, with `fail` the task fails.",
		Why:     "A wrong index dead-letters a good record and drops the bad one without a trace.",
		Fix:     "Fail the record that was refused, by its place in its batch. A batch that is refused as a whole is written again record by record.",
		run:     func(t *T) { t.badRecordsOfSink() },
	},
	{
		ID: "WC-SNK-013", Title: "a committable that makes no sense is refused", Kinds: sinks, Needs: exactlyOnce,
		Demands: "Commit of a committable that is no committable of the component answers with an error, and the process goes on.",
		Why:     "What is answered without an error counts as published for good.",
		Fix:     "Answer with CLASS_FATAL where a committable cannot be read.",
		run: func(t *T) {
			r := t.newSinkRun(1)
			garbage := garbageEntry()
			if err := r.p.TryCommit(t.ctx, r.node(), garbage); err == nil {
				t.Fatalf("Commit of %q was answered as if it had been published", garbage[0].GetPayload())
			}
			t.alive(r.p, "Commit of a committable that makes no sense", nil)
			r.s.Sound()
		},
	},
	{
		ID: "WC-SNK-014", Title: "it says that it has changed", Kinds: sinks, Needs: exactlyOnce,
		Demands: "A task that has taken a record says Changed, without being asked by a barrier; and again after one, with its number.",
		Why:     "The host skips checkpoints while no task has changed: a sink that never says so never publishes.",
		Fix:     "Say Changed at the first record behind each barrier, with the number of that barrier, 0 for none.",
		run: func(t *T) {
			r := t.newSinkRun(1)
			r.write(3)
			r.s.AwaitChanged(0)
			cut := r.checkpoint()
			r.write(3)
			r.s.AwaitChanged(cut.Checkpoint)
		},
	},
}

func (t *T) commitAgain(r *sinkRun, p *rig.Plugin, entries []*entry, what string) {
	if err := p.TryCommit(t.ctx, r.node(), cloneEntries(entries)); err != nil {
		t.Fatalf("Commit of %s: %v", what, err)
	}
	r.check("after Commit of " + what)
}
