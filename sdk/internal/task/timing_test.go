package task

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
	"github.com/weirstream/weir/sdk/internal/eventtime"
)

// timesSource reads, for each split, values that a test gives: `{"ts":12}` or
// anything else. A split ends where its channel is closed.
type timesSource struct {
	fakeSource
	mu     sync.Mutex
	splits map[string]chan []string
}

func (s *timesSource) of(id string) chan []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.splits == nil {
		s.splits = map[string]chan []string{}
	}
	if s.splits[id] == nil {
		s.splits[id] = make(chan []string, 100)
	}
	return s.splits[id]
}

func (s *timesSource) component() *Component {
	s.read = func(ctx context.Context, r *fakeReader, out *Output) (any, error) {
		select {
		case values, ok := <-s.of(r.id):
			for _, v := range values {
				out.Append(nil, []byte(v), wire.NoTime, nil, int64(r.next))
				r.next++
			}
			if !ok {
				return r.next, io.EOF
			}
			return r.next, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return sourceNamed("source", &s.fakeSource)
}

func at(times ...int) []string {
	var out []string
	for _, t := range times {
		out = append(out, fmt.Sprintf(`{"ts":%d}`, t))
	}
	return out
}

func inMillis(late int) *pluginv1.EventTime {
	return &pluginv1.EventTime{From: "/ts", Unit: "ms", OutOfOrderness: durationpb.New(time.Duration(late) * time.Millisecond)}
}

// awaitWatermark waits until an output has sent that watermark, in milliseconds.
func (t *hostTask) awaitWatermark(component uint32, ms int) {
	t.h.t.Helper()
	t.await(fmt.Sprintf("watermark %d", ms), func() bool {
		return slices.ContainsFunc(t.frames, func(f seenFrame) bool {
			return f.h.Component == component && f.message.GetWatermark() != nil && f.message.GetWatermark().GetTime() == int64(ms)*1e6
		})
	})
}

func TestEventTimeSetsTheTimesAndMakesWatermarksOfThem(t *testing.T) {
	source := &timesSource{}
	m := memberOf("source", toHost("out"), toHost("errors"))
	m.EventTime, m.OnFailure = inMillis(5), &pluginv1.FailurePolicy{Action: pluginv1.FailurePolicy_ACTION_DEAD_LETTER}
	task := newHost(t, []*Component{source.component()}).open(openOf(m))
	task.assign(splitsOf("a")...)
	task.noMoreSplits()
	source.of("a") <- append(at(10, 30), "no time", `{"ts":20}`)
	source.of("a") <- []string{"nor here"}
	task.awaitWatermark(0, 25)
	close(source.of("a"))
	exhausted(task)
	task.barrier(1, atEnd)
	task.passed(1)
	var got []string
	for _, r := range task.on(0, 0) {
		got = append(got, fmt.Sprint(r.time/1e6))
	}
	if strings.Join(got, " ") != "10 30 20" {
		t.Errorf("times %v", got)
	}
	if bad := task.on(0, 1); len(bad) != 2 || bad[0].value != "no time" || bad[0].split != "a" || bad[0].ordinal != 2 {
		t.Errorf("dead letters %v", bad)
	}
	if shape := task.shape(); !strings.HasSuffix(shape, "watermark(9223372036854775807) 0.1:watermark(9223372036854775807) barrier(1)") {
		t.Errorf("no end of time before the end of input: %s", shape)
	}
	task.close()
}

func TestASplitThatIsBehindHoldsTheWatermarkAndIsTold(t *testing.T) {
	source := &timesSource{}
	m := memberOf("source", toHost("out"))
	m.EventTime = inMillis(0)
	task := newHost(t, []*Component{source.component()}).open(openOf(m))
	task.assign(splitsOf("a", "b", "c")...)
	source.of("a") <- at(1000)
	source.of("b") <- at(10)
	source.of("c") <- at(500)
	task.awaitWatermark(0, 10)
	task.hear("that b holds it", func(m *pluginv1.ControlResponse) bool {
		c := m.GetReport().GetComponents()
		return len(c) > 0 && c[0].GetWatermarkSplit() == "b" && c[0].GetWatermark() == 10e6
	})
	close(source.of("b")) // an ended split leaves the minimum
	task.awaitWatermark(0, 500)
	task.close()
}

// A task that was told that there is no split for it has no watermark to wait for;
// when it gets one it has, and says so before anything comes of it. One that may be
// about to get a split, at the start or when one has ended, is waited for: who left it
// out could come to where its records are late.
func TestATaskIsIdleWhenThereIsNoSplitForIt(t *testing.T) {
	source := &timesSource{}
	m := memberOf("source", toHost("out"))
	m.EventTime = inMillis(0)
	task := newHost(t, []*Component{source.component()}).open(openOf(m))
	shape := func(want string) {
		t.Helper()
		task.await(want, func() bool { return len(task.frames) == strings.Count(want, " ")+1 })
		if got := task.shape(); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	task.assign()
	shape("idle")
	task.assign(splitsOf("a")...)
	shape(fmt.Sprintf("idle opened(a) watermark(%d)", wire.NoTime))
	source.of("a") <- at(7)
	task.awaitWatermark(0, 7)
	close(source.of("a"))
	ended := fmt.Sprintf(`idle opened(a) watermark(%d) {"ts":7} watermark(7000000) ended(a)`, wire.NoTime)
	shape(ended)
	task.assign(splitsOf("b")...)
	shape(ended + " opened(b)")
	source.of("b") <- at(8)
	task.awaitWatermark(0, 8)
	close(source.of("b"))
	shape(ended + ` opened(b) {"ts":8} watermark(8000000) ended(b)`)
	task.assign()
	shape(ended + ` opened(b) {"ts":8} watermark(8000000) ended(b) idle`)
	task.close()
}

func TestAnIdleSplitIsLeftOut(t *testing.T) {
	source := &timesSource{}
	m := memberOf("source", toHost("out"))
	m.EventTime = inMillis(0)
	m.EventTime.Idle = durationpb.New(300 * time.Millisecond)
	task := newHost(t, []*Component{source.component()}).open(openOf(m))
	task.assign(splitsOf("a", "b")...)
	source.of("b") <- at(1000)
	task.awaitWatermark(0, 1000) // a never had a record
	task.await("both are idle", func() bool { return task.frames[len(task.frames)-1].message.GetIdle() != nil })
	source.of("a") <- at(2000)
	task.awaitWatermark(0, 2000)
	task.close()
}

// A split may have had a record and be idle again before the watermark was passed on.
func TestTheWatermarkOfARecordIsPassedOnThoughAllIsIdleAgain(t *testing.T) {
	const idle = time.Minute
	s := &timing{member: &member{task: &task{}}, tracker: eventtime.NewTracker(0, idle), told: wire.NoTime}
	pass := func(want int64) {
		t.Helper()
		s.dirty = true
		if err := s.pass(); err != nil {
			t.Fatal(err)
		}
		if s.told != want {
			t.Fatalf("watermark %d was passed on, not %d", s.told, want)
		}
	}
	s.tracker.Observe("a", 1000)
	pass(1000)
	s.tracker.Pass(idle)
	pass(1000)
	s.tracker.Observe("a", 2000)
	s.tracker.Pass(idle)
	pass(2000)
	if !s.idle {
		t.Error("all splits are idle")
	}
}

// What a stage has seen of a split is in the snapshot and goes with the split.
func TestTheEventTimeOfASplitIsRestored(t *testing.T) {
	source := &timesSource{}
	m := memberOf("source", toHost("out"))
	m.EventTime = inMillis(5)
	task := newHost(t, []*Component{source.component()}).open(openOf(m))
	task.assign(splitsOf("a", "b")...)
	source.of("a") <- at(100)
	task.await("the record", func() bool { return len(task.frames) > 0 && task.frames[len(task.frames)-1].message == nil })
	task.barrier(1)
	var held []*pluginv1.Entry
	var got []string
	for _, e := range task.snapshot(1) {
		held = append(held, e)
		got = append(got, fmt.Sprint(e.Kind, e.Id))
	}
	slices.Sort(got)
	if fmt.Sprint(got) != "[KIND_SPLIT_TIMEa KIND_SPLITa KIND_SPLITb]" {
		t.Fatalf("%v", got)
	}
	task.close()

	held = slices.DeleteFunc(held, func(e *pluginv1.Entry) bool { return e.Id == "b" })
	o := openOf(m)
	o.Task.Epoch++
	again := newHost(t, []*Component{(&timesSource{}).component()}).open(o, held...)
	again.awaitWatermark(0, 95)
	again.close()

	m.EventTime = nil // the file lost it
	o.Task.Epoch++
	without := newHost(t, []*Component{(&timesSource{}).component()}).open(o, held...)
	without.barrier(1)
	without.passed(1)
	without.close()
}

// On an operator the stage goes by the origin of records, and hears of splits
// through those before it.
func TestEventTimeOnAnOperatorGoesByTheOrigin(t *testing.T) {
	pass := operatorNamed("pass", &fakeOperator{})
	op := operatorNamed("op", mapped(func(v string) string { return v }))
	head := fed(memberOf("pass", toNext("out")))
	m := fed(memberOf("op", toHost("out")))
	m.EventTime = inMillis(0)
	task := newHost(t, []*Component{pass, op}).open(openOf(head, m))
	feed := func(split string, times ...int) {
		b := task.h.pool.NewBuilder(1 << 20)
		b.SetOrigin(true)
		for i, v := range at(times...) {
			b.Append(nil, []byte(v), wire.NoTime, nil, split, int64(i))
		}
		task.feedBatch(0, b.Freeze())
	}
	task.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_SplitOpened{SplitOpened: &pluginv1.SplitOpened{Id: "a"}}})
	task.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_SplitOpened{SplitOpened: &pluginv1.SplitOpened{Id: "b"}}})
	task.watermark(5) // of whoever is before it: not passed on
	feed("a", 1000)
	feed("b", 10, 20)
	task.awaitWatermark(1, 20)
	task.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_SplitEnded{SplitEnded: &pluginv1.SplitEnded{Id: "b"}}})
	task.awaitWatermark(1, 1000)
	task.barrier(1, atEnd)
	task.passed(1)
	if s := task.shape(); strings.Contains(s, "watermark(5)") || !strings.HasSuffix(s, "1.0:watermark(9223372036854775807) barrier(1)") {
		t.Error(s)
	}
	task.close()
}
