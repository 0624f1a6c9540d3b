package checkpoint

// Event is what happened to a checkpoint, or what somebody wants of one. Events
// that carry Err are outcomes of the action of a similar name: nil is success,
// [ErrFenced] says that another leader or epoch is in charge,
// coordination.ErrUnknownOutcome that the action may have taken effect, and any
// other error that it has not.
type Event interface{ event() }

type (
	// Tick says that time has passed. Send one at Deadline, and one to start with.
	Tick struct{}

	// Changed says that a task has something that the checkpoint After, the last
	// whose barrier it passed, does not hold. Once a task and checkpoint is
	// enough. A task that has passed no barrier in this epoch says the restored
	// checkpoint's number.
	Changed struct{ After uint64 }

	// Exhausted says that a source task will never read another record. It may
	// be repeated.
	Exhausted struct {
		Node string
		Task int
	}

	// WantCheckpoint asks for a checkpoint now, changed or not.
	WantCheckpoint struct{}

	// WantSavepoint asks for a checkpoint that is kept under a name.
	WantSavepoint struct{ Name string }

	// WantHalt asks for a last checkpoint of this epoch, after whose barrier
	// nothing is read or processed. With a name it is a savepoint too.
	WantHalt struct{ Savepoint string }

	// PoolWaiting says that sinks of a host wait, or no longer wait, for commits
	// to be answered before they can prepare more output.
	PoolWaiting struct {
		Host    string
		Waiting bool
	}

	// PendingOpened is the outcome of OpenPending; N is the allocated number.
	PendingOpened struct {
		N   uint64
		Err error
	}

	// Acked is a host's answer to a barrier. It may be late or doubled.
	Acked struct{ Ack Ack }

	// Declined says that a task could not make its snapshot although it goes on.
	Declined struct {
		N    uint64
		Host string
		Err  error
	}

	// ManifestWritten is the outcome of WriteManifest.
	ManifestWritten struct {
		N        uint64
		Manifest Object
		// As in Record.
		Committables int
		Bytes        int64
		Err          error
	}

	// RecordWritten is the outcome of WriteRecord and ConfirmRecord.
	RecordWritten struct {
		N   uint64
		Err error
	}

	// PendingClosed is the outcome of ClosePending.
	PendingClosed struct {
		N   uint64
		Err error
	}

	// CommitsAnswered says that all output of a host up to the checkpoint Through
	// is published. Hosts without output say so too. It may be repeated.
	CommitsAnswered struct {
		Host    string
		Through uint64
	}

	// CommitFailed says that a commit will never succeed.
	CommitFailed struct {
		Host string
		Err  error
	}

	// CommittedSaved is the outcome of SaveCommitted.
	CommittedSaved struct {
		Through uint64
		Err     error
	}

	// SavepointStored is the outcome of StoreSavepoint.
	SavepointStored struct {
		Name string
		Err  error
	}

	// MarkedFinished is the outcome of MarkFinished.
	MarkedFinished struct{ Err error }

	// Retained is the outcome of Retain.
	Retained struct{ Err error }

	// Ended says that the epoch is over: a task failed, a rollback began, or the
	// leadership was lost. Every later event is ignored.
	Ended struct{ Reason string }
)

func (Tick) event()            {}
func (Changed) event()         {}
func (Exhausted) event()       {}
func (WantCheckpoint) event()  {}
func (WantSavepoint) event()   {}
func (WantHalt) event()        {}
func (PoolWaiting) event()     {}
func (PendingOpened) event()   {}
func (Acked) event()           {}
func (Declined) event()        {}
func (ManifestWritten) event() {}
func (RecordWritten) event()   {}
func (PendingClosed) event()   {}
func (CommitsAnswered) event() {}
func (CommitFailed) event()    {}
func (CommittedSaved) event()  {}
func (SavepointStored) event() {}
func (MarkedFinished) event()  {}
func (Retained) event()        {}
func (Ended) event()           {}
