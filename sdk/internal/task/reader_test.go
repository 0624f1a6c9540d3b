package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

func openSource(t testing.TB, source *fakeSource, restore ...*pluginv1.Entry) *hostTask {
	h := newHost(t, []*Component{sourceNamed("source", source)})
	o := openOf(memberOf("source", toHost("out")))
	o.Chain[0].Outputs[0].Origin = true
	return h.open(o, restore...)
}

func splitsOf(ids ...string) []*pluginv1.Split {
	var out []*pluginv1.Split
	for i, id := range ids {
		out = append(out, &pluginv1.Split{Id: id, Ordinal: uint64(i), Data: []byte(`{"of":"` + id + `"}`)})
	}
	return out
}

func exhausted(task *hostTask) {
	task.h.t.Helper()
	task.hear("Exhausted", func(m *pluginv1.ControlResponse) bool { return m.GetExhausted() != nil })
}

// positions are those of the SPLIT entries, by id.
func positions(t testing.TB, entries []*pluginv1.Entry) map[string]int {
	out := map[string]int{}
	for _, e := range entries {
		if e.Kind != pluginv1.Entry_KIND_SPLIT {
			continue
		}
		var s struct{ Position int }
		if err := json.Unmarshal(e.GetPayload(), &s); err != nil {
			t.Fatal(err)
		}
		out[e.Id] = s.Position
	}
	return out
}

func TestSplitOpenedAndEndedStandAroundTheSplitsRecords(t *testing.T) {
	source := &fakeSource{counts: map[string]int{"a": 2, "b": 1}, perRead: 10, concurrent: 1}
	task := openSource(t, source)
	task.assign(splitsOf("a", "b")...)
	task.noMoreSplits()
	exhausted(task)
	task.barrier(1, atEnd)
	task.passed(1)
	if got, want := task.shape(), "opened(a) a:0,a:1 ended(a) opened(b) b:0 ended(b) barrier(1)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if r := task.on(0, 0)[1]; r.split != "a" || r.ordinal != 1 {
		t.Errorf("origin %s:%d", r.split, r.ordinal)
	}
	task.close()
}

// TestSplitsOpenInOrderOfEnumerationRestoredOnesFirst restores one late split
// beside an early one and assigns others in between.
func TestSplitsOpenInOrderOfEnumerationRestoredOnesFirst(t *testing.T) {
	entry := func(id string, ordinal, position int) *pluginv1.Entry {
		return &pluginv1.Entry{Kind: pluginv1.Entry_KIND_SPLIT, Id: id,
			Content: payload(fmt.Appendf(nil, `{"ordinal":%d,"split":{"of":%q},"position":%d}`, ordinal, id, position))}
	}
	source := &fakeSource{counts: map[string]int{"s1": 5, "s2": 5, "s3": 5, "s7": 5}, perRead: 10, concurrent: 1}
	task := openSource(t, source, entry("s7", 7, 4), entry("s1", 1, 3))
	task.assign(&pluginv1.Split{Id: "s3", Ordinal: 3}, &pluginv1.Split{Id: "s2", Ordinal: 2})
	task.noMoreSplits()
	exhausted(task)
	task.barrier(1, atEnd)
	task.passed(1)
	var order []string
	for _, f := range task.received() {
		if id := f.message.GetSplitOpened().GetId(); id != "" {
			order = append(order, id)
		}
	}
	if want := []string{"s1", "s7", "s2", "s3"}; !slices.Equal(order, want) {
		t.Errorf("%v, want %v", order, want)
	}
	if got := task.values(13); got[0] != "s1:3" || got[2] != "s7:4" || len(got) != 13 {
		t.Errorf("%v", got)
	}
	task.close()
}

func TestNoMoreSplitsAreOpenThanTheSourceReadsAtOnce(t *testing.T) {
	var open, most atomic.Int32
	source := &fakeSource{concurrent: 2}
	source.read = func(ctx context.Context, r *fakeReader, _ *Output) (any, error) {
		if r.next == 0 {
			most.Store(max(most.Load(), open.Add(1)))
		}
		if r.next++; r.next > 3 {
			open.Add(-1)
			return r.next, io.EOF
		}
		return r.next, nil
	}
	task := openSource(t, source)
	var ids []string
	for i := range 10 {
		ids = append(ids, fmt.Sprint("s", i))
	}
	task.assign(splitsOf(ids...)...)
	task.noMoreSplits()
	exhausted(task)
	if most.Load() != 2 {
		t.Errorf("%d splits were read at once", most.Load())
	}
	task.close()
}

