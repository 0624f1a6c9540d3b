package task

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

func TestAnOperatorKeepsKeyTimeHeadersAndOriginOfWhatItEmits(t *testing.T) {
	h := newHost(t, opOnly(mapped(strings.ToUpper)))
	o := openOf(fed(memberOf("op", toHost("out"))))
	o.Chain[0].Outputs[0].Origin = true
	task := h.open(o)
	w := h.pool.NewBuilder(1 << 20)
	w.Append([]byte("k1"), []byte("one"), 1000, wire.AppendHeader(nil, "h", []byte("v")), "file", 41)
	w.Append(nil, []byte("two"), wire.NoTime, nil, "file", 43)
	w.Append([]byte("k3"), []byte("three"), 3000, nil, "other", 5)
	want := w.Freeze()
	want.Hold()
	task.feedBatch(0, want)
	task.values(3)
	got, in := task.on(0, 0), recordsOf(want)
	want.Release()
	for i := range in {
		in[i].value = strings.ToUpper(in[i].value)
		if fmt.Sprint(got[i]) != fmt.Sprint(in[i]) {
			t.Errorf("record %d: %v, want %v", i, got[i], in[i])
		}
	}
	task.close()
}

func TestOriginIsLeftOutWhereNobodyAsksForIt(t *testing.T) {
	h := newHost(t, opOnly(mapped(strings.ToUpper)))
	task := openOp(h)
	task.feed("a")
	task.values(1)
	if r := task.on(0, 0)[0]; r.split != "" {
		t.Errorf("split %q", r.split)
	}
	task.close()
}

// TestRowsOfAnOperatorCarryTheOriginTheyAreGiven covers Append, which has none, and
// EmitRow, which keeps it.
func TestRowsOfAnOperatorCarryTheOriginTheyAreGiven(t *testing.T) {
	f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		out.Append([]byte("new"), []byte("row"), 7, nil, 99)
		out.EmitRow(in, 1, []byte("key"), []byte("of b"), 8, nil)
		out.Forward(in, 0)
		out.ForwardSelected(in, []uint32{1, 0})
		return nil
	}}
	h := newHost(t, opOnly(f))
	o := openOf(fed(memberOf("op", toHost("out"))))
	o.Chain[0].Outputs[0].Origin = true
	task := h.open(o)
	task.feed("a", "b")
	task.values(5)
	var got []string
	for _, r := range task.on(0, 0) {
		got = append(got, fmt.Sprintf("%s=%s@%s:%d", r.key, r.value, r.split, r.ordinal))
	}
	if want := "new=row@:0 key=of b@s:1 =a@s:0 =b@s:1 =a@s:0"; strings.Join(got, " ") != want {
		t.Errorf("%v\nwant %v", got, want)
	}
	task.close()
}

func TestOutputsAreRoutedByMemberOutputs(t *testing.T) {
	f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		for i := range in.Len() {
			switch v := string(in.Value(i)); {
			case strings.HasPrefix(v, "late"):
				out.To("late").Forward(in, i)
			case strings.HasPrefix(v, "odd"):
				out.To("odd").Emit(in, i, append(out.To("odd").AvailableBuffer(), in.Value(i)...))
			default:
				out.To("out").Forward(in, i)
			}
		}
		return nil
	}}
	h := newHost(t, []*Component{operatorNamed("op", f, "late", "odd")})
	task := h.open(openOf(fed(memberOf("op", toHost("late"), toHost("out")))))
	task.feed("a", "late 1", "odd 1", "b", "late 2", "odd 2")
	if got := task.values(2, 0); !slices.Equal(got, []string{"late 1", "late 2"}) {
		t.Errorf("late: %v", got)
	}
	if got := task.values(2, 1); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("out: %v", got)
	}
	task.hear("two records counted that lead nowhere", func(m *pluginv1.ControlResponse) bool {
		for _, c := range m.GetReport().GetComponents() {
			for _, metric := range c.Metrics {
				if metric.Name == "unconnected_records" && metric.GetCounter() == 2 {
					return true
				}
			}
		}
		return false
	})
	task.close()
}

