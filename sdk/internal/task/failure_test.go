package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirstream/weir/proto/policy"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

const (
	failing = pluginv1.FailurePolicy_ACTION_FAIL
	skip    = pluginv1.FailurePolicy_ACTION_SKIP
	letter  = pluginv1.FailurePolicy_ACTION_DEAD_LETTER
)

// picky fails the records whose value begins with "bad".
func picky() *fakeOperator {
	return &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		for i := range in.Len() {
			if strings.HasPrefix(string(in.Value(i)), "bad") {
				out.Fail(in, i, fmt.Errorf("cannot stand %q", in.Value(i)))
			} else {
				out.Forward(in, i)
			}
		}
		return nil
	}}
}

func openWith(t testing.TB, f *fakeOperator, p *pluginv1.FailurePolicy) *hostTask {
	h := newHost(t, opOnly(f))
	o := openOf(fed(memberOf("op", toHost("out"), toHost("errors"))))
	o.Chain[0].OnFailure = p
	return h.open(o)
}

func (t *hostTask) report(what string, f func(c *pluginv1.ComponentReport) bool) *pluginv1.ComponentReport {
	t.h.t.Helper()
	var out *pluginv1.ComponentReport
	t.hear("a report of "+what, func(m *pluginv1.ControlResponse) bool {
		if cs := m.GetReport().GetComponents(); len(cs) > 0 && f(cs[0]) {
			out = cs[0]
			return true
		}
		return false
	})
	return out
}

func TestAFailedRecordFailsTheTaskByDefault(t *testing.T) {
	task := openWith(t, picky(), nil)
	task.feed("good", "bad 1")
	e := task.failed()
	if !strings.Contains(e.Message, `component "op": split "s", ordinal 1: cannot stand "bad 1"`) || e.Class != pluginv1.Error_CLASS_UNMARKED {
		t.Errorf("%v", e)
	}
	task.ended()
}

func TestASkippedRecordIsCountedAndSampled(t *testing.T) {
	task := openWith(t, picky(), &pluginv1.FailurePolicy{Action: skip})
	task.feed("a", "bad 1", "b", "bad 2")
	if got := task.values(2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%v", got)
	}
	c := task.report("two skipped", func(c *pluginv1.ComponentReport) bool { return c.FailedSkipped == 2 })
	if len(c.Samples) != 2 || string(c.Samples[0].Value) != "bad 1" || c.Samples[1].Ordinal != 3 || !strings.Contains(c.Samples[1].Error, "bad 2") {
		t.Errorf("%v", c.Samples)
	}
	if got := task.on(0, 1); len(got) > 0 {
		t.Errorf("a skipped record left: %v", got)
	}
	task.close()
}

func TestSamplesAreFewAndShortAndTheNewest(t *testing.T) {
	task := openWith(t, picky(), &pluginv1.FailurePolicy{Action: skip})
	for i := range 20 {
		task.feed(fmt.Sprintf("bad %d %s", i, strings.Repeat("x", 10_000)))
	}
	c := task.report("twenty skipped", func(c *pluginv1.ComponentReport) bool { return c.FailedSkipped == 20 })
	if len(c.Samples) != policy.MaxSamples || len(c.Samples[0].Value) != policy.SampleBytes || !strings.HasPrefix(string(c.Samples[4].Value), "bad 19") {
		t.Errorf("%d samples", len(c.Samples))
	}
	task.close()
}

// TestADeadLetterLeavesWhole keeps key, value, time, headers and origin, and adds
// what is known of the failure.
func TestADeadLetterLeavesWhole(t *testing.T) {
	task := openWith(t, picky(), &pluginv1.FailurePolicy{Action: letter})
	w := task.h.pool.NewBuilder(1 << 20)
	w.Append([]byte("k"), []byte("bad"), 77, wire.AppendHeader(nil, "own", []byte("1")), "file", 12)
	w.Append([]byte("k"), []byte("good"), 78, nil, "file", 13)
	task.feedBatch(0, w.Freeze())
	task.values(1, 1)
	want := record{key: "k", value: "bad", time: 77, split: "file", ordinal: 12, headers: map[string]string{
		"own": "1", "weir.error": `cannot stand "bad"`, "weir.component": "op",
		"weir.origin.split": "file", "weir.origin.ordinal": "12",
	}}
	if got := task.on(0, 1); len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	if got := task.values(1); !slices.Equal(got, []string{"good"}) {
		t.Errorf("the rest goes on: %v", got)
	}
	c := task.report("one dead letter", func(c *pluginv1.ComponentReport) bool { return c.FailedDeadLettered == 1 })
	if c.RecordsOut != 1 {
		t.Errorf("%d records out: a dead letter is none", c.RecordsOut)
	}
	task.close()
}

