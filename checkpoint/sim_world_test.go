package checkpoint_test

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
)

// world is one schedule: virtual time, a queue of events in a random order, and
// everything that survives a crash: coordination, storage and the outside.
type world struct {
	rng   *rand.Rand
	flaw  flaw
	shape shape
	start time.Time
	now   time.Duration
	queue eventQueue
	seq   int
	depth int
	limit int // events that may still run

	stamps    int
	oversleep string // what leaders often do after the end of their term

	tree *tree
	disk *disk
	out  *outside
	god  *god
	self *actor // acts for the test itself, and meets no faults

	procs    []*proc
	leader   *leader // the one in office
	run      *run    // the newest epoch's tasks
	runs     []*run
	calm     time.Duration // no fault after it
	finished bool
	refused  bool // no checkpoint could be restored, and a person gave up
	accept   bool // a person accepts duplicates

	tracing bool
	trace   []string
	err     error // first invariant that was violated
}

// shape is what a schedule is about.
type shape struct {
	splits, records int
	keep            int
	interval        time.Duration
	retract         bool
	acksInStore     bool
	corrupting      bool
}

// actor is something that does one thing at a time and may die.
type actor struct {
	name   string
	dead   bool
	busy   bool
	paused time.Duration // does nothing before
}

// crash is the panic with which an actor dies in the middle of something.
type crash struct{ a *actor }

type event struct {
	at    time.Duration
	order int
	actor *actor
	what  string
	do    func()
}

type eventQueue []*event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(*event)) }
func (q *eventQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	*q = (*q)[:last]
	return e
}

// stamp orders what happens at the same time.
func (w *world) stamp() int {
	w.stamps++
	return w.stamps
}

func (w *world) clock() time.Time { return w.start.Add(w.now) }

func (w *world) logf(format string, args ...any) {
	if w.tracing {
		w.trace = append(w.trace, fmt.Sprintf("%9s  %s", w.now.Round(time.Millisecond), fmt.Sprintf(format, args...)))
	}
}

// violated notes the first invariant that does not hold.
func (w *world) violated(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
		w.logf("VIOLATED: %v", w.err)
	}
}

func (w *world) after(d time.Duration, a *actor, what string, do func()) {
	w.seq++
	heap.Push(&w.queue, &event{at: w.now + d, order: w.seq, actor: a, what: what, do: do})
}

// soon is after a short random while, and sometimes after a long one.
func (w *world) soon(a *actor, what string, do func()) {
	d := time.Duration(w.rng.IntN(20)) * time.Millisecond
	if w.faulty(0.02) {
		d += time.Duration(w.rng.IntN(7000)) * time.Millisecond
	}
	w.after(d, a, what, do)
}

