package task_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// plugin is the other side: what it does on Control and on Run stands in the test.
type plugin struct {
	pluginv1.UnimplementedPluginServer
	t *testing.T
	// control is called when the task is restored and has been answered Opened;
	// its return ends the stream. Without it the stream lasts until Close.
	control func(p *plugin) error
	run     func(p *plugin, s pluginv1.Plugin_RunServer) error
	// silent: nothing is answered to Open, or to Close.
	silentOpen, silentClose bool

	mu       sync.Mutex
	stream   pluginv1.Plugin_ControlServer
	requests []*pluginv1.ControlRequest
	closing  chan struct{}
	once     sync.Once
	barrier  chan struct{} // one for each that came, where Run is not the test's
}

func (p *plugin) Control(s pluginv1.Plugin_ControlServer) error {
	p.mu.Lock()
	p.stream = s
	p.mu.Unlock()
	ended := make(chan error, 1)
	defer p.close()
	for {
		received := make(chan error, 1)
		var r *pluginv1.ControlRequest
		go func() {
			var err error
			r, err = s.Recv()
			received <- err
		}()
		select {
		case err := <-ended:
			return err
		case err := <-received:
			if err != nil {
				return err
			}
		}
		p.mu.Lock()
		p.requests = append(p.requests, r)
		p.mu.Unlock()
		switch r.Kind.(type) {
		case *pluginv1.ControlRequest_Restored:
			if p.silentOpen {
				continue
			}
			p.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Opened{Opened: &pluginv1.Opened{}}})
			if p.control != nil {
				go func() { ended <- p.control(p) }()
			}
		case *pluginv1.ControlRequest_Close:
			p.close()
			if p.silentClose {
				continue
			}
			p.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Closed{Closed: &pluginv1.Closed{}}})
			return nil
		}
	}
}

// close says that the task is told to close, or gone.
func (p *plugin) close() { p.once.Do(func() { close(p.closing) }) }

func (p *plugin) say(r *pluginv1.ControlResponse) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.stream.Send(r)
}

func (p *plugin) heard() []*pluginv1.ControlRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

func (p *plugin) Run(s pluginv1.Plugin_RunServer) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	if first.GetAttach().GetTask().GetNode() != "mid" {
		return fmt.Errorf("the first frame is %v", first)
	}
	if p.run != nil {
		return p.run(p, s)
	}
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		if m.GetBarrier() != nil {
			p.barrier <- struct{}{}
		}
	}
}

// input is a queue that the test fills.
type input struct{ frames chan wire.Frame }

func (in *input) Next(ctx context.Context) (wire.Frame, wire.Kind, error) {
	select {
	case f := <-in.frames:
		h, err := f.Header()
		return f, h.Kind, err
	case <-ctx.Done():
		return wire.Frame{}, 0, ctx.Err()
	}
}

func (in *input) push(t *testing.T, m *pluginv1.Frame) {
	t.Helper()
	f, err := wire.FrameOf(m)
	if err != nil {
		t.Fatal(err)
	}
	in.frames <- f
}

// output keeps what the plugin sent.
type output struct {
	gathers bool
	err     error

	mu      sync.Mutex
	kinds   []wire.Kind
	settled int
}

func (o *output) Route(_ context.Context, f wire.Frame, h wire.Header) error {
	f.Free()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kinds = append(o.kinds, h.Kind)
	return o.err
}

func (o *output) Gathers() bool { return o.gathers }

func (o *output) Settle(context.Context) (time.Duration, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.settled++
	return time.Millisecond, nil
}

func (o *output) got() []wire.Kind {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.kinds)
}

// observer keeps what the task said.
type observer struct {
	mu        sync.Mutex
	snapshots []task.Snapshot
	said      []string
}

func (o *observer) note(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said = append(o.said, fmt.Sprintf(format, args...))
}

func (o *observer) Snapshot(_ task.ID, s task.Snapshot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.snapshots = append(o.snapshots, s)
}

