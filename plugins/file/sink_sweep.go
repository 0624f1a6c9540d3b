package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/weirstream/weir/sdk"
)

// Sweep implements [sdk.Committer]. It touches nothing of its own epoch: a Sweep
// that was paused and wakes in a later one finds only what is dead by then.
func (c *committer) Sweep(_ context.Context, s sdk.Sweep) error {
	kept, err := sdk.KeptWriterState[unfinished](s)
	if err != nil {
		return sdk.Fatal(err)
	}
	if c.single {
		return c.sweepFile(s)
	}
	return explain(c.sweepFolder(s, kept), c.path)
}

// sweepFile is about a single file, which the writer cuts back itself when it
// opens, as far as the restored checkpoint says how long it was.
func (c *committer) sweepFile(s sdk.Sweep) error {
	if s.Retract && s.RestoredCheckpoint == 0 {
		return sdk.Fatal(fmt.Errorf("what was written to %s cannot be withdrawn without a checkpoint: "+
			"remove it and start over with --fresh", c.path))
	}
	return nil
}

func (c *committer) sweepFolder(s sdk.Sweep, kept []unfinished) (err error) {
	dir, err := c.disk.folder(c.path)
	if errors.Is(err, fs.ErrNotExist) && s.RestoredCheckpoint == 0 && !s.Retract {
		return nil
	}
	if err != nil {
		return folderError(err, c.path)
	}
	defer func() { err = errors.Join(err, dir.close()) }()

	keep := map[partKey]bool{}
	for _, u := range kept {
		if f, ok := c.names.parseHidden(u.Part); ok {
			keep[f.partKey] = true
		}
	}
	if s.Retract {
		// Before anything is looked for among the published: afterwards nobody can
		// publish one of these any more, not even a committer that was paused just
		// before it would.
		if err := c.setAside(dir, keep); err != nil {
			return err
		}
	}
	err = c.removeHidden(dir, func(f hiddenFile) bool {
		return f.epoch < c.epoch && (f.kind == markerKind || !keep[f.partKey])
	})
	if err == nil && s.Retract {
		err = c.withdraw(dir, s.RestoredCheckpoint, keep)
	}
	return err
}

// setAside gives the parts that stay names under which nobody publishes them, nor
// takes them for what an earlier epoch had set aside.
func (c *committer) setAside(dir folder, keep map[partKey]bool) error {
	names, err := dir.list()
	if err != nil {
		return err
	}
	for _, name := range names {
		f, ok := c.names.parseHidden(name)
		if !ok || !keep[f.partKey] || f.epoch >= c.epoch || f.kind == markerKind || f.kind == keptKind && f.by >= c.epoch {
			continue
		}
		if err := dir.rename(name, c.names.kept(f.partKey, c.epoch)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return dir.sync()
}

// withdraw takes back what later checkpoints than the restored one have
// published. A part that the restored checkpoint goes on with is kept: it was
// complete only later.
func (c *committer) withdraw(dir folder, restored uint64, keep map[partKey]bool) error {
	names, err := dir.list()
	if err != nil {
		return err
	}
	for _, name := range names {
		k, checkpoint, ok := c.names.parsePublished(name)
		if !ok || k.epoch >= c.epoch || checkpoint <= restored {
			continue
		}
		if keep[k] {
			err = dir.rename(name, c.names.kept(k, c.epoch))
		} else {
			err = dir.remove(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		c.log.Info("withdrew a published file", "folder", c.path, "name", name, "checkpoint", checkpoint)
	}
	return dir.sync()
}
