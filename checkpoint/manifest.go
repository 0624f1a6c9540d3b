package checkpoint

import (
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// ManifestFormat is the newest format that this package reads, and the one that
// it writes.
const ManifestFormat = 1

// Manifest names everything that belongs to one checkpoint. It is stored as JSON.
type Manifest struct {
	Format   int         `json:"format"`
	Pipeline string      `json:"pipeline"`
	UID      string      `json:"uid"`
	N        uint64      `json:"n"`
	Epoch    uint64      `json:"epoch"`
	Nodes    []NodeState `json:"nodes"` // sorted by name
}

// NodeState is one node in a checkpoint, or the part of it on one host.
type NodeState struct {
	Name      string `json:"name"`
	Component string `json:"component"`
	// Version of the plugin that wrote the state.
	Version        string `json:"version,omitempty"`
	Parallelism    int    `json:"parallelism"`
	MaxParallelism int    `json:"max_parallelism"`
	// Fingerprint of that part of the node's specification that its state
	// depends on.
	Fingerprint string `json:"fingerprint,omitempty"`
	Ended       bool   `json:"ended,omitempty"`
	// Enumerator is the state of a source node's enumerator task.
	Enumerator *TaskState  `json:"enumerator,omitempty"`
	Tasks      []TaskState `json:"tasks"` // sorted by index
}

// TaskState is one task in a checkpoint.
type TaskState struct {
	Index int `json:"index"`
	// Entries of all kinds but writer and committable, where they are small.
	Entries Entries `json:"entries,omitempty"`
	// Objects hold them where they are not, in order, after Entries.
	Objects []Object `json:"objects,omitempty"`
	// Writer entries: what a sink's writer holds unfinished.
	Writer Entries `json:"writer,omitempty"`
	// Committables are prepared output that was not answered as committed, each
	// with the checkpoint that prepared it, in that order.
	Committables Entries `json:"committables,omitempty"`
}

// Entries are entries of a snapshot in the order in which a task reported them.
// As JSON a payload is a string where it is valid UTF-8 and base64 otherwise, so
// that it comes back byte for byte and stays readable.
type Entries []*pluginv1.Entry
