package checkpoint

import (
	"time"

	"github.com/weirstream/weir/checkpoint/storage"
)

// Object names an immutable object in storage with its size and checksum.
type Object = storage.Object

// Lineage is the identity of a pipeline's state: a uid that no other pipeline,
// earlier or later, shares, and the epoch of its tasks. Every name that the
// pipeline makes outside contains both.
type Lineage struct {
	UID   string `json:"uid"`
	Epoch uint64 `json:"epoch"`
	// Generations are the epochs, this one included, that may have left
	// something outside. An earlier one is dropped once a sweep of all sink nodes
	// has succeeded at a time when no retained record was of it.
	Generations []Generation `json:"generations,omitempty"`
	// Retract: output beyond the restored checkpoint is still to be withdrawn, since
	// no sweep has succeeded after that was decided.
	Retract bool `json:"retract,omitempty"`
	// AcceptedDuplicates are the epochs that began below output that may have been
	// published, because a person allowed it.
	AcceptedDuplicates []uint64 `json:"accepted_duplicates,omitempty"`
	// From is the savepoint that the pipeline begins with where it has no checkpoint
	// after it.
	From string `json:"from,omitempty"`
	// Former uids of this name, whose objects in storage may still be there.
	Former []string `json:"former,omitempty"`
}

// Generation is one epoch of a pipeline's tasks.
type Generation struct {
	Epoch       uint64         `json:"epoch"`
	Parallelism map[string]int `json:"parallelism,omitempty"` // by node
	// Pool is the number of transactional ids that each sink task may use.
	Pool int `json:"pool,omitempty"`
	// Restored is the number of the checkpoint that the epoch began from; 0 for
	// none. Savepoint is its name where it was a savepoint.
	Restored  uint64 `json:"restored,omitempty"`
	Savepoint string `json:"savepoint,omitempty"`
}

// Sequence numbers the checkpoints of a lineage. A number is never used twice,
// whatever became of it.
type Sequence struct {
	Last uint64 `json:"last"`
	// Epoch to which the rest belongs.
	Epoch uint64 `json:"epoch"`
	// Ended nodes, as told by any barrier of the epoch: a node that was told its
	// end stays ended, also where that checkpoint failed.
	Ended []string `json:"ended,omitempty"`
	// Halted: a barrier of the epoch said halt. Later ones say it again.
	Halted bool `json:"halted,omitempty"`
}

// Barrier is what the leader sends to the enumerators, through the hosts.
type Barrier struct {
	N uint64 `json:"n"`
	// Halt: nothing is read or processed after it.
	Halt bool `json:"halt,omitempty"`
	// Roll: sinks prepare all they hold.
	Roll bool `json:"roll,omitempty"`
	// Ended are all nodes whose input has ended at this barrier or an earlier
	// one, sorted. Who was told already ignores it.
	Ended []string `json:"ended,omitempty"`
}

// Pending is a checkpoint that was begun and is not yet decided.
type Pending struct {
	Barrier
	// ID tells attempts of opening apart, where the reply was lost.
	ID    string `json:"id"`
	Epoch uint64 `json:"epoch"`
	// Leader is the leader epoch under which it was opened.
	Leader    uint64    `json:"leader"`
	Hosts     []string  `json:"hosts"`
	OpenedAt  time.Time `json:"opened_at"`
	Savepoint string    `json:"savepoint,omitempty"`
	// Final: all nodes have ended at this barrier.
	Final bool `json:"final,omitempty"`
}

// State is how far a checkpoint's record has come.
type State string

// States of a record.
const (
	// Running: the pipeline went on after it, or was halted at it.
	Running State = "running"
	// Finishing: all input has ended, and some output may await its commit.
	Finishing State = "finishing"
	// Finished: all input has ended and all output is committed.
	Finished State = "finished"
	// Abandoned: it could not be restored, and an older one was. It counts
	// neither for restoring nor for retention.
	Abandoned State = "abandoned"
)

// Record makes a checkpoint exist. It is small; what it stands for is in its
// manifest.
type Record struct {
	N     uint64 `json:"n"`
	UID   string `json:"uid"`
	Epoch uint64 `json:"epoch"`
	// Prev is the number of the record before it in its history; 0 for none.
	Prev     uint64 `json:"prev,omitempty"`
	Manifest Object `json:"manifest"`
	State    State  `json:"state"`
	// Why it was abandoned.
	Reason string `json:"reason,omitempty"`
	// Savepoint is the name under which it is to be kept or, in a savepoint's own
	// record, is kept.
	Savepoint string   `json:"savepoint,omitempty"`
	Ended     []string `json:"ended,omitempty"`
	Halt      bool     `json:"halt,omitempty"`
	// Committables counts the prepared output that the manifest lists. Where it
	// is 0, nothing could be published because of this record.
	Committables int       `json:"committables,omitempty"`
	Bytes        int64     `json:"bytes"` // of all its state and the manifest
	OpenedAt     time.Time `json:"opened_at"`
	CompletedAt  time.Time `json:"completed_at"`
	// Moved: it was made of the one before it by a person, who had a source go on
	// elsewhere.
	Moved *Moved `json:"moved,omitempty"`
}

// Moved says of a checkpoint which change of positions has made it.
type Moved struct {
	ID   string `json:"id"`
	Node string `json:"node"`
}

// Ack says that one host's part of a checkpoint is stored and was read back.
type Ack struct {
	Host  string      `json:"host"`
	N     uint64      `json:"n"`
	Nodes []NodeState `json:"nodes,omitempty"`
	// Part holds the nodes in storage where they are too large for a record.
	Part *Object `json:"part,omitempty"`
}

// Committed is how far one host has come: all of its output up to the checkpoint
// is published.
type Committed struct {
	Epoch   uint64 `json:"epoch"`
	Through uint64 `json:"through"`
}
