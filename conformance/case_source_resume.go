package conformance

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/host/pipeline"
)

var resumes = all(replayable, hasInput)

var sourceResumeCases = []Case{
	{
		ID: "WC-SRC-020", Title: "from every recorded position it reads exactly the rest", Kinds: sources, Needs: resumes,
		Demands: "Checkpoints are taken all along a read, the first before any record. From each of them the source is restored in the same process, and what came before the barrier and what comes then are everything, once.",
		Why:     "Every failure of a pipeline goes back to some such position.",
		Fix:     "A position is that behind the records that were sent before the barrier, no earlier and no later; it is in the snapshot of that very barrier. A split that is held and not open yet is in the snapshot too.",
		run: func(t *T) {
			r := t.newSourceRun(t.long(), 100, 3)
			p := t.StartNarrow()
			for i, from := range r.steps(p, t.Parallelism(), 8) {
				r.resume(p, uint64(i)+2, t.Parallelism(), from)
			}
		},
	},
	{
		ID: "WC-SRC-021", Title: "it resumes in another process, after SIGKILL", Kinds: sources, Needs: resumes,
		Demands: "The process is killed while data flows; a new one restores the last checkpoint, and again. What the checkpoints cover and what comes at last are everything, once.",
		Why:     "What is kept in memory is gone.",
		Fix:     "The position alone must be enough to go on, in a process that knows nothing.",
		run: func(t *T) {
			r := t.newSourceRun(t.long(), 100, 3)
			var cut *rig.Cut
			var before []rig.Received
			for epoch := uint64(1); epoch <= 4; epoch++ {
				p := t.StartNarrow()
				o := t.Open(epoch, t.Parallelism(), cut)
				o.BatchBytes = 8 << 10
				s := openStalled(p, o)
				for range 1 + t.Rand.IntN(2) {
					next := s.Checkpoint()
					s.Flow()
					if t.Rand.IntN(4) > 0 {
						next.Complete()
					}
					cut = next
				}
				before = append(before, cut.ReceivedAll(pipeline.OutputMain)...)
				t.pause(t.moment())
				p.SIGKILL()
			}
			got := append(before, r.rest(t.Start(), 9, t.Parallelism(), cut, len(before))...)
			r.exactly("after four processes were killed", got)
			r.ordered(got)
		},
	},
	{
		ID: "WC-SRC-022", Title: "it resumes at another parallelism", Kinds: sources, Needs: all(resumes, several),
		Demands: "Checkpoints of several tasks are restored by one, and by more than there were: what came before and what comes then are everything, once.",
		Why:     "A pipeline is rescaled without reading anew.",
		Fix:     "A reader may get the splits of several, or none. The enumerator assigns what it has not assigned yet, to whoever asks.",
		run: func(t *T) {
			r := t.newSourceRun(t.long(), 100, 4)
			p := t.StartNarrow()
			all := r.steps(p, t.Parallelism(), 5)
			for i, from := range all {
				n := 1
				if i%2 == 1 {
					n = t.Parallelism() + 1
				}
				r.resume(p, uint64(i)+2, n, from)
			}
		},
	},
	{
		ID: "WC-SRC-023", Title: "reading again gives the same records", Kinds: sources, Needs: resumes,
		Demands: "From one checkpoint the rest is read twice: both reads give the same records, with the same keys, times and headers.",
		Why:     "Exactly once rests on it: what is read again must be what was dropped.",
		Fix:     "Take nothing from the clock or from chance into a record. Where the outside changes below a position the source is not replayable, and should not claim it.",
		run: func(t *T) {
			r := t.newSourceRun(t.ordinary(), 60, 2)
			p := t.Start()
			from := r.steps(p, 1, 2)[0]
			first := plain(r.rest(p, 20, 1, from.cut, len(from.before)))
			t.pause(20 * time.Millisecond)
			again := plain(r.rest(p, 21, 1, from.cut, len(from.before)))
			if d := difference(first, again, exchange.AllFields); d != "" {
				t.Fatalf("read again from checkpoint %d: %s", from.cut.Checkpoint, d)
			}
		},
	},
	{
		ID: "WC-SRC-024", Title: "from a barrier that halts it reads exactly the rest", Kinds: sources, Needs: resumes,
		Demands: "A barrier with `halt` in the middle of the input, the tasks closed, and a restore: everything comes once.",
		Why:     "It is how a pipeline is stopped and started again.",
		Fix:     "What was read and not sent when the barrier came is not behind the position.",
		run: func(t *T) {
			r := t.newSourceRun(t.long(), 100, 2)
			p := t.StartNarrow()
			o := t.Open(1, t.Parallelism(), nil)
			o.BatchBytes = 8 << 10
			s := openStalled(p, o)
			s.Checkpoint()
			s.Flow()
			cut := s.Checkpoint(rig.Halt)
			s.Flow()
			s.Close()
			r.resume(p, 2, t.Parallelism(), step{cut, cut.ReceivedAll(pipeline.OutputMain)})
		},
	},
	{
		ID: "WC-SRC-025", Title: "checkpoints that fail change nothing", Kinds: sources, Needs: resumes,
		Demands: "Several checkpoints are aborted; one before them is restored, and one behind them: everything comes once.",
		Why:     "A checkpoint is aborted whenever some other task is too slow.",
		Fix:     "Move nothing outside, and forget nothing, because a barrier has passed: only Completed says that a checkpoint counts.",
		run: func(t *T) {
			r := t.newSourceRun(t.long(), 100, 2)
			p := t.StartNarrow()
			o := t.Open(1, t.Parallelism(), nil)
			o.BatchBytes = 8 << 10
			s := openStalled(p, o)
			var all []step
			for range 4 {
				cut := s.Checkpoint()
				cut.Abort()
				all = append(all, step{cut, cut.ReceivedAll(pipeline.OutputMain)})
				s.Flow()
			}
			s.Close()
			r.resume(p, 2, t.Parallelism(), all[0])
			r.resume(p, 3, t.Parallelism(), all[3])
		},
	},
	{
		ID: "WC-SRC-026", Title: "a finished read stays finished", Kinds: sources, Needs: all(resumes, isBounded),
		Demands: "Restored from the checkpoint at the end of the input, the source sends nothing and says that it is exhausted.",
		Why:     "A pipeline that is killed between its last checkpoint and its end restores that one.",
		Fix:     "Keep in the enumerator's state which splits have been assigned; those that no reader holds have ended.",
		run: func(t *T) {
			r := t.newSourceRun(t.ordinary(), 60, 2)
			p := t.Start()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			s.AwaitExhausted()
			cut := s.Checkpoint(rig.End)
			s.Close()
			r.exactly("read to the end", cut.ReceivedAll(pipeline.OutputMain))
			again := t.Start().Stage(t.Open(2, t.Parallelism(), cut))
			again.AwaitExhausted()
			if got := again.Checkpoint(rig.End).ReceivedAll(pipeline.OutputMain); len(got) > 0 {
				t.Fatalf("restored from the end of its input the source sent %d records again: %s", len(got), list(plain(got)))
			}
			again.Close()
		},
	},
	{
		ID: "WC-SRC-027", Title: "a newer version goes on where an older one was", Kinds: sources, Needs: all(resumes, previously),
		Demands: "Checkpoints of the older version (--previous) are restored by the newer one: everything comes once.",
		Why:     "An upgrade must not read anew, or skip.",
		Fix:     "Read the positions and the enumerator's state of older versions; add fields and change none.",
		run: func(t *T) {
			r := t.newSourceRun(t.long(), 100, 3)
			old := t.StartPrevious()
			o := t.Open(1, t.Parallelism(), nil)
			o.Chain = []*member{t.PreviousMember()}
			s := openStalled(old, o)
			first := s.Checkpoint()
			s.Flow()
			second := s.Checkpoint()
			s.Flow()
			s.Close()
			p := t.Start()
			for i, cut := range []*rig.Cut{first, second} {
				r.resume(p, uint64(i)+2, t.Parallelism(), step{cut, cut.ReceivedAll(pipeline.OutputMain)})
			}
		},
	},
	{
		ID: "WC-SRC-028", Title: "whatever happens in whatever order, every record comes once", Kinds: sources, Needs: resumes,
		Demands: "A random sequence by seed of checkpoints with and without a record, kills with SIGKILL, closed tasks, and restores at other numbers of tasks, with pieces fed meanwhile where the source is unbounded. What the records of checkpoints cover is everything, once.",
		Why:     "The cases before this one try what somebody has thought of.",
		Fix:     "Run it again with the seed of the report. The notes list what was done.",
		run:     func(t *T) { t.sourceStorm() },
	},
}

