package task

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// defaultSplitInterval is the time between two listings of splits.
const defaultSplitInterval = time.Second

// enumerator finds the splits of a source node and gives them to its readers. Its
// loop owns all of it; a listing runs in a goroutine of its own, so that a slow
// one holds up no barrier.
type enumerator struct {
	task   *task
	member *member

	cursor []byte // of a source that has one
	listed bool   // at least once
	more   bool   // there may be splits that are not listed yet
	next   uint64 // place of the next split in the order of enumeration

	unassigned []*pending
	waiting    map[string]bool // their ids
	assigned   map[string]bool // given to a reader and not known to have ended
	// ended are the splits that have ended. A source with a cursor does not list
	// them again, so they are forgotten.
	ended map[string]bool

	readers  []readerState
	listings chan listing
	listing  bool
}

// pending is a split that no reader has.
type pending struct {
	Split
	ordinal uint64
}

// readerState is what the enumerator knows of a reader.
type readerState struct {
	asked    bool // has asked at least once
	told     bool // that no more will come
	none     bool // has been told that there is none at present, and has not asked since
	capacity uint64
	held     uint64
}

type listing struct {
	splits []Split
	cursor []byte
	more   bool
	err    error
}

func newEnumerator(t *task, entries []*pluginv1.Entry) (*enumerator, error) {
	e := &enumerator{
		task:     t,
		member:   t.members[0],
		more:     true,
		waiting:  map[string]bool{},
		assigned: map[string]bool{},
		ended:    map[string]bool{},
		readers:  make([]readerState, t.open.GetParallelism()),
		listings: make(chan listing),
	}
	for _, entry := range entries {
		if entry.GetKind() == pluginv1.Entry_KIND_ENUMERATOR {
			if err := e.restore(entry.GetPayload()); err != nil {
				return nil, e.member.fault("restore", err)
			}
		}
	}
	held := map[string]bool{}
	for _, id := range t.open.GetHeldSplits() {
		held[id] = true
	}
	for id := range e.assigned {
		if !held[id] {
			e.end(id)
		}
	}
	maps.Copy(e.assigned, held)
	return e, nil
}

func (e *enumerator) run() error {
	t := e.task
	var interval time.Duration
	if err := guard(func() error { interval = e.member.source.SplitInterval(); return nil }); err != nil {
		return e.member.fault("SplitInterval", err)
	}
	interval = orDefault(interval, defaultSplitInterval)
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case f := <-t.in:
			if err := e.receive(f); err != nil {
				return err
			}
		case <-t.requests.ready:
			for _, r := range t.requests.take() {
				e.request(r)
			}
		case <-again.C:
			e.list()
		case l := <-e.listings:
			e.listing = false
			if err := e.add(l); err != nil {
				return e.member.fault("Splits", err)
			}
			if e.more {
				again.Reset(interval)
			}
		case <-t.finished.ready:
			t.finished.take()
		case <-t.sender.idle:
		case <-t.ctx.Done():
			return context.Cause(t.ctx)
		}
		if err := e.assign(); err != nil {
			return err
		}
	}
}

// list asks the source, unless all is listed.
func (e *enumerator) list() {
	if e.listing || !e.more || e.task.halted {
		return
	}
	e.listing = true
	t, m, cursor := e.task, e.member, e.cursor
	t.group.Go(func() {
		var l listing
		l.err = m.again(t.ctx, "Splits", func() error {
			return guard(func() (err error) {
				l.splits, l.cursor, l.more, err = m.source.Splits(t.ctx, cursor)
				return err
			})
		})
		select {
		case e.listings <- l:
		case <-t.ctx.Done():
		}
	})
}

// add takes new splits from a listing.
func (e *enumerator) add(l listing) error {
	if l.err != nil {
		return l.err
	}
	if e.task.halted {
		return nil
	}
	inListing := make(map[string]bool, len(l.splits))
	for _, s := range l.splits {
		known := e.assigned[s.ID] || e.ended[s.ID] || e.waiting[s.ID]
		switch {
		case s.ID == "":
			return &FatalError{fmt.Errorf("a split without an id")}
		case !utf8.ValidString(s.ID):
			return &FatalError{fmt.Errorf("the split id %q is no UTF-8", s.ID)}
		case inListing[s.ID] || known && l.cursor != nil:
			return &FatalError{fmt.Errorf("split %q is listed twice: split ids are never used again", s.ID)}
		}
		inListing[s.ID] = true
		if known {
			continue
		}
		e.task.change()
		e.wait(&pending{Split: s, ordinal: e.next})
		e.next++
	}
	if l.cursor != nil {
		e.cursor = l.cursor
	}
	if !e.listed || e.more != l.more {
		e.task.change()
	}
	e.listed, e.more = true, l.more
	return nil
}

func (e *enumerator) wait(p *pending) {
	e.unassigned = append(e.unassigned, p)
	e.waiting[p.ID] = true
}

// request hears what a reader wants and what has ended there.
func (e *enumerator) request(r *pluginv1.SplitRequest) {
	reader := &e.readers[r.GetReader()]
	if !reader.asked {
		reader.asked, reader.held = true, uint64(r.GetHeld())
	}
	for _, id := range r.GetEnded() {
		if e.assigned[id] {
			e.end(id)
			e.task.change()
			if reader.held > 0 {
				reader.held--
			}
		}
	}
	reader.capacity = uint64(r.GetWant()) + uint64(r.GetHeld())
	reader.none = false
}