// TestABarrierTakesTheLastHandedOverPositionAndWaitsForNoRead blocks a read for
// ever and still gets the barrier through, with the position before it.
func TestABarrierTakesTheLastHandedOverPositionAndWaitsForNoRead(t *testing.T) {
	source := &fakeSource{counts: map[string]int{"a": 100}, perRead: 7}
	source.read = func(ctx context.Context, r *fakeReader, out *Output) (any, error) {
		if r.next == 21 {
			out.Append(nil, []byte("unfinished"), wire.NoTime, nil, 0)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return r.readSome(out)
	}
	task := openSource(t, source)
	task.assign(splitsOf("a")...)
	task.values(21)
	task.barrier(1)
	task.passed(1)
	if p := positions(t, task.snapshot(1)); p["a"] != 21 {
		t.Errorf("position %v, want 21", p)
	}
	task.close()
	if got := task.values(21); len(got) != 21 {
		t.Errorf("%d records left, the unfinished read's among them", len(got))
	}
}

// TestPositionsAndRecordsAgreeAtEveryBarrier takes many barriers at random moments
// of several readers: the records before each are those up to its positions.
func TestPositionsAndRecordsAgreeAtEveryBarrier(t *testing.T) {
	rng := seeded(t)
	source := &fakeSource{counts: map[string]int{"a": 4000, "b": 3000, "c": 2500}, perRead: 13}
	task := openSource(t, source)
	task.assign(splitsOf("a", "b", "c")...)
	task.noMoreSplits()
	for n := uint64(1); n <= 20; n++ {
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Microsecond)
		task.barrier(n)
		task.passed(n)
	}
	exhausted(task)
	before := map[string]int{}
	next := uint64(1)
	for _, f := range task.received() {
		for _, r := range f.records {
			if r.value != fmt.Sprintf("%s:%d", r.split, before[r.split]) {
				t.Fatalf("record %q in place %d of its split", r.value, before[r.split])
			}
			before[r.split]++
		}
		if b := f.message.GetBarrier(); b != nil {
			if b.Checkpoint != next {
				t.Fatalf("barrier %d, want %d", b.Checkpoint, next)
			}
			next++
			for id, at := range positions(t, task.snapshot(b.Checkpoint)) {
				if at != before[id] {
					t.Errorf("checkpoint %d: split %s stands at %d, but %d records left before it", b.Checkpoint, id, at, before[id])
				}
			}
		}
	}
	task.close()
}

func TestAReadThatFailsLeavesNothing(t *testing.T) {
	source := &fakeSource{counts: map[string]int{"a": 9}, perRead: 3}
	fails := 0
	source.read = func(_ context.Context, r *fakeReader, out *Output) (any, error) {
		if r.next == 3 && fails < 2 {
			fails++
			out.Append(nil, []byte("wrong"), wire.NoTime, nil, 0)
			out.FailRow(nil, []byte("wrong"), wire.NoTime, nil, 0, 0, errTest)
			return 99, &RetryError{Err: errTest, After: time.Millisecond}
		}
		return r.readSome(out)
	}
	task := openSource(t, source)
	task.assign(splitsOf("a")...)
	task.noMoreSplits()
	exhausted(task)
	task.barrier(1)
	task.passed(1)
	if got := task.values(9); len(got) != 9 || slices.Contains(got, "wrong") {
		t.Errorf("%v", got)
	}
	task.hear("two retries reported", func(m *pluginv1.ControlResponse) bool {
		c := m.GetReport().GetComponents()
		return len(c) > 0 && c[0].Retries == 2
	})
	task.hear("a warning", func(m *pluginv1.ControlResponse) bool {
		for _, r := range m.GetLog().GetRecords() {
			if r.Message == "a call is repeated" && strings.Contains(string(r.Attributes), `"split":"a"`) {
				return true
			}
		}
		return false
	})
	task.close()
}

func TestAReadErrorNamesTheSplitAndTheComponent(t *testing.T) {
	source := &fakeSource{read: func(context.Context, *fakeReader, *Output) (any, error) { return nil, errTest }}
	task := openSource(t, source)
	task.assign(splitsOf("part-3")...)
	e := task.failed()
	if e.Class != pluginv1.Error_CLASS_UNMARKED || !strings.Contains(e.Message, `Read of component "source": split "part-3": it broke`) {
		t.Errorf("%v", e)
	}
	task.ended()
}

func TestAPanicInAReaderNamesTheComponentAndShowsTheStack(t *testing.T) {
	source := &fakeSource{read: func(context.Context, *fakeReader, *Output) (any, error) { panic("oops") }}
	task := openSource(t, source)
	task.assign(splitsOf("a")...)
	e := task.failed()
	if e.Code != "panic" || !strings.Contains(e.Message, `component "source"`) || !strings.Contains(e.Message, "oops") || !strings.Contains(e.Message, "reader_test.go") {
		t.Errorf("%v", e)
	}
	task.ended()
}

