package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// openTasks opens operators and sinks first, then readers, then enumerators, and
// lets data flow when all are open.
func (g *generation) openTasks(c checkpoint.Choice, entries *restored) error {
	ended := map[string]bool{}
	if c.Record != nil {
		g.restored = c.Record.N
		for _, name := range c.Record.Ended {
			ended[name] = true
		}
	}
	var phases [3][]*taskPlan
	for _, t := range g.plan.tasks {
		switch {
		case t.id.Role == pluginv1.Role_ROLE_ENUMERATOR:
			phases[2] = append(phases[2], t)
		case t.source:
			phases[1] = append(phases[1], t)
		default:
			phases[0] = append(phases[0], t)
		}
	}
	for _, phase := range phases {
		if err := g.open(phase, entries, ended); err != nil {
			return err
		}
	}
	g.step(StepOpened)
	for _, phase := range phases {
		for _, t := range phase {
			if err := g.tasks[t.id].Run(); err != nil {
				return err
			}
		}
	}
	return nil
}

// open opens tasks at once and waits for all.
func (g *generation) open(tasks []*taskPlan, r *restored, ended map[string]bool) error {
	group, ctx := errgroup.WithContext(g.ctx)
	for _, t := range tasks {
		group.Go(func() error {
			started, err := task.Start(g.taskConfig(t, r, ended))
			if err != nil {
				return err
			}
			g.mu.Lock()
			g.tasks[t.id] = started
			early := g.early[t.id]
			delete(g.early, t.id)
			g.mu.Unlock()
			for _, r := range early {
				started.SplitRequest(r)
			}
			return started.Opened(ctx)
		})
	}
	return group.Wait()
}

func (g *generation) taskConfig(t *taskPlan, r *restored, ended map[string]bool) task.Config {
	head := t.chain.Members[0]
	open := &pluginv1.Open{
		Task: &pluginv1.TaskRef{
			Uid: g.uid, Epoch: g.epoch, Node: head.ID, Index: uint32(t.id.Index), Role: t.id.Role,
		},
		Cluster:            g.engine.Cluster,
		Pipeline:           g.pipeline.Name,
		Parallelism:        uint32(head.Parallelism),
		MaxParallelism:     uint32(g.pipeline.MaxParallelism),
		Chain:              g.plan.members(t, ended),
		Limits:             g.plan.limits(),
		RestoredCheckpoint: g.restored,
		LogLevel:           g.logLevel(),
		CheckpointTimeout:  durationpb.New(g.pipeline.Checkpoint.Timeout),
	}
	if t.id.Role == pluginv1.Role_ROLE_ENUMERATOR {
		open.HeldSplits = r.held[head.ID]
	}
	var members []string
	for _, n := range t.chain.Members {
		members = append(members, n.Name)
	}
	return task.Config{
		ID:          t.id,
		Plugin:      head.Plugin,
		Client:      g.engine.pool.get(t.process).Client(),
		Open:        open,
		Restore:     r.entries[t.id],
		Input:       taskInput{g.wiring.inputs[t.id]},
		Output:      g.wiring.routers[t.id],
		Observer:    g,
		Log:         g.log,
		Members:     members,
		MaxFrame:    int(g.pipeline.MaxRecord) + 4*int(g.pipeline.Batch.Size) + 1<<20,
		OpenTimeout: openTimeout,
	}
}

func (g *generation) logLevel() string {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if g.log.Enabled(g.ctx, level) {
			return level.String()
		}
	}
	return slog.LevelError.String()
}

// watchTasks fails the epoch when a task fails.
func (g *generation) watchTasks() {
	for _, t := range g.tasks {
		g.spawn(func() {
			select {
			case <-g.ctx.Done():
			case <-t.Failing():
				if err := t.Err(); err != nil {
					g.fail(err)
				}
			}
		})
	}
}

// closeTasks closes every task at once. A task that does not answer costs its
// process. A host that is to end at once waits less for it.
func (g *generation) closeTasks() {
	timeout := closeTimeout
	if errors.Is(context.Cause(g.ctx), context.Canceled) {
		timeout = closeHurry
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(g.ctx), timeout)
	defer cancel()
	var group sync.WaitGroup
	for id, t := range g.tasks {
		group.Go(func() {
			if t.Close(ctx) {
				return
			}
			key := g.plans[id].process
			g.engine.pool.kill(key, fmt.Sprintf("task %s did not close within %v", id, timeout))
		})
	}
	group.Wait()
}
