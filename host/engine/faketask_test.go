package engine_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// simTask is a task in a fake process.
type simTask struct {
	w         *world
	p         *proc
	node      string
	index     int
	role      pluginv1.Role
	epoch     uint64
	open      *pluginv1.Open
	component string
	config    struct {
		Splits int  `json:"splits"`
		Hold   bool `json:"hold"`
	}
	restored []*pluginv1.Entry

	gone     chan struct{} // closed when the task ends
	goneOnce sync.Once
	requests chan *pluginv1.SplitRequest
	pool     *wire.Pool

	controlMu sync.Mutex
	control   pluginv1.Plugin_ControlServer
	run       pluginv1.Plugin_RunServer // used by the loop alone

	mu        sync.Mutex
	barriers  []*pluginv1.Barrier // that were received
	completed []uint64
	aborted   []uint64
	committed uint64
	changed   bool
	passed    uint64
}

func (t *simTask) String() string {
	if t.role == pluginv1.Role_ROLE_ENUMERATOR {
		return fmt.Sprintf("%s[enumerator]", t.node)
	}
	return fmt.Sprintf("%s[%d]", t.node, t.index)
}

func (t *simTask) leave() { t.goneOnce.Do(func() { close(t.gone) }) }

func refKey(r *pluginv1.TaskRef) string {
	return fmt.Sprint(r.Uid, " ", r.Epoch, " ", r.Node, " ", r.Index, " ", r.Role)
}

// seen are the barriers that the task has received.
func (t *simTask) seen() []*pluginv1.Barrier {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.barriers)
}

// heard are the checkpoints of whose end the task was told.
func (t *simTask) heard() (completed, aborted []uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.completed), slices.Clone(t.aborted)
}

// tasksOf are all tasks of a node that were opened in an epoch.
func (w *world) tasksOf(node string, epoch uint64) []*simTask {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*simTask
	for _, t := range w.tasks {
		if t.node == node && t.epoch == epoch {
			out = append(out, t)
		}
	}
	return out
}

// Control is a task's life.
func (s *server) Control(stream pluginv1.Plugin_ControlServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	open := first.GetOpen()
	head := open.Chain[0]
	t := &simTask{
		w: s.p.w, p: s.p, node: head.Node, index: int(open.Task.Index), role: open.Task.Role, epoch: open.Task.Epoch, open: open,
		component: head.Component, gone: make(chan struct{}), requests: make(chan *pluginv1.SplitRequest, 1000), pool: wire.NewPool(), control: stream,
	}
	if err := json.Unmarshal(head.Config, &t.config); err != nil {
		return err
	}
	t.config.Splits = max(t.config.Splits, 1)
	s.p.mu.Lock()
	s.p.tasks[refKey(open.Task)] = t
	s.p.mu.Unlock()
	t.w.mu.Lock()
	t.w.tasks = append(t.w.tasks, t)
	t.w.events = append(t.w.events, fmt.Sprintf("open %s e%d restored %d", t, t.epoch, open.RestoredCheckpoint))
	t.w.mu.Unlock()
	defer t.leave()
	received := make(chan *pluginv1.ControlRequest)
	go func() {
		defer close(received)
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case received <- r:
			case <-stream.Context().Done():
				return
			}
		}
	}()
	for {
		var r *pluginv1.ControlRequest
		var ok bool
		select {
		case r, ok = <-received:
		case <-t.gone:
			return nil
		}
		if !ok {
			return nil
		}
		switch k := r.Kind.(type) {
		case *pluginv1.ControlRequest_RestorePart:
			t.restored = append(t.restored, k.RestorePart.Entries...)
		case *pluginv1.ControlRequest_Restored:
			go t.ready()
		case *pluginv1.ControlRequest_Completed:
			t.mu.Lock()
			t.completed = append(t.completed, k.Completed.Checkpoint)
			t.mu.Unlock()
		case *pluginv1.ControlRequest_Aborted:
			t.mu.Lock()
			t.aborted = append(t.aborted, k.Aborted.Checkpoint)
			t.mu.Unlock()
		case *pluginv1.ControlRequest_Committed:
			t.mu.Lock()
			t.committed = k.Committed.Through
			t.mu.Unlock()
		case *pluginv1.ControlRequest_SplitRequest:
			t.requests <- k.SplitRequest
		case *pluginv1.ControlRequest_Close:
			if answer := t.w.act(t.node).close; answer != nil && !answer(t) {
				continue
			}
			t.w.note("closed %s e%d", t, t.epoch)
			t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Closed{Closed: &pluginv1.Closed{}}})
			return nil
		}
	}
}

