package engine

import (
	"context"

	"github.com/weirstream/weir/checkpoint"
)

// Phase is what the hosts of an epoch are told to do, one after the other. A
// phase begins when every host has done the one before.
type Phase string

// The phases, in order.
const (
	// PhasePrepare: close every task of earlier epochs, start plugin processes,
	// let the components ask the outside.
	PhasePrepare Phase = "prepare"
	// PhaseCommit: publish what the restored checkpoint lists.
	PhaseCommit Phase = "commit"
	// PhaseSweep: remove what earlier epochs left unpublished.
	PhaseSweep Phase = "sweep"
	// PhaseOpen: open the tasks with their state.
	PhaseOpen Phase = "open"
	// PhaseRun: let data flow.
	PhaseRun Phase = "run"
	// PhaseClose: close the tasks.
	PhaseClose Phase = "close"
)

// Phases lists all of them in order.
func Phases() []Phase {
	return []Phase{PhasePrepare, PhaseCommit, PhaseSweep, PhaseOpen, PhaseRun, PhaseClose}
}

// Restore is what an epoch begins from: what the ledger's Begin found, and the
// checkpoint that was chosen.
type Restore struct {
	History checkpoint.History
	Choice  checkpoint.Choice
}

// UID and Epoch name the epoch.
func (r Restore) UID() string { return r.History.Lineage.UID }

// Epoch is the number of the epoch.
func (r Restore) Epoch() uint64 { return r.History.Lineage.Epoch }

// Finishing says that nothing will be read any more: all input had ended at the
// restored checkpoint, and only its output is to be published.
func (r Restore) Finishing() bool {
	return r.Choice.Record != nil && r.Choice.Record.State == checkpoint.Finishing
}

// Upward is how the hosts of an epoch answer its leader. Both may be called from
// any goroutine, do not block, and do nothing once the epoch is over.
type Upward struct {
	Report func(checkpoint.Event)
	// Fail says that the epoch cannot go on, and why.
	Fail func(error)
}

// Hosts is how a leader reaches the hosts of one pipeline. One goroutine calls it,
// save for Uncommitted.
//
// Where leader and host are one process the calls go straight to a [Worker]. In a
// cluster they are records in coordination that the hosts follow; then what a
// checkpoint needs (its barrier, the acks, its end) stands in the ledger's own
// records, and those methods have nothing to do.
type Hosts interface {
	// Ready waits until there are hosts to run on.
	Ready(ctx context.Context) error
	// Begin hands out a new epoch and names the hosts that have tasks in it.
	Begin(ctx context.Context, r Restore, up Upward) (hosts []string, err error)
	// Resume takes over the epoch that runs already, if it is sound: data flows,
	// and no host of it is lost or has failed.
	Resume(ctx context.Context, h checkpoint.History, up Upward) (hosts []string, ok bool, err error)
	// Take tells all hosts to take a phase and waits until they have.
	Take(ctx context.Context, p Phase) error
	Barrier(b checkpoint.Barrier)
	Completed(r checkpoint.Record)
	Aborted(n uint64, reason error)
	// Committed says that all output up to a checkpoint is published for good.
	Committed(through uint64)
	// End closes the epoch's tasks: in a hurry where the leader is to end at once.
	// Nothing is reported any more when it has returned.
	End(hurry bool)
	// Uncommitted names the hosts whose restored output is not yet published.
	Uncommitted() []string
}
