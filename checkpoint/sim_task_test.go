package checkpoint_test

import (
	"fmt"
	"slices"

	"github.com/weirstream/weir/checkpoint"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// source reads splits.
type source struct {
	h      *host
	index  int
	splits []*split
	halted bool
	seen   uint64
	out    []*channel // by sink task
	store  simStore
}

// simStore is the files of a source task's state: some are new at each barrier, and
// some that were there are gone. What one holds is its name.
type simStore struct {
	made  int
	files []string
	// base are those of the newest checkpoint that the task knows as completed.
	base    []string
	at      uint64
	pending map[uint64][]string
}

// snapshot changes the store and returns its entries.
func (s *simStore) snapshot(w *world, r *run, index int, n uint64) (es checkpoint.Entries) {
	for range w.rng.IntN(3) {
		s.made++
		s.files = append(s.files, fmt.Sprintf("%d-%d-%d", r.epoch, index, s.made))
	}
	s.files = slices.DeleteFunc(slices.Clone(s.files), func(string) bool { return w.chance(0.2) })
	for _, f := range s.files {
		e := &pluginv1.Entry{Kind: pluginv1.Entry_KIND_FILE, Id: f}
		if slices.Contains(s.base, f) {
			e.Content = &pluginv1.Entry_SameAs{SameAs: &pluginv1.EntryRef{Checkpoint: s.at}}
		} else {
			e.Content = &pluginv1.Entry_File{File: &pluginv1.LocalFile{Path: f}}
		}
		es = append(es, e)
	}
	if s.pending == nil {
		s.pending = map[uint64][]string{}
	}
	s.pending[n] = s.files
	if w.flaw == filesBeforeRecord {
		s.base, s.at = s.files, n
	}
	return append(es, entry(pluginv1.Entry_KIND_LIST, "files", s.files))
}

// completed hears that a checkpoint has its record.
func (s *simStore) completed(n uint64) {
	if files, ok := s.pending[n]; ok && n > s.at {
		s.base, s.at = files, n
	}
}

type split struct{ id, pos, end int }

// channel is ordered.
type channel struct{ items []item }

type item struct {
	record  record
	barrier *checkpoint.Barrier
}

// sink prepares files and aligns barriers.
type sink struct {
	h      *host
	index  int
	in     []*channel
	seq    int
	open   *file
	rolled []*file // to be prepared at the next barrier
	ended  bool    // was told so
	halted bool
}

func (s *source) exhausted() bool {
	return !slices.ContainsFunc(s.splits, func(p *split) bool { return p.pos < p.end })
}

func (s *source) step(w *world) {
	if s.halted || len(s.splits) == 0 {
		return
	}
	p := pick(w, s.splits)
	for range 1 + w.rng.IntN(3) {
		ch := s.out[(p.id*7+p.pos)%len(s.out)]
		if p.pos == p.end || len(ch.items) > 10 {
			return
		}
		ch.items = append(ch.items, item{record: record{p.id, p.pos}})
		p.pos++
		s.h.change()
	}
	if s.exhausted() {
		s.h.tell("exhausted", checkpoint.Exhausted{Node: "src", Task: s.index})
	}
}

func (s *sink) append(w *world, records ...record) {
	if s.open == nil {
		s.seq++
		name := fmt.Sprintf("%d-%d-%d", s.h.r.epoch, s.index, s.seq)
		if w.flaw == namesWithoutEpoch {
			name = fmt.Sprintf("%d-%d", s.index, s.seq)
		}
		s.open = w.out.create(name, s.h.r.epoch, nil)
	}
	s.open.records = append(s.open.records, records...)
	s.open.touched = w.stamp()
}

func (s *sink) step(w *world) {
	// A barrier that some channel never got is overtaken by the next one.
	target := uint64(0)
	for _, ch := range s.in {
		if len(ch.items) > 0 && ch.items[0].barrier != nil {
			target = max(target, ch.items[0].barrier.N)
		}
	}
	aligned := true
	for _, i := range w.rng.Perm(len(s.in)) {
		ch := s.in[i]
		for len(ch.items) > 0 && ch.items[0].barrier != nil && ch.items[0].barrier.N < target {
			ch.items = ch.items[1:]
		}
		if len(ch.items) > 0 && ch.items[0].barrier == nil {
			if s.halted {
				w.violated("a record comes after a barrier that said halt")
			}
			s.append(w, ch.items[0].record)
			ch.items = ch.items[1:]
			s.h.change()
			return
		}
		aligned = aligned && len(ch.items) > 0
	}
	if aligned && target > 0 {
		b := *s.in[0].items[0].barrier
		for _, ch := range s.in {
			ch.items = ch.items[1:]
		}
		s.barrier(w, b)
	}
}

// barrier prepares what is to be rolled and reports the rest as unfinished.
func (s *sink) barrier(w *world, b checkpoint.Barrier) {
	s.h.expect(b)
	if slices.Contains(b.Ended, "sink") && (!s.ended || w.flaw == endToldTwice) {
		s.ended = true
		if s.index == 0 {
			s.append(w, endMark)
		}
	}
	var fresh, es checkpoint.Entries
	if f := s.open; f != nil && (b.Roll || w.chance(0.4)) {
		s.rolled, s.open = append(s.rolled, f), nil
	} else if f != nil {
		es = checkpoint.Entries{entry(pluginv1.Entry_KIND_WRITER, f.name, writerState{f.name, len(f.records)})}
	}
	for _, f := range s.rolled {
		f.state, f.checkpoint, f.touched = prepared, b.N, w.stamp()
		fresh = append(fresh, entry(pluginv1.Entry_KIND_COMMITTABLE, f.name, f.name))
	}
	s.rolled = nil
	s.halted = b.Halt
	s.h.deliver(b, taskSnapshot{node: "sink", index: s.index, entries: es}, fresh)
}
