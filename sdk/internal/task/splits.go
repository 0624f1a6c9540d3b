package task

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// anyNumber is what a reader without a bound says it would open.
const anyNumber = 1 << 20

// split is a split that this task holds, open or waiting for its turn. It belongs
// to the loop.
type split struct {
	id      string
	ordinal uint64
	data    []byte
	start   []byte // where reading begins; nil: the beginning
	open    bool
	// restored splits open before assigned ones, whatever their ordinal.
	restored bool

	// Where the last hand-over that the loop has treated ended.
	reader   Reader
	position any
}

// splitState is a split in a snapshot, to be read and edited by people.
type splitState struct {
	Ordinal  uint64          `json:"ordinal"`
	Split    json.RawMessage `json:"split,omitempty"`
	Position json.RawMessage `json:"position,omitempty"`
}

// reading is the source's side of a worker: its splits and their readers. All of
// it belongs to the loop.
type reading struct {
	task   *task
	member *member
	ctx    context.Context
	cancel context.CancelFunc

	splits    []*split // held: restored ones first, each kind in order of enumeration
	opened    int
	bound     int
	ended     []string // not told yet
	noMore    bool
	exhausted bool

	handovers chan *handover
	positions []completedAt
	observed  mailbox[completedAt]
}

// completedAt is where the splits stood at a barrier.
type completedAt struct {
	checkpoint uint64
	at         map[string][]byte
}

// maxPositions bounds the checkpoints whose positions are remembered until the
// host tells what became of them.
const maxPositions = 64

func (t *task) startReading() error {
	m := t.members[0]
	r := &reading{task: t, member: m, handovers: make(chan *handover, 1)}
	r.observed.ready = make(chan struct{}, 1)
	if err := guard(func() error { r.bound = m.source.ConcurrentSplits(); return nil }); err != nil {
		return m.fault("ConcurrentSplits", err)
	}
	if r.bound <= 0 {
		r.bound = anyNumber
	}
	r.ctx, r.cancel = context.WithCancel(t.ctx)
	t.reading = r
	for _, e := range t.heldEntries {
		s, err := restoreSplit(e)
		if err != nil {
			return m.fault("restore", err)
		}
		if err := r.hold(s); err != nil {
			return err
		}
	}
	t.heldEntries = nil
	t.group.Go(r.observe)
	if err := r.openMore(); err != nil {
		return err
	}
	r.request()
	return nil
}

func restoreSplit(e *pluginv1.Entry) (*split, error) {
	var s splitState
	if err := json.Unmarshal(e.GetPayload(), &s); err != nil {
		return nil, fmt.Errorf("split %q in the checkpoint: %w", e.GetId(), err)
	}
	return &split{id: e.GetId(), ordinal: s.Ordinal, data: s.Split, start: s.Position, restored: true}, nil
}

// hold takes a split into its place.
func (r *reading) hold(s *split) error {
	if slices.ContainsFunc(r.splits, func(have *split) bool { return have.id == s.id }) {
		return protocolErrorf("split %q is held already", s.id)
	}
	i, _ := slices.BinarySearchFunc(r.splits, s, inTurn)
	r.splits = slices.Insert(r.splits, i, s)
	return nil
}

