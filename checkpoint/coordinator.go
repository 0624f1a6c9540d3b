package checkpoint

import (
	"errors"
	"time"
)

// Errors of a checkpoint's failure, to be found with errors.Is.
var (
	// ErrFenced: another leader, or another epoch of the pipeline, is in charge.
	// Nothing was written.
	ErrFenced = errors.New("fenced by a newer leader or epoch")
	// ErrTimeout: the checkpoint did not complete within its time.
	ErrTimeout = errors.New("checkpoint timed out")
)

// Config is what a Coordinator needs to know about its pipeline.
type Config struct {
	// Interval between the starts of periodic checkpoints; 0 means none.
	Interval time.Duration
	// MinPause between the end of one checkpoint and the start of a periodic one.
	MinPause time.Duration
	// Timeout of a checkpoint, from its start until everything is acked and stored.
	Timeout time.Duration
	// Tolerated is how many checkpoints may fail in a row.
	Tolerated int
	// DrainTimeout bounds the wait for commits after the last record.
	DrainTimeout time.Duration
	// Hosts that run tasks of this epoch.
	Hosts []string
	Nodes []Node
}

// Node is what a Coordinator needs to know about one node of the graph.
type Node struct {
	Name string
	// Inputs are the nodes that it reads from, by whatever output. A node without
	// is a source.
	Inputs      []string
	Parallelism int
}

// Start is where a Coordinator begins: a new epoch, or one that runs already
// and got a new leader.
type Start struct {
	UID    string
	Epoch  uint64
	Leader uint64 // leader epoch
	// Newest is the record that was restored, or the newest of the running epoch;
	// nil where there is none.
	Newest *Record
	// Sequence as it was last written.
	Sequence Sequence
	// Committed is committed_through.
	Committed uint64
	// Savepoints that were asked for and are not stored, by name the checkpoint.
	Savepoints map[string]uint64
	// Pending and its Acks, for a new leader of a running epoch.
	Pending *Pending
	Acks    []Ack
}

// Coordinator decides about the checkpoints of one epoch of a pipeline, as its
// leader. It is a pure state machine: see the package documentation. It is not
// safe for concurrent use.
type Coordinator struct{}

// NewCoordinator returns the coordinator of an epoch. Step it with a Tick first.
func NewCoordinator(cfg Config, s Start) *Coordinator { panic("unwritten") }

// Step takes one event and returns what is to be done, in order.
func (c *Coordinator) Step(now time.Time, ev Event) []Action { panic("unwritten") }

// Deadline is when the next Tick is due, if any.
func (c *Coordinator) Deadline() (time.Time, bool) { panic("unwritten") }

// Done says that the coordinator has ended: no event matters any more.
func (c *Coordinator) Done() bool { panic("unwritten") }

// Status says where it stands.
func (c *Coordinator) Status() Status { panic("unwritten") }