func TestAnOutputThatIsNotDeclaredFailsTheTask(t *testing.T) {
	f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		out.To("lat").Forward(in, 0)
		out.Forward(in, 0)
		return nil
	}}
	task := openOp(newHost(t, opOnly(f)))
	task.feed("a")
	if e := task.failed(); !strings.Contains(e.Message, `component "op" has no output "lat"`) {
		t.Errorf("%v", e)
	}
	task.ended()
	if got := task.on(0, 0); len(got) > 0 {
		t.Errorf("%v left all the same", got)
	}
}

// TestForwardAllPassesTheBatchItself sees that the next member of a chain reads
// the very bytes that came in.
func TestForwardAllPassesTheBatchItself(t *testing.T) {
	var first, second *byte
	a := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		first = &in.Values().Data[0]
		out.ForwardAll(in)
		return nil
	}}
	b := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		second = &in.Values().Data[0]
		out.ForwardAll(in)
		return nil
	}}
	h := newHost(t, []*Component{operatorNamed("a", a), operatorNamed("b", b)})
	task := h.open(openOf(fed(memberOf("a", toNext("out"))), fed(memberOf("b", toHost("out")))))
	task.feed("x", "y")
	task.await("two records", func() bool { return len(task.frames) > 0 })
	if got := task.on(1, 0); len(got) != 2 || got[1].value != "y" {
		t.Errorf("%v", got)
	}
	if first != second {
		t.Error("the batch was copied on its way")
	}
	task.close()
}

// TestAChainHandsOnInMemoryAndInOrder runs three operators in one task: only what
// the last sends leaves the process, and what a member sends to both leaves, too.
func TestAChainHandsOnInMemoryAndInOrder(t *testing.T) {
	add := func(s string) *fakeOperator { return mapped(func(v string) string { return v + s }) }
	h := newHost(t, []*Component{operatorNamed("a", add("a")), operatorNamed("b", add("b")), operatorNamed("c", add("c"))})
	both := toNext("out")
	both.Exclusive = false
	task := h.open(openOf(fed(memberOf("a", toNext("out"))), fed(memberOf("b", both)), fed(memberOf("c", toHost("out")))))
	var want, middle []string
	for i := range 50 {
		v := fmt.Sprint(i)
		task.feed(v)
		middle = append(middle, v+"ab")
		want = append(want, v+"abc")
	}
	task.barrier(1)
	task.passed(1)
	values := func(rs []record) (out []string) {
		for _, r := range rs {
			out = append(out, r.value)
		}
		return out
	}
	if got := values(task.on(2, 0)); !slices.Equal(got, want) {
		t.Errorf("the last: %v", got)
	}
	if got := values(task.on(1, 0)); !slices.Equal(got, middle) {
		t.Errorf("the middle: %v", got)
	}
	if got := task.on(0, 0); len(got) > 0 {
		t.Errorf("the first leads to the next alone, but sent %v", got)
	}
	task.close()
}

func TestAChainedOutputReachesThePortItNames(t *testing.T) {
	var port int
	join := &fakeOperator{process: func(_ context.Context, p int, _ *wire.Batch, _ *Output) error { port = p; return nil }}
	h := newHost(t, []*Component{operatorNamed("a", &fakeOperator{}), operatorNamed("join", join)})
	next := memberOf("join")
	next.Inputs = []*pluginv1.Inlet{{Port: "left"}, {Port: "right"}}
	out := toNext("out")
	out.ChainedPort = "right"
	task := h.open(openOf(fed(memberOf("a", out)), next))
	task.feed("x")
	task.barrier(1)
	task.passed(1)
	if port != 1 {
		t.Errorf("port %d", port)
	}
	task.close()
}