func (o *observer) SplitRequest(id task.ID, r *pluginv1.SplitRequest) {
	o.note("%s: reader %d wants %d", id, r.Reader, r.Want)
}
func (o *observer) AwaitingCommits(id task.ID, waiting bool) {
	o.note("%s: awaiting commits: %v", id, waiting)
}
func (o *observer) Tapped(id task.ID, s *pluginv1.Tapped) {
	o.note("%s: %d records tapped, %d dropped", id, s.GetSample().GetBatch().GetRecords(), s.GetDropped())
}
func (o *observer) Exhausted(id task.ID) { o.note("%s: exhausted", id) }
func (o *observer) Changed(id task.ID, after uint64) {
	o.note("%s: changed after %d", id, after)
}
func (o *observer) Report(id task.ID, r *pluginv1.Report) { o.note("%s: %v", id, r.Busy.AsDuration()) }

func (o *observer) got() ([]task.Snapshot, []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.snapshots), slices.Clone(o.said)
}

// bench is a task and all that it touches.
type bench struct {
	t        *testing.T
	plugin   *plugin
	input    *input
	output   *output
	observer *observer
	log      *strings.Builder
	config   task.Config
	task     *task.Task
}

// newBench is an operator's, until the test changes it.
func newBench(t *testing.T) *bench {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	b := &bench{
		t: t, plugin: &plugin{t: t, closing: make(chan struct{}), barrier: make(chan struct{}, 9)}, input: &input{frames: make(chan wire.Frame, 100)},
		output: &output{}, observer: &observer{}, log: &strings.Builder{},
	}
	b.config = task.Config{
		ID: task.ID{Node: "mid", Index: 2}, Plugin: "acme",
		Open: &pluginv1.Open{
			Task: &pluginv1.TaskRef{Uid: "u", Epoch: 7, Node: "mid", Index: 2}, Parallelism: 3,
			Chain: []*pluginv1.Member{
				{Node: "mid", Inputs: []*pluginv1.Inlet{{Port: "in"}}, Outputs: []*pluginv1.Outlet{{Output: "out"}, {Output: "errors"}}},
				{Node: "tail", Inputs: []*pluginv1.Inlet{{Port: "in"}}},
			},
		},
		Input: b.input, Output: b.output, Observer: b.observer,
		Log:     slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Members: []string{"mid", "tail"}, MaxFrame: 1 << 20, OpenTimeout: 10 * time.Second,
	}
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	return b
}

// open opens the task and lets data flow. It is closed when the test ends.
func (b *bench) open() {
	b.t.Helper()
	b.start()
	if err := b.task.Opened(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	if err := b.task.Run(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) start() {
	b.t.Helper()
	lis := bufconn.Listen(1 << 20)
	server := grpc.NewServer(wire.ServerOptions()...)
	pluginv1.RegisterPluginServer(server, b.plugin)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(lis)
	}()
	conn, err := grpc.NewClient("passthrough:///fake", append(wire.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return lis.Dial() }))...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.config.Client = pluginv1.NewPluginClient(conn)
	if b.task, err = task.Start(b.config); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		b.task.Close(ctx)
		server.Stop()
		_ = conn.Close()
		<-served
	})
}

// fails waits for the task's failure.
func (b *bench) fails() *task.Error {
	b.t.Helper()
	select {
	case <-b.task.Failing():
	case <-time.After(20 * time.Second):
		b.t.Fatal("the task has not failed")
	}
	var e *task.Error
	if !errors.As(b.task.Err(), &e) {
		b.t.Fatalf("%v", b.task.Err())
	}
	return e
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func barrier(n uint64) *pluginv1.Frame {
	return &pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: &pluginv1.Barrier{Checkpoint: n}}}
}

func done(n uint64) *pluginv1.ControlResponse {
	return &pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SnapshotDone{SnapshotDone: &pluginv1.SnapshotDone{Checkpoint: n}}}
}

