package task

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

func opOnly(f *fakeOperator) []*Component { return []*Component{operatorNamed("op", f)} }

func openOp(h *host) *hostTask { return h.open(openOf(fed(memberOf("op", toHost("out"))))) }

func TestControlBeginsWithOpen(t *testing.T) {
	h := newHost(t, opOnly(&fakeOperator{}))
	stream, err := h.client.Control(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Restored{Restored: &pluginv1.Restored{}}}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "Restored") {
		t.Errorf("%v", err)
	}
}

// TestOpenRefusesWhatItCannotRun says why; no restart helps.
func TestOpenRefusesWhatItCannotRun(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(o *pluginv1.Open)
		says   string
	}{
		"no chain":             {func(o *pluginv1.Open) { o.Chain = nil }, "the chain is empty"},
		"another head":         {func(o *pluginv1.Open) { o.Task.Node = "other" }, `begins with node "op"`},
		"index too high":       {func(o *pluginv1.Open) { o.Task.Index = 1 }, "index 1 at parallelism 1"},
		"no parallelism":       {func(o *pluginv1.Open) { o.Parallelism = 0 }, "parallelism is 0"},
		"unknown component":    {func(o *pluginv1.Open) { o.Chain[0].Component = "nope" }, `no component "nope"`},
		"a sink in the middle": {func(o *pluginv1.Open) { o.Chain = append(o.Chain, memberOf("sink"), memberOf("op")) }, `"sink"`},
		"unknown output":       {func(o *pluginv1.Open) { o.Chain[0].Outputs = []*pluginv1.Outlet{toHost("late")} }, `no output "late"`},
		"event time":           {func(o *pluginv1.Open) { o.Chain[0].EventTime = &pluginv1.EventTime{From: "ts"} }, "event time from \"ts\""},
		"own partition":        {func(o *pluginv1.Open) { o.Chain[0].Outputs[0].Targets = 2 }, "does not partition"},
		"chained to nothing":   {func(o *pluginv1.Open) { o.Chain[0].Outputs[0].Chained = true }, "no member follows"},
		"exclusive alone":      {func(o *pluginv1.Open) { o.Chain[0].Outputs[0].Exclusive = true }, "exclusive but not chained"},
		"unknown chained port": {func(o *pluginv1.Open) {
			o.Chain[0].Outputs[0] = toNext("out")
			o.Chain[0].Outputs[0].ChainedPort = "left"
			o.Chain = append(o.Chain, fed(memberOf("sink")))
		}, `no input "left"`},
		"dead letters to nowhere": {func(o *pluginv1.Open) {
			o.Chain[0].OnFailure = &pluginv1.FailurePolicy{Action: pluginv1.FailurePolicy_ACTION_DEAD_LETTER}
		}, "errors output leads nowhere"},
		"unknown action": {func(o *pluginv1.Open) { o.Chain[0].OnFailure = &pluginv1.FailurePolicy{Action: 9} }, "action 9"},
		"no source":      {func(o *pluginv1.Open) { o.Task.Role = pluginv1.Role_ROLE_ENUMERATOR }, "is no source"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, []*Component{operatorNamed("op", &fakeOperator{}), sinkNamed("sink", &fakeSink{})})
			o := openOf(fed(memberOf("op", toHost("out"))))
			tc.change(o)
			task := h.start(o)
			if e := task.failed(); e.Class != pluginv1.Error_CLASS_FATAL || !strings.Contains(e.Message, tc.says) {
				t.Errorf("%v, want it to say %q", e, tc.says)
			}
			task.ended()
		})
	}
}