// TestBuffersAreDeadAfterTheCall keeps what it must not: with a poisoned pool it
// shows. A batch that is held stays.
func TestBuffersAreDeadAfterTheCall(t *testing.T) {
	var kept []byte
	var held *wire.Batch
	f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, _ *Output) error {
		if kept == nil {
			kept = in.Value(0)
		} else if held == nil {
			held = in
			in.Hold()
		}
		return nil
	}}
	task := openOp(newHost(t, opOnly(f)))
	task.feed("secret")
	task.feed("treasure")
	task.feed("third")
	task.barrier(1)
	task.passed(1)
	if !bytes.Equal(kept, bytes.Repeat([]byte{wire.Poison}, len("secret"))) {
		t.Errorf("a value outlived its call: %q", kept)
	}
	if string(held.Value(0)) != "treasure" {
		t.Errorf("a held value did not live: %q", held.Value(0))
	}
	held.Release()
	task.close()
}

func TestABatchIsSentWhenItIsFullAndALargerRecordAlone(t *testing.T) {
	f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		for range 10 {
			out.Append(nil, make([]byte, 10_000), wire.NoTime, nil, 0)
		}
		out.Append(nil, make([]byte, 200_000), wire.NoTime, nil, 0)
		out.Append(nil, []byte("after"), wire.NoTime, nil, 0)
		return nil
	}}
	task := openOp(newHost(t, opOnly(f))) // 64 KiB a batch
	task.feed("go")
	task.values(12)
	var sizes []int
	for _, f := range task.received() {
		n := 0
		for _, r := range f.records {
			n += len(r.value)
		}
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		if n > 64<<10+8<<10 && n != 200_000 {
			t.Errorf("batches of %v bytes", sizes)
		}
	}
	if !slices.Contains(sizes, 200_000) {
		t.Errorf("the large record was not alone: batches of %v bytes", sizes)
	}
	task.close()
}

// TestSmallBatchesAreSentAtOnceWhenTheSenderIsIdle has no linger to wait for.
func TestSmallBatchesAreSentAtOnceWhenTheSenderIsIdle(t *testing.T) {
	h := newHost(t, opOnly(mapped(strings.ToUpper)))
	o := openOf(fed(memberOf("op", toHost("out"))))
	o.Limits.Linger = durationpb.New(time.Hour)
	task := h.open(o)
	for i := range 20 {
		task.feed("x")
		task.values(i + 1)
	}
	task.close()
}

// TestSmallBatchesAreGatheredWhileTheSenderIsBusy blocks the sender and sees that
// what comes meanwhile shares a batch.
func TestSmallBatchesAreGatheredWhileTheSenderIsBusy(t *testing.T) {
	tk := newTask(NewServer(Plugin{}, opOnly(&fakeOperator{}), Options{}), openOf(fed(memberOf("op", toHost("out")))))
	if err := tk.plan(); err != nil {
		t.Fatal(err)
	}
	o := tk.members[0].outlets[0]
	one := func() *wire.Batch {
		w := tk.pool.NewBuilder(100)
		w.Append(nil, []byte("x"), wire.NoTime, nil, "", 0)
		return w.Freeze()
	}
	for range 100 {
		if err := o.add(one()); err != nil {
			t.Fatal(err)
		}
	}
	if tk.sender.batches != 1 || o.gather.Len() != 99 {
		t.Errorf("%d batches queued, %d records gathered; want 1 and 99", tk.sender.batches, o.gather.Len())
	}
	tk.linger = time.NewTimer(time.Hour)
	if err := tk.settle(); err != nil || !tk.lingers {
		t.Errorf("no linger is set (%v)", err)
	}
	if _, ok := tk.sender.take(); !ok {
		t.Fatal("nothing queued")
	}
	tk.sender.take()
	select {
	case <-tk.sender.idle:
	default:
		t.Error("the sender does not say that it is idle")
	}
	if err := tk.settle(); err != nil || o.gather.Len() != 0 || tk.sender.batches != 1 {
		t.Errorf("%d records still gathered, %d batches queued (%v)", o.gather.Len(), tk.sender.batches, err)
	}
	tk.sender.take()
	// A large batch is not gathered, but it does not overtake what is.
	w := tk.pool.NewBuilder(1 << 20)
	w.Append(nil, make([]byte, 60_000), wire.NoTime, nil, "", 0)
	if err := errors.Join(o.add(one()), o.add(w.Freeze())); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for {
		f, ok := tk.sender.take()
		if !ok {
			break
		}
		sizes = append(sizes, f.Len()/1000)
		f.Free()
	}
	if !slices.Equal(sizes, []int{0, 60}) {
		t.Errorf("frames of %v kB", sizes)
	}
}