// TestAChainedMemberDeadLettersWithTheOriginOfTheSource has nobody else ask for
// the origin.
func TestAChainedMemberDeadLettersWithTheOriginOfTheSource(t *testing.T) {
	source := &fakeSource{counts: map[string]int{"bad": 2}, perRead: 10}
	h := newHost(t, []*Component{sourceNamed("source", source), operatorNamed("mid", mapped(strings.ToLower)), operatorNamed("op", picky())})
	o := openOf(memberOf("source", toNext("out")), fed(memberOf("mid", toNext("out"))), fed(memberOf("op", toHost("errors"))))
	o.Chain[2].OnFailure = &pluginv1.FailurePolicy{Action: letter}
	task := h.open(o)
	task.assign(splitsOf("bad")...)
	task.values(2)
	if r := task.on(2, 0)[1]; r.headers["weir.origin.split"] != "bad" || r.headers["weir.origin.ordinal"] != "1" || r.headers["weir.component"] != "op" {
		t.Errorf("%v", r)
	}
	task.close()
}

// TestARecordAboveMaxRecordIsAFailedRecordOfItsComponent leaves as its first 64
// KiB with its length and origin.
func TestARecordAboveMaxRecordIsAFailedRecordOfItsComponent(t *testing.T) {
	huge := strings.Repeat("x", 2<<20)
	check := func(t *testing.T, task *hostTask, origin string) {
		t.Helper()
		task.values(1, 1)
		r := task.on(0, 1)[0]
		if len(r.value) != 64<<10 || r.headers["weir.length"] != fmt.Sprint(2<<20) || !strings.Contains(r.headers["weir.error"], "max_record is 1048576") ||
			r.split != origin || r.headers["weir.origin.split"] != origin {
			t.Errorf("%d bytes, split %s, %v", len(r.value), r.split, r.headers)
		}
		if got := task.values(1); !slices.Equal(got, []string{"after"}) {
			t.Errorf("the rest goes on: %d records", len(got))
		}
		task.close()
	}
	t.Run("operator", func(t *testing.T) {
		f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
			out.Emit(in, 0, []byte(huge))
			out.Emit(in, 0, []byte("after"))
			return nil
		}}
		task := openWith(t, f, &pluginv1.FailurePolicy{Action: letter})
		task.feed("a")
		check(t, task, "s")
	})
	t.Run("source", func(t *testing.T) {
		source := &fakeSource{read: func(_ context.Context, _ *fakeReader, out *Output) (any, error) {
			out.Append(nil, []byte(huge), wire.NoTime, nil, 6)
			out.Append(nil, []byte("after"), wire.NoTime, nil, 7)
			return 1, io.EOF
		}}
		h := newHost(t, []*Component{sourceNamed("source", source)})
		o := openOf(memberOf("source", toHost("out"), toHost("errors")))
		o.Chain[0].OnFailure = &pluginv1.FailurePolicy{Action: letter}
		task := h.open(o)
		task.assign(splitsOf("f")...)
		check(t, task, "f")
	})
}

