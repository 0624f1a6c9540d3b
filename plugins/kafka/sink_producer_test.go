package kafka

import (
	"context"
	"errors"
	"testing"

	"github.com/weirstream/weir/plugins/kafka/internal/recordbatch"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// probe runs a function on a batch that a host gives to a sink.
type probe func(*sdk.Batch)

func (p probe) Write(_ context.Context, in *sdk.Batch, _ *sdk.Collector) error { p(in); return nil }
func (probe) Flush(context.Context) error                                      { return nil }
func (probe) Close() error                                                     { return nil }

func withBatch(t *testing.T, f func(*sdk.Batch)) {
	t.Helper()
	type none struct{}
	open := func(context.Context, *none, *sdk.Task) (probe, error) { return f, nil }
	sdktest.NewSink(t, sdk.NewSink("probe", "Looks at a batch.", open), nil).Write(sdktest.Values("a", "b")...)
}

// failing is a partition of a producer that cannot send.
func failing() *partition {
	p := &producer{backlog: newBacklog(1 << 20), batchSize: 1 << 20, session: &session{}}
	p.encoders.New = func() any { return recordbatch.NewEncoder(0) }
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.cancel()
	part := p.newPartition(&topic{name: "t"}, 0)
	part.leader.Store(-1)
	return part
}

func (p *partition) holding(t *testing.T, in *sdk.Batch) *held {
	t.Helper()
	h := &held{batch: in, size: in.Size(), log: p.producer.backlog, spans: 1}
	if err := h.log.add(t.Context(), h.size); err != nil {
		t.Fatal(err)
	}
	in.Hold()
	return h
}

// TestAFailedDeliveryIsKnownBeforeItsRecordsAreLetGo: else a flush that looks between
// the two sees nothing left and no error, and a checkpoint counts what is lost.
func TestAFailedDeliveryIsKnownBeforeItsRecordsAreLetGo(t *testing.T) {
	withBatch(t, func(in *sdk.Batch) {
		p := failing()
		h := p.holding(t, in)
		p.running = true // as if the sender had taken it
		p.put(span{held: h, end: in.Len()})
		h.settle()
		p.take()
		if _, err := p.deliver(recordbatch.NewEncoder(0)); !errors.Is(err, errClosed) {
			t.Errorf("deliver: %v", err)
		}
		if err := p.producer.backlog.empty(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("a flush behind a failed delivery: %v", err)
		}
	})
}

// TestWhatComesBehindAFailureIsLetGo: the loop may hand over records while a sender
// fails. They are held by nobody then.
func TestWhatComesBehindAFailureIsLetGo(t *testing.T) {
	withBatch(t, func(in *sdk.Batch) {
		p := failing()
		h := p.holding(t, in)
		p.drop()
		p.put(span{held: h, end: in.Len()})
		h.settle()
		if !p.producer.backlog.settled() {
			t.Error("the batch is held for ever")
		}
	})
}