// TestARequestOutOfOrderIsAnErrorThatNamesIt covers Control; TestAFrameOutOfOrder
// covers Run.
func TestARequestOutOfOrderIsAnErrorThatNamesIt(t *testing.T) {
	entry := &pluginv1.Entry{Kind: pluginv1.Entry_KIND_LIST, Id: "x"}
	for name, r := range map[string]*pluginv1.ControlRequest{
		"a second Open":               {Kind: &pluginv1.ControlRequest_Open{Open: &pluginv1.Open{}}},
		"a second Restored":           {Kind: &pluginv1.ControlRequest_Restored{Restored: &pluginv1.Restored{}}},
		"RestorePart after Restored":  {Kind: &pluginv1.ControlRequest_RestorePart{RestorePart: &pluginv1.RestorePart{Entries: []*pluginv1.Entry{entry}}}},
		"SplitRequest to a task that": {Kind: &pluginv1.ControlRequest_SplitRequest{SplitRequest: &pluginv1.SplitRequest{}}},
		"SlotRelease, but":            {Kind: &pluginv1.ControlRequest_SlotRelease{SlotRelease: &pluginv1.SlotRelease{}}},
	} {
		t.Run(name, func(t *testing.T) {
			task := openOp(newHost(t, opOnly(&fakeOperator{})))
			task.say(r)
			if e := task.failed(); e.Code != "protocol" || !strings.Contains(e.Message, name) {
				t.Errorf("%v", e)
			}
			task.ended()
		})
	}
}

func TestAFrameOutOfOrderIsAnErrorThatNamesIt(t *testing.T) {
	watermark := &pluginv1.Frame{Kind: &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: 1}}}
	for name, tc := range map[string]struct {
		source bool
		send   func(task *hostTask)
		says   string
	}{
		"a batch to a source":     {true, func(task *hostTask) { task.feed("x") }, "Batch"},
		"a watermark to a source": {true, func(task *hostTask) { task.frame(watermark) }, "Watermark"},
		"splits to an operator":   {false, func(task *hostTask) { task.assign() }, "Assign"},
		"no more splits":          {false, func(task *hostTask) { task.noMoreSplits() }, "NoMoreSplits"},
		"a second attach": {false, func(task *hostTask) {
			task.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{}}})
		}, "Attach"},
		"a batch for another port": {false, func(task *hostTask) { task.feedBatch(1, task.batch("x")) }, "Batch for input 1"},
		"another component":        {false, func(task *hostTask) { task.frame(&pluginv1.Frame{Component: 1, Kind: watermark.Kind}) }, "component 1"},
		"a reader's frame": {true, func(task *hostTask) {
			task.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_SplitEnded{SplitEnded: &pluginv1.SplitEnded{}}})
		}, "SplitEnded"},
		"a barrier again":             {false, func(task *hostTask) { task.barrier(2); task.barrier(2) }, "Barrier of checkpoint 2 after that of 2"},
		"a barrier of 0":              {false, func(task *hostTask) { task.barrier(0) }, "Barrier of checkpoint 0"},
		"a batch after the end":       {false, func(task *hostTask) { task.barrier(1, atEnd); task.feed("x") }, "Batch after the end"},
		"input that has ended begins": {false, func(task *hostTask) { task.barrier(1, atEnd); task.barrier(2) }, "without the end"},
		"a batch after halt":          {false, func(task *hostTask) { task.barrier(1, halting); task.feed("x") }, "Batch after a barrier with halt"},
		"a barrier after halt":        {false, func(task *hostTask) { task.barrier(1, halting); task.barrier(2) }, "Barrier after a barrier with halt"},
		"splits after the last":       {true, func(task *hostTask) { task.noMoreSplits(); task.assign(&pluginv1.Split{Id: "a"}) }, "Assign after NoMoreSplits"},
		"a split twice":               {true, func(task *hostTask) { task.assign(&pluginv1.Split{Id: "a"}, &pluginv1.Split{Id: "a"}) }, `"a" is held already`},
		"the end amid a split":        {true, func(task *hostTask) { task.assign(&pluginv1.Split{Id: "a"}); task.barrier(1, atEnd) }, "1 splits are held"},
		"no frame at all": {false, func(task *hostTask) {
			f := wire.Frame{Data: nil}
			_ = task.run.SendMsg(&f)
		}, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			source := &fakeSource{read: func(ctx context.Context, _ *fakeReader, _ *Output) (any, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			h := newHost(t, []*Component{operatorNamed("op", &fakeOperator{}), sourceNamed("source", source)})
			m := fed(memberOf("op", toHost("out")))
			if tc.source {
				m = memberOf("source", toHost("out"))
			}
			task := h.open(openOf(m))
			tc.send(task)
			if e := task.failed(); e.Code != "protocol" || !strings.Contains(e.Message, tc.says) {
				t.Errorf("%v, want it to say %q", e, tc.says)
			}
			task.ended()
		})
	}
}