func TestASourceFailsRowsThatAreNoRecords(t *testing.T) {
	for _, action := range []pluginv1.FailurePolicy_Action{failing, skip, letter} {
		t.Run(action.String(), func(t *testing.T) {
			source := &fakeSource{read: func(_ context.Context, _ *fakeReader, out *Output) (any, error) {
				out.Append(nil, []byte("good"), wire.NoTime, nil, 0)
				out.FailRow(nil, []byte("{"), wire.NoTime, nil, 1, 0, errors.New("no JSON"))
				return 2, io.EOF
			}}
			h := newHost(t, []*Component{sourceNamed("source", source)})
			o := openOf(memberOf("source", toHost("out"), toHost("errors")))
			o.Chain[0].OnFailure = &pluginv1.FailurePolicy{Action: action}
			task := h.open(o)
			task.assign(splitsOf("f")...)
			task.noMoreSplits()
			if action == failing {
				if e := task.failed(); !strings.Contains(e.Message, `split "f", ordinal 1: no JSON`) {
					t.Errorf("%v", e)
				}
				task.ended()
				return
			}
			exhausted(task)
			task.barrier(1, atEnd)
			task.passed(1)
			if got := task.values(1); !slices.Equal(got, []string{"good"}) {
				t.Errorf("%v", got)
			}
			if dead := task.on(0, 1); action == letter && (len(dead) != 1 || dead[0].headers["weir.origin.ordinal"] != "1") || action == skip && len(dead) > 0 {
				t.Errorf("%v", dead)
			}
			task.close()
		})
	}
}

// TestARetryIsInPlaceAndFeedsOneRecordAtATime lets the second of three records
// fail twice: nothing behind it is processed meanwhile, and its output is dropped.
func TestARetryIsInPlaceAndFeedsOneRecordAtATime(t *testing.T) {
	var seen []string
	tries := 0
	f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		if in.Len() != 1 {
			return fmt.Errorf("%d records at once", in.Len())
		}
		v := string(in.Value(0))
		seen = append(seen, v)
		out.Emit(in, 0, in.Value(0))
		if v == "b" {
			if tries++; tries < 3 {
				out.Fail(in, 0, errTest)
			}
		}
		return nil
	}}
	task := openWith(t, f, &pluginv1.FailurePolicy{Action: failing, Retries: 2, Backoff: durationpb.New(time.Millisecond)})
	task.feed("a", "b", "c")
	if got := task.values(3); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%v", got)
	}
	if !slices.Equal(seen, []string{"a", "b", "b", "b", "c"}) {
		t.Errorf("%v", seen)
	}
	task.report("two retries", func(c *pluginv1.ComponentReport) bool { return c.Retries == 2 })
	task.close()
}

func TestWhenTheTriesAreOverTheActionFollows(t *testing.T) {
	for _, action := range []pluginv1.FailurePolicy_Action{failing, skip, letter} {
		t.Run(action.String(), func(t *testing.T) {
			task := openWith(t, picky(), &pluginv1.FailurePolicy{Action: action, Retries: 2, Backoff: durationpb.New(time.Millisecond)})
			task.feed("a", "bad", "c")
			switch action {
			case failing:
				if e := task.failed(); !strings.Contains(e.Message, `cannot stand "bad"`) {
					t.Errorf("%v", e)
				}
				task.ended()
				return
			case letter:
				task.values(1, 1)
			}
			task.barrier(1)
			task.passed(1)
			if got := task.values(2); !slices.Equal(got, []string{"a", "c"}) {
				t.Errorf("%v", got)
			}
			c := task.report("it", func(c *pluginv1.ComponentReport) bool { return c.FailedSkipped+c.FailedDeadLettered == 1 })
			if c.Retries != 2 {
				t.Errorf("%d retries", c.Retries)
			}
			task.close()
		})
	}
}

// TestARetryTakesNotAllOfTheTimeThatABarrierHas has more tries than time.
func TestARetryTakesNotAllOfTheTimeThatABarrierHas(t *testing.T) {
	h := newHost(t, opOnly(picky()))
	o := openOf(fed(memberOf("op", toHost("out"))))
	o.CheckpointTimeout = durationpb.New(200 * time.Millisecond)
	o.Chain[0].OnFailure = &pluginv1.FailurePolicy{Action: skip, Retries: 1000, Backoff: durationpb.New(10 * time.Millisecond), MaxBackoff: durationpb.New(10 * time.Millisecond)}
	task := h.open(o)
	task.feed("bad")
	task.barrier(1)
	task.passed(1)
	c := task.report("it", func(c *pluginv1.ComponentReport) bool { return c.FailedSkipped == 1 })
	if c.Retries == 0 || c.Retries > 10 {
		t.Errorf("%d retries of 10 ms each within half of 200 ms", c.Retries)
	}
	task.close()
}

