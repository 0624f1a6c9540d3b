package conformance

import (
	"context"
	"slices"
	"time"

	"github.com/weirstream/weir/conformance/rig"
)

// recovers is what sink cases about crashes need.
var recovers = all(exactlyOnce, isRead)

var sinkCrashCases = []Case{
	{
		ID: "WC-SNK-020", Title: "killed before it prepares, it loses and doubles nothing", Kinds: sinks, Needs: recovers,
		Demands: "The process is killed with SIGKILL while records are written behind a checkpoint. A new one restores the checkpoint, gets those records again, and everything is there once.",
		Why:     "Machines fail. What was half written is swept, and comes again.",
		Fix:     "Never publish what no committable names. Names hold the epoch, so that what a killed epoch left is never taken for one's own.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			r.write(60)
			r.checkpoint()
			r.commit()
			r.each(4)
			r.checkpoint()
			r.commit()
			r.write(60)
			t.pause(t.moment())
			r.restart()
			r.check("after the restart")
			r.write(20)
			r.checkpoint()
			r.commit()
			r.write(20)
			r.restart()
			r.finish()
		},
	},
	{
		ID: "WC-SNK-021", Title: "killed between the barrier and the record, what it prepared is never seen", Kinds: sinks, Needs: recovers,
		Demands: "Output is prepared at a barrier, the checkpoint's record is never written, and the process is killed. A new one restores the checkpoint before, gets the records again, and everything is there once.",
		Why:     "Prepared output without a record belongs to nobody: its records come again.",
		Fix:     "Publish only what Commit names; remove the rest in Sweep. Do not finish the transactions of an earlier epoch when a task opens.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			r.write(60)
			r.checkpoint()
			r.commit()
			r.write(60)
			r.abandon(rig.Roll)
			r.kill()
			lost := slices.Clone(r.since)
			r.begin(t.Start())
			r.commit()
			r.sweep()
			r.unseen("of a checkpoint without a record, after the restart", lost)
			r.open()
			// What is unfinished in the record has grown since.
			r.each(4)
			r.checkpoint()
			r.commit()
			r.each(3)
			r.abandon()
			r.restart()
			r.check("after the restart")
			r.finish()
		},
	},
	{
		ID: "WC-SNK-022", Title: "killed between the record and Commit, another process commits", Kinds: sinks, Needs: recovers,
		Demands: "The record of a checkpoint is written, the process is killed before Commit, and a new one commits: everything is there once.",
		Why:     "The record is the point from which the records do not come again. The committable alone must be enough to publish.",
		Fix:     "Put all that Commit needs into the committable, and nothing into memory. Prepared output outlives the process: written to the disk, staged in the data base.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			r.write(60)
			r.checkpoint()
			r.commit()
			r.write(60)
			r.checkpoint(rig.Roll)
			r.restart()
			r.check("after the restart")
			r.write(10)
			r.finish()
		},
	},
	{
		ID: "WC-SNK-023", Title: "killed in the middle of Commit, it publishes the rest later", Kinds: sinks, Needs: recovers,
		Demands: "The process is killed at a random moment after Commit was called, several times; Commit is repeated by a new process each time until it answers. Everything is there once.",
		Why:     "A Commit of several pieces may be done with some of them.",
		Fix:     "Publish each piece atomically, and find out for each whether it is published already.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			// How long it takes says when the middle is.
			r.write(60)
			r.checkpoint(rig.Roll)
			began := time.Now()
			r.commit()
			whole := time.Since(began)
			for range 3 {
				r.write(60)
				r.checkpoint()
				r.write(60)
				r.checkpoint(rig.Roll)
				for range 3 {
					after := time.Duration(t.Rand.Int64N(int64(whole) + int64(whole)/4 + 1))
					t.Logf("killed %v after Commit was called in epoch %d; a whole one took %v", after, r.epoch, whole)
					t.during(r.p, after, func(ctx context.Context) { _ = r.p.TryCommit(ctx, r.node(), cloneEntries(r.prepared)) })
					r.begin(t.Start())
				}
				r.commit()
				r.sweep()
				r.check("after Commit was repeated until it answered")
				r.open()
			}
			r.finish()
		},
	},
	{
		ID: "WC-SNK-024", Title: "killed while it restores, it restores again", Kinds: sinks, Needs: recovers,
		Demands: "The process is killed at a random moment of a restore (Commit, Sweep, opening, the first records), several times. Everything is there once.",
		Why:     "What fails once often fails again at once: a machine that is short of memory, a bad disk.",
		Fix:     "Opening changes nothing that a second opening needs: take over unfinished output by copying it, or under one more name.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			for range 2 {
				r.write(60)
				r.checkpoint()
				r.commit()
				r.write(60)
				r.checkpoint()
				r.kill()
				for range 3 {
					after := t.moment()
					p := t.Start()
					r.begin(p)
					o := t.Open(r.epoch, r.parallelism, r.record)
					again := slices.Clone(r.since)
					t.Logf("killed %v into the restore of epoch %d", after, r.epoch)
					answered := false
					t.during(p, after, func(ctx context.Context) {
						if r.record != nil && p.TryCommit(ctx, r.node(), cloneEntries(r.prepared)) != nil {
							return
						}
						answered = r.record != nil
						if p.TrySweep(ctx, r.node(), r.sweeping()) != nil {
							return
						}
						s := p.Prepare(o)
						if s.TryRun(ctx) == nil {
							s.Send(0, 0, again...)
							<-ctx.Done()
						}
					})
					if answered {
						r.committed() // a host notes that, durably, before it sweeps
					}
				}
				r.start()
				r.check("after the restore that was let be")
			}
			r.finish()
		},
	},
	{
		ID: "WC-SNK-025", Title: "whatever happens in whatever order, every record is there once", Kinds: sinks, Needs: recovers,
		Demands: "A random sequence by seed of writing, checkpoints with and without a record, commits that come late, and kills with SIGKILL, after each of which the pipeline restores, at another number of tasks too. What is committed is checked all along.",
		Why:     "The cases before this one try what somebody has thought of.",
		Fix:     "Run it again with the seed of the report. The notes list what was done.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism())
			deadline := time.Now().Add(stormTime)
			for step := 0; step < 60 && time.Now().Before(deadline); step++ {
				switch n := t.Rand.IntN(20); {
				case n < 8:
					k := 1 + t.Rand.IntN(60)
					t.Logf("write %d", k)
					r.write(k)
				case n < 12:
					t.Logf("checkpoint %d, with a record", r.next())
					r.checkpoint(t.maybeRoll()...)
				case n < 14:
					t.Logf("checkpoint %d, without a record", r.next())
					r.abandon(t.maybeRoll()...)
				case n < 17:
					t.Logf("commit")
					r.commit()
					r.check("after a commit")
				default:
					if t.Parallelism() > 1 {
						r.rescale(1 + t.Rand.IntN(3))
					}
					t.Logf("kill, and restore in epoch %d with %d tasks", r.epoch+1, r.parallelism)
					r.restart()
					r.check("after a restart")
				}
			}
			r.finish()
		},
	},
	{
		ID: "WC-SNK-026", Title: "it goes on at another parallelism", Kinds: sinks, Needs: all(recovers, several),
		Demands: "A checkpoint of several tasks is restored by one, and that of one by several; what was unfinished goes on, and everything is there once.",
		Why:     "A pipeline is rescaled without being emptied.",
		Fix:     "A task may get writer state of several tasks or of none. Take all of it over.",
		run: func(t *T) {
			r := t.newSinkRun(t.Parallelism() + 1)
			for _, n := range []int{1, t.Parallelism(), 1, t.Parallelism() + 1} {
				r.write(60)
				r.checkpoint()
				r.each(4)
				r.checkpoint()
				r.commit()
				r.write(20)
				r.rescale(n)
				r.restart()
				r.check("after the restart with another number of tasks")
			}
			r.finish()
		},
	},
}

// stormTime bounds a random sequence; what takes longer is cut short.
const stormTime = 12 * time.Second

// moment is a random time, short more often than long.
func (t *T) moment() time.Duration {
	d := time.Duration(t.Rand.IntN(8)+1) * time.Millisecond
	for t.Rand.IntN(3) == 0 {
		d *= 2
	}
	return min(d, 200*time.Millisecond)
}

// during kills the process some time after f has begun, and waits for f.
func (t *T) during(p *rig.Plugin, after time.Duration, f func(context.Context)) {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	select {
	case <-time.After(after):
	case <-t.ctx.Done():
	}
	cancel()
	p.SIGKILLDuring(done)
}

func (t *T) maybeRoll() []rig.BarrierOption {
	if t.Rand.IntN(3) == 0 {
		return []rig.BarrierOption{rig.Roll}
	}
	return nil
}
