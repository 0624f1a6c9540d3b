package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// listed is a source that lists these splits, all at once and for good.
func listed(splits ...Split) *fakeSource {
	return &fakeSource{list: func(context.Context, []byte) ([]Split, []byte, bool, error) { return splits, nil, false, nil }}
}

func named(ids ...string) []Split {
	var out []Split
	for _, id := range ids {
		out = append(out, Split{ID: id, Data: []byte(`{}`)})
	}
	return out
}

func openEnumerator(t testing.TB, source *fakeSource, readers uint32, held []string, restore ...*pluginv1.Entry) *hostTask {
	h := newHost(t, []*Component{sourceNamed("source", source)})
	o := enumeratorOf(memberOf("source"), readers)
	o.HeldSplits = held
	return h.open(o, restore...)
}

func (t *hostTask) want(reader, want, held uint32, ended ...string) {
	t.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_SplitRequest{SplitRequest: &pluginv1.SplitRequest{
		Reader: reader, Want: want, Held: held, Ended: ended,
	}}})
}

// sees waits until the frames are these.
func (t *hostTask) sees(shape string) {
	t.h.t.Helper()
	deadline := time.Now().Add(patience)
	for t.shape() != shape {
		if time.Now().After(deadline) {
			t.h.t.Fatalf("%s, want %s", t.shape(), shape)
		}
		time.Sleep(time.Millisecond)
	}
}

// state is the enumerator's entry of a checkpoint.
func (t *hostTask) state(n uint64) (enumeratorState, *pluginv1.Entry) {
	t.h.t.Helper()
	entries := t.snapshot(n)
	if len(entries) != 1 || entries[0].Kind != pluginv1.Entry_KIND_ENUMERATOR {
		t.h.t.Fatalf("%v", entries)
	}
	var s enumeratorState
	if err := json.Unmarshal(entries[0].GetPayload(), &s); err != nil {
		t.h.t.Fatal(err)
	}
	return s, entries[0]
}

func TestNothingIsAssignedBeforeEveryReaderHasAsked(t *testing.T) {
	task := openEnumerator(t, listed(named("a", "b", "c", "d")...), 2, nil)
	task.want(0, 10, 0)
	task.barrier(1)
	task.barrier(2)
	task.passed(2)
	task.want(1, 10, 0)
	task.sees("barrier(1) barrier(2) assign[0](a,c) assign[1](b,d) no-more[0] no-more[1]")
	task.close()
}

func TestSplitsGoToReadersWithRoomInOrderOfEnumeration(t *testing.T) {
	task := openEnumerator(t, listed(named("a", "b", "c", "d", "e")...), 2, nil)
	task.want(0, 1, 0)
	task.want(1, 2, 0)
	task.sees("assign[0](a) assign[1](b,c)")
	task.want(1, 1, 1, "b")
	task.sees("assign[0](a) assign[1](b,c) assign[1](d)")
	task.want(0, 1, 0, "a")
	task.sees("assign[0](a) assign[1](b,c) assign[1](d) assign[0](e) no-more[0] no-more[1]")
	task.close()
}

// TestAReaderThatHoldsRestoredSplitsGetsFewer balances by what readers hold.
func TestAReaderThatHoldsRestoredSplitsGetsFewer(t *testing.T) {
	task := openEnumerator(t, listed(named("a", "b", "c")...), 2, []string{"x", "y"})
	task.want(0, 100, 2)
	task.want(1, 100, 0)
	task.sees("assign[0](c) assign[1](a,b) no-more[0] no-more[1]")
	task.close()
}

func TestASplitWaitsUntilThoseAfterWhichItIsReadHaveEnded(t *testing.T) {
	splits := named("a", "b", "c")
	splits[1].After = []string{"a", "c"}
	task := openEnumerator(t, listed(splits...), 1, nil)
	task.want(0, 10, 0)
	task.sees("assign[0](a,c)")
	task.want(0, 10, 1, "a")
	task.barrier(1)
	task.sees("assign[0](a,c) barrier(1)")
	task.want(0, 10, 0, "c")
	task.sees("assign[0](a,c) barrier(1) assign[0](b) no-more[0]")
	task.close()
}

