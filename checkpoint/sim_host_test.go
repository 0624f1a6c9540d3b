package checkpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

var background = context.Background()

// proc is one start of a host.
type proc struct {
	actor
	w     *world
	store *session
	st    *storage.Storage
}

// run is one epoch's tasks, wherever they run: source tasks, each with a channel to
// every sink task.
type run struct {
	uid     string
	epoch   uint64
	hosts   []*host
	sources []*source
	sinks   []*sink
	leader  *leader
	failed  bool
}

// host is what one proc runs of an epoch.
type host struct {
	p       *proc
	r       *run
	name    string
	ledger  *checkpoint.Ledger
	stopped bool

	last        uint64 // newest barrier
	changed     bool   // since then
	uncommitted checkpoint.Uncommitted
	snaps       map[uint64]*hostSnapshot
	done        uint64 // committed through
	// stored is what was stored of source tasks, by checkpoint and task; newest is the
	// newest completed one of this epoch, or the restored one.
	stored map[uint64]map[int]checkpoint.TaskState
	newest uint64
}

// hostSnapshot is one checkpoint on one host, until all tasks have delivered.
type hostSnapshot struct {
	barrier checkpoint.Barrier
	tasks   map[string]taskSnapshot
}

type taskSnapshot struct {
	node         string
	index        int
	entries      checkpoint.Entries
	committables checkpoint.Entries
}

func entry(kind pluginv1.Entry_Kind, id string, v any) *pluginv1.Entry {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return &pluginv1.Entry{Kind: kind, Id: id, Content: &pluginv1.Entry_Payload{Payload: data}}
}

func decode[T any](e *pluginv1.Entry) (v T) {
	if err := json.Unmarshal(e.GetPayload(), &v); err != nil {
		panic(err)
	}
	return v
}

// splitState is what a source task's entry says, too large to stay inline.
type splitState struct {
	Split, Pos int
	Ballast    string
}

var ballast = strings.Repeat("ballast ", 520)

// writerState is what a sink task's writer entry says.
type writerState struct {
	File   string
	Length int
}

// open makes an epoch's tasks from what a checkpoint holds.
func (w *world) open(uid string, epoch uint64, procs []*proc, sources, sinks int, c checkpoint.Choice) (*run, error) {
	r := &run{uid: uid, epoch: epoch}
	for i, p := range procs {
		r.hosts = append(r.hosts, &host{
			p: p, r: r, name: fmt.Sprint("host", i), snaps: map[uint64]*hostSnapshot{},
			stored: map[uint64]map[int]checkpoint.TaskState{}, newest: c.N(),
			ledger: checkpoint.NewLedger(p.store, nil, "p"), last: c.N(), done: c.N(),
		})
	}
	for i := range sources {
		r.sources = append(r.sources, &source{h: r.hosts[i%len(procs)], index: i, out: make([]*channel, sinks)})
	}
	for j := range sinks {
		s := &sink{h: r.hosts[(sources+j)%len(procs)], index: j}
		for _, src := range r.sources {
			ch := &channel{}
			src.out[j] = ch
			s.in = append(s.in, ch)
		}
		r.sinks = append(r.sinks, s)
	}
	if c.Manifest == nil {
		for i := range w.shape.splits {
			src := r.sources[i%sources]
			src.splits = append(src.splits, &split{id: i, end: w.shape.records})
		}
	} else if err := r.restore(w, c); err != nil {
		return nil, err
	}
	w.runs = append(w.runs, r)
	for _, h := range r.hosts {
		w.after(0, &h.p.actor, "pump", h.pump)
	}
	return r, nil
}