func TestAFatalFailureOfARecordFailsTheTaskWhateverThePolicy(t *testing.T) {
	f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		out.Fail(in, 0, &FatalError{errTest})
		return nil
	}}
	task := openWith(t, f, &pluginv1.FailurePolicy{Action: skip, Retries: 5})
	task.feed("a")
	if e := task.failed(); e.Class != pluginv1.Error_CLASS_FATAL {
		t.Errorf("%v", e)
	}
	task.ended()
}

func TestMoreFailuresThanTheLimitFailTheTask(t *testing.T) {
	task := openWith(t, picky(), &pluginv1.FailurePolicy{Action: skip, Limit: 3, LimitWindow: durationpb.New(time.Hour)})
	task.feed("bad 1", "bad 2", "bad 3", "good")
	task.values(1)
	task.feed("bad 4")
	if e := task.failed(); !strings.Contains(e.Message, "more than 3 failed records within 1h0m0s") || !strings.Contains(e.Message, "bad 4") {
		t.Errorf("%v", e)
	}
	task.ended()
}

// asyncSink accepts records and fails some of them later, from its own goroutine,
// until it has been tried often enough.
type asyncSink struct {
	fakeSink
	need  map[string]int // tries until a value is taken
	group sync.WaitGroup
	taken []string
	lock  sync.Mutex
}

func (s *asyncSink) Write(_ context.Context, _ int, in *wire.Batch, failed *Output) error {
	in.Hold()
	s.group.Go(func() {
		defer in.Release()
		s.lock.Lock()
		defer s.lock.Unlock()
		for i := range in.Len() {
			v := string(in.Value(i))
			if s.need[v]--; s.need[v] >= 0 {
				failed.Fail(in, i, errTest)
			} else {
				s.taken = append(s.taken, v)
			}
		}
	})
	return nil
}

func (s *asyncSink) Flush(context.Context) error { s.group.Wait(); return nil }

func TestASinksLateFailureIsTriedAgain(t *testing.T) {
	sink := &asyncSink{need: map[string]int{"b": 3, "d": 100}}
	c := sinkNamed("sink", nil)
	c.OpenSink = func(context.Context, []byte, *Env) (Sink, error) { return sink, nil }
	h := newHost(t, []*Component{c})
	o := openOf(fed(memberOf("sink", toHost("errors"))))
	o.Chain[0].OnFailure = &pluginv1.FailurePolicy{Action: letter, Retries: 4, Backoff: durationpb.New(time.Millisecond)}
	task := h.open(o)
	task.feed("a", "b", "c", "d", "e")
	task.barrier(1)
	task.passed(1)
	slices.Sort(sink.taken)
	if !slices.Equal(sink.taken, []string{"a", "b", "c", "e"}) {
		t.Errorf("%v", sink.taken)
	}
	if got := task.on(0, 0); len(got) != 1 || got[0].value != "d" || got[0].headers[policy.HeaderOriginOrdinal] != "3" {
		t.Errorf("%v", got)
	}
	task.close()
}

// TestASinksRecordIsTriedAsOftenAsThePolicySays has a sink that fails it at once,
// which must not count as late.
func TestASinksRecordIsTriedAsOftenAsThePolicySays(t *testing.T) {
	tries := 0
	sink := &fakeSink{write: func(_ context.Context, _ int, in *wire.Batch, failed *Output) error {
		tries++
		failed.Fail(in, 0, errTest)
		return nil
	}}
	h := newHost(t, []*Component{sinkNamed("sink", sink)})
	o := openOf(fed(memberOf("sink")))
	o.Chain[0].OnFailure = &pluginv1.FailurePolicy{Action: skip, Retries: 3, Backoff: durationpb.New(time.Millisecond)}
	task := h.open(o)
	task.feed("a")
	task.barrier(1)
	task.passed(1)
	if tries != 4 {
		t.Errorf("%d tries, want 1 and 3 more", tries)
	}
	task.close()
}