// TestASplitThatEndedBeforeTheCheckpointLetsOthersGo restores with what readers
// hold: what was assigned and is not held has ended.
func TestASplitThatEndedBeforeTheCheckpointLetsOthersGo(t *testing.T) {
	splits := named("a", "b", "c")
	splits[2].After = []string{"a"}
	first := openEnumerator(t, listed(splits...), 1, nil)
	first.want(0, 10, 0)
	first.sees("assign[0](a,b)")
	first.barrier(1)
	s, entry := first.state(1)
	if !slices.Equal(s.Assigned, []string{"a", "b"}) || len(s.Unassigned) != 1 || s.Unassigned[0].ID != "c" || s.Unassigned[0].Ordinal != 2 || s.More || !s.Listed {
		t.Errorf("%s", entry.GetPayload())
	}
	first.close()

	again := openEnumerator(t, listed(splits...), 1, []string{"b"}, entry)
	again.want(0, 10, 1)
	again.sees("assign[0](c) no-more[0]")
	again.barrier(2)
	s, entry = again.state(2)
	if !slices.Equal(s.Assigned, []string{"b", "c"}) || !slices.Equal(s.Ended, []string{"a"}) || s.Next != 3 {
		t.Errorf("%s", entry.GetPayload())
	}
	again.close()

	held := openEnumerator(t, listed(splits...), 1, []string{"a", "b"}, func() *pluginv1.Entry { _, e := first.state(1); return e }())
	held.want(0, 10, 2)
	held.barrier(2)
	held.passed(2)
	held.sees("barrier(2)")
	held.close()
}

func TestASplitThatWaitsForNothingThatCanEndIsFatal(t *testing.T) {
	splits := named("a", "b")
	splits[1].After = []string{"never"}
	task := openEnumerator(t, listed(splits...), 1, nil)
	task.want(0, 10, 0)
	task.sees("assign[0](a)")
	task.want(0, 10, 0, "a")
	if e := task.failed(); e.Class != pluginv1.Error_CLASS_FATAL || !strings.Contains(e.Message, `"b" waits for ["never"]`) {
		t.Errorf("%v", e)
	}
	task.ended()
}

// TestASplitIdIsNeverUsedTwice covers one listing and, for a source with a cursor,
// two.
func TestASplitIdIsNeverUsedTwice(t *testing.T) {
	again := &fakeSource{interval: time.Millisecond, list: func(_ context.Context, cursor []byte) ([]Split, []byte, bool, error) {
		return named("a"), []byte("next"), true, nil
	}}
	for name, source := range map[string]*fakeSource{
		"in a listing":     listed(named("a", "b", "a")...),
		"behind a cursor":  again,
		"without any name": listed(named("")...),
	} {
		t.Run(name, func(t *testing.T) {
			task := openEnumerator(t, source, 1, nil)
			if e := task.failed(); e.Class != pluginv1.Error_CLASS_FATAL || !strings.Contains(e.Message, "Splits of component") {
				t.Errorf("%v", e)
			}
			task.ended()
		})
	}
}

// TestSplitsFoundLaterAreAssignedLater lists all anew each time: those seen are
// not given again.
func TestSplitsFoundLaterAreAssignedLater(t *testing.T) {
	var calls atomic.Int32
	source := &fakeSource{interval: time.Millisecond}
	source.list = func(_ context.Context, cursor []byte) ([]Split, []byte, bool, error) {
		if cursor != nil {
			return nil, nil, false, errors.New("a cursor came out of nothing")
		}
		switch n := calls.Add(1); {
		case n < 3:
			return named("a"), nil, true, nil
		case n < 6:
			return named("b", "a"), nil, true, nil
		}
		return named("c", "b", "a"), nil, false, nil
	}
	task := openEnumerator(t, source, 1, nil)
	task.want(0, 100, 0)
	task.sees("assign[0](a) assign[0](b) assign[0](c) no-more[0]")
	if n := calls.Load(); n != 6 {
		t.Errorf("listed %d times", n)
	}
	task.close()
}

// TestACursorKeepsWhatIsSeenBounded ends thousands of splits and finds none of them
// in the snapshot.
func TestACursorKeepsWhatIsSeenBounded(t *testing.T) {
	source := &fakeSource{interval: time.Microsecond}
	source.list = func(_ context.Context, cursor []byte) ([]Split, []byte, bool, error) {
		n := 0
		if cursor != nil {
			_, _ = fmt.Sscan(string(cursor), &n)
		}
		if n == 3000 {
			return nil, cursor, true, nil
		}
		var out []Split
		for i := range 100 {
			out = append(out, Split{ID: fmt.Sprint("s", n+i), Data: []byte(`{}`)})
		}
		return out, fmt.Append(nil, n+100), true, nil
	}
	task := openEnumerator(t, source, 1, nil)
	task.want(0, 1<<20, 0)
	var all []string
	task.await("all assigned", func() bool {
		all = nil
		for _, f := range task.frames {
			for _, s := range f.message.GetAssign().GetSplits() {
				all = append(all, s.GetId())
			}
		}
		return len(all) == 3000
	})
	task.want(0, 1<<20, 5, all[:2995]...)
	// Control and Run are not ordered among each other.
	eventually(t, "the ended ones are known", func() bool {
		n := uint64(len(task.heard(func(m *pluginv1.ControlResponse) bool { return m.GetSnapshotDone() != nil })) + 1)
		task.barrier(n)
		s, entry := task.state(n)
		return len(s.Assigned) == 5 && len(s.Ended) == 0 && *s.Cursor == "3000" && len(entry.GetPayload()) < 500
	})
	task.close()
}

