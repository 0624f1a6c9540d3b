package edge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// fan is a router with one edge to n tasks, and their inputs.
func fan(t testing.TB, p *wire.Pool, e Edge, n int, change ...func(*RouterOptions)) (*Router, []*Input) {
	t.Helper()
	if e.ID == "" {
		e.ID = "a.out -> b.in"
	}
	var ins []*Input
	for i := range n {
		in := NewInput(DefaultLimits())
		ins = append(ins, in)
		e.Channels = append(e.Channels, in.Open(ID{Edge: e.ID, To: i}, 0))
	}
	opts := RouterOptions{Edges: []Edge{e}, Pool: p, MaxParallelism: 128, BatchBytes: 256 << 10, Linger: 5 * time.Millisecond}
	for _, f := range change {
		f(&opts)
	}
	r, err := NewRouter(opts)
	if err != nil {
		t.Fatal(err)
	}
	return r, ins
}

func routeItem(t testing.TB, r *Router, it Item) {
	t.Helper()
	if err := r.Route(t.Context(), it.Frame, it.header); err != nil {
		t.Fatal(err)
	}
}

func routeMessage(t testing.TB, r *Router, m *pluginv1.Frame) error {
	t.Helper()
	f, h := frameOf(t, m)
	return r.Route(t.Context(), f, h)
}

// batchAt is a batch from an output other than the first.
func batchAt(t testing.TB, p *wire.Pool, component, output uint32, values ...string) Item {
	w := p.NewBuilder(1 << 20)
	for i, v := range values {
		w.Append([]byte(v), []byte(v), wire.NoTime, nil, "s", int64(i))
	}
	return itemOf(t, w.Freeze(), component, output)
}

func TestABatchGoesToEveryEdgeOfItsOutput(t *testing.T) {
	p := wire.NewPoisonedPool()
	in := NewInput(DefaultLimits())
	edge := func(id string, component, output, port uint32) Edge {
		return Edge{ID: id, Component: component, Output: output, Partition: forward, Channels: []*Channel{in.Open(ID{Edge: id}, port)}}
	}
	r, err := NewRouter(RouterOptions{Pool: p, Edges: []Edge{edge("x", 0, 0, 5), edge("y", 1, 2, 6), edge("z", 1, 2, 7)}})
	if err != nil {
		t.Fatal(err)
	}
	routeItem(t, r, batchAt(t, p, 1, 2, "a", "b"))
	expectNext(t, p, in, "[a b] at port 6", "[a b] at port 7")
	routeItem(t, r, batchAt(t, p, 0, 0, "c"))
	expectNext(t, p, in, "[c] at port 5")
	routeItem(t, r, batchAt(t, p, 0, 1, "d", "e"))
	expectNothing(t, p, in)
	s := r.Stats()
	if s.Dropped != 2 || s.Edges[0].Records != 1 || s.Edges[2].Records != 2 || s.Edges[2].Batches != 1 {
		t.Fatalf("%+v", s)
	}
	expectNothingLive(t, p)
}

func TestRebalanceTakesTurnsByBatchFromItsOwnTaskOn(t *testing.T) {
	p := wire.NewPoisonedPool()
	r, ins := fan(t, p, Edge{Partition: rebalance}, 3, func(o *RouterOptions) { o.Task = 4 })
	for _, v := range []string{"a", "b", "c", "d"} {
		routeItem(t, r, batchOf(t, p, 0, v))
	}
	expectNext(t, p, ins[1], "[a] at port 0", "[d] at port 0")
	expectNext(t, p, ins[2], "[b] at port 0")
	expectNext(t, p, ins[0], "[c] at port 0")
	expectNothingLive(t, p)
}

func TestBroadcastReachesEveryTask(t *testing.T) {
	p := wire.NewPoisonedPool()
	r, ins := fan(t, p, Edge{Partition: broadcast}, 3)
	routeItem(t, r, batchOf(t, p, 0, "a", "b"))
	for _, in := range ins {
		expectNext(t, p, in, "[a b] at port 0")
	}
	expectNothingLive(t, p)
}

func TestATargetThatThePluginNamesIsFollowed(t *testing.T) {
	p := wire.NewPoisonedPool()
	r, ins := fan(t, p, Edge{Partition: byKey}, 3)
	it := batchOf(t, p, 0, "a", "b")
	it.Frame.Rewrite(it.header, 0, 0, 3)
	h, _ := it.Frame.Header()
	routeItem(t, r, FrameItem(it.Frame, h))
	expectNext(t, p, ins[2], "[a b] at port 0")
	it = batchOf(t, p, 0, "a")
	it.Frame.Rewrite(it.header, 0, 0, 4)
	h, _ = it.Frame.Header()
	if err := r.Route(t.Context(), it.Frame, h); !errors.Is(err, ErrProtocol) {
		t.Fatal(err)
	}
	expectNothingLive(t, p)
}