func (r *run) restore(w *world, c checkpoint.Choice) error {
	for _, n := range c.Manifest.Nodes {
		tasks := len(r.sources)
		if n.Name == "sink" {
			tasks = len(r.sinks)
		}
		router := checkpoint.NewRouter(n.Parallelism, tasks, n.MaxParallelism, nil)
		for _, t := range n.Tasks {
			if n.Name == "src" {
				if err := r.giveFiles(w, t, c.N(), n.Parallelism == tasks, router.Heirs(t.Index)); err != nil {
					return err
				}
			}
			for e, err := range checkpoint.ReadEntries(background, w.storage(w.self), t) {
				if err != nil { // damaged meanwhile, or dropped by a newer leader
					return err
				}
				for _, to := range router.Route(t.Index, e) {
					if err := r.give(w, to, e); err != nil {
						return err
					}
				}
			}
		}
	}
	for _, s := range r.sinks {
		s.ended = slices.Contains(c.Record.Ended, "sink")
	}
	return nil
}

// giveFiles reads the files of an old source task, which are those that it had. With
// as many tasks as before each goes on with its own.
func (r *run) giveFiles(w *world, t checkpoint.TaskState, n uint64, same bool, heirs []int) error {
	st := w.storage(w.self)
	var ids, want []string
	for _, f := range t.Files {
		data, err := st.Get(background, f.Object)
		if err != nil { // damaged meanwhile, or dropped by a newer leader
			return err
		}
		if string(data) != f.ID {
			w.violated("file %s holds %s", f.ID, data)
		}
		ids = append(ids, f.ID)
	}
	for e, err := range checkpoint.ReadEntries(background, st, t) {
		if err != nil {
			return err
		}
		if e.GetKind() == pluginv1.Entry_KIND_LIST {
			want = decode[[]string](e)
		}
	}
	if !slices.Equal(ids, want) {
		w.violated("checkpoint %d holds the files %v of task %d, which had %v", n, ids, t.Index, want)
	}
	for _, to := range heirs {
		s := r.sources[to]
		s.store.files = append(s.store.files, ids...)
		if same {
			s.store.base, s.store.at = ids, n
			s.h.keep(n, t)
		}
	}
	return nil
}

// give hands one entry to a new task.
func (r *run) give(w *world, to int, e *pluginv1.Entry) error {
	switch e.GetKind() {
	case pluginv1.Entry_KIND_SPLIT:
		at := decode[splitState](e)
		r.sources[to].splits = append(r.sources[to].splits, &split{id: at.Split, pos: at.Pos, end: w.shape.records})
	case pluginv1.Entry_KIND_WRITER:
		// A new epoch never writes to an older one's file: it copies what counts.
		was := decode[writerState](e)
		old := w.out.files[was.File]
		if old.state == removed {
			if !w.god.fellBack { // else a newer leader has given the checkpoint up
				w.violated("unfinished file %s was swept although the restored checkpoint needs it", was.File)
			}
			return fmt.Errorf("file %s is gone", was.File)
		}
		s := r.sinks[to]
		if s.open != nil {
			s.rolled, s.open = append(s.rolled, s.open), nil
		}
		s.append(w, old.records[:was.Length]...)
	}
	return nil
}

// pump lets the tasks of a host do something, over and over.
func (h *host) pump() {
	w := h.p.w
	if h.stopped || w.finished || w.refused {
		return
	}
	for range 3 + w.rng.IntN(8) {
		if w.chance(0.4) {
			if s := pick(w, h.r.sources); s.h == h {
				s.step(w)
			}
		} else if s := pick(w, h.r.sinks); s.h == h {
			s.step(w)
		}
	}
	if w.chance(0.25) {
		h.poll()
	}
	w.after(time.Duration(20+w.rng.IntN(60))*time.Millisecond, &h.p.actor, "pump", h.pump)
}

func pick[T any](w *world, all []T) T { return all[w.rng.IntN(len(all))] }

