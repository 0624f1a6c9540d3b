package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/task"
	"github.com/weirstream/weir/proto/snapfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// clearScratch removes what a killed run left. No task of an earlier epoch lives.
func (g *generation) clearScratch() error {
	if g.worker.Scratch == "" {
		return nil
	}
	if err := os.RemoveAll(g.worker.Scratch); err != nil {
		return fmt.Errorf("what a former run left of state on disk: %w", err)
	}
	return nil
}

// scratch is the folder of a task.
func (g *generation) scratch(t *taskPlan) string {
	return filepath.Join(g.worker.Scratch, fmt.Sprintf("%d-%s-%d", g.epoch, t.chain.Members[0].ID, t.id.Index))
}

// needsScratch says whether a task keeps state on disk, or did in the restored
// checkpoint.
func (g *generation) needsScratch(t *taskPlan, restored []*pluginv1.Entry) bool {
	if t.id.Role == pluginv1.Role_ROLE_ENUMERATOR {
		return false
	}
	for _, n := range t.chain.Members {
		if n.StateOnDisk {
			return true
		}
	}
	for _, e := range restored {
		if e.GetKind() == pluginv1.Entry_KIND_FILE {
			return true
		}
	}
	return false
}

// makeScratch makes a task's folder, if it needs one, and returns it.
func (g *generation) makeScratch(t *taskPlan, restored []*pluginv1.Entry) (string, error) {
	if !g.needsScratch(t, restored) {
		return "", nil
	}
	if g.worker.Scratch == "" {
		return "", fmt.Errorf("node %s keeps state on disk, and this host has no folder for it", t.chain.Name())
	}
	dir := g.scratch(t)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("folder for state on disk: %w", err)
	}
	return filepath.Abs(dir)
}

// filesAtOnce is how many restored files are on their way, and in memory: storage may
// be far away.
const filesAtOnce = 4

// place puts the files of one old task of a node into the folders of the new tasks
// that take over key groups of it.
func (g *generation) place(ctx context.Context, c *pipeline.Chain, member int, old checkpoint.TaskState, heirs []int, out *restored) error {
	var tasks []*taskPlan
	for _, to := range heirs {
		if t := g.plans[task.ID{Node: c.Name(), Index: to}]; t != nil {
			tasks = append(tasks, t)
		}
	}
	if len(tasks) == 0 {
		return nil
	}
	if g.worker.Scratch == "" {
		return errors.New("the checkpoint holds state that was kept on disk, and this host has no folder for it")
	}
	folder := fmt.Sprintf("restored/%d/%d", member, old.Index)
	for _, t := range tasks {
		if err := os.MkdirAll(filepath.Join(g.scratch(t), filepath.FromSlash(folder)), 0o700); err != nil {
			return err
		}
	}
	sizes := make([]uint64, len(old.Files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(filesAtOnce)
	for i, f := range old.Files {
		group.Go(func() error {
			data, err := g.storage.Get(ctx, f.Object)
			if err != nil {
				return err
			}
			sizes[i] = uint64(len(data))
			for _, t := range tasks {
				if err := os.WriteFile(filepath.Join(g.scratch(t), filepath.FromSlash(folder), strconv.Itoa(i)), data, 0o600); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, f := range old.Files {
		for _, t := range tasks {
			out.entries[t.id] = append(out.entries[t.id], &pluginv1.Entry{
				Kind: pluginv1.Entry_KIND_FILE, Component: uint32(member), Id: f.ID,
				Content: &pluginv1.Entry_File{File: &pluginv1.LocalFile{Path: folder + "/" + strconv.Itoa(i), Size: sizes[i]}},
			})
		}
	}
	return nil
}

// readFile reads files that a task names in its snapshots.
func (g *generation) readFile(t *taskPlan) func(*pluginv1.LocalFile) ([]byte, error) {
	return func(f *pluginv1.LocalFile) ([]byte, error) { return snapfile.Read(g.scratch(t), f) }
}

// removeScratch removes the folders of all tasks, which have ended.
func (g *generation) removeScratch() {
	if err := g.clearScratch(); err != nil {
		g.log.Warn("a folder is left until the next start", "error", err)
	}
}