func TestSplitsGoToTheReaderThatTheyName(t *testing.T) {
	p := wire.NewPool()
	r, ins := fan(t, p, Edge{Splits: true}, 2)
	barrier := barrierFrame(Barrier{Checkpoint: 1})
	assign := &pluginv1.Frame{Target: 2, Kind: &pluginv1.Frame_Assign{Assign: &pluginv1.Assign{Splits: []*pluginv1.Split{{Id: "s"}}}}}
	for _, m := range []*pluginv1.Frame{assign, barrier, {Target: 1, Kind: &pluginv1.Frame_NoMoreSplits{NoMoreSplits: &pluginv1.NoMoreSplits{}}}} {
		if err := routeMessage(t, r, m); err != nil {
			t.Fatal(err)
		}
	}
	it, err := ins[1].Next(t.Context())
	if err != nil || it.Kind != wire.KindAssign {
		t.Fatal(it.Kind, err)
	}
	if m, err := it.Frame.Message(); err != nil || m.Target != 0 || m.GetAssign().Splits[0].Id != "s" {
		t.Fatal(m, err)
	}
	expectNext(t, p, ins[1], "barrier 1")
	expectNext(t, p, ins[0], "barrier 1", "splits")
	assign.Target = 0
	if err := routeMessage(t, r, assign); !errors.Is(err, ErrProtocol) {
		t.Fatal(err)
	}
}

