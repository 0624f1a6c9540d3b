package task

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// patience bounds every wait of a test; it is no expectation.
const patience = 20 * time.Second

// host plays the host's side over an in-memory connection.
type host struct {
	t      testing.TB
	server *Server
	pool   *wire.Pool
	client pluginv1.PluginClient
	// unread: a stream breaks with batches in it, which gRPC leaves to the garbage
	// collector.
	unread bool
}

type hostOption func(*Options)

func newHost(t testing.TB, components []*Component, options ...hostOption) *host {
	t.Helper()
	opts := Options{Pool: wire.NewPoisonedPool(), ReportInterval: 20 * time.Millisecond, CloseTimeout: patience}
	for _, o := range options {
		o(&opts)
	}
	before := goleak.IgnoreCurrent()
	h := &host{t: t, pool: wire.NewPool(), server: NewServer(Plugin{Name: "test", Version: "1"}, components, opts)}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(wire.ServerOptions()...)
	pluginv1.RegisterPluginServer(server, h.server)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	dial := append(wire.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	conn, err := grpc.NewClient("passthrough:///test", dial...)
	if err != nil {
		t.Fatal(err)
	}
	h.client = pluginv1.NewPluginClient(conn)
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		<-served
		h.server.Close()
		goleak.VerifyNone(t, before)
		if !h.unread && !t.Failed() {
			h.checkPool(opts.Pool)
		}
	})
	return h
}

// checkPool sees that every batch was released once.
func (h *host) checkPool(p *wire.Pool) {
	for range 200 {
		if batches, _ := p.Live(); batches == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	batches, buffers := p.Live()
	h.t.Errorf("%d batches and %d buffers were never released", batches, buffers)
}

// openOf is an Open for a chain of members.
func openOf(members ...*pluginv1.Member) *pluginv1.Open {
	return &pluginv1.Open{
		Task:              &pluginv1.TaskRef{Uid: "u1", Epoch: 1, Node: members[0].Node},
		Cluster:           "test",
		Pipeline:          "p",
		Parallelism:       1,
		MaxParallelism:    128,
		Chain:             members,
		Limits:            &pluginv1.Limits{BatchBytes: 64 << 10, Linger: durationpb.New(5 * time.Millisecond), MaxRecordBytes: 1 << 20},
		LogLevel:          "debug",
		CheckpointTimeout: durationpb.New(10 * time.Second),
	}
}

func enumeratorOf(m *pluginv1.Member, parallelism uint32) *pluginv1.Open {
	o := openOf(m)
	o.Task.Role = pluginv1.Role_ROLE_ENUMERATOR
	o.Parallelism = parallelism
	return o
}

// member of a chain: its node and component have the same name.
func memberOf(name string, outputs ...*pluginv1.Outlet) *pluginv1.Member {
	return &pluginv1.Member{Node: name, Component: name, Config: []byte("{}"), Outputs: outputs}
}

// fed gives a member its one input.
func fed(m *pluginv1.Member) *pluginv1.Member {
	m.Inputs = []*pluginv1.Inlet{{Port: "in"}}
	return m
}

func toHost(name string) *pluginv1.Outlet { return &pluginv1.Outlet{Output: name} }
func toNext(name string) *pluginv1.Outlet {
	return &pluginv1.Outlet{Output: name, Chained: true, Exclusive: true, ChainedPort: "in"}
}

// hostTask is one task as the host sees it.
type hostTask struct {
	h       *host
	open    *pluginv1.Open
	cancel  context.CancelFunc
	control grpc.BidiStreamingClient[pluginv1.ControlRequest, pluginv1.ControlResponse]
	run     grpc.BidiStreamingClient[pluginv1.Frame, pluginv1.Frame]
	sendMu  sync.Mutex

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when anything below grows
	said    []*pluginv1.ControlResponse
	frames  []seenFrame
	ctlErr  error
	runErr  error
}

// seenFrame is a frame of the task: records of a batch, or a message.
type seenFrame struct {
	h       wire.Header
	records []record
	message *pluginv1.Frame
}

type record struct {
	key, value string
	time       int64
	headers    map[string]string
	split      string
	ordinal    int64
}

// start opens a task without waiting for anything.
func (h *host) start(open *pluginv1.Open, restore ...*pluginv1.Entry) *hostTask {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t := &hostTask{h: h, open: open, cancel: cancel, changed: make(chan struct{})}
	h.t.Cleanup(cancel)
	var err error
	if t.control, err = h.client.Control(ctx); err != nil {
		h.t.Fatal(err)
	}
	t.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Open{Open: open}})
	for _, e := range restore {
		for _, piece := range cutEntry(e) {
			t.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_RestorePart{RestorePart: &pluginv1.RestorePart{Entries: []*pluginv1.Entry{piece}}}})
		}
	}
	t.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Restored{Restored: &pluginv1.Restored{}}})
	go func() {
		for {
			m, err := t.control.Recv()
			t.update(func() {
				if err != nil {
					t.ctlErr = err
				} else {
					t.said = append(t.said, m)
				}
			})
			if err != nil {
				return
			}
		}
	}()
	return t
}