// long is the number of records of a case that wants several checkpoints on the
// way.
func (t *T) long() int {
	if n := t.entry.Records.Count; n > 0 {
		return n
	}
	return 2500
}

func (t *T) sourceStorm() {
	r := t.newSourceRun(t.long(), 100, 4)
	var record *rig.Cut
	var covered []rig.Received
	deadline := time.Now().Add(stormTime)
	epoch := uint64(0)
	for time.Now().Before(deadline) && epoch < 12 {
		epoch++
		n := t.Parallelism()
		if n > 1 {
			n = 1 + t.Rand.IntN(n+1)
		}
		if !t.Left.GetBounded() && t.Rand.IntN(3) == 0 {
			r.feed(t.Records(20))
		}
		p := t.StartNarrow()
		o := t.Open(epoch, n, record)
		o.BatchBytes = 4 << 10
		s := openStalled(p, o)
		said := fmt.Sprintf("epoch %d with %d tasks, behind %d records:", epoch, n, len(covered))
		base := covered
		for range t.Rand.IntN(4) {
			cut := s.Checkpoint()
			s.Flow()
			if t.Rand.IntN(3) == 0 {
				cut.Abort()
				said += fmt.Sprintf(" aborted %d;", cut.Checkpoint)
				continue
			}
			cut.Complete()
			record = cut
			covered = slices.Concat(base, cut.ReceivedAll(pipeline.OutputMain))
			said += fmt.Sprintf(" checkpoint %d behind %d records;", cut.Checkpoint, len(covered))
			if t.Rand.IntN(2) == 0 {
				t.pause(t.moment())
			}
		}
		if t.Rand.IntN(3) == 0 {
			s.Close()
			p.StopWithin(stopTime)
			said += " closed"
		} else {
			t.pause(t.moment())
			p.SIGKILL()
			said += " killed"
		}
		t.Logf("%s", said)
	}
	got := append(slices.Clone(covered), r.rest(t.Start(), epoch+1, t.Parallelism(), record, len(covered))...)
	r.exactly("at the end", got)
}
