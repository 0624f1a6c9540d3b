package checkpoint

import "time"

// Action is what the owner of a Coordinator has to do. Those that name an outcome
// are to be carried out without holding up further events, in any order, each
// answered with exactly one event.
type Action interface{ action() }

type (
	// OpenPending calls Ledger.Open with Pending, which has no number yet. Outcome:
	// PendingOpened. After an unknown outcome it comes again with the same ID.
	OpenPending struct{ Pending Pending }

	// SendBarrier gives the barrier to every host. It may come again for the same
	// number; hosts ignore what they have seen.
	SendBarrier struct{ Barrier Barrier }

	// WriteManifest calls StoreManifest with the acks of all hosts. Outcome:
	// ManifestWritten.
	WriteManifest struct {
		N    uint64
		Acks []Ack // sorted by host
	}

	// WriteRecord calls Ledger.Write. Outcome: RecordWritten.
	WriteRecord struct{ Record Record }

	// ConfirmRecord calls Ledger.Confirm, which finds out what became of a
	// WriteRecord with unknown outcome. Outcome: RecordWritten.
	ConfirmRecord struct{ Record Record }

	// ClosePending calls Ledger.ClosePending. Outcome: PendingClosed.
	ClosePending struct{ N uint64 }

	// AnnounceCompleted tells every host that the record is durable: each tells
	// its tasks and commits what it holds up to N.
	AnnounceCompleted struct{ Record Record }

	// AnnounceAborted tells every host that the record will never be written.
	AnnounceAborted struct {
		N      uint64
		Reason error
	}

	// DiscardState calls Ack.Discard: no record will name its objects. It needs no
	// outcome: what stays is collected by a later epoch.
	DiscardState struct{ Ack Ack }

	// DiscardObject deletes an object that nothing will name, or nothing any more. It
	// needs no outcome.
	DiscardObject struct{ Object Object }

	// SaveCommitted calls Ledger.SaveCommitted. Outcome: CommittedSaved.
	SaveCommitted struct{ Through uint64 }

	// AnnounceCommitted tells every host that committed_through is durable, so
	// that transactional ids may be used again.
	AnnounceCommitted struct{ Through uint64 }

	// Retain calls Ledger.Retain. Outcome: Retained. A failure is repeated after
	// the next checkpoint.
	Retain struct{}

	// StoreSavepoint calls Ledger.StoreSavepoint. Outcome: SavepointStored.
	StoreSavepoint struct {
		Name string
		N    uint64
	}

	// SavepointDone answers a WantSavepoint, or a WantHalt with a name, exactly
	// once, also where the coordinator ends before. A savepoint whose record was
	// written by then is completed by the next epoch.
	SavepointDone struct {
		Name string
		N    uint64 // 0 where there is none
		Err  error
	}

	// MarkFinished calls Ledger.MarkFinished. Outcome: MarkedFinished.
	MarkFinished struct{ N uint64 }

	// Stop says that nothing is left to do: the pipeline was halted or has
	// finished. The coordinator has ended.
	Stop struct {
		// N is the last checkpoint.
		N        uint64
		Finished bool
		// Uncommitted: the drain timeout passed before all output up to N was
		// published. The next start does it. Waiting names the hosts.
		Uncommitted bool
		Waiting     []string
	}

	// Fail says that the pipeline has failed. The coordinator has ended.
	Fail struct{ Err error }

	// StepDown says that another leader or epoch is in charge, which knows how the
	// pipeline fares. The coordinator has ended.
	StepDown struct{ Err error }
)

func (OpenPending) action()       {}
func (SendBarrier) action()       {}
func (WriteManifest) action()     {}
func (WriteRecord) action()       {}
func (ConfirmRecord) action()     {}
func (ClosePending) action()      {}
func (AnnounceCompleted) action() {}
func (AnnounceAborted) action()   {}
func (DiscardState) action()      {}
func (DiscardObject) action()     {}
func (SaveCommitted) action()     {}
func (AnnounceCommitted) action() {}
func (Retain) action()            {}
func (StoreSavepoint) action()    {}
func (SavepointDone) action()     {}
func (MarkFinished) action()      {}
func (Stop) action()              {}
func (Fail) action()              {}
func (StepDown) action()          {}

// Status is what a person wants to know about the coordinator.
type Status struct {
	// InFlight is the number of the checkpoint under way; 0 if none, or before its
	// number is allocated.
	InFlight uint64
	Phase    string // "" if none is under way
	Since    time.Time
	// Missing hosts have not acked.
	Missing []string
	// Pool names hosts whose sinks wait for commits to be answered.
	Pool []string
	// Failures in a row, and the newest.
	Failures    int
	LastFailure error
	Completed   uint64 // newest record
	Committed   uint64 // committed_through
	// Uncommitted hosts have not answered all commits of the newest record.
	Uncommitted []string
}