// TestMoreThanFourBatchesInOneReadIsFatal names the source. The bound is
// max_record where that is more.
func TestMoreThanFourBatchesInOneReadIsFatal(t *testing.T) {
	for name, tc := range map[string]struct {
		records int // of 10 KB; a batch has 64 KiB, max_record is 1 MiB
		fatal   bool
	}{"below max_record": {100, false}, "above": {200, true}} {
		t.Run(name, func(t *testing.T) {
			source := &fakeSource{read: func(_ context.Context, _ *fakeReader, out *Output) (any, error) {
				for range tc.records {
					out.Append(nil, make([]byte, 10_000), wire.NoTime, nil, 0)
				}
				return 1, io.EOF
			}}
			task := openSource(t, source)
			task.assign(splitsOf("a")...)
			if !tc.fatal {
				task.values(tc.records)
				task.close()
				return
			}
			e := task.failed()
			if e.Class != pluginv1.Error_CLASS_FATAL || !strings.Contains(e.Message, `component "source"`) || !strings.Contains(e.Message, "one call of Read appended more than") {
				t.Errorf("%v", e)
			}
			task.ended()
		})
	}
}

// TestAReadThatStopsWhenItIsFullNeverAppendsTooMuch appends little and then the
// largest record: it could not have known.
func TestAReadThatStopsWhenItIsFullNeverAppendsTooMuch(t *testing.T) {
	source := &fakeSource{read: func(_ context.Context, _ *fakeReader, out *Output) (any, error) {
		for !out.Full() {
			out.Append(nil, []byte("x"), wire.NoTime, nil, 0)
			out.Append(nil, make([]byte, 1<<20), wire.NoTime, nil, 0)
		}
		return 1, io.EOF
	}}
	task := openSource(t, source)
	task.assign(splitsOf("a")...)
	task.values(2)
	task.close()
}

// TestAppendInsideReadNeitherBlocksNorSends has a host that reads nothing: a Read
// that the bound allows still returns.
func TestAppendInsideReadNeitherBlocksNorSends(t *testing.T) {
	var returned atomic.Int32
	source := &fakeSource{read: func(_ context.Context, _ *fakeReader, out *Output) (any, error) {
		for range 90 {
			out.Append(nil, make([]byte, 10_000), wire.NoTime, nil, 0)
		}
		returned.Add(1)
		return 1, nil
	}}
	h := newHost(t, []*Component{sourceNamed("source", source)})
	h.unread = true
	o := openOf(memberOf("source", toHost("out")))
	task := h.start(o)
	task.hear("Opened", func(m *pluginv1.ControlResponse) bool { return m.GetOpened() != nil })
	run, err := h.client.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	task.run = run
	task.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{Task: o.Task}}})
	task.assign(splitsOf("a")...)
	tk := h.server.find(o.Task)
	eventually(t, "the sender is full", func() bool {
		tk.sender.mu.Lock()
		defer tk.sender.mu.Unlock()
		return tk.sender.batches == maxQueued
	})
	// A small number of hand-overs waits; then the reader does.
	before := returned.Load()
	eventually(t, "the reader is held up between reads", func() bool {
		now := returned.Load()
		same := now == before
		before = now
		time.Sleep(20 * time.Millisecond)
		return same
	})
	if n := returned.Load(); n > 8 {
		t.Errorf("%d reads returned although nothing leaves", n)
	}
	task.close()
}

func TestAReaderAsksForSplitsAtFirstAndWhenOneHasEnded(t *testing.T) {
	source := &fakeSource{counts: map[string]int{"a": 1, "b": 1}, concurrent: 2}
	task := openSource(t, source, &pluginv1.Entry{Kind: pluginv1.Entry_KIND_SPLIT, Id: "a", Content: payload([]byte(`{"ordinal":0}`))})
	ended := task.hear("the request behind the split", func(m *pluginv1.ControlResponse) bool { return len(m.GetSplitRequest().GetEnded()) > 0 }).GetSplitRequest()
	first := task.heard(func(m *pluginv1.ControlResponse) bool { return m.GetSplitRequest() != nil })[0].GetSplitRequest()
	if first.Want != 1 || first.Held != 1 || len(first.Ended) != 0 {
		t.Errorf("first request %v; requests are repeated after a restore", first)
	}
	if ended.Want != 2 || ended.Held != 0 || !slices.Equal(ended.Ended, []string{"a"}) {
		t.Errorf("second request %v", ended)
	}
	task.close()
}