// send delivers a message that may be lost, doubled, late and out of order.
func (w *world) send(a *actor, what string, do func()) {
	if w.faulty(0.03) {
		w.logf("lost: %s to %s", what, a.name)
		return
	}
	w.soon(a, what, do)
	if w.faulty(0.05) {
		w.after(time.Duration(w.rng.IntN(1500))*time.Millisecond, a, what, do)
	}
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// faulty is chance as long as faults go on.
func (w *world) faulty(p float64) bool { return w.now < w.calm && w.rng.Float64() < p }

func (w *world) mayCrash(a *actor) {
	if a != w.self && w.faulty(0.004) {
		panic(crash{a})
	}
}

// step runs the next event.
func (w *world) step() bool {
	if w.queue.Len() == 0 || w.err != nil || w.limit == 0 {
		return false
	}
	w.limit--
	e := heap.Pop(&w.queue).(*event)
	w.now = max(w.now, e.at)
	switch {
	case e.actor.dead:
	case e.actor.busy:
		w.after(time.Millisecond, e.actor, e.what, e.do)
	case e.actor.paused > w.now:
		w.after(e.actor.paused-w.now, e.actor, e.what, e.do)
	default:
		w.perform(e)
	}
	return true
}

func (w *world) perform(e *event) {
	e.actor.busy = true
	defer func() {
		e.actor.busy = false
		switch r := recover().(type) {
		case nil:
		case crash:
			w.died(r.a)
		default:
			panic(r)
		}
	}()
	e.do()
}

// others lets other actors do something in the middle of a call of a.
func (w *world) others(a *actor) {
	if w.depth >= 3 || !w.faulty(0.1) {
		return
	}
	w.depth++
	for range w.rng.IntN(12) {
		w.step()
	}
	w.depth--
	if a.dead { // killed meanwhile
		panic(crash{a})
	}
}

// session opens coordination for an actor, with all its faults.
func (w *world) session(a *actor) *session {
	lost := func() error {
		if a == w.self {
			return nil
		}
		w.others(a)
		w.mayCrash(a)
		if w.faulty(0.004) {
			return coordination.ErrUnavailable
		}
		return nil
	}
	return &session{
		tree: w.tree,
		read: lost,
		write: func([]coordination.Op) error {
			if err := lost(); err != nil {
				return err
			}
			if a != w.self && w.faulty(0.01) {
				return coordination.ErrUnknownOutcome // it never arrived
			}
			return nil
		},
		reply: func() error {
			if a == w.self {
				return nil
			}
			w.mayCrash(a)
			if w.faulty(0.01) {
				return coordination.ErrUnknownOutcome // it did
			}
			return nil
		},
	}
}

// disk is storage that survives crashes.
type disk struct {
	w     *world
	order []string // names in the order of their creation
	data  map[string][]byte
}

var errBrokenPipe = errors.New("connection reset")

// diskSession is a driver for one actor.
type diskSession struct {
	d *disk
	a *actor
}

func (w *world) storage(a *actor) *storage.Storage {
	return storage.New(diskSession{w.disk, a}, "sim://")
}

func (s diskSession) fault() error {
	if s.a == s.d.w.self {
		return nil
	}
	s.d.w.others(s.a)
	s.d.w.mayCrash(s.a)
	if s.d.w.faulty(0.005) {
		return errBrokenPipe
	}
	return nil
}

func (s diskSession) Write(_ context.Context, name string, data []byte) error {
	if err := s.fault(); err != nil {
		return err
	}
	if _, ok := s.d.data[name]; ok {
		s.d.w.violated("object %s is written twice", name)
	}
	s.d.data[name] = slices.Clone(data)
	s.d.order = append(s.d.order, name)
	if s.a != s.d.w.self {
		s.d.w.mayCrash(s.a)
	}
	return nil
}

func (s diskSession) Read(_ context.Context, name string) ([]byte, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	data, ok := s.d.data[name]
	if !ok {
		return nil, storage.ErrNotFound
	}
	return slices.Clone(data), nil
}

// List returns names in the order of their creation, since their random parts are
// not the same when a seed is played again.
func (s diskSession) List(_ context.Context, prefix string) ([]storage.Info, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	var infos []storage.Info
	for _, name := range s.d.order {
		if data, ok := s.d.data[name]; ok && strings.HasPrefix(name, prefix) {
			infos = append(infos, storage.Info{Name: name, Size: int64(len(data))})
		}
	}
	return infos, nil
}

func (s diskSession) Delete(_ context.Context, name string) error {
	if err := s.fault(); err != nil {
		return err
	}
	s.d.w.god.deletes(name)
	delete(s.d.data, name)
	return nil
}

func (s diskSession) Close() error { return nil }

// outside is where the sink's output lies: files of which people see those that
// are published.
type outside struct {
	w     *world
	files map[string]*file
	order []*file
}

// file is a part that one sink task writes. Its name tells uid, epoch and task, so
// that no other task, of whatever epoch, ever writes to it.
type file struct {
	name       string
	epoch      uint64
	records    []record
	state      fileState
	checkpoint uint64 // that prepared it
	touched    int    // stamp
}

type fileState int

const (
	inProgress fileState = iota
	prepared
	published
	removed
)

// record is one record of the input, or the sink's mark for the end of it.
type record struct{ split, ordinal int }

var endMark = record{-1, -1}

func (o *outside) create(name string, epoch uint64, records []record) *file {
	if o.files[name] != nil {
		o.w.violated("file %s is made twice", name)
	}
	f := &file{name: name, epoch: epoch, records: slices.Clone(records), touched: o.w.stamp()}
	o.files[name] = f
	o.order = append(o.order, f)
	return f
}

// publish makes a prepared file visible, as often as somebody asks.
func (o *outside) publish(name string, who string) {
	f := o.files[name]
	o.w.god.publishes(name)
	switch {
	case f.state == prepared:
		f.state = published
		o.w.logf("%s publishes %s", who, name)
	case f.state == removed:
		o.w.god.lost(f)
	case f.state == inProgress:
		o.w.violated("file %s is published while it is written", name)
	}
}

// sweep removes hidden files of earlier generations, of any task, that no entry
// names. With retract it withdraws what they published after the restored
// checkpoint.
func (o *outside) sweep(earlier []checkpoint.Generation, epoch uint64, keep map[string]bool, retract bool, restored uint64) {
	swept := map[uint64]bool{}
	for _, g := range earlier {
		if g.Epoch < epoch {
			swept[g.Epoch] = true
		}
	}
	for e := range swept {
		o.w.god.swept[e] = o.w.stamp()
	}
	for _, f := range o.order {
		hidden := f.state == inProgress || f.state == prepared
		late := f.state == published && retract && f.checkpoint > restored
		if hidden && swept[f.epoch] && !keep[f.name] || late && (swept[f.epoch] || o.w.flaw == retractAnyEpoch) {
			o.w.logf("sweep removes %s", f.name)
			f.state, f.touched = removed, o.w.stamp()
			if keep[f.name] { // withdrawn, but the restored checkpoint goes on with it
				f.state = inProgress
			}
		}
	}
}
