// Package rig drives a plugin the way a host does: it starts processes through
// host/process, opens tasks through host/task, which refuses whatever breaks the
// protocol, and plays the rest of the host itself: it feeds input, records output,
// triggers checkpoints and hands their parts to another run.
//
// Everything that goes wrong fails the test case that asked for it, and every wait
// ends with the case's context.
package rig

import (
	"context"
	"time"
)

// TB is the test case that the rig works for. Fatalf does not return.
type TB interface {
	Context() context.Context
	Fatalf(format string, args ...any)
	// Logf notes something that a report of a failure shows.
	Logf(format string, args ...any)
	Cleanup(f func())
}

// Bounds of what a host waits for; docs/protocol.md section 8.
const (
	startTimeout = 10 * time.Second
	openTimeout  = time.Minute
	closeTimeout = 5 * time.Second
	callTimeout  = 2 * time.Minute
)

// Limits that tasks are opened with where a case does not say others.
const (
	BatchBytes     = 256 << 10
	MaxRecordBytes = 8 << 20
	maxParallelism = 128
)