func (e *enumerator) end(id string) {
	delete(e.assigned, id)
	if e.cursor == nil {
		e.ended[id] = true
	}
}

// assign gives splits to readers, in order of enumeration, each to the reader with
// room that holds the fewest. It waits until every reader has asked, so that the
// first does not get everything.
func (e *enumerator) assign() error {
	if e.task.halted || !e.listed || slices.ContainsFunc(e.readers, func(r readerState) bool { return !r.asked }) {
		return nil
	}
	if err := e.give(); err != nil {
		return err
	}
	if !e.more && len(e.unassigned) == 0 {
		return e.noMore()
	}
	if err := e.none(); err != nil || e.more {
		return err
	}
	return e.checkStuck()
}

// none tells the readers that hold nothing, and have asked, that there is no split for
// them at present.
func (e *enumerator) none() error {
	for i := range e.readers {
		if r := &e.readers[i]; r.held == 0 && !r.none {
			r.none = true
			f := &pluginv1.Frame{Target: uint32(i + 1), Kind: &pluginv1.Frame_Assign{Assign: &pluginv1.Assign{}}}
			if err := e.task.send(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// give sends each reader what it gets now.
func (e *enumerator) give() error {
	var given map[int][]*pluginv1.Split
	rest := e.unassigned[:0]
	for i, p := range e.unassigned {
		to := e.roomiest()
		if to < 0 {
			rest = append(rest, e.unassigned[i:]...)
			break
		}
		if !e.due(p) {
			rest = append(rest, p)
			continue
		}
		e.readers[to].held++
		e.assigned[p.ID] = true
		delete(e.waiting, p.ID)
		if given == nil {
			given = map[int][]*pluginv1.Split{}
		}
		given[to] = append(given[to], &pluginv1.Split{Id: p.ID, Data: p.Data, Ordinal: p.ordinal})
	}
	clear(e.unassigned[len(rest):])
	e.unassigned = rest
	for _, i := range slices.Sorted(maps.Keys(given)) {
		e.task.change()
		f := &pluginv1.Frame{Target: uint32(i + 1), Kind: &pluginv1.Frame_Assign{Assign: &pluginv1.Assign{Splits: given[i]}}}
		if err := e.task.send(f); err != nil {
			return err
		}
	}
	return nil
}

// due says that everything a split waits for has ended.
func (e *enumerator) due(p *pending) bool {
	for _, id := range p.After {
		switch {
		case e.cursor == nil && !e.ended[id]:
			return false
		case e.cursor != nil && (e.assigned[id] || e.waiting[id]):
			// What a source with a cursor has listed earlier and nobody holds has
			// ended.
			return false
		}
	}
	return true
}

// roomiest returns the reader with room that holds the fewest splits, or -1.
func (e *enumerator) roomiest() int {
	best := -1
	for i, r := range e.readers {
		if r.held < r.capacity && (best < 0 || r.held < e.readers[best].held) {
			best = i
		}
	}
	return best
}

// checkStuck fails where the splits that are left wait for ones that will never
// end.
func (e *enumerator) checkStuck() error {
	if len(e.assigned) > 0 {
		return nil
	}
	for _, p := range e.unassigned {
		if e.due(p) {
			return nil
		}
	}
	p := e.unassigned[0]
	return e.member.fault("Splits", &FatalError{fmt.Errorf("split %q waits for %q, and nothing that is left can end", p.ID, p.After)})
}

// noMore tells every reader once that no split will come.
func (e *enumerator) noMore() error {
	for i := range e.readers {
		if e.readers[i].told {
			continue
		}
		e.readers[i].told = true
		f := &pluginv1.Frame{Target: uint32(i + 1), Kind: &pluginv1.Frame_NoMoreSplits{NoMoreSplits: &pluginv1.NoMoreSplits{}}}
		if err := e.task.send(f); err != nil {
			return err
		}
	}
	return nil
}

// receive treats a barrier, which begins its way here: an assignment is wholly
// before or wholly behind it.
func (e *enumerator) receive(f inFrame) error {
	t, b := e.task, f.message.GetBarrier()
	if t.halted && !b.GetHalt() {
		return protocolErrorf("%s after a barrier with halt", f.name())
	}
	if b.GetCheckpoint() <= t.passed {
		return protocolErrorf("Barrier of checkpoint %d after that of %d", b.GetCheckpoint(), t.passed)
	}
	start := time.Now()
	if err := t.send(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: b}}); err != nil {
		return err
	}
	t.passed, t.changed, t.halted = b.GetCheckpoint(), false, b.GetHalt()
	state, err := e.state()
	if err != nil {
		return e.member.fault("Snapshot", err)
	}
	t.out.putSnapshot(&snapshot{
		entries: []*pluginv1.Entry{{Kind: pluginv1.Entry_KIND_ENUMERATOR, Content: payload(state)}},
		done:    &pluginv1.SnapshotDone{Checkpoint: b.GetCheckpoint(), Synchronous: durationpb.New(time.Since(start))},
	})
	return nil
}