// inTurn orders splits by when they are opened.
func inTurn(a, b *split) int {
	if a.restored != b.restored {
		if a.restored {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.ordinal, b.ordinal)
}

// assign takes splits that the enumerator gave.
func (r *reading) assign(splits []*pluginv1.Split) error {
	if r.noMore || r.task.ended {
		return protocolErrorf("Assign after NoMoreSplits or the end of input")
	}
	if len(splits) == 0 {
		return r.none()
	}
	r.task.change()
	for _, s := range splits {
		if err := r.hold(&split{id: s.GetId(), ordinal: s.GetOrdinal(), data: s.GetData(), start: s.Position}); err != nil {
			return err
		}
	}
	return r.openMore()
}

// none hears that there is no split for this task at present.
func (r *reading) none() error {
	if len(r.splits) > 0 {
		return nil
	}
	return r.member.noSplit()
}

func (r *reading) noMoreSplits() {
	r.noMore = true
	r.checkExhausted()
}

// openMore opens waiting splits up to the bound, in their turn.
func (r *reading) openMore() error {
	for _, s := range r.splits {
		if r.opened >= r.bound {
			break
		}
		if s.open {
			continue
		}
		s.open = true
		r.opened++
		if err := r.member.onSplit(s.id, s.ordinal, false); err != nil {
			return err
		}
		r.start(s)
	}
	return nil
}

// take treats what a reader hands over: the records go on, and then the position
// behind them is the task's.
func (r *reading) take(h *handover) error {
	defer h.release()
	if h.err != nil {
		return r.member.fault(h.call, fmt.Errorf("split %q: %w", h.split.id, h.err))
	}
	if len(h.parts) > 0 || h.failed.records != nil || h.eof {
		r.task.change()
	}
	if err := r.task.relieve(); err != nil {
		return err
	}
	m := r.member
	m.stats.unconnected.Add(h.dropped)
	if m.timing != nil {
		m.timing.split = h.split.id
	}
	for i, p := range h.parts {
		h.parts[i].batch = nil
		if err := p.outlet.add(p.batch); err != nil {
			return err
		}
	}
	if h.failed.records != nil {
		if err := m.settle(h.failed); err != nil {
			return err
		}
	}
	if m.timing != nil {
		if err := m.settleFailures(); err != nil {
			return err
		}
	}
	h.split.reader, h.split.position = h.reader, h.position
	if h.eof {
		return r.end(h.split)
	}
	return nil
}

// end ends a split behind its last records.
func (r *reading) end(s *split) error {
	if err := r.member.onSplit(s.id, s.ordinal, true); err != nil {
		return err
	}
	r.splits = slices.DeleteFunc(r.splits, func(have *split) bool { return have == s })
	r.opened--
	r.ended = append(r.ended, s.id)
	if err := r.openMore(); err != nil {
		return err
	}
	r.request()
	r.checkExhausted()
	return nil
}

// request asks for as many splits as could be opened now, and tells those ended.
func (r *reading) request() {
	r.task.out.put(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SplitRequest{SplitRequest: &pluginv1.SplitRequest{
		Reader: uint32(r.member.env.Index),
		Want:   uint32(max(0, r.bound-len(r.splits))),
		Ended:  r.ended,
		Held:   uint32(len(r.splits)),
	}}})
	r.ended = nil
}

func (r *reading) checkExhausted() {
	if r.noMore && len(r.splits) == 0 && !r.exhausted {
		r.exhausted = true
		if r.member.timing != nil {
			r.member.timing.finish()
		}
		r.task.out.put(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Exhausted{Exhausted: &pluginv1.Exhausted{}}})
	}
}

// snapshot is where the held splits stand.
func (r *reading) snapshot(checkpoint uint64) ([]*pluginv1.Entry, error) {
	at := make(map[string][]byte, len(r.splits))
	entries := make([]*pluginv1.Entry, 0, len(r.splits))
	for _, s := range r.splits {
		if s.position != nil {
			var position []byte
			err := guard(func() (err error) { position, err = s.reader.Encode(s.position); return err })
			if err != nil {
				return nil, r.member.fault("position", fmt.Errorf("split %q: %w", s.id, err))
			}
			s.start, s.position = position, nil
		}
		state, err := json.Marshal(splitState{Ordinal: s.ordinal, Split: s.data, Position: s.start})
		if err != nil {
			return nil, r.member.fault("position", fmt.Errorf("split %q: %w", s.id, err))
		}
		if s.start != nil {
			at[s.id] = s.start
		}
		entries = append(entries, &pluginv1.Entry{Kind: pluginv1.Entry_KIND_SPLIT, Id: s.id, Content: payload(state)})
	}
	r.positions = append(r.positions, completedAt{checkpoint, at})
	if len(r.positions) > maxPositions {
		r.positions = slices.Delete(r.positions, 0, 1)
	}
	return entries, nil
}

// outcome hears what became of a checkpoint, and tells the source.
func (r *reading) outcome(o checkpointOutcome) {
	r.positions = slices.DeleteFunc(r.positions, func(c completedAt) bool {
		switch {
		case c.checkpoint > o.checkpoint:
			return false
		case c.checkpoint == o.checkpoint && o.completed:
			r.observed.put(c)
		case !o.completed:
			return c.checkpoint == o.checkpoint
		}
		return true
	})
}

// observe tells the source of completed checkpoints, the newest only.
func (r *reading) observe() {
	m := r.member
	for {
		select {
		case <-r.observed.ready:
		case <-r.task.ctx.Done():
			return
		}
		items := r.observed.take()
		if len(items) == 0 {
			continue
		}
		c := items[len(items)-1]
		err := guard(func() error { return m.source.Completed(r.task.ctx, c.checkpoint, c.at) })
		if err != nil && r.task.ctx.Err() == nil {
			// The checkpoint is durable without it, and the next one tells again.
			m.log().Warn("the source could not be told of a completed checkpoint", "checkpoint", c.checkpoint, "error", err)
		}
	}
}

// halt stops all readers; what they have not handed over is not read.
func (r *reading) halt() { r.cancel() }

// drop forgets what nobody will take. The readers have ended.
func (r *reading) drop() {
	for {
		select {
		case h := <-r.handovers:
			h.release()
		default:
			return
		}
	}
}