// ready answers Opened.
func (t *simTask) ready() {
	if open := t.w.act(t.node).open; open != nil {
		if failure := open(t); failure != nil {
			t.fail(failure)
			return
		}
	}
	t.w.note("opened %s e%d", t, t.epoch)
	t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Opened{Opened: &pluginv1.Opened{}}})
	if t.component == "feed" && t.role == pluginv1.Role_ROLE_WORKER {
		held := 0
		for _, e := range t.restored {
			if e.Kind == pluginv1.Entry_KIND_SPLIT {
				held++
			}
		}
		t.ask(held)
	}
}

func (t *simTask) ask(held int, ended ...string) {
	t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SplitRequest{SplitRequest: &pluginv1.SplitRequest{Want: 100, Held: uint32(held), Ended: ended}}})
}

func (t *simTask) fail(e *pluginv1.Error) {
	t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Failed{Failed: &pluginv1.Failed{Error: e}}})
}

func (t *simTask) say(r *pluginv1.ControlResponse) {
	t.controlMu.Lock()
	defer t.controlMu.Unlock()
	_ = t.control.Send(r)
}

// change tells of the first change since the last barrier.
func (t *simTask) change() {
	t.mu.Lock()
	told, passed := t.changed, t.passed
	t.changed = true
	t.mu.Unlock()
	if !told {
		t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Changed{Changed: &pluginv1.Changed{After: passed}}})
	}
}

// received is a frame from the host.
type received struct {
	batch   *wire.Batch
	port    uint32
	message *pluginv1.Frame
}

// Run carries a task's data.
func (s *server) Run(stream pluginv1.Plugin_RunServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	s.p.mu.Lock()
	t := s.p.tasks[refKey(first.GetAttach().Task)]
	s.p.mu.Unlock()
	t.run = stream
	frames := make(chan received)
	go func() {
		defer close(frames)
		for {
			r, err := t.receive(stream)
			if err != nil {
				return
			}
			select {
			case frames <- r:
			case <-t.gone:
				return
			}
		}
	}()
	switch {
	case t.role == pluginv1.Role_ROLE_ENUMERATOR:
		t.enumerate(frames)
	case t.component == "feed":
		t.read(frames)
	case len(t.open.Chain[0].Outputs) > 0 || t.component == "pass" || t.component == "counts":
		t.operate(frames)
	default:
		t.write(frames)
	}
	return nil
}

func (t *simTask) receive(stream pluginv1.Plugin_RunServer) (received, error) {
	var f wire.Frame
	if err := stream.RecvMsg(&f); err != nil {
		return received{}, err
	}
	h, err := f.Header()
	if err != nil {
		return received{}, err
	}
	if h.Kind == wire.KindBatch {
		b, err := t.pool.Decode(&f, h)
		return received{batch: b, port: h.Port}, err
	}
	defer f.Free()
	m, err := f.Message()
	return received{message: m}, err
}

// send sends a frame that is no batch.
func (t *simTask) send(f *pluginv1.Frame) { _ = t.run.Send(f) }

// emit sends records on an output that leads somewhere.
func (t *simTask) emit(output string, keys, values []string) {
	for port, o := range t.open.Chain[0].Outputs {
		if o.Output != output || len(values) == 0 {
			continue
		}
		w := t.pool.NewBuilder(1 << 20)
		for i, v := range values {
			var key []byte
			if keys[i] != "" {
				key = []byte(keys[i])
			}
			w.Append(key, []byte(v), 0, nil, "", 0)
		}
		b := w.Freeze()
		f := wire.Encode(0, uint32(port), 0, b)
		_ = t.run.SendMsg(&f)
		b.Release()
	}
}

