package edge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// The tests below run random graphs: every task has a router and an input, and a
// goroutine in place of its plugin that passes on what it gets in batches of its
// own making. Sources are driven by barriers as enumerators would send them. All
// waits are random; the clock is synctest's, which also finds deadlocks.
//
// A record says where it began, its number there, and how many barriers its
// source had passed. So each task can tell at once whether the cut is right: it
// must have passed as many.

type graph struct {
	pool     *wire.Pool
	rng      *rand.Rand
	mu       sync.Mutex // of rng and err
	err      error
	nodes    []*node
	barriers int
	perCut   int // batches of a source between two barriers
	idling   bool
	limits   Limits
	largest  int // bytes of the largest frame
	stop     context.CancelFunc
}

type node struct {
	parallelism int
	in          []*link
	out         []*link
	weight      int // how often each record of the sources reaches it
	tasks       []*task
}

// link is an edge between two nodes.
type link struct {
	id        string
	from, to  *node
	partition pluginv1.Partition
	output    uint32
	port      uint32
}

type task struct {
	g       *graph
	node    *node
	index   int
	input   *Input
	router  *Router
	outputs []uint32
	pending []*wire.Builder // by output

	passed   uint64
	sent     int64
	lastSeen map[*Channel]int64 // stamp of the last record
	seen     map[string]int
	mark     int64 // the last watermark
	end      bool
}

func newGraph(rng *rand.Rand) *graph {
	g := &graph{
		pool: wire.NewPoisonedPool(), rng: rng, barriers: 1 + rng.IntN(6), perCut: rng.IntN(8), idling: rng.IntN(3) == 0,
		limits: Limits{Reserve: 200 + rng.IntN(2000), Channel: 200 + rng.IntN(5000), Common: rng.IntN(5000)},
	}
	for i := range 2 + rng.IntN(5) {
		n := &node{parallelism: 1 + rng.IntN(3)}
		for k := range 1 + rng.IntN(3) {
			if i == 0 || len(n.in) == 0 && k > 0 {
				break
			}
			from := g.nodes[rng.IntN(i)]
			l := &link{
				id: fmt.Sprintf("%d.%d -> %d.%d", i, k, i, k), from: from, to: n,
				output: rng.Uint32N(3), port: uint32(k),
				partition: []pluginv1.Partition{forward, byKey, rebalance, broadcast}[rng.IntN(4)],
			}
			if l.partition == forward && from.parallelism != n.parallelism {
				l.partition = rebalance
			}
			n.in = append(n.in, l)
			from.out = append(from.out, l)
			if l.partition == broadcast {
				n.weight += from.weight * n.parallelism
			} else {
				n.weight += from.weight
			}
		}
		if len(n.in) == 0 {
			n.weight = 1
		}
		g.nodes = append(g.nodes, n)
	}
	g.build()
	return g
}

func (g *graph) build() {
	for _, n := range g.nodes {
		for i := range n.parallelism {
			n.tasks = append(n.tasks, &task{
				g: g, node: n, index: i, input: NewInput(g.limits),
				lastSeen: map[*Channel]int64{}, seen: map[string]int{}, mark: math.MinInt64,
			})
		}
	}
	for _, n := range g.nodes {
		for _, from := range n.tasks {
			outputs := map[uint32]bool{}
			var edges []Edge
			for _, l := range n.out {
				outputs[l.output] = true
				e := Edge{ID: l.id, Output: l.output, Partition: l.partition, Origin: true}
				for _, to := range l.to.tasks {
					if l.partition != forward || to.index == from.index {
						e.Channels = append(e.Channels, to.input.Open(ID{Edge: l.id, From: from.index, To: to.index}, l.port))
					}
				}
				edges = append(edges, e)
			}
			for o := range outputs {
				from.outputs = append(from.outputs, o)
				from.pending = append(from.pending, g.pool.NewBuilder(1<<20))
			}
			var err error
			from.router, err = NewRouter(RouterOptions{
				Task: from.index, Edges: edges, Pool: g.pool, MaxParallelism: 16,
				BatchBytes: 100 + g.rng.IntN(2000), Linger: 5 * time.Millisecond,
			})
			if err != nil {
				panic(err)
			}
		}
	}
}

// run runs the graph to its end, or until it is stopped after the given time.
func (g *graph) run(t *testing.T, limit time.Duration) error {
	ctx, cancel := context.WithCancel(t.Context())
	g.stop = cancel
	var wg sync.WaitGroup
	for _, n := range g.nodes {
		for _, task := range n.tasks {
			wg.Go(func() {
				if err := task.run(ctx); err != nil {
					g.fail(fmt.Errorf("task %d of node with %d: %w", task.index, n.parallelism, err))
				}
			})
		}
	}
	if limit > 0 {
		time.Sleep(limit)
		g.fail(context.Canceled)
	}
	wg.Wait()
	cancel()
	for _, n := range g.nodes {
		for _, task := range n.tasks {
			task.router.Close()
			task.input.Close()
			for _, b := range task.pending {
				b.Discard()
			}
		}
	}
	return g.err
}