// poll repeats what a new leader may not know, and looks for the newest record.
func (h *host) poll() {
	w := h.p.w
	for _, s := range h.r.sources {
		if s.h == h && s.exhausted() {
			h.tell("exhausted", checkpoint.Exhausted{Node: "src", Task: s.index})
		}
	}
	if h.changed {
		h.tell("changed", checkpoint.Changed{After: h.last})
	}
	if h.done > 0 {
		h.tell("answered", checkpoint.CommitsAnswered{Host: h.name, Through: h.done})
	}
	hist, err := h.ledger.Load(background)
	if err != nil || h.stopped {
		return
	}
	for _, r := range hist.Records {
		// A record of another epoch says nothing about this one's output.
		if r.Epoch == h.r.epoch || w.flaw == commitOnAnyRecord {
			h.commit(r.N)
			return
		}
	}
}

func (h *host) tell(what string, ev checkpoint.Event) {
	if l := h.r.leader; l != nil {
		h.p.w.send(&l.actor, what, func() { l.step(h.r, ev) })
	}
}

func (h *host) change() {
	if !h.changed {
		h.changed = true
		h.tell("changed", checkpoint.Changed{After: h.last})
	}
}

// barrier reaches a host. It has no hold on what it has seen already.
func (h *host) barrier(b checkpoint.Barrier) {
	if h.stopped || b.N <= h.last && h.snaps[b.N] == nil {
		return
	}
	h.expect(b)
	for _, s := range h.r.sources {
		if s.h == h && s.seen < b.N {
			s.seen = b.N
			var es checkpoint.Entries
			for _, p := range s.splits {
				es = append(es, entry(pluginv1.Entry_KIND_SPLIT, fmt.Sprint(p.id), splitState{p.id, p.pos, ballast}))
			}
			for _, ch := range s.out {
				ch.items = append(ch.items, item{barrier: &b})
			}
			s.halted = b.Halt
			es = append(es, s.store.snapshot(h.p.w, h.r, s.index, b.N)...)
			h.deliver(b, taskSnapshot{node: "src", index: s.index, entries: es}, nil)
		}
	}
}

// expect begins the snapshot of a barrier, whichever task meets it first.
func (h *host) expect(b checkpoint.Barrier) {
	if h.snaps[b.N] == nil {
		h.snaps[b.N] = &hostSnapshot{barrier: b, tasks: map[string]taskSnapshot{}}
	}
	if b.N > h.last {
		h.last, h.changed = b.N, false
	}
}

// tasks is how many tasks of the run a host has.
func (h *host) tasks() int {
	n := 0
	for _, s := range h.r.sources {
		if s.h == h {
			n++
		}
	}
	for _, s := range h.r.sinks {
		if s.h == h {
			n++
		}
	}
	return n
}

// deliver notes what a task reports and stores it all with the last one.
func (h *host) deliver(b checkpoint.Barrier, t taskSnapshot, fresh checkpoint.Entries) {
	w := h.p.w
	if t.node == "sink" {
		h.uncommitted.Prepared(t.index, b.N, fresh)
		t.committables = h.uncommitted.Snapshot(t.index, b.N)
		if w.flaw == forgetEarlierOutput {
			t.committables = fresh
		}
	}
	snap := h.snaps[b.N]
	snap.tasks[fmt.Sprint(t.node, t.index)] = t
	if w.flaw == commitBeforeRecord {
		for _, e := range fresh {
			w.out.publish(decode[string](e), h.name)
		}
	}
	if len(snap.tasks) == h.tasks() {
		delete(h.snaps, b.N)
		w.soon(&h.p.actor, "store snapshot", func() { h.save(snap) })
	}
}

