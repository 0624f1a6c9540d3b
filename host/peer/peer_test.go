package peer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/host/edge"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/peer"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// hosts are the meshes of a cluster, on loopback.
type hosts struct {
	t       testing.TB
	mu      sync.Mutex
	find    map[string]peer.Address
	servers map[string]*peer.Server
}

func newHosts(t testing.TB) *hosts {
	return &hosts{t: t, find: map[string]peer.Address{}, servers: map[string]*peer.Server{}}
}

// start starts a host.
func (h *hosts) start(name string) *peer.Mesh {
	h.t.Helper()
	s := peer.NewServer(peer.Identity{Cluster: "c", Host: name, Instance: name + "-1"}, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	h.mu.Lock()
	h.find[name] = peer.Address{Address: l.Addr().String(), Instance: name + "-1"}
	h.servers[name] = s
	h.mu.Unlock()
	m := peer.NewMesh(s, func(_ engine.Run, host string) (peer.Address, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		a, ok := h.find[host]
		if !ok {
			return a, fmt.Errorf("there is no host %s", host)
		}
		return a, nil
	}, nil)
	h.t.Cleanup(func() {
		s.Stop()
		m.Close()
	})
	return m
}

var run = engine.Run{UID: "uid", Epoch: 3}

// far is a channel from host a to host b, both of its ends.
type far struct {
	near   *edge.Channel // to push into
	in     *edge.Input   // to read from
	end    func()        // of the receiver's epoch
	cancel func()        // of the sender's
	sent   chan error    // what Send returned
	broken chan error
	ready  chan struct{}
}

func connect(t testing.TB, a, b *peer.Mesh, id edge.ID, r engine.Run) *far {
	f := &far{in: edge.NewInput(edge.DefaultLimits()), sent: make(chan error, 1), broken: make(chan error, 10), ready: make(chan struct{})}
	ch := f.in.Open(id, 0)
	f.end = sync.OnceFunc(b.Accept(run, engine.Inlets{Channels: map[edge.ID]*edge.Channel{id: ch}, Broken: func(err error) { f.broken <- err }}))
	f.send(t, a, id, r)
	t.Cleanup(func() {
		f.cancel()
		f.in.Close()
		f.end()
	})
	return f
}

func (f *far) send(t testing.TB, a *peer.Mesh, id edge.ID, r engine.Run) {
	out := edge.NewInput(edge.OutletLimits())
	f.near = out.Open(id, 0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.sent <- a.Send(ctx, "b", r, id, out, func() { close(f.ready) })
	}()
	f.cancel = func() {
		cancel()
		out.Close()
		<-done
	}
}

func batch(pool *wire.Pool, values ...string) edge.Item {
	w := pool.NewBuilder(1 << 20)
	for i, v := range values {
		w.Append(nil, []byte(v), wire.NoTime, nil, "s", int64(i))
	}
	b := w.Freeze()
	defer b.Release()
	f := wire.Encode(0, 0, 0, b)
	h, err := f.Header()
	if err != nil {
		panic(err)
	}
	return edge.FrameItem(f, h)
}

// TestAChannelBetweenHostsKeepsItsOrder: batches, watermarks, idleness and barriers
// arrive as they were pushed, unchanged.
func TestAChannelBetweenHostsKeepsItsOrder(t *testing.T) {
	h := newHosts(t)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	f := connect(t, h.start("a"), h.start("b"), edge.ID{Edge: "x -> y", From: 1, To: 2}, run)
	pool := wire.NewPool()
	var want []string
	var items []edge.Item
	checkpoint, watermark := uint64(0), int64(0)
	for i := range 2000 {
		switch rng.IntN(10) {
		case 0:
			checkpoint++
			b := edge.Barrier{Checkpoint: checkpoint, Roll: rng.IntN(2) == 0, End: rng.IntN(4) == 0}
			items, want = append(items, edge.BarrierItem(b)), append(want, fmt.Sprintf("%+v", b))
		case 1:
			// A watermark is followed by something else, as newer ones supersede it.
			watermark += 1 + rng.Int64N(5)
			items, want = append(items, edge.WatermarkItem(watermark)), append(want, fmt.Sprint(watermark))
			fallthrough
		default:
			v := strings.Repeat(fmt.Sprint(i, " "), 1+rng.IntN(4000))
			items, want = append(items, batch(pool, v)), append(want, v)
		}
	}
	go func() {
		for _, it := range items {
			if err := f.near.Push(context.Background(), it); err != nil {
				return
			}
		}
	}()
	for i, w := range want {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		it, err := f.in.Next(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		var got string
		switch it.Kind {
		case wire.KindBarrier:
			got = fmt.Sprintf("%+v", it.Barrier)
		case wire.KindWatermark:
			got = fmt.Sprint(it.Watermark)
		default:
			hd, err := it.Frame.Header()
			if err != nil {
				t.Fatal(err)
			}
			b, err := pool.Decode(&it.Frame, hd)
			if err != nil {
				t.Fatal(err)
			}
			got = string(b.Value(0))
			b.Release()
		}
		if it.Kind != wire.KindBatch {
			it.Frame.Free()
		}
		if got != w {
			t.Fatalf("item %d is %.80s, want %.80s", i, got, w)
		}
	}
}

// TestABlockedChannelBetweenHostsHoldsNoOtherBack: each has its own flow control,
// and what a blocked one holds is bounded.
func TestABlockedChannelBetweenHostsHoldsNoOtherBack(t *testing.T) {
	h := newHosts(t)
	a, b := h.start("a"), h.start("b")
	blocked := connect(t, a, b, edge.ID{Edge: "blocked"}, run)
	run2 := engine.Run{UID: "other", Epoch: 1}
	id := edge.ID{Edge: "free"}
	free := &far{in: edge.NewInput(edge.DefaultLimits()), sent: make(chan error, 1), ready: make(chan struct{})}
	end := b.Accept(run2, engine.Inlets{Channels: map[edge.ID]*edge.Channel{id: free.in.Open(id, 0)}, Broken: func(error) {}})
	free.send(t, a, id, run2)
	t.Cleanup(func() {
		free.cancel()
		free.in.Close()
		end()
	})
	pool := wire.NewPool()
	value := strings.Repeat("x", 100<<10)
	full, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	pushed := 0
	for blocked.near.Push(full, batch(pool, value)) == nil {
		pushed += len(value)
	}
	if pushed > 6<<20 {
		t.Errorf("%d bytes went into a channel that nobody reads", pushed)
	}
	for range 200 {
		go func() { _ = free.near.Push(t.Context(), batch(pool, value)) }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		it, err := free.in.Next(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		it.Frame.Free()
	}
}

// TestWhatIsMeantForAnotherIsRefused: an epoch that is over, a channel that ends
// elsewhere, a second sender, and another instance of a host.
func TestWhatIsMeantForAnotherIsRefused(t *testing.T) {
	h := newHosts(t)
	a, b := h.start("a"), h.start("b")
	id := edge.ID{Edge: "x -> y"}
	first := connect(t, a, b, id, run)
	<-first.ready
	refused := func(what string, id edge.ID, r engine.Run, part string) {
		t.Helper()
		f := &far{sent: make(chan error, 1), ready: make(chan struct{})}
		f.send(t, a, id, r)
		defer f.cancel()
		err := <-f.sent
		var broken *peer.ChannelError
		if !errors.As(err, &broken) || broken.From != "a" || broken.To != "b" || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("a second sender", id, run, "open already")
	refused("an epoch that is over", id, engine.Run{UID: run.UID, Epoch: run.Epoch - 1}, "is over")
	refused("a channel that ends elsewhere", edge.ID{Edge: "x -> z"}, run, "does not end here")
	h.mu.Lock()
	h.find["b"] = peer.Address{Address: h.find["b"].Address, Instance: "b-2"}
	h.mu.Unlock()
	refused("another instance", id, run, "do two hosts advertise one address?")
}

// TestABrokenChannelNamesBothHosts, on both sides; one that ends with its epoch
// breaks nothing.
func TestABrokenChannelNamesBothHosts(t *testing.T) {
	h := newHosts(t)
	a, b := h.start("a"), h.start("b")
	id := edge.ID{Edge: "x -> y"}
	good := connect(t, a, b, id, run)
	<-good.ready
	good.cancel()
	if err := <-good.sent; err != nil {
		t.Errorf("the end of an epoch: %v", err)
	}
	good.end()
	select {
	case err := <-good.broken:
		t.Errorf("the end of an epoch: %v", err)
	default:
	}
	f := connect(t, a, b, id, run)
	<-f.ready
	h.servers["b"].Stop()
	for _, err := range []error{<-f.sent, <-f.broken} {
		var broken *peer.ChannelError
		if !errors.As(err, &broken) || broken.From != "a" || broken.To != "b" || broken.Channel != id {
			t.Errorf("%v", err)
		}
	}
}

// TestAHostThatDoesNotAnswerBreaksItsChannels within the time of a ping, also where
// nothing is sent.
func TestAHostThatDoesNotAnswerBreaksItsChannels(t *testing.T) {
	h := newHosts(t)
	a, b := h.start("a"), h.start("b")
	// Between them stands something that swallows everything once it is told to.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h.mu.Lock()
	real := h.find["b"]
	h.mu.Unlock()
	var black sync.Map
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", real.Address)
			if err != nil {
				return
			}
			pipe := func(dst, src net.Conn) {
				defer dst.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := src.Read(buf)
					if err != nil {
						return
					}
					if _, swallow := black.Load("on"); swallow {
						continue
					}
					if _, err := dst.Write(buf[:n]); err != nil {
						return
					}
				}
			}
			conns.Go(func() { pipe(to, from) })
			conns.Go(func() { pipe(from, to) })
		}
	})
	through := peer.Address{Address: l.Addr().String(), Instance: real.Instance}
	id := edge.ID{Edge: "x -> y"}
	f := &far{in: edge.NewInput(edge.DefaultLimits()), sent: make(chan error, 1), broken: make(chan error, 10), ready: make(chan struct{})}
	end := b.Accept(run, engine.Inlets{Channels: map[edge.ID]*edge.Channel{id: f.in.Open(id, 0)}, Broken: func(err error) { f.broken <- err }})
	h.mu.Lock()
	h.find["b"] = through
	h.mu.Unlock()
	f.send(t, a, id, run)
	<-f.ready
	black.Store("on", true)
	select {
	case err := <-f.sent:
		if err == nil || !strings.Contains(err.Error(), "from host a to host b") {
			t.Errorf("%v", err)
		}
	case <-time.After(time.Minute):
		t.Error("nobody has noticed")
	}
	f.cancel()
	f.in.Close()
	end()
	h.mu.Lock()
	h.find["b"] = real
	h.mu.Unlock()
}

// TestASplitRequestReachesTheEnumerator, also when its epoch begins later there.
func TestASplitRequestReachesTheEnumerator(t *testing.T) {
	h := newHosts(t)
	a, b := h.start("a"), h.start("b")
	got := make(chan string, 1)
	answered := make(chan error, 1)
	go func() {
		answered <- a.Split(t.Context(), "b", run, task.ID{Node: "in", Role: pluginv1.Role_ROLE_ENUMERATOR}, &pluginv1.SplitRequest{Reader: 4, Want: 2})
	}()
	end := b.Accept(run, engine.Inlets{Split: func(id task.ID, r *pluginv1.SplitRequest) {
		got <- fmt.Sprintf("%s: reader %d wants %d", id, r.Reader, r.Want)
	}})
	defer end()
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "in[enumerator]: reader 4 wants 2" {
		t.Error(s)
	}
}
