package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// openTasks opens operators and sinks first, then readers, then enumerators.
func (g *generation) openTasks(ctx context.Context, c checkpoint.Choice, entries *restored) error {
	ended := map[string]bool{}
	if c.Record != nil {
		for _, name := range c.Record.Ended {
			ended[name] = true
		}
	}
	var phases [3][]*taskPlan
	for _, t := range g.own {
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
		if err := g.open(ctx, phase, entries, ended); err != nil {
			return err
		}
	}
	g.worker.step(StepOpened)
	return nil
}

// open opens tasks at once and waits for all.
func (g *generation) open(ctx context.Context, tasks []*taskPlan, r *restored, ended map[string]bool) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, t := range tasks {
		group.Go(func() error {
			config, err := g.taskConfig(t, r, ended)
			if err != nil {
				return err
			}
			started, err := task.Start(config)
			if err != nil {
				return err
			}
			g.mu.Lock()
			g.tasks[t.id] = started
			early := g.early[t.id]
			delete(g.early, t.id)
			if level := g.logLevel(t); level != config.Open.GetLogLevel() { // changed in between
				started.SetLogLevel(level)
			}
			g.mu.Unlock()
			for _, r := range early {
				started.SplitRequest(r)
			}
			return started.Opened(ctx)
		})
	}
	return group.Wait()
}

func (g *generation) taskConfig(t *taskPlan, r *restored, ended map[string]bool) (task.Config, error) {
	scratch, err := g.makeScratch(t, r.entries[t.id])
	if err != nil {
		return task.Config{}, err
	}
	head := t.chain.Members[0]
	open := &pluginv1.Open{
		Task: &pluginv1.TaskRef{
			Uid: g.uid, Epoch: g.epoch, Node: head.ID, Index: uint32(t.id.Index), Role: t.id.Role,
		},
		Cluster:            g.worker.Cluster,
		Pipeline:           g.pipeline.Name,
		Parallelism:        uint32(head.Parallelism),
		MaxParallelism:     uint32(g.pipeline.MaxParallelism),
		Chain:              g.plan.members(t, ended),
		Limits:             g.plan.limits(),
		RestoredCheckpoint: g.restored,
		LogLevel:           g.logLevel(t),
		CheckpointTimeout:  durationpb.New(g.pipeline.Checkpoint.Timeout),
		Pool:               uint32(g.pipeline.NamePool()),
		Scratch:            scratch,
	}
	if g.worker.Lease > 0 {
		open.Lease = durationpb.New(g.worker.Lease)
	}
	if t.id.Role == pluginv1.Role_ROLE_ENUMERATOR {
		open.HeldSplits = r.held[head.ID]
	}
	if slices.ContainsFunc(r.entries[t.id], func(e *pluginv1.Entry) bool { return e.GetKind() == pluginv1.Entry_KIND_SPLIT }) {
		g.mu.Lock()
		g.held[t.id.Node] = true
		g.mu.Unlock()
	}
	var members []string
	for _, n := range t.chain.Members {
		members = append(members, n.Name)
	}
	return task.Config{
		ID:          t.id,
		Plugin:      head.Plugin,
		Client:      g.worker.pool.get(t.process).Client(),
		Open:        open,
		Restore:     r.entries[t.id],
		Input:       taskInput{g.wiring.inputs[t.id], func(n uint64, took time.Duration) { g.snapshots.aligned(n, t.id, took) }},
		Output:      g.wiring.routers[t.id],
		Observer:    g,
		Log:         g.log,
		Members:     members,
		MaxFrame:    int(g.pipeline.MaxRecord) + 4*int(g.pipeline.Batch.Size) + 1<<20,
		OpenTimeout: openTimeout(r.entries[t.id]),
	}, nil
}

// A task has openBase to open, and the more the more state it takes over: a disk with
// which it must share that, at restoreRate bytes a second, is slow.
const (
	openBase    = time.Minute
	restoreRate = 4 << 20
)

// openTimeout bounds the opening of a task that takes entries over.
func openTimeout(entries []*pluginv1.Entry) time.Duration {
	var bytes uint64
	for _, e := range entries {
		bytes += uint64(len(e.GetPayload())) + e.GetFile().GetSize()
	}
	return openBase + time.Duration(bytes/restoreRate)*time.Second
}

// logLevel is the lowest level that the log lets through of any node of a task.
func (g *generation) logLevel(t *taskPlan) string {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		for _, n := range t.chain.Members {
			if g.log.With("node", n.Name).Enabled(g.ctx, level) {
				return level.String()
			}
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
func (g *generation) closeTasks(hurry bool) {
	timeout := closeTimeout
	if hurry {
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
			g.worker.pool.kill(key, fmt.Sprintf("task %s did not close within %v", id, timeout))
		})
	}
	group.Wait()
}