// save stores a host's part of a checkpoint and acks it.
func (h *host) save(snap *hostSnapshot) {
	w, n := h.p.w, snap.barrier.N
	nodes := map[string]*checkpoint.NodeState{}
	var err error
	for _, name := range []string{"src", "sink"} {
		for i := range max(len(h.r.sources), len(h.r.sinks)) {
			t, ok := snap.tasks[fmt.Sprint(name, i)]
			if !ok {
				continue
			}
			node := nodes[name]
			if node == nil {
				node = &checkpoint.NodeState{Name: name, Component: name, MaxParallelism: 8,
					Parallelism: len(h.r.sources), Ended: slices.Contains(snap.barrier.Ended, name)}
				if name == "sink" {
					node.Parallelism = len(h.r.sinks)
				}
				nodes[name] = node
			}
			var state checkpoint.TaskState
			if state, err = h.store(n, t); err != nil {
				break
			}
			node.Tasks = append(node.Tasks, state)
		}
	}
	a := checkpoint.Ack{Host: h.name, N: n}
	for _, name := range []string{"src", "sink"} {
		if nodes[name] != nil {
			a.Nodes = append(a.Nodes, *nodes[name])
		}
	}
	if err == nil && w.shape.acksInStore {
		for try := 0; try == 0 || isPassing(err) && try < 5; try++ {
			err = h.ledger.Ack(background, a)
		}
		if errors.Is(err, checkpoint.ErrLate) {
			_ = a.Discard(background, h.p.st)
			return
		}
	}
	w.logf("epoch %d: %s acks %d: %v", h.r.epoch, h.name, n, err)
	if err != nil {
		h.tell("declined", checkpoint.Declined{N: n, Host: h.name, Err: err})
		return
	}
	h.tell("ack", checkpoint.Acked{Ack: a})
}

func (h *host) store(n uint64, t taskSnapshot) (checkpoint.TaskState, error) {
	name := checkpoint.TaskName{UID: h.r.uid, N: n, Epoch: h.r.epoch, Node: t.node, Task: fmt.Sprint(t.index)}
	var earlier *checkpoint.Earlier
	if old, ok := h.stored[h.newest][t.index]; ok && t.node == "src" {
		earlier = &checkpoint.Earlier{N: h.newest, State: old}
	}
	sw := checkpoint.NewSnapshotWriter(h.p.st, name, earlier)
	sw.ReadFile = func(f *pluginv1.LocalFile) ([]byte, error) { return []byte(f.GetPath()), nil }
	if err := sw.Add(background, t.entries...); err != nil {
		return checkpoint.TaskState{}, err
	}
	state, err := sw.Finish(background)
	state.Index, state.Committables = t.index, t.committables
	if t.node == "src" {
		h.keep(n, state)
		if h.p.w.flaw == filesBeforeRecord {
			h.newest = max(h.newest, n)
		}
	}
	return state, err
}

func (h *host) keep(n uint64, t checkpoint.TaskState) {
	if h.stored[n] == nil {
		h.stored[n] = map[int]checkpoint.TaskState{}
	}
	h.stored[n][t.Index] = t
}

// completed makes a checkpoint the one whose files the next may share. The word reaches
// a task sooner or later.
func (h *host) completed(n uint64) {
	if n <= h.newest || h.stored[n] == nil {
		return
	}
	h.newest = n
	for _, s := range h.r.sources {
		if s.h == h && h.p.w.chance(0.7) {
			s.store.completed(n)
		}
	}
}

// commit publishes everything up to a checkpoint that has its record.
func (h *host) commit(n uint64) {
	w := h.p.w
	if h.stopped {
		return
	}
	h.completed(n)
	if n <= h.done {
		return
	}
	for _, e := range h.uncommitted.Due(n) {
		w.others(&h.p.actor)
		w.mayCrash(&h.p.actor)
		w.out.publish(decode[string](e), h.name)
	}
	h.uncommitted.Answered(n)
	h.done = max(h.done, n)
	if err := h.ledger.ReportCommitted(background, h.name, checkpoint.Committed{Epoch: h.r.epoch, Through: h.done}); err != nil &&
		!errors.Is(err, coordination.ErrUnknownOutcome) && !errors.Is(err, coordination.ErrUnavailable) {
		w.violated("report of commits: %v", err)
	}
	h.tell("answered", checkpoint.CommitsAnswered{Host: h.name, Through: h.done})
}