func part(n uint64, entries ...*pluginv1.Entry) *pluginv1.ControlResponse {
	return &pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SnapshotPart{SnapshotPart: &pluginv1.SnapshotPart{Checkpoint: n, Entries: entries}}}
}

func list(id, payload string, more bool) *pluginv1.Entry {
	return &pluginv1.Entry{Kind: pluginv1.Entry_KIND_LIST, Id: id, More: more, Content: &pluginv1.Entry_Payload{Payload: []byte(payload)}}
}

// batch is a frame with records for an output.
func batch(component, port uint32) *pluginv1.Frame {
	return &pluginv1.Frame{Component: component, Port: port, Kind: &pluginv1.Frame_Batch{Batch: &pluginv1.Batch{Records: 1, Payload: &pluginv1.Batch_Inline{Inline: []byte{}}}}}
}

func TestFramesPassBothWaysInOrder(t *testing.T) {
	b := newBench(t)
	b.plugin.run = func(_ *plugin, s pluginv1.Plugin_RunServer) error {
		for {
			m, err := s.Recv()
			if err != nil {
				return err
			}
			if err := s.Send(m); err != nil {
				return err
			}
		}
	}
	b.open()
	mark := &pluginv1.Frame{Kind: &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: 5}}}
	for _, m := range []*pluginv1.Frame{batch(0, 0), mark, barrier(1), batch(0, 0), barrier(2)} {
		b.input.push(t, m)
	}
	want := []wire.Kind{wire.KindBatch, wire.KindWatermark, wire.KindBarrier, wire.KindBatch, wire.KindBarrier}
	eventually(t, "all come back", func() bool { return slices.Equal(b.output.got(), want) })
}

// TestWhatAGatheringEdgeKeepsBackIsSettledWhenNothingComes.
func TestWhatAGatheringEdgeKeepsBackIsSettledWhenNothingComes(t *testing.T) {
	b := newBench(t)
	b.output.gathers = true
	b.plugin.run = func(_ *plugin, s pluginv1.Plugin_RunServer) error {
		_ = s.Send(batch(0, 0))
		<-s.Context().Done()
		return nil
	}
	b.open()
	eventually(t, "settled again and again", func() bool {
		b.output.mu.Lock()
		defer b.output.mu.Unlock()
		return len(b.output.kinds) == 1 && b.output.settled > 3
	})
}

func TestSnapshotPartsAreJoined(t *testing.T) {
	b := newBench(t)
	b.plugin.control = func(p *plugin) error {
		<-p.barrier
		p.say(part(4, list("a", "one ", true)))
		p.say(part(4, list("a", "two ", true), list("a", "three", false), list("b", "x", false)))
		last := list("c", "y", false)
		last.Component = 1
		p.say(part(4, last))
		p.say(done(4))
		<-p.closing
		return nil
	}
	b.open()
	b.input.push(t, barrier(4))
	eventually(t, "the snapshot", func() bool { s, _ := b.observer.got(); return len(s) == 1 })
	got, _ := b.observer.got()
	var text []string
	for _, e := range got[0].Entries {
		text = append(text, fmt.Sprintf("%d %s %s %v", e.Component, e.Id, e.GetPayload(), e.More))
	}
	if want := []string{"0 a one two three false", "0 b x false", "1 c y false"}; got[0].Checkpoint != 4 || !slices.Equal(text, want) {
		t.Errorf("checkpoint %d, %q", got[0].Checkpoint, text)
	}
}

// TestASnapshotThatFailedFailsOnlyItsCheckpoint.
func TestASnapshotThatFailedFailsOnlyItsCheckpoint(t *testing.T) {
	b := newBench(t)
	b.plugin.control = func(p *plugin) error {
		<-p.barrier
		failed := done(4)
		failed.GetSnapshotDone().Error = &pluginv1.Error{Message: "no room", Component: 1}
		p.say(failed)
		<-p.closing
		return nil
	}
	b.open()
	b.input.push(t, barrier(4))
	eventually(t, "the snapshot", func() bool { s, _ := b.observer.got(); return len(s) == 1 })
	got, _ := b.observer.got()
	if err := got[0].Err; err == nil || !strings.Contains(err.Error(), "node tail (task mid[2], plugin acme): no room") {
		t.Errorf("%v", err)
	}
	if err := b.task.Err(); err != nil {
		t.Errorf("the task failed: %v", err)
	}
}