// TestAFailureOutsideOfAnyCallIsTreatedAtOnce has no barrier and no input that
// would bring the loop to look.
func TestAFailureOutsideOfAnyCallIsTreatedAtOnce(t *testing.T) {
	release := make(chan struct{})
	sink := &fakeSink{write: func(_ context.Context, _ int, in *wire.Batch, failed *Output) error {
		in.Hold()
		go func() {
			<-release
			failed.Fail(in, 0, errTest)
			in.Release()
		}()
		return nil
	}}
	h := newHost(t, []*Component{sinkNamed("sink", sink)})
	task := h.open(openOf(fed(memberOf("sink"))))
	task.feed("a")
	task.report("the record", func(c *pluginv1.ComponentReport) bool { return c.RecordsIn == 1 })
	close(release)
	if e := task.failed(); !strings.Contains(e.Message, "it broke") {
		t.Errorf("%v", e)
	}
	task.ended()
}

// TestNoRecordIsLostOrDoubledWhateverFails feeds random records through random
// policies: each leaves once, on one of the outputs, or is counted as skipped.
func TestNoRecordIsLostOrDoubledWhateverFails(t *testing.T) {
	rng := seeded(t)
	for range 20 {
		action := []pluginv1.FailurePolicy_Action{skip, letter}[rng.IntN(2)]
		p := &pluginv1.FailurePolicy{Action: action, Retries: uint32(rng.IntN(3)), Backoff: durationpb.New(time.Microsecond), MaxBackoff: durationpb.New(time.Microsecond)}
		inside := fork(rng)
		f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
			for i := range in.Len() {
				switch inside.IntN(6) {
				case 0:
					out.Fail(in, i, errTest)
				case 1:
					return &RetryError{Err: errTest, After: time.Microsecond}
				default:
					out.Forward(in, i)
				}
			}
			return nil
		}}
		task := openWith(t, f, p)
		want := map[string]bool{}
		for i := range 30 {
			var values []string
			for k := range 1 + rng.IntN(5) {
				v := fmt.Sprintf("%d-%d", i, k)
				values = append(values, v)
				want[v] = true
			}
			task.feed(values...)
		}
		task.barrier(1)
		task.passed(1)
		got := map[string]int{}
		for port := range uint32(2) {
			for _, r := range task.on(0, port) {
				got[r.value]++
			}
		}
		task.close()
		var last *pluginv1.ComponentReport
		for _, m := range task.heard(func(m *pluginv1.ControlResponse) bool { return m.GetReport() != nil }) {
			last = m.GetReport().Components[0]
		}
		for v, n := range got {
			if n != 1 || !want[v] {
				t.Errorf("%s left %d times", v, n)
			}
		}
		if len(got)+int(last.FailedSkipped) != len(want) {
			t.Errorf("%d left, %d skipped, of %d (%v)", len(got), last.FailedSkipped, len(want), p)
		}
	}
}

// TestAFailureOfAnEarlierBatchIsNotTakenForOneOfItsSuccessors gives a batch the
// address of one that failed before, as a pool does.
func TestAFailureOfAnEarlierBatchIsNotTakenForOneOfItsSuccessors(t *testing.T) {
	pool := wire.NewPool()
	f := newFailures(pool, nil)
	w := pool.NewBuilder(100)
	w.Append(nil, []byte("x"), wire.NoTime, nil, "", 0)
	b := w.Freeze()
	f.add(b, 0, errTest) // of the earlier one
	f.begin()
	if f.of(b) != nil {
		t.Error("the failure before the call is taken for one of it")
	}
	f.undo(b)
	f.add(b, 0, errTest)
	if f.of(b) == nil {
		t.Error("the failure in the call is not seen")
	}
	f.undo(b)
	got := f.take()
	if len(got.items) != 2 || got.items[0].undone || !got.items[1].undone {
		t.Errorf("%+v", got.items)
	}
	got.release()
	b.Release()
}
