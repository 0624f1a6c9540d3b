package edge

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

func TestAChannelKeepsItsOrder(t *testing.T) {
	p := wire.NewPoisonedPool()
	in, c := openAll(DefaultLimits(), 7)
	push(t, c[0], batchOf(t, p, 0, "a"), WatermarkItem(1), batchOf(t, p, 3, "b", "c"), BarrierItem(Barrier{Checkpoint: 1}), batchOf(t, p, 0, "d"))
	expectNext(t, p, in, "[a] at port 7", "watermark 1", "[b c] at port 7", "barrier 1", "[d] at port 7")
	expectNothing(t, p, in)
	expectNothingLive(t, p)
}

func TestChannelsTakeTurns(t *testing.T) {
	p := wire.NewPoisonedPool()
	in, c := openAll(DefaultLimits(), 0, 1, 2)
	for i, values := range []string{"aaaa", "b", "cc"} {
		for _, v := range values {
			push(t, c[i], batchOf(t, p, 0, string(v)))
		}
	}
	expectNext(t, p, in, "[a] at port 0", "[b] at port 1", "[c] at port 2", "[a] at port 0", "[c] at port 2", "[a] at port 0", "[a] at port 0")
	expectNothingLive(t, p)
}

// Alignment: what precedes a barrier on each channel, and nothing else, comes
// before it.
func TestABarrierComesAfterAllThatPrecedesItOnEveryChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := wire.NewPoisonedPool()
		in, c := openAll(DefaultLimits(), 0, 1)
		push(t, c[0], batchOf(t, p, 0, "fast 1"), BarrierItem(Barrier{Checkpoint: 4}), batchOf(t, p, 0, "fast 2"), WatermarkItem(9))
		expectNext(t, p, in, "[fast 1] at port 0")
		expectNothing(t, p, in)
		checkpoint, _, awaited := in.Awaited()
		if checkpoint != 4 || len(awaited) != 1 || awaited[0] != c[1].ID() {
			t.Fatalf("checkpoint %d awaits %v", checkpoint, awaited)
		}
		time.Sleep(time.Second)
		push(t, c[1], batchOf(t, p, 0, "slow 1"), WatermarkItem(3))
		expectNext(t, p, in, "[slow 1] at port 1")
		expectNothing(t, p, in)
		push(t, c[1], BarrierItem(Barrier{Checkpoint: 4}), batchOf(t, p, 0, "slow 2"))
		it, err := in.Next(t.Context())
		if err != nil || it.Barrier != (Barrier{Checkpoint: 4}) {
			t.Fatalf("%+v, %v", it, err)
		}
		if it.Alignment.Took != time.Second || it.Alignment.Last != c[1] {
			t.Fatalf("alignment %+v", it.Alignment)
		}
		if s := in.Stats(); s[0].Aligning != time.Second || s[1].Aligning != 0 || s[0].Held {
			t.Fatalf("stats %+v", s)
		}
		expectNext(t, p, in, "[fast 2] at port 0", "[slow 2] at port 1", "watermark 3")
		expectNothing(t, p, in)
		if checkpoint, _, _ := in.Awaited(); checkpoint != 0 {
			t.Fatalf("checkpoint %d is still under way", checkpoint)
		}
		expectNothingLive(t, p)
	})
}

func TestInputEndsWhereItEndsOnAllChannels(t *testing.T) {
	p := wire.NewPool()
	in, c := openAll(DefaultLimits(), 0, 1)
	push(t, c[0], BarrierItem(Barrier{Checkpoint: 1, End: true}), BarrierItem(Barrier{Checkpoint: 2, End: true}))
	push(t, c[1], BarrierItem(Barrier{Checkpoint: 1}), BarrierItem(Barrier{Checkpoint: 2, End: true}))
	expectNext(t, p, in, "barrier 1", "barrier 2 end")
}

func TestHaltAndRollHoldWhereOneChannelSaysSo(t *testing.T) {
	p := wire.NewPool()
	in, c := openAll(DefaultLimits(), 0, 1)
	for i, b := range [][2]Barrier{{{Roll: true}, {}}, {{}, {Roll: true}}, {{}, {}}, {{Halt: true}, {}}, {{}, {Halt: true}}} {
		for k, b := range b {
			b.Checkpoint = uint64(i) + 1
			push(t, c[k], BarrierItem(b))
		}
	}
	expectNext(t, p, in, "barrier 1 roll", "barrier 2 roll", "barrier 3", "barrier 4 halt", "barrier 5 halt")
}

