package task

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

const heldLimit = 256 << 10

func limitHeld(o *pluginv1.Open) *pluginv1.Open {
	o.Limits.MemoryBytes = heldLimit
	return o
}

// A sink that gives up what it holds only when it is flushed is flushed before it
// holds more than the task may, although no barrier comes.
func TestHeldBatchesStayWithinTheTasksMemory(t *testing.T) {
	sink := &fakeSink{}
	var held []*wire.Batch
	var most atomic.Int64
	sink.write = func(_ context.Context, _ int, in *wire.Batch, _ *Output) error {
		sink.env.Held.Hold(in)
		held = append(held, in)
		most.Store(max(most.Load(), sink.env.Held.bytes.Load()))
		return nil
	}
	sink.flush = func() error {
		for _, b := range held {
			sink.env.Held.Release(b)
		}
		held = nil
		return nil
	}
	h := newHost(t, []*Component{sinkNamed("sink", sink)})
	task := h.open(limitHeld(openOf(fed(memberOf("sink")))))
	value := strings.Repeat("x", 32<<10)
	const batches = 64
	for range batches {
		task.feed(value)
	}
	task.barrier(1)
	task.passed(1)
	if n := len(sink.seen()); n != batches {
		t.Fatalf("the sink got %d records, want %d", n, batches)
	}
	if got, bound := most.Load(), int64(heldLimit+2*len(value)); got > bound {
		t.Errorf("up to %d bytes were held, want at most %d", got, bound)
	}
	if most.Load() < heldLimit/2 {
		t.Errorf("at most %d bytes were held: the sink is flushed without need", most.Load())
	}
	task.close()
}

// One that never gives anything up fails the task, and is named.
func TestAComponentThatHoldsTooMuchFailsTheTask(t *testing.T) {
	var held []*wire.Batch
	op := &fakeOperator{}
	op.process = func(_ context.Context, _ int, in *wire.Batch, _ *Output) error {
		op.env.Held.Hold(in)
		held = append(held, in)
		return nil
	}
	op.closed = func() error {
		for _, b := range held {
			op.env.Held.Release(b)
		}
		return nil
	}
	h := newHost(t, []*Component{operatorNamed("hoarder", op)})
	task := h.open(limitHeld(openOf(fed(memberOf("hoarder", toHost("out"))))))
	value := strings.Repeat("x", 64<<10)
	for range 6 {
		task.feed(value)
	}
	err := task.failed()
	if !strings.Contains(err.Message, `component "hoarder"`) || !strings.Contains(err.Message, "still held") {
		t.Errorf("the failure is %q, want one that names component and cause", err.Message)
	}
	task.close()
}