// TestLingerBoundsTheWaitOfWhatIsGathered has a host that reads nothing, so the
// sender stays busy: what is gathered is queued all the same.
func TestLingerBoundsTheWaitOfWhatIsGathered(t *testing.T) {
	h := newHost(t, opOnly(&fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		if string(in.Value(0)) == "much" {
			out.Append(nil, make([]byte, 900_000), wire.NoTime, nil, 0)
			return nil
		}
		out.Forward(in, 0)
		return nil
	}}))
	h.unread = true
	o := openOf(fed(memberOf("op", toHost("out"))))
	o.Limits.Linger = durationpb.New(time.Millisecond)
	task := h.start(o)
	task.hear("Opened", func(m *pluginv1.ControlResponse) bool { return m.GetOpened() != nil })
	run, err := h.client.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	task.run = run
	task.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{Task: o.Task}}})
	tk := h.server.find(o.Task)
	queued := func(n int) func() bool {
		return func() bool {
			tk.sender.mu.Lock()
			defer tk.sender.mu.Unlock()
			return tk.sender.sending && tk.sender.batches == n
		}
	}
	// One is sent, one fills the window, one is stuck in it, one waits.
	for range 4 {
		task.feed("much")
	}
	eventually(t, "the sender is stuck", queued(1))
	task.feed("little")
	eventually(t, "what was gathered is queued", queued(2))
	task.close()
}

// TestAnOperatorThatBlowsUpItsInputKeepsMemoryBounded hands batches on during the
// call.
func TestAnOperatorThatBlowsUpItsInputKeepsMemoryBounded(t *testing.T) {
	most := 0
	f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		for range 10_000 {
			out.Emit(in, 0, append(out.AvailableBuffer(), "0123456789012345678901234567890123456789012345678901234567890123456789"...))
			most = max(most, out.c.staged)
		}
		return nil
	}}
	n := 0
	sink := &fakeSink{write: func(_ context.Context, _ int, in *wire.Batch, _ *Output) error { n += in.Len(); return nil }}
	h := newHost(t, []*Component{operatorNamed("op", f), sinkNamed("sink", sink)})
	o := openOf(fed(memberOf("op", toNext("out"))), fed(memberOf("sink")))
	o.Limits.MaxRecordBytes = 1000
	task := h.open(o)
	task.feed("x")
	task.barrier(1)
	task.passed(1)
	if n != 10_000 {
		t.Errorf("%d records", n)
	}
	if bound := 4*(64<<10) + 72<<10; most > bound {
		t.Errorf("%d bytes waited, more than %d", most, bound)
	}
	task.close()
}

// TestAValueInTheBufferSurvivesAFullBatch lets a value lie in the tail of a batch
// that is completed before the value is appended.
func TestAValueInTheBufferSurvivesAFullBatch(t *testing.T) {
	f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		for i := range 2000 {
			v := append(out.AvailableBuffer(), strings.Repeat(fmt.Sprintf("%04d", i), 100)...)
			out.Emit(in, 0, v)
		}
		return nil
	}}
	sink := &fakeSink{}
	h := newHost(t, []*Component{operatorNamed("op", f), sinkNamed("sink", sink)})
	o := openOf(fed(memberOf("op", toNext("out"))), fed(memberOf("sink")))
	o.Limits.BatchBytes, o.Limits.MaxRecordBytes = 1000, 1000
	task := h.open(o)
	task.feed("x")
	task.barrier(1)
	task.passed(1)
	got := sink.seen()
	if len(got) != 2000 {
		t.Fatalf("%d records", len(got))
	}
	for i, v := range got {
		if v != strings.Repeat(fmt.Sprintf("%04d", i), 100) {
			t.Fatalf("record %d is %.20q...", i, v)
		}
	}
	task.close()
}