func TestRestoredStateIsSentInPartsAndEnded(t *testing.T) {
	b := newBench(t)
	big := strings.Repeat("0123456789", 330<<10)
	b.config.Restore = []*pluginv1.Entry{list("small", "x", false), list("big", big, false), list("after", "y", false)}
	b.open()
	var whole strings.Builder
	var ids []string
	for i, r := range b.plugin.heard() {
		switch k := r.Kind.(type) {
		case *pluginv1.ControlRequest_Open:
			if i != 0 {
				t.Errorf("Open is message %d", i)
			}
		case *pluginv1.ControlRequest_RestorePart:
			for _, e := range k.RestorePart.Entries {
				if len(ids) == 0 || ids[len(ids)-1] != e.Id {
					ids = append(ids, e.Id)
				}
				if e.Id == "big" {
					whole.Write(e.GetPayload())
				}
				if size := len(e.GetPayload()); size > 1<<20 {
					t.Errorf("a part of %d bytes", size)
				}
			}
		case *pluginv1.ControlRequest_Restored:
			if i != len(b.plugin.heard())-1 {
				t.Errorf("Restored is message %d of %d", i, len(b.plugin.heard()))
			}
		}
	}
	if whole.String() != big || !slices.Equal(ids, []string{"small", "big", "after"}) {
		t.Errorf("%d bytes, %q", whole.Len(), ids)
	}
}

func TestATaskThatIsNotReadyInTimeFails(t *testing.T) {
	b := newBench(t)
	b.plugin.silentOpen = true
	b.config.OpenTimeout = 20 * time.Millisecond
	b.start()
	err := b.task.Opened(t.Context())
	if err == nil || !strings.Contains(err.Error(), "task mid[2] (plugin acme): not ready 20ms after it was opened") {
		t.Errorf("%v", err)
	}
}

// TestAFailureSaysWhereAndOfWhatClass.
func TestAFailureSaysWhereAndOfWhatClass(t *testing.T) {
	b := newBench(t)
	b.plugin.control = func(p *plugin) error {
		p.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Failed{Failed: &pluginv1.Failed{Error: &pluginv1.Error{
			Class: pluginv1.Error_CLASS_FATAL, Message: "wrong password", Component: 1, Code: "auth", RetryAfter: durationpb.New(time.Minute),
		}}}})
		<-p.closing
		return nil
	}
	b.open()
	e := b.fails()
	if e.Node != "tail" || e.Plugin != "acme" || e.Code != "auth" || e.RetryAfter != time.Minute || !task.Fatal(e) || e.Transport() {
		t.Errorf("%+v", e)
	}
	if want := "node tail (task mid[2], plugin acme): wrong password"; e.Error() != want {
		t.Errorf("%q, want %q", e, want)
	}
}

// TestTheReasonOnControlGoesBeforeTheEndOfTheData: a plugin that fails ends both
// streams, in whatever order.
func TestTheReasonOnControlGoesBeforeTheEndOfTheData(t *testing.T) {
	b := newBench(t)
	ended := make(chan struct{})
	b.plugin.run = func(*plugin, pluginv1.Plugin_RunServer) error {
		close(ended)
		return errors.New("torn")
	}
	b.plugin.control = func(p *plugin) error {
		<-ended
		time.Sleep(50 * time.Millisecond)
		p.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Failed{Failed: &pluginv1.Failed{Error: &pluginv1.Error{Message: "out of luck"}}}})
		<-p.closing
		return nil
	}
	b.open()
	if e := b.fails(); !strings.Contains(e.Error(), "out of luck") {
		t.Errorf("%v", e)
	}
}