// pass answers a barrier: first in band, then with the snapshot.
func (t *simTask) pass(b *pluginv1.Barrier, entries []*pluginv1.Entry) {
	t.mu.Lock()
	t.barriers = append(t.barriers, b)
	t.mu.Unlock()
	s := t.w.act(t.node)
	if s.barrier != nil {
		s.barrier(t, b)
	}
	t.mu.Lock()
	t.passed, t.changed = b.Checkpoint, false
	t.mu.Unlock()
	t.w.note("pass %s %d", t, b.Checkpoint)
	t.send(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: b}})
	done := &pluginv1.SnapshotDone{Checkpoint: b.Checkpoint}
	if s.snapshot != nil {
		done.Error = s.snapshot(t, b)
	}
	if s.entries != nil {
		entries = append(entries, s.entries(t, b)...)
	}
	for _, e := range entries {
		t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SnapshotPart{SnapshotPart: &pluginv1.SnapshotPart{Checkpoint: b.Checkpoint, Entries: []*pluginv1.Entry{e}}}})
	}
	t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SnapshotDone{SnapshotDone: done}})
}

func entry(kind pluginv1.Entry_Kind, id string, v any) *pluginv1.Entry {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return &pluginv1.Entry{Kind: kind, Id: id, Content: &pluginv1.Entry_Payload{Payload: b}}
}

// tick is how often sources look at what the test has changed.
const tick = time.Millisecond

// enumerate hands splits to readers, one to each in turn.
func (t *simTask) enumerate(frames <-chan received) {
	given := map[string]bool{}
	for _, e := range t.restored {
		var ids []string
		if err := json.Unmarshal(e.GetPayload(), &ids); err != nil {
			panic(err)
		}
		for _, id := range ids {
			given[id] = true
		}
	}
	asked := map[uint32]bool{}
	told, halted := false, false
	turn := uint32(0)
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for {
		select {
		case f, ok := <-frames:
			if !ok {
				return
			}
			b := f.message.GetBarrier()
			halted = halted || b.Halt
			ids := []string{}
			for id := range given {
				ids = append(ids, id)
			}
			slices.Sort(ids)
			t.pass(b, []*pluginv1.Entry{entry(pluginv1.Entry_KIND_ENUMERATOR, "", ids)})
		case r := <-t.requests:
			asked[r.Reader] = true
		case <-ticks.C:
		case <-t.gone:
			return
		}
		if halted || len(asked) < int(t.open.Parallelism) {
			continue
		}
		left := 0
		for i := range t.config.Splits {
			id := splitID(t.node, i)
			t.w.mu.Lock()
			hidden := t.w.split(id).hidden
			t.w.mu.Unlock()
			switch {
			case given[id]:
			case hidden:
				left++
			default:
				given[id] = true
				t.change()
				t.w.note("assign %s to %d", id, turn)
				t.send(&pluginv1.Frame{Target: turn + 1, Kind: &pluginv1.Frame_Assign{Assign: &pluginv1.Assign{Splits: []*pluginv1.Split{{Id: id, Ordinal: uint64(i)}}}}})
				turn = (turn + 1) % t.open.Parallelism
			}
		}
		if left == 0 && !told {
			told = true
			for i := range t.open.Parallelism {
				t.send(&pluginv1.Frame{Target: i + 1, Kind: &pluginv1.Frame_NoMoreSplits{NoMoreSplits: &pluginv1.NoMoreSplits{}}})
			}
		}
	}
}

// read emits what the test puts into the splits that the task holds. A record is
// "key=value" or a value alone.
func (t *simTask) read(frames <-chan received) {
	at := map[string]int{}
	for _, e := range t.restored {
		if e.Kind == pluginv1.Entry_KIND_SPLIT {
			var n int
			if err := json.Unmarshal(e.GetPayload(), &n); err != nil {
				panic(err)
			}
			at[e.Id] = n
		}
	}
	noMore, exhausted, halted := false, false, false
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for {
		select {
		case f, ok := <-frames:
			if !ok {
				return
			}
			switch k := f.message.Kind.(type) {
			case *pluginv1.Frame_Assign:
				for _, s := range k.Assign.Splits {
					at[s.Id] = 0
					t.w.note("%s gets %s", t, s.Id)
				}
				t.change()
			case *pluginv1.Frame_NoMoreSplits:
				noMore = true
			case *pluginv1.Frame_Barrier:
				halted = halted || k.Barrier.Halt
				var entries []*pluginv1.Entry
				for id, n := range at {
					entries = append(entries, entry(pluginv1.Entry_KIND_SPLIT, id, n))
				}
				t.pass(k.Barrier, entries)
			}
		case <-ticks.C:
		case <-t.gone:
			return
		}
		if halted {
			continue
		}
		for id := range at {
			t.w.mu.Lock()
			f := t.w.split(id)
			values, ended := slices.Clone(f.values[at[id]:]), f.ended
			t.w.mu.Unlock()
			if len(values) > 0 {
				t.change()
				keys := make([]string, len(values))
				for i, v := range values {
					if k, _, ok := strings.Cut(v, "="); ok {
						keys[i] = k
					}
				}
				t.emit("out", keys, values)
				at[id] += len(values)
			}
			if ended {
				t.change()
				delete(at, id)
				t.send(&pluginv1.Frame{Kind: &pluginv1.Frame_SplitEnded{SplitEnded: &pluginv1.SplitEnded{Id: id}}})
				t.ask(len(at), id)
			}
		}
		if noMore && len(at) == 0 && !exhausted {
			exhausted = true
			t.w.note("exhausted %s", t)
			t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Exhausted{Exhausted: &pluginv1.Exhausted{}}})
		}
	}
}