// open opens a task and attaches Run.
func (h *host) open(open *pluginv1.Open, restore ...*pluginv1.Entry) *hostTask {
	h.t.Helper()
	t := h.start(open, restore...)
	t.hear("Opened", func(m *pluginv1.ControlResponse) bool { return m.GetOpened() != nil })
	t.attach()
	return t
}

func (t *hostTask) attach() {
	t.h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.h.t.Cleanup(func() {
		// What is on its way when a stream is cancelled is never released.
		if len(t.heard(func(m *pluginv1.ControlResponse) bool { return m.GetClosed() != nil })) > 0 {
			t.await("end of Run", func() bool { return t.runErr != nil })
		}
		cancel()
	})
	var err error
	if t.run, err = t.h.client.Run(ctx); err != nil {
		t.h.t.Fatal(err)
	}
	t.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{Task: t.open.Task}}})
	go func() {
		for {
			var f wire.Frame
			err := t.run.RecvMsg(&f)
			var seen seenFrame
			if err == nil {
				seen, err = t.read(&f)
			}
			t.update(func() {
				if err != nil {
					t.runErr = err
				} else {
					t.frames = append(t.frames, seen)
				}
			})
			if err != nil {
				return
			}
		}
	}()
}

// received are the frames that have come so far.
func (t *hostTask) received() []seenFrame {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.frames)
}

func (t *hostTask) read(f *wire.Frame) (seenFrame, error) {
	h, err := f.Header()
	if err != nil {
		return seenFrame{}, err
	}
	if h.Kind != wire.KindBatch {
		m, err := f.Message()
		f.Free()
		return seenFrame{h: h, message: m}, err
	}
	b, err := t.h.pool.Decode(f, h)
	if err != nil {
		return seenFrame{}, err
	}
	defer b.Release()
	return seenFrame{h: h, records: recordsOf(b)}, nil
}

func recordsOf(b *wire.Batch) []record {
	var out []record
	for i := range b.Len() {
		r := record{key: string(b.Key(i)), value: string(b.Value(i)), time: b.Time(i)}
		r.split, r.ordinal = b.Origin(i)
		for name, value := range b.Headers(i).All() {
			if r.headers == nil {
				r.headers = map[string]string{}
			}
			r.headers[string(name)] = string(value)
		}
		out = append(out, r)
	}
	return out
}

func (t *hostTask) update(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	close(t.changed)
	t.changed = make(chan struct{})
}

// await waits until f, called with the lock, says so.
func (t *hostTask) await(what string, f func() bool) {
	t.h.t.Helper()
	deadline := time.After(patience)
	for {
		t.mu.Lock()
		ok, changed := f(), t.changed
		t.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.mu.Lock()
			defer t.mu.Unlock()
			t.h.t.Fatalf("task %s: no %s\ncontrol: %v (%v)\nframes: %v (%v)", t.open.Task.Node, what, t.said, t.ctlErr, t.frames, t.runErr)
		}
	}
}

// hear waits for a message on Control.
func (t *hostTask) hear(what string, f func(*pluginv1.ControlResponse) bool) (out *pluginv1.ControlResponse) {
	t.h.t.Helper()
	t.await(what, func() bool {
		for _, m := range t.said {
			if f(m) {
				out = m
				return true
			}
		}
		return false
	})
	return out
}

// heard returns the messages so far for which f says yes.
func (t *hostTask) heard(f func(*pluginv1.ControlResponse) bool) []*pluginv1.ControlResponse {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*pluginv1.ControlResponse
	for _, m := range t.said {
		if f(m) {
			out = append(out, m)
		}
	}
	return out
}

func (t *hostTask) say(m *pluginv1.ControlRequest) {
	t.sendMu.Lock()
	defer t.sendMu.Unlock()
	// A task that has ended shows it on its streams.
	_ = t.control.Send(m)
}

func (t *hostTask) frame(m *pluginv1.Frame) {
	t.h.t.Helper()
	f, err := wire.FrameOf(m)
	if err != nil {
		t.h.t.Fatal(err)
	}
	_ = t.run.SendMsg(&f)
}

// feed sends a batch of these values to port 0.
func (t *hostTask) feed(values ...string) { t.feedBatch(0, t.batch(values...)) }

func (t *hostTask) batch(values ...string) *wire.Batch {
	w := t.h.pool.NewBuilder(1 << 20)
	for i, v := range values {
		w.Append(nil, []byte(v), wire.NoTime, nil, "s", int64(i))
	}
	return w.Freeze()
}

func (t *hostTask) feedBatch(port uint32, b *wire.Batch) {
	f := wire.Encode(0, port, 0, b)
	b.Release()
	_ = t.run.SendMsg(&f)
}

func (t *hostTask) barrier(n uint64, flags ...func(*pluginv1.Barrier)) {
	b := &pluginv1.Barrier{Checkpoint: n}
	for _, f := range flags {
		f(b)
	}
	t.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: b}})
}