func (g *graph) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
	g.stop()
}

func (g *graph) random(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rng.IntN(n)
}

// pause waits, mostly not.
func (t *task) pause() {
	if t.g.random(4) == 0 {
		time.Sleep(time.Duration(t.g.random(20)) * time.Millisecond)
	}
}

func (t *task) run(ctx context.Context) error {
	if len(t.node.in) == 0 {
		return t.source(ctx)
	}
	for !t.end {
		it, err := t.next(ctx)
		if err != nil {
			return err
		}
		if err := t.handle(ctx, it); err != nil {
			return fmt.Errorf("%v: %w", it.Kind, err)
		}
		t.pause()
	}
	return t.checkComplete()
}

// next lets the router settle while there is nothing to do, as the host does.
func (t *task) next(ctx context.Context) (Item, error) {
	for {
		wait, err := t.router.Settle(ctx)
		if err != nil {
			return Item{}, err
		}
		if err := t.checkMemory(); err != nil {
			return Item{}, err
		}
		if wait == 0 {
			return t.input.Next(ctx)
		}
		brief, cancel := context.WithTimeout(ctx, wait)
		it, err := t.input.Next(brief)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			return it, err
		}
	}
}

func (t *task) handle(ctx context.Context, it Item) error {
	h, err := it.Frame.Header()
	if err != nil {
		return err
	}
	if it.Kind != wire.KindBatch {
		defer it.Frame.Free()
	}
	switch it.Kind {
	case wire.KindBatch:
		if h.Port != it.Channel.Port() || h.Component != 0 || h.Target != 0 {
			return fmt.Errorf("header %+v", h)
		}
		b, err := t.g.pool.Decode(&it.Frame, h)
		if err != nil {
			return err
		}
		defer b.Release()
		for i := range b.Len() {
			if err := t.check(it.Channel, b, i); err != nil {
				return err
			}
			if err := t.emit(ctx, b.Key(i), b.Value(i), b.Time(i)); err != nil {
				return err
			}
		}
		return nil
	case wire.KindWatermark:
		if it.Watermark < t.mark {
			return fmt.Errorf("watermark %d after %d", it.Watermark, t.mark)
		}
		t.mark = it.Watermark
		return t.tell(ctx, &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: it.Watermark}})
	case wire.KindIdle:
		return t.tell(ctx, &pluginv1.Frame_Idle{Idle: &pluginv1.Idle{}})
	case wire.KindBarrier:
		return t.barrier(ctx, it.Barrier)
	}
	return fmt.Errorf("unexpected")
}

// check is what must hold of record i of a batch that came by c.
func (t *task) check(c *Channel, b *wire.Batch, i int) error {
	cut := binary.LittleEndian.Uint64(b.Value(i))
	id := string(b.Value(i)[8:])
	if cut != t.passed {
		return fmt.Errorf("record %s belongs behind barrier %d and came behind %d", id, cut, t.passed)
	}
	split, stamp := b.Origin(i)
	if want := fmt.Sprint(c.ID().From); split != want {
		return fmt.Errorf("record %s of task %s came by %s", id, split, c.ID())
	}
	if stamp <= t.lastSeen[c] {
		return fmt.Errorf("record %s: stamp %d after %d on %s", id, stamp, t.lastSeen[c], c.ID())
	}
	t.lastSeen[c] = stamp
	if !t.g.idling && b.Time(i) <= t.mark {
		return fmt.Errorf("record %s has time %d behind watermark %d", id, b.Time(i), t.mark)
	}
	for _, l := range t.node.in {
		if l.id != c.ID().Edge {
			continue
		}
		owner := keygroup.Owner(keygroup.Of(b.Key(i), 16), 16, t.node.parallelism)
		if l.partition == byKey && owner != t.index {
			return fmt.Errorf("record %s with key %q belongs to task %d", id, b.Key(i), owner)
		}
	}
	t.seen[id]++
	return nil
}

// checkMemory is the bound of what the input's channels hold.
func (t *task) checkMemory() error {
	in := t.input
	in.mu.Lock()
	defer in.mu.Unlock()
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	common := 0
	for _, c := range in.channels {
		common += c.common
		if c.own > max(in.opts.Reserve, t.g.largest) || c.common > max(0, in.opts.Channel-in.opts.Reserve) {
			return fmt.Errorf("%s holds %d bytes and %d in common", c.id, c.own, c.common)
		}
	}
	if common != in.common || common > in.opts.Common {
		return fmt.Errorf("%d bytes in common, %d counted", common, in.common)
	}
	return nil
}

