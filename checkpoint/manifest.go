package checkpoint

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/weirstream/weir/checkpoint/storage"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// ManifestFormat is the newest format that this package reads. A manifest without
// files is written as format 1, which earlier versions read.
const ManifestFormat = 2

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
	// Backend is where its state by key was kept, as a pipeline file says it: memory or
	// disk. Empty where there is none, and where an earlier version wrote it.
	Backend string `json:"state_backend,omitempty"`
	Ended   bool   `json:"ended,omitempty"`
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
	// Files are what lies in objects of its own, which other checkpoints may name too.
	Files []File `json:"files,omitempty"`
	// Writer entries: what a sink's writer holds unfinished.
	Writer Entries `json:"writer,omitempty"`
	// Committables are prepared output that was not answered as committed, each
	// with the checkpoint that prepared it, in that order.
	Committables Entries `json:"committables,omitempty"`
	// Timing is how long the parts took, for people.
	Timing Timing `json:"timing,omitzero"`
}

// File is a file of keyed state: an entry of kind FILE whose bytes came in a file.
type File struct {
	ID     string `json:"id"`
	Object Object `json:"object"`
}

// objects returns every object that the state names.
func (t *TaskState) objects() []Object {
	all := slices.Clone(t.Objects)
	for _, f := range t.Files {
		all = append(all, f.Object)
	}
	return all
}

// Timing is how long a task took for its part of a checkpoint.
type Timing struct {
	// Done is when its state had come in, by its host's clock.
	Done time.Time `json:"done,omitzero"`
	// Align is from the first channel that delivered the barrier to the last.
	Align time.Duration `json:"align_ns"`
	// Process is until the plugin has passed the barrier on: it finishes what came
	// before, flushes and prepares.
	Process time.Duration `json:"process_ns"`
	// Snapshot is from then until its state had come in.
	Snapshot time.Duration `json:"snapshot_ns"`
	// Upload is until that was stored and read back.
	Upload time.Duration `json:"upload_ns"`
}

// Objects returns every object that the manifest names.
func (m *Manifest) Objects() []Object {
	var all []Object
	for t := range m.tasks() {
		all = append(all, t.objects()...)
	}
	return all
}

// Shared returns the objects that stem from earlier checkpoints.
func (m *Manifest) Shared() []Object {
	return slices.DeleteFunc(m.Objects(), func(o Object) bool { return ownObject(m.N, o) })
}

// hasFiles says whether the manifest needs format 2.
func (m *Manifest) hasFiles() bool {
	for t := range m.tasks() {
		if len(t.Files) > 0 {
			return true
		}
	}
	return false
}

// Committables returns, by node, the prepared output of checkpoints above the
// given number, older checkpoints first.
func (m *Manifest) Committables(above uint64) map[string]Entries {
	all := map[string]Entries{}
	for _, n := range m.Nodes {
		var es Entries
		for _, t := range n.Tasks {
			for _, e := range t.Committables {
				if e.GetCheckpoint() > above {
					es = append(es, e)
				}
			}
		}
		if len(es) > 0 {
			slices.SortStableFunc(es, func(a, b *pluginv1.Entry) int {
				return cmp.Compare(a.GetCheckpoint(), b.GetCheckpoint())
			})
			all[n.Name] = es
		}
	}
	return all
}

// Writer returns the writer entries of a node's tasks.
func (m *Manifest) Writer(node string) Entries {
	var es Entries
	for _, n := range m.Nodes {
		if n.Name == node {
			for _, t := range n.Tasks {
				es = append(es, t.Writer...)
			}
		}
	}
	return es
}

// Node returns a node by its name.
func (m *Manifest) Node(name string) (NodeState, bool) {
	i := slices.IndexFunc(m.Nodes, func(n NodeState) bool { return n.Name == name })
	if i < 0 {
		return NodeState{}, false
	}
	return m.Nodes[i], true
}

// tasks yields the state of each task, enumerators included.
func (m *Manifest) tasks() iter.Seq[*TaskState] {
	return func(yield func(*TaskState) bool) {
		for i := range m.Nodes {
			n := &m.Nodes[i]
			if n.Enumerator != nil && !yield(n.Enumerator) {
				return
			}
			for j := range n.Tasks {
				if !yield(&n.Tasks[j]) {
					return
				}
			}
		}
	}
}

func (m *Manifest) committables() int {
	sum := 0
	for t := range m.tasks() {
		sum += len(t.Committables)
	}
	return sum
}

// merge puts the parts of the hosts together and checks that no task is missing
// or there twice.
func merge(parts []NodeState) ([]NodeState, error) {
	byName := map[string]*NodeState{}
	for _, p := range parts {
		n, ok := byName[p.Name]
		if !ok {
			n = &NodeState{
				Name: p.Name, Component: p.Component, Version: p.Version, Fingerprint: p.Fingerprint, Backend: p.Backend,
				Parallelism: p.Parallelism, MaxParallelism: p.MaxParallelism, Ended: p.Ended,
			}
			byName[p.Name] = n
		}
		if n.Parallelism != p.Parallelism || n.MaxParallelism != p.MaxParallelism || n.Component != p.Component || n.Ended != p.Ended {
			return nil, fmt.Errorf("node %s: hosts report it differently", p.Name)
		}
		if p.Enumerator != nil {
			if n.Enumerator != nil {
				return nil, fmt.Errorf("node %s: its enumerator was reported twice", p.Name)
			}
			n.Enumerator = p.Enumerator
		}
		n.Tasks = append(n.Tasks, p.Tasks...)
	}
	var nodes []NodeState
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		n := byName[name]
		slices.SortFunc(n.Tasks, func(a, b TaskState) int { return cmp.Compare(a.Index, b.Index) })
		for i, t := range n.Tasks {
			if t.Index != i {
				return nil, fmt.Errorf("node %s: the state of task %d is missing or there twice", name, min(i, t.Index))
			}
		}
		if len(n.Tasks) != n.Parallelism {
			return nil, fmt.Errorf("node %s: %d of %d tasks reported their state", name, len(n.Tasks), n.Parallelism)
		}
		nodes = append(nodes, *n)
	}
	return nodes, nil
}

// check refuses a manifest that this package cannot read, or that is not that of
// the record.
func (m *Manifest) check(r Record) error {
	switch {
	case m.Format < 1 || m.Format > ManifestFormat:
		return fmt.Errorf("manifest has format %d, this version reads up to %d: use a weir that is as new as the one that wrote it", m.Format, ManifestFormat)
	case m.N != r.N || m.UID != r.UID || m.Epoch != r.Epoch:
		return fmt.Errorf("%w: manifest is of checkpoint %d of %s in epoch %d, the record of checkpoint %d of %s in epoch %d",
			storage.ErrCorrupt, m.N, m.UID, m.Epoch, r.N, r.UID, r.Epoch)
	}
	return nil
}
