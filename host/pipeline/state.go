package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// StateShape is what a node's stored state depends on. Two nodes of equal shape
// can take over each other's state. It is stored beside the state, as JSON, so
// that a later start can say what changed.
//
// A node's configuration, parallelism and place in the graph are not part of
// it: changing them is what state is kept for.
type StateShape struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	Plugin    string `json:"plugin"`
	Component string `json:"component"`
	// KeyGroups is the number of key groups of a component with keyed state, else
	// 0.
	KeyGroups int `json:"key_groups,omitempty"`
}

// Fingerprint is a short text that is equal for equal shapes and different for
// different ones.
func (s StateShape) Fingerprint() string {
	b, err := json.Marshal(s)
	if err != nil { // a struct of strings and numbers
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// Conflict says in one sentence why a node of this shape cannot take over state
// that was stored under the old one; empty where it can.
func (s StateShape) Conflict(old StateShape) string {
	switch {
	case s.ID != old.ID:
		return fmt.Sprintf("the state belongs to id %q, the node has id %q", old.ID, s.ID)
	case s.Kind != old.Kind:
		return fmt.Sprintf("it was a %s and is a %s now", old.Kind, s.Kind)
	case s.Plugin != old.Plugin || s.Component != old.Component:
		return fmt.Sprintf("its state was written by %s/%s and it is %s/%s now", old.Plugin, old.Component, s.Plugin, s.Component)
	case s.KeyGroups != old.KeyGroups && (s.KeyGroups == 0 || old.KeyGroups == 0):
		return "only one of the old and the new configuration keeps state by key"
	case s.KeyGroups != old.KeyGroups:
		return fmt.Sprintf("its state was written with max_parallelism %d and the file says %d", old.KeyGroups, s.KeyGroups)
	}
	return ""
}

// KindName is the word that the file uses for a kind.
func KindName(k pluginv1.Kind) string {
	switch k {
	case pluginv1.Kind_KIND_SOURCE:
		return "source"
	case pluginv1.Kind_KIND_OPERATOR:
		return "operator"
	case pluginv1.Kind_KIND_SINK:
		return "sink"
	}
	return "component"
}

// Where a node keeps its state by key, as the file says it.
const (
	StateMemory = "memory"
	StateDisk   = "disk"
)

// Backend is where the node keeps its state by key: StateMemory or StateDisk; empty
// where it has none.
func (n *Node) Backend() string {
	switch {
	case !n.Capabilities.GetKeyedState():
		return ""
	case n.StateOnDisk:
		return StateDisk
	}
	return StateMemory
}

// stateOf checks where the file wants a node's state by key.
func (l *loader) stateOf(d *draft) {
	switch at := d.stateAt; {
	case !at.present():
	case !d.component.spec.GetCapabilities().GetKeyedState():
		l.faultKey(at, CodeState, "leave it out", "%s %s keeps no state by key", KindName(d.kind), d.component.fullName())
	case d.onDisk && !d.component.spec.GetCapabilities().GetDiskState():
		l.fault(at, CodeState, "leave it out; its author lets it keep state on disk with sdk.DiskState",
			"%s %s can keep its state in memory alone", KindName(d.kind), d.component.fullName())
	}
}
