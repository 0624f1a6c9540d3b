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
	for _, key := range g.plan.processes() {
		proc := g.engine.pool.get(key)
		g.spawn(func() {
			select {
			case <-g.ctx.Done():
			case <-proc.Done():
				g.fail(&lostProcessError{nodes: g.nodesOf(key), err: proc.Err()})
			}
		})
	}
}

// nodesOf lists the nodes whose tasks a process runs.
func (g *generation) nodesOf(key processKey) []string {
	var out []string
	for _, t := range g.plan.tasks {
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
	nodes []string
	err   *process.ExitError
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
	for _, key := range g.plan.processes() {
		proc := g.engine.pool.get(key)
		if proc == nil {
			continue
		}
		if failed != nil && g.plans[failed.ID].process == key {
			select {
			case <-proc.Done():
			case <-deadline:
			}
		}
		select {
		case <-proc.Done():
			return &lostProcessError{nodes: g.nodesOf(key), err: proc.Err()}
		default:
		}
	}
	return err
}