func TestASourceIsExhaustedWhenNothingIsHeldAndNothingComes(t *testing.T) {
	source := &fakeSource{counts: map[string]int{"a": 5}, perRead: 1}
	task := openSource(t, source)
	task.noMoreSplits()
	exhausted(task)
	// It stays open and answers barriers.
	task.barrier(1, atEnd)
	task.passed(1)
	task.barrier(2, atEnd)
	task.passed(2)
	if n := len(task.heard(func(m *pluginv1.ControlResponse) bool { return m.GetExhausted() != nil })); n != 1 {
		t.Errorf("Exhausted %d times", n)
	}
	task.close()
}

func TestASplitWaitingForItsTurnIsInTheSnapshot(t *testing.T) {
	source := &fakeSource{concurrent: 1, read: func(ctx context.Context, _ *fakeReader, _ *Output) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	task := openSource(t, source)
	splits := splitsOf("a", "b")
	splits[1].Position = []byte("17")
	task.assign(splits...)
	task.barrier(1)
	entries := task.snapshot(1)
	if len(entries) != 2 || string(entries[0].GetPayload()) != `{"ordinal":0,"split":{"of":"a"}}` ||
		string(entries[1].GetPayload()) != `{"ordinal":1,"split":{"of":"b"},"position":17}` {
		t.Errorf("%v", entries)
	}
	task.close()
}

// TestASplitIsReadOnFromItsRestoredPosition also sees that description and position
// reach the source as they were.
func TestASplitIsReadOnFromItsRestoredPosition(t *testing.T) {
	var opened []string
	var mu sync.Mutex
	source := &fakeSource{counts: map[string]int{"a": 10}, perRead: 3, openSplit: func(s Split, position []byte) error {
		mu.Lock()
		defer mu.Unlock()
		opened = append(opened, fmt.Sprintf("%s %s %s", s.ID, s.Data, position))
		return nil
	}}
	first := openSource(t, source)
	first.assign(splitsOf("a")...)
	first.values(6)
	first.barrier(1)
	entries := first.snapshot(1)
	at := positions(t, entries)["a"]
	if len(entries) == 0 {
		at = 10
	}
	first.close()
	second := openSource(t, source, entries...)
	second.noMoreSplits()
	exhausted(second)
	second.barrier(2, atEnd)
	second.passed(2)
	got := second.values(0)
	if len(got) != 10-at || len(got) > 0 && got[0] != fmt.Sprintf("a:%d", at) {
		t.Errorf("restored at %d, read %v", at, got)
	}
	second.close()
	if len(opened) > 1 && opened[1] != fmt.Sprintf(`a {"of":"a"} %d`, at) {
		t.Errorf("%v", opened)
	}
}

func TestHaltStopsReading(t *testing.T) {
	stopped := make(chan struct{})
	source := &fakeSource{counts: map[string]int{"a": 1 << 30}, perRead: 10}
	source.read = func(ctx context.Context, r *fakeReader, out *Output) (any, error) {
		if r.id == "waits" {
			<-ctx.Done()
			close(stopped)
			return nil, ctx.Err()
		}
		return r.readSome(out)
	}
	task := openSource(t, source)
	task.assign(splitsOf("a", "waits")...)
	task.values(100)
	task.barrier(1, halting)
	task.passed(1)
	at := positions(t, task.snapshot(1))["a"]
	<-stopped
	task.close()
	if got := len(task.values(0)); got != at || !strings.HasSuffix(task.shape(), "barrier(1)") {
		t.Errorf("halted at %d, but %d records left: ...%s", at, got, task.shape()[max(0, len(task.shape())-60):])
	}
}

// TestAHaltWhoseCheckpointFailedIsAskedForAgain answers another barrier with halt,
// at the same place: nothing has been read or processed in between.
func TestAHaltWhoseCheckpointFailedIsAskedForAgain(t *testing.T) {
	task := openSource(t, &fakeSource{counts: map[string]int{"a": 1 << 30}, perRead: 10})
	task.assign(splitsOf("a")...)
	task.values(100)
	task.barrier(1, halting)
	task.passed(1)
	first := positions(t, task.snapshot(1))["a"]
	task.barrier(2, halting)
	task.passed(2)
	if second := positions(t, task.snapshot(2))["a"]; second != first || !strings.HasSuffix(task.shape(), "barrier(1) barrier(2)") {
		t.Errorf("halted at %d, then at %d: ...%s", first, second, task.shape()[max(0, len(task.shape())-60):])
	}
	task.close()
}

func TestASourceLearnsThePositionsOfACompletedCheckpoint(t *testing.T) {
	type told struct {
		n  uint64
		at string
	}
	heard := make(chan told, 10)
	source := &fakeSource{counts: map[string]int{"a": 3, "b": 1 << 30}, perRead: 1, completed: func(n uint64, at map[string][]byte) {
		heard <- told{n, string(at["b"])}
	}}
	source.read = func(ctx context.Context, r *fakeReader, out *Output) (any, error) {
		if r.next == 2 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return r.readSome(out)
	}
	task := openSource(t, source)
	task.assign(splitsOf("b")...)
	task.values(2)
	task.barrier(1)
	task.barrier(2)
	task.barrier(3)
	task.passed(3)
	task.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Aborted{Aborted: &pluginv1.Aborted{Checkpoint: 1}}})
	task.completed(2)
	if got := <-heard; got != (told{2, "2"}) {
		t.Errorf("%v", got)
	}
	task.completed(2)
	task.completed(3)
	if got := <-heard; got != (told{3, "2"}) {
		t.Errorf("%v", got)
	}
	task.close()
}