func TestRunNamesATaskThatIsOpenAndHasNoRunYet(t *testing.T) {
	h := newHost(t, opOnly(&fakeOperator{}))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	attach := func(m *pluginv1.Frame) error {
		run, err := h.client.Run(ctx)
		if err != nil {
			t.Fatal(err)
		}
		f, err := wire.FrameOf(m)
		if err != nil {
			t.Fatal(err)
		}
		_ = run.SendMsg(&f)
		var in wire.Frame
		return run.RecvMsg(&in)
	}
	ref := openOf(memberOf("op")).Task
	if err := attach(&pluginv1.Frame{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{Task: ref}}}); status.Code(err) != codes.NotFound {
		t.Errorf("no such task: %v", err)
	}
	if err := attach(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: &pluginv1.Barrier{}}}); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "Barrier") {
		t.Errorf("a barrier first: %v", err)
	}
	task := openOp(h)
	task.feed("attached")
	task.values(1)
	if err := attach(&pluginv1.Frame{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{Task: ref}}}); status.Code(err) != codes.AlreadyExists {
		t.Errorf("a second Run: %v", err)
	}
	task.close()
}

func TestNoTwoLiveTasksShareAReference(t *testing.T) {
	h := newHost(t, opOnly(&fakeOperator{}))
	first := openOp(h)
	second := h.start(first.open)
	second.await("an error", func() bool { return second.ctlErr != nil })
	if status.Code(second.ctlErr) != codes.AlreadyExists {
		t.Errorf("%v", second.ctlErr)
	}
	first.close()
	eventually(t, "the reference is free", func() bool { return h.server.find(first.open.Task) == nil })
	openOp(h).close()
}

// TestWhateverEndsATaskClosesItsComponents ends a task in each way while a call is
// on, and sees the call's context end and the component closed.
func TestWhateverEndsATaskClosesItsComponents(t *testing.T) {
	for name, end := range map[string]func(task *hostTask){
		"Close":                  func(task *hostTask) { task.close() },
		"the control stream":     func(task *hostTask) { task.cancel() },
		"control is half closed": func(task *hostTask) { _ = task.control.CloseSend() },
		"the data stream":        func(task *hostTask) { _ = task.run.CloseSend() },
		"the lease": func(task *hostTask) {
			task.hear("the word of it", func(m *pluginv1.ControlResponse) bool {
				for _, r := range m.GetLog().GetRecords() {
					if strings.Contains(r.Message, "silent for the lease") {
						return true
					}
				}
				return false
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			entered, closed := make(chan struct{}), make(chan struct{})
			f := &fakeOperator{
				process: func(ctx context.Context, _ int, _ *wire.Batch, _ *Output) error {
					close(entered)
					<-ctx.Done()
					return ctx.Err()
				},
				closed: func() error { close(closed); return nil },
			}
			h := newHost(t, opOnly(f))
			o := openOf(fed(memberOf("op", toHost("out"))))
			if name == "the lease" {
				o.Lease = durationpb.New(50 * time.Millisecond)
			}
			task := h.open(o)
			task.feed("x")
			<-entered
			end(task)
			<-closed
			eventually(t, "the task is forgotten", func() bool { return h.server.find(o.Task) == nil })
			if n := len(task.heard(func(m *pluginv1.ControlResponse) bool { return m.GetFailed() != nil })); n > 0 {
				t.Errorf("it was called a failure: %v", task.failed())
			}
		})
	}
}

func TestHeartbeatsKeepTheLease(t *testing.T) {
	h := newHost(t, opOnly(&fakeOperator{}))
	o := openOf(fed(memberOf("op", toHost("out"))))
	o.Lease = durationpb.New(time.Second) // long, so that a busy machine does not stand still for one
	task := h.open(o)
	for range 44 {
		time.Sleep(50 * time.Millisecond)
		task.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Heartbeat{Heartbeat: &pluginv1.Heartbeat{}}})
	}
	task.feed("still here")
	task.values(1)
	task.close()
}