// TestClose: it answers, does not answer, or closes by itself.
func TestCloseSaysWhetherThePluginHasAnswered(t *testing.T) {
	for _, silent := range []bool{false, true} {
		b := newBench(t)
		b.plugin.silentClose = silent
		b.open()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if answered := b.task.Close(ctx); answered == silent {
			t.Errorf("silent %v, answered %v", silent, answered)
		}
		cancel()
		if err := b.task.Err(); err != nil {
			t.Errorf("closing failed the task: %v", err)
		}
	}
}

// TestWhatAPluginMayNotSay: each fails the task, naming it.
func TestWhatAPluginMayNotSay(t *testing.T) {
	type say = func(p *plugin) error
	frames := func(fs ...*pluginv1.Frame) func(*plugin, pluginv1.Plugin_RunServer) error {
		return func(_ *plugin, s pluginv1.Plugin_RunServer) error {
			// Behind the barrier that the test sends.
			if _, err := s.Recv(); err != nil {
				return err
			}
			for _, f := range fs {
				_ = s.Send(f)
			}
			<-s.Context().Done()
			return nil
		}
	}
	on := func(rs ...*pluginv1.ControlResponse) say {
		return func(p *plugin) error {
			for _, r := range rs {
				p.say(r)
			}
			<-p.closing
			return nil
		}
	}
	foreign := list("x", "y", false)
	foreign.Component = 2
	for name, c := range map[string]struct {
		run     func(*plugin, pluginv1.Plugin_RunServer) error
		control say
		role    pluginv1.Role
		sent    *pluginv1.Frame // barrier 1 unless it says otherwise
		want    string
	}{
		"opened twice":           {control: on(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Opened{Opened: &pluginv1.Opened{}}}), want: "the plugin broke the protocol: Opened twice"},
		"closed unasked":         {control: on(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Closed{Closed: &pluginv1.Closed{}}}), want: "the plugin closed the task without being asked"},
		"ends control":           {control: func(*plugin) error { return nil }, want: "the plugin ended the control stream without a word"},
		"ends control, failing":  {control: func(*plugin) error { return errors.New("torn") }, want: "control stream: rpc error: code = Unknown desc = torn"},
		"asks for splits":        {control: on(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SplitRequest{SplitRequest: &pluginv1.SplitRequest{}}}), want: "a split request from a task that reads none"},
		"is exhausted":           {control: on(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Exhausted{Exhausted: &pluginv1.Exhausted{}}}), want: "Exhausted from a task that reads no splits"},
		"snapshot of nothing":    {control: on(done(9)), want: "a snapshot of checkpoint 9, but"},
		"snapshot twice":         {control: func(p *plugin) error { <-p.barrier; return on(done(1), done(1))(p) }, want: "a snapshot of checkpoint 1, but none is awaited"},
		"snapshots mixed":        {control: on(part(1, list("a", "b", false)), part(2, list("a", "b", false))), want: "a snapshot part of checkpoint 2 among those of 1"},
		"snapshot ends another":  {control: on(part(1, list("a", "b", false)), done(2)), want: "the snapshot of checkpoint 2 ended amid that of 1"},
		"entry that stays open":  {control: on(part(1, list("a", "b", true)), done(1)), want: "ended amid that of 1"},
		"entry that is left":     {control: on(part(1, list("a", "b", true), list("z", "b", false))), want: "an entry that goes on is followed by another"},
		"entry of nobody":        {control: on(part(1, foreign)), want: "an entry of kind KIND_LIST and component 2 in a chain of 2"},
		"entry of no kind":       {control: on(part(1, &pluginv1.Entry{})), want: "an entry of kind KIND_UNSPECIFIED"},
		"part of no checkpoint":  {control: on(part(0, list("a", "b", false))), want: "a snapshot part of checkpoint 0"},
		"ends data":              {run: func(*plugin, pluginv1.Plugin_RunServer) error { return nil }, want: "the plugin ended the data stream without a word"},
		"ends data, failing":     {run: func(*plugin, pluginv1.Plugin_RunServer) error { return errors.New("torn") }, want: "data stream: rpc error: code = Unknown desc = torn"},
		"barrier of another":     {run: frames(barrier(2)), want: "barrier 2 passed on, but barrier 1 comes first"},
		"barrier twice":          {run: frames(barrier(1), barrier(1)), want: "barrier 1 passed on, but none is awaited"},
		"barrier changed":        {run: frames(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: &pluginv1.Barrier{Checkpoint: 1, End: true}}}), want: "barrier 1 was sent as"},
		"data behind a halt":     {sent: &pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: &pluginv1.Barrier{Checkpoint: 1, Halt: true}}}, run: frames(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: &pluginv1.Barrier{Checkpoint: 1, Halt: true}}}, batch(0, 0)), want: "data behind barrier 1, which halts"},
		"batch for no output":    {run: frames(batch(0, 2)), want: "a batch for output 2 of node mid, which has 2"},
		"batch of no component":  {run: frames(batch(2, 0)), want: "a frame of component 2 in a chain of 2"},
		"assignment":             {run: frames(&pluginv1.Frame{Kind: &pluginv1.Frame_Assign{Assign: &pluginv1.Assign{}}}), want: "a split assignment from a task that is no enumerator"},
		"end of assignments":     {run: frames(&pluginv1.Frame{Kind: &pluginv1.Frame_NoMoreSplits{NoMoreSplits: &pluginv1.NoMoreSplits{}}}), want: "a split assignment from a task that is no enumerator"},
		"attaches":               {run: frames(&pluginv1.Frame{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{}}}), want: "a frame of kind 4"},
		"batch of an enumerator": {role: pluginv1.Role_ROLE_ENUMERATOR, run: frames(batch(0, 0)), want: "a batch from an enumerator"},
		"garbage": {run: func(_ *plugin, s pluginv1.Plugin_RunServer) error {
			_ = s.SendMsg(&wire.Frame{Data: mem.BufferSlice{mem.SliceBuffer([]byte("no frame at all"))}})
			<-s.Context().Done()
			return nil
		}, want: "malformed frame"},
		"huge": {run: func(_ *plugin, s pluginv1.Plugin_RunServer) error {
			_ = s.Send(&pluginv1.Frame{Kind: &pluginv1.Frame_Batch{Batch: &pluginv1.Batch{Records: 1, Payload: &pluginv1.Batch_Inline{Inline: make([]byte, 2<<20)}}}})
			<-s.Context().Done()
			return nil
		}, want: "a frame of 2097164 bytes, at most 1048576 are allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.plugin.run, b.plugin.control = c.run, c.control
			b.config.ID.Role = c.role
			if c.sent == nil {
				c.sent = barrier(1)
			}
			b.input.push(t, c.sent)
			b.start()
			// What breaks the protocol at once may do so before it is seen to be open.
			if b.task.Opened(t.Context()) == nil {
				if err := b.task.Run(); err != nil {
					t.Fatal(err)
				}
			}
			e := b.fails()
			if e.Plugin != "acme" || !strings.Contains(e.Error(), c.want) || task.Fatal(e) {
				t.Errorf("%v\nwant %s", e, c.want)
			}
		})
	}
}

