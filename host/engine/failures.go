package engine

import (
	"errors"
	"slices"
	"time"

	"github.com/weirstream/weir/host/task"
)

// Failure is something that went wrong with a pipeline.
type Failure struct {
	At     time.Time   `json:"at"`
	Kind   FailureKind `json:"kind"`
	Epoch  uint64      `json:"epoch"`
	Node   string      `json:"node,omitempty"`
	Task   string      `json:"task,omitempty"`
	Plugin string      `json:"plugin,omitempty"`
	Cause  string      `json:"cause"`
}

// FailureKind says what a failure cost.
type FailureKind string

// The kinds of failures.
const (
	FailureRestart    FailureKind = "restart"    // the tasks were rolled back
	FailureCheckpoint FailureKind = "checkpoint" // a checkpoint came to nothing
	FailureFinal      FailureKind = "failed"     // the pipeline has failed
)

// maxFailures is how many are kept.
const maxFailures = 50

// failed notes a failure for whoever asks.
func (l *Leader) failed(kind FailureKind, err error) {
	f := Failure{At: time.Now(), Kind: kind, Cause: err.Error()}
	var failed *task.Error
	var lost *lostProcessError
	switch {
	case errors.As(err, &failed):
		f.Node, f.Task, f.Plugin = failed.Node, failed.ID.String(), failed.Plugin
	case errors.As(err, &lost) && len(lost.nodes) > 0:
		f.Node, f.Plugin = lost.nodes[0], lost.plugin
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f.Epoch = l.status.Epoch
	if n := len(l.status.Failures); n >= maxFailures {
		l.status.Failures = slices.Delete(l.status.Failures, 0, n-maxFailures+1)
	}
	l.status.Failures = append(l.status.Failures, f)
}