func TestWhatBreaksTheProtocolNamesTheChannel(t *testing.T) {
	barrier := func(n uint64) Item { return BarrierItem(Barrier{Checkpoint: n}) }
	for name, first := range map[string][2][]Item{
		"a barrier twice":            {{barrier(1), barrier(1)}, {barrier(1)}},
		"a barrier that goes back":   {{barrier(2), barrier(1)}, {barrier(2)}},
		"barriers that differ":       {{barrier(2)}, {barrier(1)}},
		"a skipped barrier":          {{barrier(1), barrier(2)}, {barrier(1), barrier(3)}},
		"a watermark that goes back": {{WatermarkItem(5), barrier(1), WatermarkItem(4)}, {barrier(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			in, c := openAll(DefaultLimits(), 0, 1)
			push(t, c[1], first[1]...)
			push(t, c[0], first[0]...)
			var err error
			for err == nil {
				_, err = in.Next(t.Context())
			}
			if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "a.out -> b.in (task ") {
				t.Fatal(err)
			}
			if _, again := in.Next(t.Context()); !errors.Is(again, ErrProtocol) {
				t.Fatalf("after the error: %v", again)
			}
		})
	}
}

func TestNothingIsProcessedBehindAHaltBarrier(t *testing.T) {
	p := wire.NewPoisonedPool()
	in, c := openAll(DefaultLimits(), 0)
	push(t, c[0], BarrierItem(Barrier{Checkpoint: 1, Halt: true}), batchOf(t, p, 0, "late"))
	expectNext(t, p, in, "barrier 1 halt")
	if _, err := in.Next(t.Context()); !errors.Is(err, ErrProtocol) {
		t.Fatal(err)
	}
	expectNothingLive(t, p)
}

func TestTheWatermarkIsTheMinimumOfChannelsThatAreNotIdle(t *testing.T) {
	p := wire.NewPool()
	in, c := openAll(DefaultLimits(), 0, 1)
	push(t, c[0], WatermarkItem(10))
	expectNothing(t, p, in) // the other has said nothing yet
	push(t, c[1], WatermarkItem(5))
	expectNext(t, p, in, "watermark 5")
	push(t, c[1], WatermarkItem(7))
	expectNext(t, p, in, "watermark 7")
	push(t, c[1], IdleItem(false))
	expectNext(t, p, in, "watermark 10")
	push(t, c[1], WatermarkItem(8)) // wakes behind the others: nothing goes back
	expectNothing(t, p, in)
	push(t, c[0], WatermarkItem(20))
	expectNothing(t, p, in)
	push(t, c[0], IdleItem(false))
	expectNothing(t, p, in)
	push(t, c[1], IdleItem(false))
	expectNext(t, p, in, "idle")
	push(t, c[0], IdleItem(false))
	expectNothing(t, p, in)
	push(t, c[1], WatermarkItem(9)) // active again, though nothing rose
	expectNext(t, p, in, "watermark 10")
	push(t, c[1], WatermarkItem(math.MaxInt64))
	expectNext(t, p, in, "watermark 9223372036854775807")
}

// A task without a split is left out while another of its source has one. While none
// has, the watermark is held: what the source brings next is not late because another
// source is ahead.
func TestASourceWithoutSplitsHoldsTheWatermark(t *testing.T) {
	p := wire.NewPool()
	in := NewInput(DefaultLimits())
	left := in.Open(ID{Edge: "left"}, 0)
	right := []*Channel{in.Open(ID{Edge: "right"}, 1), in.Open(ID{Edge: "right", From: 1}, 1)}
	push(t, left, IdleItem(true))
	push(t, right[0], IdleItem(true))
	expectNothing(t, p, in)
	push(t, right[1], IdleItem(true))
	expectNext(t, p, in, "idle") // nobody has one: whoever is behind decides
	push(t, left, WatermarkItem(10), BarrierItem(Barrier{Checkpoint: 1}))
	expectNext(t, p, in, "watermark -9223372036854775808")
	push(t, right[0], WatermarkItem(5), BarrierItem(Barrier{Checkpoint: 1}))
	expectNext(t, p, in, "watermark 5") // the other task of right is left out
	push(t, right[1], BarrierItem(Barrier{Checkpoint: 1}))
	expectNext(t, p, in, "barrier 1")
	push(t, right[0], IdleItem(true)) // its last split has ended, another may come
	push(t, left, WatermarkItem(math.MaxInt64))
	expectNothing(t, p, in)
	push(t, right[1], WatermarkItem(7))
	expectNext(t, p, in, "watermark 7")
	push(t, right[1], IdleItem(false)) // a split from which nothing comes does not hold it
	expectNext(t, p, in, "watermark 9223372036854775807")
}

