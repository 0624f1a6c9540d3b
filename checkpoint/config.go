package checkpoint

import "time"

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
	// Committed is committed_through. A new epoch has committed all that the
	// restored record lists before its coordinator starts.
	Committed uint64
	// Savepoints that were asked for and are not stored, by name the checkpoint.
	Savepoints map[string]uint64
	// Running: the epoch's tasks run already, under an earlier leader. Its hosts
	// tell the new one again what is exhausted and how far they have committed.
	Running bool
	// Pending and its Acks, if the earlier leader left one.
	Pending *Pending
	Acks    []Ack
}