// TestABrokenInputFailsTheTask, as does an output that cannot be delivered.
func TestABrokenOutputFailsTheTask(t *testing.T) {
	b := newBench(t)
	b.output.err = errors.New("the edge is gone")
	b.plugin.run = func(_ *plugin, s pluginv1.Plugin_RunServer) error {
		_ = s.Send(batch(0, 0))
		<-s.Context().Done()
		return nil
	}
	b.open()
	if e := b.fails(); !strings.Contains(e.Error(), "task mid[2] (plugin acme): output: the edge is gone") {
		t.Errorf("%v", e)
	}
}

// TestWhatAReaderSaysReachesTheObserver, with the reader's own index.
func TestWhatAReaderSaysReachesTheObserver(t *testing.T) {
	b := newBench(t)
	b.config.Open.Chain = []*pluginv1.Member{{Node: "mid", Outputs: []*pluginv1.Outlet{{Output: "out"}}}}
	b.plugin.control = func(p *plugin) error {
		p.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SplitRequest{SplitRequest: &pluginv1.SplitRequest{Reader: 9, Want: 3}}})
		p.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Changed{Changed: &pluginv1.Changed{After: 5}}})
		p.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Report{Report: &pluginv1.Report{Busy: durationpb.New(time.Second)}}})
		p.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Exhausted{Exhausted: &pluginv1.Exhausted{}}})
		<-p.closing
		return nil
	}
	b.open()
	want := []string{"mid[2]: reader 2 wants 3", "mid[2]: changed after 5", "mid[2]: 1s", "mid[2]: exhausted"}
	eventually(t, "all is heard", func() bool { _, said := b.observer.got(); return slices.Equal(said, want) })
}