func TestOnlyTheNewestOfUnseenWatermarksIsKept(t *testing.T) {
	p := wire.NewPool()
	in, c := openAll(DefaultLimits(), 0)
	for i := range 1000 {
		push(t, c[0], IdleItem(false), WatermarkItem(int64(i)), WatermarkItem(int64(i)), IdleItem(false), IdleItem(false))
	}
	if n := in.Stats()[0].QueuedItems; n != 2 {
		t.Fatalf("%d items are queued", n)
	}
	expectNext(t, p, in, "watermark 999", "idle")
}

// Memory: a channel has room of its own, or for one larger batch.
func TestALargeBatchPassesAlone(t *testing.T) {
	p := wire.NewPoisonedPool()
	_, c := openAll(Limits{Reserve: 1000, Channel: 1000}, 0)
	push(t, c[0], sized(t, p, 5000))
	expectFull(t, c[0], sized(t, p, 100))
	in := c[0].in
	free(t, in)
	push(t, c[0], sized(t, p, 600), sized(t, p, 400))
	expectFull(t, c[0], sized(t, p, 100))
	free(t, in)
	push(t, c[0], sized(t, p, 600))
	in.Close()
	expectNothingLive(t, p)
}

// Memory: what alignment holds back cannot take another channel's room.
func TestABlockedChannelCannotTakeAnothersRoom(t *testing.T) {
	p := wire.NewPoisonedPool()
	in, c := openAll(Limits{Reserve: 1000, Channel: 10_000, Common: 5000}, 0, 1)
	push(t, c[0], BarrierItem(Barrier{Checkpoint: 1}))
	for range 6 { // 1000 of its own, 5000 in common
		push(t, c[0], sized(t, p, 1000))
	}
	expectFull(t, c[0], sized(t, p, 1000))
	expectNothing(t, p, in)
	for range 20 {
		push(t, c[1], sized(t, p, 1000))
		free(t, in)
	}
	push(t, c[1], BarrierItem(Barrier{Checkpoint: 1}))
	expectNext(t, p, in, "barrier 1")
	in.Close()
	expectNothingLive(t, p)
}

func TestAChannelTakesOnlyItsShareOfTheBudget(t *testing.T) {
	p := wire.NewPoisonedPool()
	in, c := openAll(Limits{Reserve: 1000, Channel: 3000, Common: 1 << 20}, 0, 1)
	push(t, c[0], sized(t, p, 1000), sized(t, p, 1000), sized(t, p, 1000))
	expectFull(t, c[0], sized(t, p, 100))
	if s := in.Stats()[0]; s.QueuedBytes != 3000 || s.QueuedItems != 3 || s.Bytes != 3000 || s.Batches != 3 {
		t.Fatalf("%+v", s)
	}
	in.Close()
	expectNothingLive(t, p)
}

// Memory: barriers, watermarks and control never need room.
func TestBarriersNeedNoRoom(t *testing.T) {
	p := wire.NewPoisonedPool()
	in, c := openAll(Limits{Reserve: 1000, Channel: 1000}, 0)
	push(t, c[0], sized(t, p, 5000))
	push(t, c[0], WatermarkItem(1), BarrierItem(Barrier{Checkpoint: 1}), IdleItem(false))
	push(t, c[0], FrameItem(frameOf(t, &pluginv1.Frame{Kind: &pluginv1.Frame_Assign{
		Assign: &pluginv1.Assign{Splits: []*pluginv1.Split{{Id: "s"}}},
	}})))
	free(t, in)
	expectNext(t, p, in, "watermark 1", "barrier 1", "idle", "splits")
	expectNothingLive(t, p)
}

func TestPushWaitsForRoomAndSaysHowLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := wire.NewPoisonedPool()
		in, c := openAll(Limits{Reserve: 1000, Channel: 2000, Common: 1000}, 0, 1)
		push(t, c[0], sized(t, p, 1000), sized(t, p, 1000)) // the second in common
		push(t, c[1], sized(t, p, 1000))
		done := make(chan error)
		it := sized(t, p, 1000)
		go func() { done <- c[1].Push(t.Context(), it) }()
		time.Sleep(time.Second)
		synctest.Wait()
		if s := in.Stats()[1]; s.Blocked != time.Second || s.QueuedItems != 1 {
			t.Fatalf("while it waits: %+v", s)
		}
		free(t, in) // of channel 0, own room: no help
		synctest.Wait()
		if s := in.Stats()[1]; s.QueuedItems != 1 {
			t.Fatal("pushed without room")
		}
		free(t, in) // of channel 1
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if c[1].Blocked() != time.Second {
			t.Fatalf("blocked for %v", c[1].Blocked())
		}
		in.Close()
		expectNothingLive(t, p)
	})
}

func TestCommonRoomWakesWhoeverWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := wire.NewPoisonedPool()
		in, c := openAll(Limits{Reserve: 100, Channel: 5000, Common: 1000}, 0, 1)
		push(t, c[1], BarrierItem(Barrier{Checkpoint: 1})) // never read from here on
		push(t, c[1], sized(t, p, 100))
		push(t, c[0], sized(t, p, 100), sized(t, p, 1000))
		done := make(chan error)
		it := sized(t, p, 1000)
		go func() { done <- c[1].Push(t.Context(), it) }()
		synctest.Wait()
		free(t, in)
		free(t, in)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		in.Close()
		expectNothingLive(t, p)
	})
}

func TestClosingWakesAll(t *testing.T) {
	for name, end := range map[string]func(*Input, []*Channel){
		"input":    func(in *Input, _ []*Channel) { in.Close(); in.Close() },
		"channels": func(_ *Input, c []*Channel) { c[0].Close(); c[1].Close(); c[0].Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := wire.NewPoisonedPool()
				in, c := openAll(Limits{Reserve: 1000, Channel: 1000}, 0, 1)
				errs := make(chan error)
				push(t, c[0], BarrierItem(Barrier{Checkpoint: 1}))
				for _, c := range c {
					push(t, c, sized(t, p, 1000))
					it := sized(t, p, 1000)
					go func() { errs <- c.Push(t.Context(), it) }()
				}
				go func() {
					for {
						it, err := in.Next(t.Context())
						if err != nil {
							errs <- err
							return
						}
						it.Frame.Free()
					}
				}()
				synctest.Wait()
				<-errs // channel 1 found room
				end(in, c)
				for range 2 {
					if err := <-errs; !errors.Is(err, ErrClosed) {
						t.Fatal(err)
					}
				}
				if err := c[0].Push(t.Context(), sized(t, p, 100)); !errors.Is(err, ErrClosed) {
					t.Fatal(err)
				}
				in.Close()
				expectNothingLive(t, p)
			})
		})
	}
}

func TestAClosedChannelIsNamed(t *testing.T) {
	in, c := openAll(DefaultLimits(), 0, 1)
	c[1].Close()
	if _, err := in.Next(t.Context()); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), c[1].ID().String()) {
		t.Fatal(err)
	}
}

// expectFull says that the channel has no room for the item.
func expectFull(t *testing.T, c *Channel, it Item) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 { // an old wake-up may be left
		clone := it
		clone.Frame = it.Frame.Clone()
		if err := c.Push(ctx, clone); !errors.Is(err, context.Canceled) {
			t.Fatalf("push into a full channel: %v", err)
		}
	}
	it.Frame.Free()
}

// free takes the next item, a batch, and frees it.
func free(t *testing.T, in *Input) {
	t.Helper()
	it, err := in.Next(t.Context())
	if err != nil || it.Kind != wire.KindBatch {
		t.Fatal(it.Kind, err)
	}
	it.Frame.Free()
}

func TestTheQueueIsAFIFOAtAnySize(t *testing.T) {
	rng := newRand(t)
	var q queue
	var want []uint32
	for i := range uint32(10_000) {
		if rng.IntN(100) < 55 {
			q.push(entry{Item: Item{Kind: wire.KindBatch, Records: i}})
			want = append(want, i)
		} else if q.len() > 0 {
			if got := q.pop().Records; got != want[0] {
				t.Fatalf("popped %d, want %d", got, want[0])
			}
			want = slices.Delete(want, 0, 1)
		}
	}
}
