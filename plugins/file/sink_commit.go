package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/weirstream/weir/sdk"
)

// committer publishes parts: it gives each its final name. Before, it leaves a
// marker; from then on a part that is gone is one that was published, even if a
// consumer has moved it away. Every step may be repeated by anyone, so that a
// crash, or a second committer, changes nothing.
type committer struct {
	disk   disk
	path   string
	single bool
	names  namer
	epoch  uint64
	log    *slog.Logger
	// markers are the parts that this committer has published and whose markers
	// are there, by folder, with the checkpoint that each was prepared at.
	markers map[string]map[partKey]uint64
}

func newCommitter(d disk, cfg *SinkConfig, n *sdk.Node) (*committer, error) {
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", cfg.Path, err)
	}
	return &committer{
		disk: d, path: path, single: !cfg.folder(), names: newNamer(n.Owner), epoch: n.Epoch, log: n.Log,
		markers: map[string]map[partKey]uint64{},
	}, nil
}

// Close implements [sdk.Committer]. Markers stay: nobody knows yet whether the
// host has heard of the last commit.
func (c *committer) Close() error { return nil }

// Commit implements [sdk.Committer].
func (c *committer) Commit(_ context.Context, cs []committable) error {
	var order []string
	byFolder := map[string][]committable{}
	for _, piece := range cs {
		if err := piece.check(); err != nil {
			return err
		}
		if byFolder[piece.Folder] == nil {
			order = append(order, piece.Folder)
		}
		byFolder[piece.Folder] = append(byFolder[piece.Folder], piece)
	}
	for _, path := range order {
		if err := c.commitFolder(path, byFolder[path]); err != nil {
			return explain(err, path)
		}
	}
	return nil
}

// check refuses what cannot be a committable of this component.
func (p committable) check() error {
	part := p.Part == "" || plainName(p.Part) && plainName(p.Name) && strings.HasSuffix(p.Part, "."+string(partKind))
	if !part || p.Start != "" && !plainName(p.Start) || !filepath.IsAbs(p.Folder) {
		return sdk.Fatal(fmt.Errorf("the checkpoint holds a committable that this sink has not made: %+v", p))
	}
	return nil
}

// commitFolder publishes what lies in one folder.
func (c *committer) commitFolder(path string, cs []committable) (err error) {
	dir, err := c.disk.folder(path)
	if err != nil {
		return folderError(err, path)
	}
	defer func() { err = errors.Join(err, dir.close()) }()

	var ended uint64 // the epoch in which the node has ended, or 0
	for _, p := range cs {
		ended = max(ended, p.Ended)
	}
	p := publication{committer: c, dir: dir, path: path, last: ended > 0}
	if err := p.publish(cs); err != nil {
		return err
	}
	if ended > 0 {
		return c.tidy(dir, ended)
	}
	return c.dropMarkers(dir, path, cs)
}

// publication is one Commit in one folder.
type publication struct {
	*committer
	dir  folder
	path string
	// last: no later Commit of the node follows this one, so nothing may stay
	// hidden. A part that is gone then counts as published without a marker.
	last bool
}

func (p *publication) publish(cs []committable) error {
	var waiting []committable
	for _, piece := range cs {
		if piece.Start != "" {
			if err := removeIfThere(p.dir, piece.Start); err != nil {
				return err
			}
		}
		if piece.Part == "" {
			continue
		}
		unpublished, err := p.waits(piece)
		if err != nil {
			return err
		}
		if unpublished {
			waiting = append(waiting, piece)
		}
	}
	if err := p.mark(waiting); err != nil {
		return err
	}
	for _, piece := range waiting {
		if err := p.rename(piece); err != nil {
			return err
		}
	}
	// Also where nothing was left to do: whoever did it may not have come so far.
	return p.dir.sync()
}