// TestWhatTheHostSaysReachesThePlugin in order.
func TestWhatTheHostSaysReachesThePlugin(t *testing.T) {
	b := newBench(t)
	b.open()
	b.task.Completed(3)
	b.task.Aborted(4)
	b.task.SplitRequest(&pluginv1.SplitRequest{Reader: 1})
	b.task.SetLogLevel("debug")
	var said []string
	eventually(t, "all is heard", func() bool {
		said = nil
		for _, r := range b.plugin.heard() {
			said = append(said, string(r.ProtoReflect().WhichOneof(r.ProtoReflect().Descriptor().Oneofs().ByName("kind")).Name()))
		}
		return len(said) >= 6
	})
	if want := []string{"open", "restored", "completed", "aborted", "split_request", "set_log_level"}; !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
}

// TestALeaseIsKeptByHeartbeats.
func TestALeaseIsKeptByHeartbeats(t *testing.T) {
	b := newBench(t)
	b.config.Open.Lease = durationpb.New(40 * time.Millisecond)
	b.open()
	eventually(t, "heartbeats", func() bool {
		n := 0
		for _, r := range b.plugin.heard() {
			if r.GetHeartbeat() != nil {
				n++
			}
		}
		return n >= 3
	})
}

// TestAPluginsLogIsRepeatedWithItsOwnTimeNodeAndAttributes.
func TestAPluginsLogIsRepeatedWithItsOwnTimeNodeAndAttributes(t *testing.T) {
	b := newBench(t)
	at := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	b.plugin.control = func(p *plugin) error {
		p.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Log{Log: &pluginv1.Log{Dropped: 7, Records: []*pluginv1.LogRecord{
			{TimeUnixNano: at.UnixNano(), Level: "WARN", Message: "low on luck", Component: 1, Attributes: []byte(`{"left":3,"who":"me"}`)},
			{TimeUnixNano: at.UnixNano(), Level: "DEBUG", Message: "not heard"},
			{TimeUnixNano: at.UnixNano(), Level: "odd", Message: "no level", Attributes: []byte(`not json`)},
		}}}})
		p.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Changed{Changed: &pluginv1.Changed{}}})
		<-p.closing
		return nil
	}
	b.open()
	eventually(t, "the log is taken", func() bool { _, said := b.observer.got(); return len(said) == 1 })
	log := b.log.String()
	for _, want := range []string{
		`time=` + at.Local().Format("2006-01-02T15:04:05.000Z07:00") + ` level=WARN msg="low on luck" node=tail task=2 plugin=acme left=3 who=me`,
		`level=INFO msg="no level" node=mid task=2 plugin=acme`,
		`dropped=7`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in\n%s", want, log)
		}
	}
	if strings.Contains(log, "not heard") {
		t.Error("a debug record is in the log")
	}
}
