// Package journal keeps the newest records of a log in memory, for whoever asks for
// them, and lets their level be changed node by node while the log is written.
package journal

import (
	"context"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Record is a kept record.
type Record struct {
	Time    time.Time
	Level   slog.Level
	Message string
	Node    string // the attribute of that name, as are the next two
	Task    string
	Plugin  string
	// Attributes are the others, those of groups by their names with dots. Their
	// values are such that JSON has them.
	Attributes map[string]any
}

// Journal keeps records. It is safe for concurrent use, and nothing that reads it
// holds up who logs.
type Journal struct {
	mu      sync.Mutex
	ring    []Record
	written uint64        // records so far; the newest is ring[(written-1)%len]
	more    chan struct{} // closed at the next record

	levels levels
}

// New returns a journal that keeps so many records of at least this level.
func New(size int, level slog.Level) *Journal {
	return &Journal{ring: make([]Record, 0, size), more: make(chan struct{}), levels: levels{base: level}}
}

// SetLevels changes what is logged of a pipeline, or of everything where its name is
// empty. A record is a pipeline's, and a node's, by its attributes of these names; those
// of groups do not count.
func (j *Journal) SetLevels(pipeline string, l Levels) { j.levels.change(pipeline, l) }

// Query picks records.
type Query struct {
	Node  string // empty for all
	Level slog.Level
	Tail  int // at most so many of those that are kept; -1 for all
	// Attribute is the name of one that has this Value; empty for all.
	Attribute, Value string
	// Follow goes on with what is logged from then on.
	Follow bool
}

func (q Query) picks(r Record) bool {
	return r.Level >= q.Level && (q.Node == "" || r.Node == q.Node) && (q.Attribute == "" || r.Attributes[q.Attribute] == q.Value)
}

// Read yields records, oldest first, each with the number of those before it that
// this reader has missed: too slow a reader loses records rather than holding up
// who logs. Where the query follows it ends with ctx.
func (j *Journal) Read(ctx context.Context, q Query) iter.Seq2[Record, uint64] {
	return func(yield func(Record, uint64) bool) {
		kept, next, more := j.from(0)
		kept = slices.DeleteFunc(kept, func(r Record) bool { return !q.picks(r) })
		if q.Tail >= 0 && len(kept) > q.Tail {
			kept = kept[len(kept)-q.Tail:]
		}
		var missed uint64
		for {
			for _, r := range kept {
				if !q.picks(r) {
					continue
				}
				if ctx.Err() != nil || !yield(r, missed) {
					return
				}
				missed = 0
			}
			if !q.Follow {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-more:
			}
			at := next
			kept, next, more = j.from(at)
			missed += next - at - uint64(len(kept))
		}
	}
}

// from returns the kept records from a number on, the number after them, and a
// channel that is closed when there are more.
func (j *Journal) from(n uint64) ([]Record, uint64, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	oldest := j.written - uint64(len(j.ring))
	var out []Record
	for i := max(n, oldest); i < j.written; i++ {
		out = append(out, j.ring[i%uint64(cap(j.ring))])
	}
	return out, j.written, j.more
}

func (j *Journal) add(r Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ring) < cap(j.ring) {
		j.ring = append(j.ring, r)
	} else {
		j.ring[j.written%uint64(cap(j.ring))] = r
	}
	j.written++
	close(j.more)
	j.more = make(chan struct{})
}
