package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/sdk"
)

// split is a file, or a range of one. The range owns the lines that begin in it.
type split struct {
	Path string `json:"path"`
	// File is the file's identity: another file may take its name.
	File string `json:"file,omitempty"`
	// Rotated: it was found under a name that it was rotated to, so its writer has
	// gone on to another file, or is about to.
	Rotated bool `json:"rotated,omitempty"`
	// From and To are byte offsets; To is -1 for a followed file.
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// Size of the file when it was found: lines that came later are not read.
	Size        int64       `json:"size"`
	Compression compression `json:"compression,omitempty"`
	// Before is how many bytes are in splits that were found before this one, Total
	// in all; 0 where the source follows.
	Before int64 `json:"before,omitempty"`
	Total  int64 `json:"total,omitempty"`
}

type compression string

const (
	plain   compression = ""
	gzipped compression = "gzip"
	zstded  compression = "zstd"
)

func compressionOf(path string) compression {
	switch {
	case strings.HasSuffix(path, ".gz"):
		return gzipped
	case strings.HasSuffix(path, ".zst"):
		return zstded
	}
	return plain
}

// source is one instance: the enumerator's, or a reading task's.
type source struct {
	cfg   *SourceConfig
	task  *sdk.Task
	done  atomic.Int64 // bytes
	total atomic.Int64
	first sync.Once // to open a split
	// blocks are buffers that no reader uses at present: many files may be
	// followed, and few grow at a time.
	blocks sync.Pool
}

func (s *source) block() []byte {
	if b, ok := s.blocks.Get().(*[blockBytes]byte); ok {
		return b[:]
	}
	return make([]byte, blockBytes)
}

// reuse takes a buffer back. Grown ones are left to the collector.
func (s *source) reuse(b []byte) {
	if len(b) == blockBytes {
		s.blocks.Put((*[blockBytes]byte)(b))
	}
}

func newSource(cfg *SourceConfig, t *sdk.Task) (*source, error) {
	s := &source{cfg: cfg, task: t}
	if !cfg.Follow {
		files, err := cfg.list()
		if err != nil && t.RestoredCheckpoint == 0 {
			return nil, sdk.Fatal(err)
		}
		// After a restart a file that is still to be read is missed when its split
		// is opened; the others are not needed.
		s.total.Store(bytesOf(files))
	}
	return s, nil
}

// Splits implements [sdk.Source]; SplitsAfter is called in its place.
func (s *source) Splits(ctx context.Context) ([]sdk.Split[split], bool, error) {
	all, _, more, err := s.SplitsAfter(ctx, nil)
	return all, more, err
}

// SplitsAfter implements [sdk.SplitsAfter].
func (s *source) SplitsAfter(_ context.Context, at []byte) (fresh []sdk.Split[split], next []byte, more bool, err error) {
	var old cursor
	if at != nil {
		if err := json.Unmarshal(at, &old); err != nil {
			return nil, nil, false, fmt.Errorf("cursor of the file source: %w", err)
		}
		switch {
		case old.Listed && s.cfg.Follow:
			return nil, nil, false, sdk.Fatal(errors.New("follow cannot be turned on here: where the files ended that were read without it is not known; start over, or in a pipeline of another name with start: end"))
		case old.Listed:
			return nil, at, false, nil
		}
	}
	files, err := s.cfg.list()
	if err != nil {
		return nil, nil, false, sdk.Fatal(err)
	}
	if s.cfg.Follow || at != nil {
		old.Listed = !s.cfg.Follow
		fresh, next, err = s.followed(files, old, at == nil)
		return fresh, next, s.cfg.Follow, err
	}
	before, total := int64(0), bytesOf(files)
	for _, f := range files {
		for _, r := range s.ranges(f) {
			r.Data.Before, r.Data.Total = before, total
			before += r.Data.To - r.Data.From
			fresh = append(fresh, r)
		}
	}
	next, err = json.Marshal(cursor{Listed: true})
	return fresh, next, false, err
}

// ranges divides a file that is read once.
func (s *source) ranges(f found) []sdk.Split[split] {
	size := f.info.Size()
	one := split{Path: f.path, File: f.id, To: size, Size: size, Compression: compressionOf(f.path)}
	step := int64(s.cfg.SplitSize)
	if one.Compression != plain || size <= step || s.cfg.Format == formatCSV {
		return []sdk.Split[split]{{ID: f.path + "@0", Data: one}}
	}
	var all []sdk.Split[split]
	for from := int64(0); from < size; from += step {
		part := one
		part.From, part.To = from, min(from+step, size)
		all = append(all, sdk.Split[split]{ID: fmt.Sprintf("%s@%d", f.path, from), Data: part})
	}
	return all
}

func bytesOf(files []found) (total int64) {
	for _, f := range files {
		total += f.info.Size()
	}
	return total
}

// opened counts what was read before a restart, once: each task its share of what
// lies before the splits that are read now, and those are opened one after the
// other.
func (s *source) opened(d split) {
	s.first.Do(func() {
		if d.Total == 0 {
			return
		}
		s.total.Store(d.Total)
		if tasks := int64(max(s.task.Parallelism, 1)); s.task.RestoredCheckpoint > 0 {
			s.done.Add(max(0, d.Before-(tasks-1)*(d.To-d.From)/2) / tasks)
		}
	})
}

// Progress implements [sdk.Progresser]: each task takes an equal share of the
// whole, so that the sum over tasks is right.
func (s *source) Progress() sdk.Progress {
	return sdk.Progress{
		Done: float64(s.done.Load()), Total: float64(s.total.Load()) / float64(max(s.task.Parallelism, 1)), Unit: "bytes", Lag: -1,
	}
}

// Close implements [sdk.Source].
func (s *source) Close() error { return nil }
