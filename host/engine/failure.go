package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/host/process"
	"github.com/weirstream/weir/host/task"
)

// watchProcesses fails the epoch when one of its processes ends.
func (g *generation) watchProcesses() {
	for _, key := range g.processes() {
		proc := g.worker.pool.get(key)
		g.spawn(func() {
			select {
			case <-g.ctx.Done():
			case <-proc.Done():
				g.fail(&lostProcessError{nodes: g.nodesOf(key), plugin: key.plugin, err: proc.Err()})
			}
		})
	}
}

// nodesOf lists the nodes whose tasks a process runs.
func (g *generation) nodesOf(key processKey) []string {
	var out []string
	for _, t := range g.own {
		if t.process == key {
			for _, n := range t.chain.Members {
				if !slices.Contains(out, n.Name) {
					out = append(out, n.Name)
				}
			}
		}
	}
	return out
}

// lostProcessError says which nodes went down with a process.
type lostProcessError struct {
	nodes  []string
	plugin string
	err    *process.ExitError
}

func (e *lostProcessError) Error() string {
	noun := "node"
	if len(e.nodes) > 1 {
		noun = "nodes"
	}
	return fmt.Sprintf("the process of %s %s: %v", noun, strings.Join(e.nodes, ", "), e.err)
}
func (e *lostProcessError) Unwrap() error { return e.err }

// explain waits a moment for the death of a process, which explains a broken
// stream better than the stream does.
func (g *generation) explain(err error) error {
	var lost *lostProcessError
	if errors.As(err, &lost) {
		return err
	}
	var failed *task.Error
	if errors.As(err, &failed) && !failed.Transport() {
		return err // the plugin itself said why
	}
	deadline := time.After(deathGrace)
	for _, key := range g.processes() {
		proc := g.worker.pool.get(key)
		if proc == nil {
			continue
		}
		if t := g.plans[failedID(failed)]; t != nil && t.process == key {
			select {
			case <-proc.Done():
			case <-deadline:
			}
		}
		select {
		case <-proc.Done():
			return &lostProcessError{nodes: g.nodesOf(key), plugin: key.plugin, err: proc.Err()}
		default:
		}
	}
	return err
}

func failedID(e *task.Error) task.ID {
	if e == nil {
		return task.ID{}
	}
	return e.ID
}

// MarkFatal marks a failure that no restart helps.
func MarkFatal(err error) error { return &fatalError{err} }

// RetryAfter marks a failure after which the plugin wants a restart to wait.
func RetryAfter(err error, wait time.Duration) error {
	if wait <= 0 {
		return err
	}
	return &retryAfter{err, wait}
}

type retryAfter struct {
	err  error
	wait time.Duration
}

func (e *retryAfter) Error() string { return e.err.Error() }
func (e *retryAfter) Unwrap() error { return e.err }

// wishOf is how long a failure wants a restart to wait, or 0.
func wishOf(err error) time.Duration {
	var failed *task.Error
	if errors.As(err, &failed) {
		return failed.RetryAfter
	}
	var marked *retryAfter
	if errors.As(err, &marked) {
		return marked.wait
	}
	return 0
}