// emit passes a record on to every output, in batches of random size.
func (t *task) emit(ctx context.Context, key, value []byte, at int64) error {
	t.sent++
	for i := range t.outputs {
		t.pending[i].Append(key, value, at, nil, fmt.Sprint(t.index), t.sent)
		if t.g.random(10) == 0 {
			if err := t.send(ctx, i); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *task) send(ctx context.Context, i int) error {
	b := t.pending[i].Freeze()
	if b == nil {
		return nil
	}
	defer b.Release()
	f := wire.Encode(0, t.outputs[i], 0, b)
	h, err := f.Header()
	if err != nil {
		return err
	}
	t.g.mu.Lock()
	t.g.largest = max(t.g.largest, 2*f.Len()+2500) // a keyed edge may gather more
	t.g.mu.Unlock()
	return t.router.Route(ctx, f, h)
}

// tell sends what was gathered and then a signal on every output.
func (t *task) tell(ctx context.Context, kind any) error {
	for i, o := range t.outputs {
		if err := t.send(ctx, i); err != nil {
			return err
		}
		m := &pluginv1.Frame{Port: o}
		switch k := kind.(type) {
		case *pluginv1.Frame_Watermark:
			m.Kind = k
		case *pluginv1.Frame_Idle:
			m.Kind = k
		}
		if err := t.route(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func (t *task) barrier(ctx context.Context, b Barrier) error {
	if b.Checkpoint != t.passed+1 {
		return fmt.Errorf("barrier %d behind %d", b.Checkpoint, t.passed)
	}
	for i := range t.outputs {
		if err := t.send(ctx, i); err != nil {
			return err
		}
	}
	t.passed = b.Checkpoint
	t.end = b.End && b.Halt
	return t.route(ctx, barrierFrame(b))
}

func (t *task) route(ctx context.Context, m *pluginv1.Frame) error {
	f, err := wire.FrameOf(m)
	if err != nil {
		return err
	}
	h, err := f.Header()
	if err != nil {
		return err
	}
	return t.router.Route(ctx, f, h)
}

// source sends batches of numbered records, watermarks and barriers.
func (t *task) source(ctx context.Context) error {
	var number int64
	for cut := range t.g.barriers {
		for range t.g.perCut {
			if t.g.idling && t.g.random(5) == 0 {
				if err := t.tell(ctx, &pluginv1.Frame_Idle{Idle: &pluginv1.Idle{}}); err != nil {
					return err
				}
			}
			for range 1 + t.g.random(20) {
				number++
				value := binary.LittleEndian.AppendUint64(nil, uint64(cut))
				value = fmt.Appendf(value, "%d/%d", t.index, number)
				value = append(value, make([]byte, t.g.random(60))...)
				if t.g.random(50) == 0 {
					value = append(value, make([]byte, 3000)...)
				}
				if err := t.emit(ctx, fmt.Appendf(nil, "key-%d", t.g.random(30)), value, number); err != nil {
					return err
				}
				t.seen[string(value[8:])]++
			}
			if t.g.random(3) == 0 {
				if err := t.tell(ctx, &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: number}}); err != nil {
					return err
				}
			}
			if _, err := t.router.Settle(ctx); err != nil {
				return err
			}
			t.pause()
		}
		last := cut == t.g.barriers-1
		if last {
			if err := t.tell(ctx, &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: math.MaxInt64}}); err != nil {
				return err
			}
		}
		if err := t.barrier(ctx, Barrier{Checkpoint: uint64(cut) + 1, End: last, Halt: last}); err != nil {
			return err
		}
	}
	return nil
}

func (t *task) checkComplete() error {
	if t.mark != math.MaxInt64 && !t.g.idling {
		return fmt.Errorf("the last watermark is %d", t.mark)
	}
	return nil
}

// checkAllArrived compares what each node saw with what the source sent.
func (g *graph) checkAllArrived(t *testing.T) {
	t.Helper()
	for _, n := range g.nodes[1:] {
		seen := map[string]int{}
		for _, task := range n.tasks {
			for id, count := range task.seen {
				seen[id] += count
			}
		}
		sent := 0
		for _, source := range g.nodes[0].tasks {
			sent += len(source.seen)
			for id := range source.seen {
				if seen[id] != n.weight {
					t.Fatalf("record %.20q came %d times, want %d", id, seen[id], n.weight)
				}
			}
		}
		if len(seen) != sent {
			t.Fatalf("%d records came of %d", len(seen), sent)
		}
	}
}

// TestRandomGraphs holds at once: order per channel; nothing lost, nothing
// doubled; the cut of every barrier; watermarks that no record breaks; the owner
// of every key; the bound on memory; no deadlock; every frame freed.
func TestRandomGraphs(t *testing.T) {
	rng := newRand(t)
	for range 60 {
		synctest.Test(t, func(t *testing.T) {
			g := newGraph(rng)
			if err := g.run(t, 0); err != nil {
				t.Fatal(err)
			}
			g.checkAllArrived(t)
			expectNothingLive(t, g.pool)
		})
	}
}

// TestRandomGraphsThatAreStopped ends them at any moment: every wait ends, every
// frame is freed.
func TestRandomGraphsThatAreStopped(t *testing.T) {
	rng := newRand(t)
	for range 40 {
		synctest.Test(t, func(t *testing.T) {
			g := newGraph(rng)
			g.perCut++
			err := g.run(t, time.Duration(1+rng.IntN(300))*time.Millisecond)
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			expectNothingLive(t, g.pool)
		})
	}
}