// TestAComponentThatIgnoresItsContextHangsNoServer ends the stream with an error
// when a call does not return; other tasks go on.
func TestAComponentThatIgnoresItsContextHangsNoServer(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	stuck := &fakeOperator{process: func(context.Context, int, *wire.Batch, *Output) error { close(entered); <-leave; return nil }}
	h := newHost(t, []*Component{operatorNamed("stuck", stuck), operatorNamed("op", &fakeOperator{})},
		func(o *Options) { o.CloseTimeout = 50 * time.Millisecond })
	task := h.open(openOf(fed(memberOf("stuck", toHost("out")))))
	task.feed("x")
	<-entered
	task.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Close{Close: &pluginv1.Close{}}})
	task.await("an error", func() bool { return task.ctlErr != nil })
	if status.Code(task.ctlErr) != codes.DeadlineExceeded {
		t.Errorf("%v", task.ctlErr)
	}
	if n := len(task.heard(func(m *pluginv1.ControlResponse) bool { return m.GetClosed() != nil })); n > 0 {
		t.Error("it answered Closed although the component is still there")
	}
	other := openOp(h)
	other.feed("fine")
	other.values(1)
	other.close()
	close(leave)
	eventually(t, "the task is forgotten", func() bool { return h.server.find(task.open.Task) == nil })
}

func TestAnOpenThatFailsTellsTheClassAndTheMember(t *testing.T) {
	c := sinkNamed("sink", nil)
	c.OpenSink = func(context.Context, []byte, *Env) (Sink, error) {
		return nil, &FatalError{errors.New("wrong password")}
	}
	closed := make(chan struct{})
	h := newHost(t, []*Component{operatorNamed("op", &fakeOperator{closed: func() error { close(closed); return nil }}), c})
	task := h.start(openOf(fed(memberOf("op", toNext("out"))), fed(memberOf("sink"))))
	e := task.failed()
	if e.Class != pluginv1.Error_CLASS_FATAL || e.Component != 1 || !strings.Contains(e.Message, `open of component "sink": wrong password`) {
		t.Errorf("%v", e)
	}
	task.ended()
	task.await("the end", func() bool { return errors.Is(task.ctlErr, io.EOF) })
	select {
	case <-closed:
		t.Error("a member that was never opened was closed")
	default:
	}
}

func TestComponentsLearnWhoTheyAre(t *testing.T) {
	sink := &fakeSink{}
	h := newHost(t, []*Component{sinkNamed("sink", sink)})
	o := openOf(fed(memberOf("sink")))
	o.Task.Epoch, o.Parallelism, o.Task.Index, o.RestoredCheckpoint = 4, 3, 2, 17
	o.Chain[0].Guarantee = pluginv1.Guarantee_GUARANTEE_EXACTLY_ONCE
	o.Chain[0].SecretPaths = []string{"password"}
	task := h.open(o,
		&pluginv1.Entry{Kind: pluginv1.Entry_KIND_WRITER, Id: "w", Content: payload([]byte("half a file"))},
		&pluginv1.Entry{Kind: pluginv1.Entry_KIND_LIST, Id: "l", Content: payload(make([]byte, 3<<20))})
	env := sink.env
	if env.Owner.Node != "sink" || env.Owner.Epoch != 4 || env.Owner.Uid != "u1" || env.Index != 2 || env.Parallelism != 3 ||
		env.RestoredCheckpoint != 17 || env.Guarantee != pluginv1.Guarantee_GUARANTEE_EXACTLY_ONCE ||
		len(env.Inputs) != 1 || env.Inputs[0] != "in" || len(env.SecretPaths) != 1 {
		t.Errorf("%+v", env)
	}
	if len(env.Restored) != 2 || string(env.Restored[0].GetPayload()) != "half a file" || len(env.Restored[1].GetPayload()) != 3<<20 || env.Restored[1].More {
		t.Error("the restored entries are not whole")
	}
	task.close()
}

func TestRestoredEntriesGoWhereTheyBelongOrNowhere(t *testing.T) {
	for name, e := range map[string]*pluginv1.Entry{
		"a committable":        {Kind: pluginv1.Entry_KIND_COMMITTABLE, Id: "c"},
		"a split to no source": {Kind: pluginv1.Entry_KIND_SPLIT, Id: "s"},
		"another member":       {Kind: pluginv1.Entry_KIND_LIST, Id: "l", Component: 1},
		"a foreign key group":  {Kind: pluginv1.Entry_KIND_KEY_GROUP, Id: "k", KeyGroup: 9},
		"a reference":          {Kind: pluginv1.Entry_KIND_LIST, Content: &pluginv1.Entry_SameAs{SameAs: &pluginv1.EntryRef{Checkpoint: 1}}},
		"no kind":              {Id: "x"},
		"one that goes on":     {Kind: pluginv1.Entry_KIND_LIST, Id: "l", More: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, opOnly(&fakeOperator{}))
			o := openOf(fed(memberOf("op", toHost("out"))))
			o.Chain[0].KeyGroups = &pluginv1.KeyGroups{First: 0, Last: 8}
			task := h.start(o, e)
			if e := task.failed(); e.Code != "protocol" {
				t.Errorf("%v", e)
			}
			task.ended()
		})
	}
}