func TestAReaderThatReturnsNothingAgainAndAgainIsSlowedDown(t *testing.T) {
	var reads atomic.Int32
	source := &fakeSource{read: func(context.Context, *fakeReader, *Output) (any, error) { reads.Add(1); return 0, nil }}
	task := openSource(t, source)
	task.assign(splitsOf("a")...)
	time.Sleep(200 * time.Millisecond)
	if n := reads.Load(); n > 100 {
		t.Errorf("%d reads in a fifth of a second", n)
	}
	if len(task.heard(func(m *pluginv1.ControlResponse) bool { return m.GetChanged() != nil })) != 1 {
		t.Error("an empty read is not a change; the assignment is one")
	}
	task.close()
}

func TestReadersOfATaskRunConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	wg.Add(3)
	source := &fakeSource{read: func(context.Context, *fakeReader, *Output) (any, error) {
		wg.Done()
		wg.Wait() // for the other two
		return 1, io.EOF
	}}
	task := openSource(t, source)
	task.assign(splitsOf("a", "b", "c")...)
	task.noMoreSplits()
	exhausted(task)
	task.close()
}

func TestASourceIsNotToldOfAnAbortedCheckpoint(t *testing.T) {
	r := &reading{positions: []completedAt{{checkpoint: 1}, {checkpoint: 2}, {checkpoint: 3}, {checkpoint: 4}}}
	r.observed.ready = make(chan struct{}, 1)
	r.outcome(checkpointOutcome{checkpoint: 2})
	if told := r.observed.take(); len(told) > 0 || len(r.positions) != 3 {
		t.Errorf("told of %v, %d checkpoints are open", told, len(r.positions))
	}
	r.outcome(checkpointOutcome{checkpoint: 3, completed: true})
	if told := r.observed.take(); len(told) != 1 || told[0].checkpoint != 3 || len(r.positions) != 1 {
		t.Errorf("told of %v, %d checkpoints are open", told, len(r.positions))
	}
}

// A reader that may read so many records reads those and no more, whatever a Read that
// failed has put out; it goes on to answer barriers, with the position behind them.
func TestAReaderStopsAtItsLimit(t *testing.T) {
	failed := false
	source := &fakeSource{counts: map[string]int{"a": 100}}
	source.read = func(_ context.Context, r *fakeReader, out *Output) (any, error) {
		for !out.Full() && r.next < 100 {
			out.Append(nil, fmt.Append(nil, r.next), wire.NoTime, nil, int64(r.next))
			r.next++
			if r.next == 3 && !failed {
				failed, r.next = true, 0
				return nil, &RetryError{Err: errors.New("not now"), After: time.Millisecond}
			}
		}
		return r.next, nil
	}
	h := newHost(t, []*Component{sourceNamed("src", source)})
	open := openOf(memberOf("src", toHost("out")))
	open.Limits.ReadRecords = 7
	task := h.open(open)
	task.assign(&pluginv1.Split{Id: "a"})
	task.hear("word of the limit", func(m *pluginv1.ControlResponse) bool { return m.GetReport().GetLimitReached() })
	task.barrier(1, halting)
	task.passed(1)
	if got := task.values(7); len(got) != 7 || got[0] != "0" || got[6] != "6" {
		t.Errorf("read %q", got)
	}
	if e := task.snapshot(1); len(e) != 1 || !strings.Contains(string(e[0].GetPayload()), `"position":7`) {
		t.Errorf("%v", e)
	}
	task.close()
}