// TestABarrierDoesNotWaitForAListing has a listing that does not return.
func TestABarrierDoesNotWaitForAListing(t *testing.T) {
	source := &fakeSource{list: func(ctx context.Context, _ []byte) ([]Split, []byte, bool, error) {
		<-ctx.Done()
		return nil, nil, false, ctx.Err()
	}}
	task := openEnumerator(t, source, 1, nil)
	task.want(0, 1, 0)
	task.barrier(1)
	task.passed(1)
	s, entry := task.state(1)
	if s.Listed || !s.More {
		t.Errorf("%s", entry.GetPayload())
	}
	task.close()
}

// TestAnAssignmentIsWhollyBeforeOrBehindABarrier sends barriers at random moments
// and compares each snapshot with what had left before it.
func TestAnAssignmentIsWhollyBeforeOrBehindABarrier(t *testing.T) {
	rng := seeded(t)
	var splits []Split
	for i := range 400 {
		splits = append(splits, Split{ID: fmt.Sprint("s", i), Data: []byte(`{}`)})
	}
	task := openEnumerator(t, listed(splits...), 3, nil)
	held := [3]uint32{}
	n := uint64(0)
	for range 200 {
		if rng.IntN(3) == 0 {
			n++
			task.barrier(n)
		}
		i := rng.IntN(3)
		held[i] += uint32(rng.IntN(4))
		task.want(uint32(i), held[i], 0)
	}
	n++
	task.barrier(n)
	task.passed(n)
	given := []string{}
	for _, f := range task.received() {
		for _, s := range f.message.GetAssign().GetSplits() {
			given = append(given, s.GetId())
		}
		if b := f.message.GetBarrier(); b != nil {
			s, _ := task.state(b.Checkpoint)
			slices.Sort(given)
			if !slices.Equal(s.Assigned, given) {
				t.Fatalf("checkpoint %d: %d assigned in the snapshot, %d left before the barrier", b.Checkpoint, len(s.Assigned), len(given))
			}
			if s.Listed && len(s.Assigned)+len(s.Unassigned) != len(splits) {
				t.Fatalf("checkpoint %d: %d splits in all", b.Checkpoint, len(s.Assigned)+len(s.Unassigned))
			}
		}
	}
	task.close()
}

func TestAnEndedSourceIsNotListedAgainAfterARestore(t *testing.T) {
	first := openEnumerator(t, listed(named("a")...), 1, nil)
	first.want(0, 1, 0)
	first.sees("assign[0](a) no-more[0]")
	first.barrier(1)
	_, entry := first.state(1)
	first.close()
	source := &fakeSource{list: func(context.Context, []byte) ([]Split, []byte, bool, error) {
		return nil, nil, false, errors.New("listed again")
	}}
	second := openEnumerator(t, source, 2, nil, entry)
	second.want(0, 1, 0)
	second.want(1, 1, 0)
	second.sees("no-more[0] no-more[1]")
	second.close()
}

func TestAListingThatAsksForARetryIsRepeated(t *testing.T) {
	calls := 0
	source := &fakeSource{}
	source.list = func(context.Context, []byte) ([]Split, []byte, bool, error) {
		if calls++; calls < 3 {
			return nil, nil, false, &RetryError{Err: errTest, After: time.Millisecond}
		}
		return named("a"), nil, false, nil
	}
	task := openEnumerator(t, source, 1, nil)
	task.want(0, 1, 0)
	task.sees("assign[0](a) no-more[0]")
	task.close()
}

func TestAnEnumeratorTellsOfChanges(t *testing.T) {
	changed := func(m *pluginv1.ControlResponse) bool { return m.GetChanged() != nil }
	task := openEnumerator(t, listed(named("a")...), 1, nil)
	task.hear("Changed", changed)
	task.want(0, 1, 0)
	task.sees("assign[0](a) no-more[0]")
	task.barrier(1)
	task.passed(1)
	if n := len(task.heard(changed)); n != 1 {
		t.Errorf("Changed %d times before the first barrier", n)
	}
	task.want(0, 1, 0, "a")
	task.await("Changed after barrier 1", func() bool {
		for _, m := range task.said {
			if m.GetChanged().GetAfter() == 1 {
				return true
			}
		}
		return false
	})
	task.close()
}

func TestABinaryCursorSurvivesASnapshot(t *testing.T) {
	cursor := []byte{0xff, 0, 'x'}
	got := make(chan []byte, 10)
	source := &fakeSource{interval: time.Microsecond, list: func(_ context.Context, c []byte) ([]Split, []byte, bool, error) {
		select {
		case got <- c:
		default:
		}
		return nil, cursor, true, nil
	}}
	first := openEnumerator(t, source, 1, nil)
	<-got
	<-got
	first.barrier(1)
	_, entry := first.state(1)
	first.close()
	for len(got) > 0 {
		<-got
	}
	second := openEnumerator(t, source, 1, nil, entry)
	if c := <-got; !slices.Equal(c, cursor) {
		t.Errorf("%q", c)
	}
	second.close()
}