// operate passes records on and counts them, in state that is spread.
func (t *simTask) operate(frames <-chan received) {
	count := 0
	for _, e := range t.restored {
		if e.Kind == pluginv1.Entry_KIND_LIST && e.Id == "count" {
			var n int
			if err := json.Unmarshal(e.GetPayload(), &n); err != nil {
				panic(err)
			}
			count += n
		}
	}
	t.w.note("%s counts from %d", t, count)
	if g := t.open.Chain[0].KeyGroups; g != nil {
		t.w.note("%s owns %d to %d of %d", t, g.First, g.Last, t.open.MaxParallelism)
	}
	for f := range frames {
		if b := f.message.GetBarrier(); b != nil {
			if b.End {
				t.w.note("end %s %d", t, b.Checkpoint)
			}
			t.pass(b, []*pluginv1.Entry{entry(pluginv1.Entry_KIND_LIST, "count", count)})
			continue
		}
		if f.batch == nil || !t.take() {
			continue
		}
		t.change()
		keys, values := map[string][]string{}, map[string][]string{}
		for i := range f.batch.Len() {
			v, out := string(f.batch.Value(i)), "out"
			if strings.HasPrefix(v, "side") {
				out = "side"
			}
			keys[out], values[out] = append(keys[out], string(f.batch.Key(i))), append(values[out], v)
			count++
		}
		f.batch.Release()
		for _, out := range []string{"out", "side"} {
			t.emit(out, keys[out], values[out])
		}
	}
}

// take asks the script whether to take a batch.
func (t *simTask) take() bool {
	frame := t.w.act(t.node).frame
	return frame == nil || frame(t)
}

// write prepares at each barrier what it has got, or only where a barrier rolls.
func (t *simTask) write(frames <-chan received) {
	var pending []string
	for _, e := range t.restored {
		if e.Kind == pluginv1.Entry_KIND_WRITER {
			var values []string
			if err := json.Unmarshal(e.GetPayload(), &values); err != nil {
				panic(err)
			}
			pending = append(pending, values...)
			t.w.note("%s goes on with %v", t, values)
		}
	}
	for f := range frames {
		if b := f.message.GetBarrier(); b != nil {
			if b.End {
				t.w.note("end %s %d", t, b.Checkpoint)
			}
			var entries []*pluginv1.Entry
			switch {
			case len(pending) == 0:
			case t.component == "loose":
				pending = nil
			case t.config.Hold && !b.Roll:
				entries = append(entries, entry(pluginv1.Entry_KIND_WRITER, "", pending))
			default:
				key := fmt.Sprintf("%d.%d.%d", t.epoch, b.Checkpoint, t.index)
				entries = append(entries, entry(pluginv1.Entry_KIND_COMMITTABLE, "", prepared{key, pending}))
				pending = nil
			}
			t.pass(b, entries)
			continue
		}
		if f.batch == nil || !t.take() {
			continue
		}
		t.change()
		for i := range f.batch.Len() {
			pending = append(pending, string(f.batch.Value(i)))
		}
		f.batch.Release()
		t.w.mu.Lock()
		t.w.events = append(t.w.events, fmt.Sprintf("%s has %d unprepared", t, len(pending)))
		if t.component == "loose" {
			t.w.published[t.node] = append(t.w.published[t.node], output{values: pending[len(pending)-1:]})
		}
		t.w.mu.Unlock()
	}
}