func TestWatermarksStayOnTheirOutputAndBarriersGoEverywhere(t *testing.T) {
	p := wire.NewPool()
	a, b := NewInput(DefaultLimits()), NewInput(DefaultLimits())
	r, err := NewRouter(RouterOptions{Pool: p, Edges: []Edge{
		{ID: "a", Partition: forward, Channels: []*Channel{a.Open(ID{}, 0)}},
		{ID: "b", Output: 1, Partition: forward, Channels: []*Channel{b.Open(ID{}, 0)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*pluginv1.Frame{
		{Port: 1, Kind: &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: 3}}},
		{Port: 0, Kind: &pluginv1.Frame_Idle{Idle: &pluginv1.Idle{}}},
		barrierFrame(Barrier{Checkpoint: 2, Roll: true}),
	} {
		if err := routeMessage(t, r, m); err != nil {
			t.Fatal(err)
		}
	}
	expectNext(t, p, a, "idle", "barrier 2 roll")
	expectNext(t, p, b, "watermark 3", "barrier 2 roll")
}

func TestKindsThatCannotBeRoutedAreRefused(t *testing.T) {
	r, _ := fan(t, wire.NewPool(), Edge{Partition: forward}, 1)
	for _, m := range []*pluginv1.Frame{
		{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{}}},
		{Target: 1, Kind: &pluginv1.Frame_Assign{Assign: &pluginv1.Assign{}}},
	} {
		if err := routeMessage(t, r, m); !errors.Is(err, ErrProtocol) {
			t.Fatalf("%v: %v", m, err)
		}
	}
}

// Where the records of a split begin and end is told in their order, on the edges
// behind which somebody needs to know.
func TestSplitsAreToldWhereTheyAreNeeded(t *testing.T) {
	p := wire.NewPool()
	told, not := NewInput(DefaultLimits()), NewInput(DefaultLimits())
	r, err := NewRouter(RouterOptions{Pool: p, MaxParallelism: 128, Edges: []Edge{
		{ID: "a", Partition: forward, TellSplits: true, Channels: []*Channel{told.Open(ID{Edge: "a"}, 0)}},
		{ID: "b", Partition: forward, Channels: []*Channel{not.Open(ID{Edge: "b"}, 0)}},
		{ID: "c", Component: 1, Partition: forward, TellSplits: true, Channels: []*Channel{not.Open(ID{Edge: "c"}, 0)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*pluginv1.Frame{
		{Kind: &pluginv1.Frame_SplitOpened{SplitOpened: &pluginv1.SplitOpened{Id: "s"}}},
		{Kind: &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: 3}}},
		{Kind: &pluginv1.Frame_SplitEnded{SplitEnded: &pluginv1.SplitEnded{Id: "s"}}},
		barrierFrame(Barrier{Checkpoint: 1}),
	} {
		if err := routeMessage(t, r, m); err != nil {
			t.Fatal(err)
		}
	}
	var got []wire.Kind
	for range 4 {
		it, err := told.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, it.Kind)
		it.Frame.Free()
	}
	if want := []wire.Kind{wire.KindSplitOpened, wire.KindWatermark, wire.KindSplitEnded, wire.KindBarrier}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	it, err := not.Next(t.Context())
	if err != nil || it.Kind != wire.KindBarrier {
		t.Errorf("%v, %v", it.Kind, err)
	}
	it.Frame.Free()
}

func TestKeysGoToTheTaskThatOwnsTheirGroup(t *testing.T) {
	p := wire.NewPoisonedPool()
	r, ins := fan(t, p, Edge{Partition: byKey}, 4)
	want := make([][]string, 4)
	for i := range 50 {
		var keys []string
		for k := range 20 {
			key := fmt.Sprint("key ", i, " ", k)
			keys = append(keys, key)
			task := keygroup.Owner(keygroup.Of([]byte(key), 128), 128, 4)
			want[task] = append(want[task], key)
		}
		routeItem(t, r, batchOf(t, p, 0, keys...))
	}
	if err := routeMessage(t, r, barrierFrame(Barrier{Checkpoint: 1})); err != nil {
		t.Fatal(err)
	}
	for i, in := range ins {
		it, err := in.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := values(t, p, &it); fmt.Sprint(got) != fmt.Sprint(want[i]) {
			t.Fatalf("task %d got %v, want %v, in one batch", i, got, want[i])
		}
		expectNext(t, p, in, "barrier 1")
	}
	expectNothingLive(t, p)
}

func TestANullKeyIsARecordError(t *testing.T) {
	records := func(p *wire.Pool) Item {
		w := p.NewBuilder(1 << 20)
		w.Append([]byte("k"), []byte("keyed"), wire.NoTime, nil, "s", 0)
		w.Append(nil, []byte("null"), wire.NoTime, nil, "s", 1)
		w.Append([]byte{}, []byte("empty"), wire.NoTime, nil, "s", 2)
		return itemOf(t, w.Freeze(), 0, 0)
	}
	p := wire.NewPoisonedPool()
	r, _ := fan(t, p, Edge{Partition: byKey}, 1)
	it := records(p)
	err := r.Route(t.Context(), it.Frame, it.header)
	if !errors.Is(err, ErrNullKey) || !strings.Contains(err.Error(), "a.out -> b.in") || !strings.Contains(err.Error(), `ordinal 1 of split "s"`) {
		t.Fatal(err)
	}
	var refused []string
	r, ins := fan(t, p, Edge{Partition: byKey}, 1, func(o *RouterOptions) {
		o.NullKeys = func(_ context.Context, edge string, _, _ uint32, b *wire.Batch) error {
			for i := range b.Len() {
				_, ordinal := b.Origin(i)
				refused = append(refused, fmt.Sprint(edge, ": ", string(b.Value(i)), " ", ordinal))
			}
			return nil
		}
	})
	routeItem(t, r, records(p))
	routeItem(t, r, itemOf(t, onlyNulls(p), 0, 0))
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectNext(t, p, ins[0], "[keyed empty] at port 0")
	if fmt.Sprint(refused) != "[a.out -> b.in: null 1 a.out -> b.in: null 0]" || r.Stats().Edges[0].NullKeys != 2 {
		t.Fatal(refused, r.Stats())
	}
	expectNothingLive(t, p)
}

func onlyNulls(p *wire.Pool) *wire.Batch {
	w := p.NewBuilder(1 << 20)
	w.Append(nil, []byte("null"), wire.NoTime, nil, "", 0)
	return w.Freeze()
}

// Small batches do not explode: what a keyed edge takes apart leaves as full
// batches while the receivers are busy.
func TestAKeyedEdgeGathersWhileItsReceiversAreBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := wire.NewPoisonedPool()
		r, ins := fan(t, p, Edge{Partition: byKey}, 2)
		first := func() { // one batch on its way to each
			for i := range 10 {
				routeItem(t, r, batchOf(t, p, 0, fmt.Sprint("first ", i)))
			}
			settle(t, r, 0)
		}
		first()
		for i := range 100 {
			routeItem(t, r, batchOf(t, p, 0, fmt.Sprint("more ", i)))
			if i == 0 {
				settle(t, r, 5*time.Millisecond)
			}
		}
		time.Sleep(3 * time.Millisecond)
		settle(t, r, 2*time.Millisecond)
		if n := r.edges[0].Channels[0].queue.len(); n != 1 {
			t.Fatalf("%d batches left for a busy receiver", n)
		}
		free(t, ins[0])
		settle(t, r, 2*time.Millisecond) // the first is idle, the second is not
		if n := ins[0].Stats()[0].QueuedItems; n != 1 {
			t.Fatalf("%d batches for the idle receiver", n)
		}
		time.Sleep(2 * time.Millisecond)
		settle(t, r, 0)
		if n := ins[1].Stats()[0].QueuedItems; n != 2 {
			t.Fatalf("%d batches after the linger", n)
		}
		for _, in := range ins {
			in.Close()
		}
		expectNothingLive(t, p)
	})
}

func settle(t *testing.T, r *Router, want time.Duration) {
	t.Helper()
	if wait, err := r.Settle(t.Context()); err != nil || wait != want {
		t.Fatalf("settle: %v, %v, want %v", wait, err, want)
	}
}

func TestABatchOfOneTaskPassesWhole(t *testing.T) {
	p := wire.NewPoisonedPool()
	r, ins := fan(t, p, Edge{Partition: byKey}, 3, func(o *RouterOptions) { o.BatchBytes = 1000 })
	same := make([]string, 100)
	for i := range same {
		same[i] = "the same key"
	}
	task := keygroup.Owner(keygroup.Of([]byte(same[0]), 128), 128, 3)
	routeItem(t, r, batchOf(t, p, 0, same[0]))
	routeItem(t, r, batchOf(t, p, 0, same...))
	s := ins[task].Stats()[0]
	if s.Batches != 2 || s.Records != 101 {
		t.Fatalf("%+v", s)
	}
	for _, in := range ins {
		in.Close()
	}
	expectNothingLive(t, p)
}

func TestCloseDropsWhatWasGathered(t *testing.T) {
	p := wire.NewPoisonedPool()
	r, _ := fan(t, p, Edge{Partition: byKey}, 2)
	routeItem(t, r, batchOf(t, p, 0, "a", "b", "c", "d"))
	r.Close()
	r.Close()
	expectNothingLive(t, p)
}

func TestAnEmittedBatchIsRouted(t *testing.T) {
	p := wire.NewPoisonedPool()
	r, ins := fan(t, p, Edge{Component: 1, Output: 1, Partition: forward}, 1)
	b := onlyNulls(p)
	if err := r.Emit(t.Context(), 1, 1, b); err != nil {
		t.Fatal(err)
	}
	b.Release()
	expectNext(t, p, ins[0], "[null] at port 0")
	expectNothingLive(t, p)
}

// A frame is freed once whichever of its receivers refuses it.
func TestAFrameThatCannotArriveIsFreed(t *testing.T) {
	for _, partition := range []pluginv1.Partition{forward, rebalance, broadcast, byKey} {
		for closed := range 2 {
			p := wire.NewPoisonedPool()
			a, insA := fan(t, p, Edge{Partition: partition}, 1+min(1, int(partition-forward)))
			insA[min(closed, len(insA)-1)].Close()
			twice := a.edges[0].Edge
			b, err := NewRouter(RouterOptions{Pool: p, MaxParallelism: 128, BatchBytes: 100, Edges: []Edge{twice, twice}})
			if err != nil {
				t.Fatal(err)
			}
			failed := false
			for range 3 {
				it := batchOf(t, p, 0, "a", "b", "c", "d")
				failed = b.Route(t.Context(), it.Frame, it.header) != nil || b.Flush(t.Context()) != nil || failed
			}
			if !failed {
				t.Fatalf("%v: a closed channel went unnoticed", partition)
			}
			b.Close()
			for _, in := range insA {
				in.Close()
			}
			expectNothingLive(t, p)
		}
	}
}

func TestAMalformedBatchOnAKeyedEdgeNamesTheEdge(t *testing.T) {
	r, _ := fan(t, wire.NewPool(), Edge{Partition: byKey}, 2)
	err := routeMessage(t, r, &pluginv1.Frame{Kind: &pluginv1.Frame_Batch{Batch: &pluginv1.Batch{
		Records: 1, Key: &pluginv1.Column{Encoding: 9},
	}}})
	if !errors.Is(err, wire.ErrMalformed) || !strings.Contains(err.Error(), "a.out -> b.in: malformed frame: key column") {
		t.Fatal(err)
	}
}

func TestRoutersThatCannotWorkAreRefused(t *testing.T) {
	in := NewInput(DefaultLimits())
	c := []*Channel{in.Open(ID{}, 0), in.Open(ID{}, 0)}
	for name, edges := range map[string][]Edge{
		"no channels":          {{Partition: forward}},
		"forward to two":       {{Partition: forward, Channels: c}},
		"more tasks than keys": {{Partition: byKey, Channels: c}},
		"two edges of splits":  {{Splits: true, Channels: c}, {Splits: true, Channels: c}},
		"no partition":         {{Channels: c}},
	} {
		if _, err := NewRouter(RouterOptions{Pool: wire.NewPool(), MaxParallelism: 1, Edges: edges}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