func atEnd(b *pluginv1.Barrier)   { b.End = true }
func halting(b *pluginv1.Barrier) { b.Halt = true }
func rolling(b *pluginv1.Barrier) { b.Roll = true }

func (t *hostTask) watermark(w int64) {
	t.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: w}}})
}

func (t *hostTask) completed(n uint64) {
	t.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Completed{Completed: &pluginv1.Completed{Checkpoint: n}}})
}

func (t *hostTask) assign(splits ...*pluginv1.Split) {
	t.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Assign{Assign: &pluginv1.Assign{Splits: splits}}})
}

func (t *hostTask) noMoreSplits() {
	t.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_NoMoreSplits{NoMoreSplits: &pluginv1.NoMoreSplits{}}})
}

// passed waits until barrier n has come back.
func (t *hostTask) passed(n uint64) {
	t.h.t.Helper()
	t.await(fmt.Sprintf("barrier %d", n), func() bool {
		for _, f := range t.frames {
			if f.message.GetBarrier().GetCheckpoint() == n {
				return true
			}
		}
		return false
	})
}

// snapshot waits for checkpoint n's parts and returns the whole entries.
func (t *hostTask) snapshot(n uint64) []*pluginv1.Entry {
	t.h.t.Helper()
	done := t.hear(fmt.Sprintf("SnapshotDone %d", n), func(m *pluginv1.ControlResponse) bool { return m.GetSnapshotDone().GetCheckpoint() == n })
	if err := done.GetSnapshotDone().GetError(); err != nil {
		t.h.t.Fatalf("snapshot %d: %v", n, err)
	}
	var j joiner
	for _, m := range t.heard(func(m *pluginv1.ControlResponse) bool { return m.GetSnapshotPart().GetCheckpoint() == n }) {
		if err := j.add(m.GetSnapshotPart().GetEntries()...); err != nil {
			t.h.t.Fatal(err)
		}
	}
	entries, err := j.end()
	if err != nil {
		t.h.t.Fatal(err)
	}
	return entries
}

// failed waits for Failed.
func (t *hostTask) failed() *pluginv1.Error {
	t.h.t.Helper()
	return t.hear("Failed", func(m *pluginv1.ControlResponse) bool { return m.GetFailed() != nil }).GetFailed().GetError()
}

// close closes the task and waits for its answer.
func (t *hostTask) close() {
	t.h.t.Helper()
	t.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Close{Close: &pluginv1.Close{}}})
	t.ended()
}

// ended waits for Closed.
func (t *hostTask) ended() {
	t.h.t.Helper()
	t.hear("Closed", func(m *pluginv1.ControlResponse) bool { return m.GetClosed() != nil })
}

// on returns the records that left by an output of a member, in order.
func (t *hostTask) on(component, port uint32) []record {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []record
	for _, f := range t.frames {
		if f.h.Component == component && f.h.Port == port {
			out = append(out, f.records...)
		}
	}
	return out
}

// values waits for n records of an output of the head and returns their values.
func (t *hostTask) values(n int, ports ...uint32) []string {
	t.h.t.Helper()
	port := uint32(0)
	if len(ports) > 0 {
		port = ports[0]
	}
	t.await(fmt.Sprintf("%d records", n), func() bool {
		have := 0
		for _, f := range t.frames {
			if f.h.Port == port {
				have += len(f.records)
			}
		}
		return have >= n
	})
	var out []string
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.frames {
		if f.h.Port == port {
			for _, r := range f.records {
				out = append(out, r.value)
			}
		}
	}
	return out
}

// shape is the order of what the task sent, batches as their values.
func (t *hostTask) shape() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, f := range t.frames {
		var s string
		switch {
		case f.message == nil:
			var values []string
			for _, r := range f.records {
				values = append(values, r.value)
			}
			s = strings.Join(values, ",")
		case f.message.GetBarrier() != nil:
			s = fmt.Sprintf("barrier(%d)", f.message.GetBarrier().GetCheckpoint())
		case f.message.GetWatermark() != nil:
			s = fmt.Sprintf("watermark(%d)", f.message.GetWatermark().GetTime())
		case f.message.GetSplitOpened() != nil:
			s = fmt.Sprintf("opened(%s)", f.message.GetSplitOpened().GetId())
		case f.message.GetSplitEnded() != nil:
			s = fmt.Sprintf("ended(%s)", f.message.GetSplitEnded().GetId())
		case f.message.GetAssign() != nil:
			var ids []string
			for _, s := range f.message.GetAssign().GetSplits() {
				ids = append(ids, s.GetId())
			}
			s = fmt.Sprintf("assign[%d](%s)", f.h.Target-1, strings.Join(ids, ","))
		case f.message.GetNoMoreSplits() != nil:
			s = fmt.Sprintf("no-more[%d]", f.h.Target-1)
		case f.message.GetIdle() != nil:
			s = "idle"
		}
		if f.h.Component != 0 || f.h.Port != 0 {
			s = fmt.Sprintf("%d.%d:%s", f.h.Component, f.h.Port, s)
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

var errTest = errors.New("it broke")