func TestLogRecordsReachTheHostWithTheirAttributes(t *testing.T) {
	f := &fakeOperator{}
	f.process = func(context.Context, int, *wire.Batch, *Output) error {
		f.env.Log.With("table", "users").WithGroup("row").Warn("odd", "id", 7, "level", "deep")
		f.env.Log.Debug("hidden")
		return nil
	}
	h := newHost(t, opOnly(f))
	o := openOf(fed(memberOf("op", toHost("out"))))
	o.LogLevel = "info"
	task := h.open(o)
	record := func(message string) *pluginv1.LogRecord {
		var out *pluginv1.LogRecord
		task.hear("log record "+message, func(m *pluginv1.ControlResponse) bool {
			for _, r := range m.GetLog().GetRecords() {
				if r.Message == message {
					out = r
					return true
				}
			}
			return false
		})
		return out
	}
	task.feed("x")
	r := record("odd")
	var attrs map[string]any
	if err := json.Unmarshal(r.Attributes, &attrs); err != nil {
		t.Fatalf("%s: %v", r.Attributes, err)
	}
	row, _ := attrs["row"].(map[string]any)
	if r.Level != "warn" || r.TimeUnixNano == 0 || attrs["table"] != "users" || row["id"] != 7.0 || row["level"] != "deep" || len(attrs) != 2 {
		t.Errorf("%v %s", r.Level, r.Attributes)
	}
	task.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_SetLogLevel{SetLogLevel: &pluginv1.SetLogLevel{Level: "debug"}}})
	// The level holds from some moment on.
	deadline := time.Now().Add(patience)
	for len(task.heard(func(m *pluginv1.ControlResponse) bool {
		for _, r := range m.GetLog().GetRecords() {
			if r.Message == "hidden" {
				return true
			}
		}
		return false
	})) == 0 && time.Now().Before(deadline) {
		task.feed("x")
		time.Sleep(time.Millisecond)
	}
	record("hidden")
	task.close()
}

func TestTooManyLogRecordsAreDroppedAndCounted(t *testing.T) {
	out := newOutbox()
	log := newLogger(out, new(slog.LevelVar), 0)
	for range maxLogs + 50 {
		log.Info("again")
	}
	var records int
	var dropped uint64
	err := out.drain(t.Context(), func(m *pluginv1.ControlResponse) error {
		records += len(m.GetLog().GetRecords())
		dropped += m.GetLog().GetDropped()
		return nil
	})
	if err != nil || records != maxLogs || dropped != 50 {
		t.Errorf("%d records, %d dropped, %v", records, dropped, err)
	}
}

func TestControlIsHeardWhileDataIsBlocked(t *testing.T) {
	source := &fakeSource{counts: map[string]int{"a": 1 << 30}, perRead: 1 << 20, concurrent: 1}
	h := newHost(t, []*Component{sourceNamed("source", source)})
	o := openOf(memberOf("source", toHost("out")))
	task := h.start(o)
	task.hear("Opened", func(m *pluginv1.ControlResponse) bool { return m.GetOpened() != nil })
	run, err := h.client.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	task.run = run // nobody reads it
	h.unread = true
	task.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{Task: o.Task}}})
	task.assign(&pluginv1.Split{Id: "a"})
	task.hear("blocked time", func(m *pluginv1.ControlResponse) bool { return m.GetReport().GetComponents() != nil })
	eventually(t, "the sender is full", func() bool {
		tk := h.server.find(o.Task)
		tk.sender.mu.Lock()
		defer tk.sender.mu.Unlock()
		return tk.sender.batches == maxQueued
	})
	task.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_SetLogLevel{SetLogLevel: &pluginv1.SetLogLevel{Level: "nonsense"}}})
	task.hear("an answer", func(m *pluginv1.ControlResponse) bool { return m.GetLog() != nil })
	task.close()
}
