package checkpoint_test

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
)

// flaw is one rule that is broken on purpose, to see that the simulation finds it.
type flaw string

const (
	noFlaw                flaw = ""
	commitBeforeRecord    flaw = "commit before the record"
	sweepBeforeCommit     flaw = "sweep before the restored commits"
	sweepWithoutKeep      flaw = "sweep what retained records name"
	abortOutput           flaw = "abort output with its checkpoint"
	forgetEarlierOutput   flaw = "list only what this barrier prepared"
	reuseNumber           flaw = "use a checkpoint number again"
	restoreOlder          flaw = "restore an older record"
	restoreBelowPublished flaw = "restore below published output"
	namesWithoutEpoch     flaw = "name output without the epoch"
	commitOnAnyRecord     flaw = "commit on a record of another epoch"
	endToldTwice          flaw = "tell the end of input again"
	unknownIsFailure      flaw = "take an unknown outcome for a failure"
	discardBeforeClose    flaw = "discard state before the pending record is closed"
	lateAckDeletes        flaw = "discard the state of every late ack"
	recordWithoutCheck    flaw = "write records whoever leads and whatever epoch it is"
	writeWithoutGuard     flaw = "write without checking the leader epoch"
	savepointNotNamed     flaw = "ignore savepoints in retention"
	retractAnyEpoch       flaw = "withdraw output of newer epochs"
	filesBeforeRecord     flaw = "share files of a checkpoint without a record"
	discardShared         flaw = "discard files that an earlier checkpoint stored"
	committedTooEarly     flaw = "save committed_through before all hosts have answered"
)

var flaws = []flaw{
	commitBeforeRecord, sweepBeforeCommit, sweepWithoutKeep, abortOutput, forgetEarlierOutput, reuseNumber, restoreOlder,
	restoreBelowPublished, namesWithoutEpoch, commitOnAnyRecord, endToldTwice, unknownIsFailure, discardBeforeClose,
	lateAckDeletes, recordWithoutCheck, writeWithoutGuard, savepointNotNamed, committedTooEarly,
	retractAnyEpoch, filesBeforeRecord, discardShared,
}

// favour gives a schedule what a rare flaw needs to show.
func (w *world) favour() {
	switch w.flaw {
	case retractAnyEpoch, recordWithoutCheck, writeWithoutGuard:
		w.shape.records += 60 // so that the pipeline does not finish too soon
	}
	switch w.flaw {
	case retractAnyEpoch:
		w.shape.corrupting, w.shape.retract, w.oversleep = true, true, "sweep"
	case writeWithoutGuard:
		w.oversleep = "record"
	case restoreBelowPublished:
		w.shape.corrupting, w.shape.retract = true, false
	}
}

// leaderSession is a leader's view of coordination, without the conditions that a
// flaw forgets.
func (w *world) leaderSession(a *actor, lead testLead) *session {
	s := w.session(a)
	switch w.flaw {
	case recordWithoutCheck:
		s.change.ops = func(ops []coordination.Op) []coordination.Op {
			if !slices.ContainsFunc(ops, func(op coordination.Op) bool {
				_, record := below(op.Path, recordsDir)
				return record && op.Kind == coordination.OpCreate
			}) {
				return ops
			}
			if l := w.leader; l != nil && l.lead == lead && w.faulty(0.3) {
				w.endSession(l) // between the plan and the commit
				w.depth++
				for range 300 {
					w.step()
				}
				w.depth--
			}
			return ops[len(ops)-1:] // the record itself
		}
	case writeWithoutGuard:
		s.change.ops = func(ops []coordination.Op) []coordination.Op {
			if len(ops) > 1 && ops[0].Path == lead.path {
				return ops[1:]
			}
			return ops
		}
	case unknownIsFailure:
		write, reply := s.write, s.reply
		certain := func(err error) error {
			if errors.Is(err, coordination.ErrUnknownOutcome) {
				return errors.New("failed")
			}
			return err
		}
		s.write = func(ops []coordination.Op) error { return certain(write(ops)) }
		s.reply = func() error { return certain(reply()) }
	case savepointNotNamed:
		s.change.children = func(path string, names []string) []string {
			if path == savepointsDir {
				return nil
			}
			return names
		}
	}
	return s
}

// spoil changes an event, or does something wrong on account of it.
func (l *leader) spoil(r *run, ev checkpoint.Event) checkpoint.Event {
	switch ev := ev.(type) {
	case checkpoint.Acked:
		l.acks = append(l.acks, ev.Ack)
		if l.w.flaw == lateAckDeletes && ev.Ack.N <= l.core.Status().Completed {
			_ = ev.Ack.Discard(background, l.w.storage(&l.actor))
		}
	case checkpoint.CommitsAnswered:
		if l.w.flaw == committedTooEarly {
			for _, h := range r.hosts {
				l.core.Step(l.w.clock(), checkpoint.CommitsAnswered{Host: h.name, Through: ev.Through})
			}
		}
	}
	return ev
}

func (l *leader) discardAll(n uint64) {
	for _, a := range l.acks {
		if a.N == n {
			_ = a.Discard(background, l.w.storage(&l.actor))
		}
	}
}

// forgetNumber takes the allocation of the last number back.
func (l *leader) forgetNumber() {
	n := l.w.tree.nodes["pipelines/p/checkpoints/sequence"]
	var s checkpoint.Sequence
	if json.Unmarshal(n.data, &s) == nil {
		s.Last--
		n.data, _ = json.Marshal(s)
	}
}

// aborted tells a host that a checkpoint has no record. Its output stays pending.
func (h *host) aborted(n uint64) {
	if h.p.w.flaw != abortOutput || h.stopped {
		return
	}
	var kept checkpoint.Uncommitted
	for _, s := range h.r.sinks {
		for _, e := range h.uncommitted.Snapshot(s.index, h.last) {
			if s.h == h && e.GetCheckpoint() != n {
				kept.Prepared(s.index, e.GetCheckpoint(), checkpoint.Entries{e})
			}
		}
	}
	h.uncommitted = kept
}
