package file

import (
	"context"
	"encoding/json"
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
		for _, f := range files {
			s.total += f.info.Size()
		}
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
	}
	files, err := s.cfg.list()
	if err != nil {
		return nil, nil, false, sdk.Fatal(err)
	}
	if s.cfg.Follow {
		fresh, next, err = s.followed(files, old, at == nil)
		return fresh, next, true, err
	}
	for _, f := range files {
		fresh = append(fresh, s.ranges(f)...)
	}
	// Nothing is listed again.
	return fresh, []byte("{}"), false, nil
}

// ranges divides a file that is read once.
func (s *source) ranges(f found) []sdk.Split[split] {
	size := f.info.Size()
	one := split{Path: f.path, File: f.id, To: size, Size: size, Compression: compressionOf(f.path)}
	step := int64(s.cfg.SplitSize)
	if one.Compression != plain || size <= step {
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

// Progress implements [sdk.Progresser]: each task takes an equal share of the
// whole, so that the sum over tasks is right.
func (s *source) Progress() sdk.Progress {
	return sdk.Progress{
		Done: float64(s.done.Load()), Total: float64(s.total) / float64(max(s.task.Parallelism, 1)), Unit: "bytes", Lag: -1,
	}
}

// Close implements [sdk.Source].
func (s *source) Close() error { return nil }
