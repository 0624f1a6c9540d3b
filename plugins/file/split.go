package file

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/weirstream/weir/sdk"
)

// split is a file, or a range of one. The range owns the lines that begin in it.
type split struct {
	Path string `json:"path"`
	// File is the file's identity: another file may take its name.
	File string `json:"file,omitempty"`
	// From and To are byte offsets; To is -1 for a followed file.
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// Size of the file when it was found: what came later is not read.
	Size        int64       `json:"size"`
	Compression compression `json:"compression,omitempty"`
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
	total int64
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
		for _, f := range files {
			s.total += f.info.Size()
		}
	}
	return s, nil
}

// cursor is what the enumerator remembers: which file had which name.
type cursor struct {
	// Files is the identity of the last file known under each path; a followed
	// file's split has it as its id.
	Files map[string]string `json:"files"`
}

// Splits implements [sdk.Source]; SplitsAfter is called in its place.
func (s *source) Splits(ctx context.Context) ([]sdk.Split[split], bool, error) {
	all, _, more, err := s.SplitsAfter(ctx, nil)
	return all, more, err
}

// SplitsAfter implements [sdk.SplitsAfter].
func (s *source) SplitsAfter(_ context.Context, at []byte) (fresh []sdk.Split[split], next []byte, more bool, err error) {
	old := cursor{Files: map[string]string{}}
	if at != nil {
		if err := json.Unmarshal(at, &old); err != nil {
			return nil, nil, false, fmt.Errorf("cursor of the file source: %w", err)
		}
	}
	files, err := s.cfg.list()
	if err != nil {
		return nil, nil, false, sdk.Fatal(err)
	}
	if s.cfg.Follow {
		fresh, next, err = s.followed(files, old, at == nil)
		return fresh, next, true, err
	}
	now := cursor{Files: map[string]string{}}
	for _, f := range files {
		now.Files[f.path] = identity(f.path, f.info)
		fresh = append(fresh, s.ranges(f)...)
	}
	next, err = json.Marshal(now)
	return fresh, next, false, err
}

// ranges divides a file that is read once.
func (s *source) ranges(f found) []sdk.Split[split] {
	size := f.info.Size()
	one := split{Path: f.path, File: identity(f.path, f.info), To: size, Size: size, Compression: compressionOf(f.path)}
	step := int64(s.cfg.SplitSize)
	if one.Compression != plain || size <= step {
		return []sdk.Split[split]{{ID: f.path, Data: one}}
	}
	var all []sdk.Split[split]
	for from := int64(0); from < size; from += step {
		part := one
		part.From, part.To = from, min(from+step, size)
		all = append(all, sdk.Split[split]{ID: fmt.Sprintf("%s@%d", f.path, from), Data: part})
	}
	return all
}

// followed finds files that were not there before. A renamed file is the same
// file. One that took a known name is read after the one that had it, and files
// that were rotated in between come before it.
func (s *source) followed(files []found, old cursor, first bool) (fresh []sdk.Split[split], next []byte, err error) {
	now := cursor{Files: maps.Clone(old.Files)} // a name that is free keeps its last owner
	known := map[string]bool{}
	for _, id := range old.Files {
		known[id] = true
	}
	for _, f := range files {
		now.Files[f.path] = identity(f.path, f.info)
	}
	// The order in which they were last written is that of their rotation.
	slices.SortStableFunc(files, func(a, b found) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	last := map[string]string{} // by family: the newest of its files
	for _, f := range files {
		id := now.Files[f.path]
		if known[id] {
			continue
		}
		known[id] = true
		data := split{Path: f.path, File: id, To: -1}
		if c := compressionOf(f.path); c != plain {
			data.To, data.Size, data.Compression = f.info.Size(), f.info.Size(), c
		} else if first && s.cfg.Start == "end" {
			data.From = f.info.Size()
		}
		sp := sdk.Split[split]{ID: id, Data: data}
		fam := family(f.path, now.Files)
		if before, ok := last[fam]; ok {
			sp.After = []string{before}
		} else if before, ok := old.Files[fam]; ok && before != now.Files[fam] {
			sp.After = []string{before}
		}
		last[fam] = id
		fresh = append(fresh, sp)
	}
	next, err = json.Marshal(now)
	return fresh, next, err
}

// family is the name that a file had before it was rotated away: the shortest
// known path p such that this one is p, p.something or p-something.
func family(path string, known map[string]string) string {
	best := path
	for p := range known {
		if len(p) < len(best) && (strings.HasPrefix(path, p+".") || strings.HasPrefix(path, p+"-")) {
			best = p
		}
	}
	return best
}

// Progress implements [sdk.Progresser]: each task takes an equal share of the
// whole, so that the sum over tasks is right.
func (s *source) Progress() sdk.Progress {
	return sdk.Progress{
		Done: float64(s.done.Load()), Total: float64(s.total) / float64(max(s.task.Parallelism, 1)), Unit: "bytes", Lag: -1,
	}
}

// Close implements [sdk.Source].
func (s *source) Close() error { return nil }