// waits reports whether a part is still to be published.
func (p *publication) waits(piece committable) (bool, error) {
	switch there, err := exists(p.dir, piece.Part); {
	case err != nil:
		return false, err
	case there:
		return true, nil
	}
	if marked, err := exists(p.dir, markerName(piece.Part)); err != nil || marked {
		return false, err
	}
	size, err := p.dir.size(piece.Name)
	switch {
	case err == nil && size == piece.Size:
		return false, nil
	case err == nil:
		return false, sdk.Fatal(fmt.Errorf("%s in %s is %d bytes long, and %d were to be published under this name: "+
			"the output in %s is lost", piece.Name, p.path, size, piece.Size, piece.Part))
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	// Where the folder went meanwhile the part went with it, and is not lost.
	if err := p.dir.here(); err != nil {
		return false, folderError(err, p.path)
	}
	if p.last {
		p.log.Warn("a file that was to be published is not there any more: it is taken to have been published and moved away",
			"folder", p.path, "name", piece.Name, "bytes", piece.Size)
		return false, nil
	}
	return false, sdk.Fatal(fmt.Errorf("the output in %s in %s was never published and is gone: %d bytes are lost; "+
		"hidden files in this folder are the pipeline's", piece.Part, p.path, piece.Size))
}

// mark leaves the markers, durably, before anything is published.
func (p *publication) mark(waiting []committable) error {
	if p.last || len(waiting) == 0 {
		return nil
	}
	for _, piece := range waiting {
		m, err := p.dir.create(markerName(piece.Part))
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = m.Close()
		}
		if err != nil {
			return err
		}
	}
	return p.dir.sync()
}

// rename publishes one part.
func (p *publication) rename(piece committable) error {
	err := p.dir.rename(piece.Part, piece.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Another committer was faster, or this one is late by an epoch.
		again, err := p.waits(piece)
		if err == nil && again {
			err = fmt.Errorf("publishing %s in %s: it comes and goes", piece.Part, p.path)
		}
		return err
	case errors.Is(err, fs.ErrExist):
		return sdk.Fatal(fmt.Errorf("%s cannot be published as %s in %s: a file of that name is there, and not of this pipeline; "+
			"move it away", piece.Part, piece.Name, p.path))
	}
	return err
}

// dropMarkers removes the markers of earlier commits that nobody will repeat: a
// task's later commits list all of its parts that are not known to be published.
func (c *committer) dropMarkers(dir folder, path string, cs []committable) error {
	type writer struct {
		epoch uint64
		task  int
	}
	newest := map[writer]uint64{}
	listed := map[partKey]uint64{}
	for _, p := range cs {
		if k, checkpoint, ok := c.names.parsePublished(p.Name); ok {
			listed[k] = checkpoint
			w := writer{k.epoch, k.task}
			newest[w] = max(newest[w], checkpoint)
		}
	}
	for k, checkpoint := range c.markers[path] {
		if _, again := listed[k]; again {
			continue
		}
		if checkpoint >= newest[writer{k.epoch, k.task}] {
			listed[k] = checkpoint
		} else if err := removeIfThere(dir, markerName(c.names.part(k))); err != nil {
			return err
		}
	}
	c.markers[path] = listed
	return nil
}

// tidy removes what nobody needs once the node's last output is published: the
// markers, and what epochs before the last one have left. Only where the record of
// the end is lost before the pipeline counts as finished would an older record
// miss it: the restart then says so.
func (c *committer) tidy(dir folder, ended uint64) error {
	return c.removeHidden(dir, func(f hiddenFile) bool {
		switch f.kind {
		case markerKind:
			return true
		case keptKind:
			return f.by <= ended
		}
		return f.epoch < ended
	})
}

// removeHidden removes the node's hidden files that are chosen.
func (c *committer) removeHidden(dir folder, chosen func(hiddenFile) bool) error {
	names, err := dir.list()
	if err != nil {
		return err
	}
	removed := false
	for _, name := range names {
		if f, ok := c.names.parseHidden(name); ok && chosen(f) {
			if err := removeIfThere(dir, name); err != nil {
				return err
			}
			removed = true
		}
	}
	if !removed {
		return nil
	}
	return dir.sync()
}

func exists(dir folder, name string) (bool, error) {
	_, err := dir.size(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func removeIfThere(dir folder, name string) error {
	if err := dir.remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
